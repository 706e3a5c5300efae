package history

import (
	"fmt"
	"slices"
	"strings"

	"time"

	"postern/internal/store"
)

// Readings that come when their hour has been rolled up (the clock was set back,
// a device hands over what it stored) make its minutes, the hour and the day
// anew. A mark that is committed with them says which hours these are, so that a
// crash in between forgets nothing.

const tardyPrefix = "tardy "

func tardyMark(from int64) string { return fmt.Sprintf("%s%016x", tardyPrefix, uint64(from)) }

// tardyMost bounds the hours that wait, and tardyAtOnce those that are made anew
// with one look.
const (
	tardyMost   = 2000
	tardyAtOnce = 24
)

// noteTardy adds marks to c for the hours that g has late readings of, and
// returns the hours. writing is held.
func (h *History) noteTardy(c *change, g group) (hours []int64) {
	for _, p := range g {
		for _, ms := range p.times {
			if ms >= h.rolled {
				break // they are sorted
			}
			from := h.hourStart(ms)
			if ms <= h.gone || h.tardy[from] || slices.Contains(hours, from) || len(h.tardy)+len(hours) >= tardyMost {
				continue
			}
			hours = append(hours, from)
		}
	}
	if len(hours) > 0 {
		c.marks = make(map[string]int64)
		for _, from := range hours {
			c.marks[tardyMark(from)] = from
		}
	}
	return hours
}

// loadTardy reads the marks.
func (h *History) loadTardy(tx *store.Tx) {
	for e := range marks().All(tx, tardyPrefix) {
		if e.Err == nil && strings.HasPrefix(e.Key, tardyPrefix) {
			h.tardy[e.Value] = true
		}
	}
}

// rollTardy makes anew what late readings change. An hour whose readings are in
// part removed already stays as it is. writing is held.
func (h *History) rollTardy(now time.Time) error {
	over := now.Add(-late).UnixMilli()
	done := 0
	for from := range h.tardy {
		to := h.hourEnd(from)
		if to > over || done >= tardyAtOnce {
			continue
		}
		done++
		c := change{h: h, add: map[Level][][]byte{}, unmark: []string{tardyMark(from)}}
		if from > h.gone && to <= h.rolled {
			c.redo = map[Level][2]int64{Minute: {from, to}, Hour: {to - 1, to}}
			if err := h.sumHour(&c, from, to); err != nil {
				return err
			}
			dayFrom, dayEnd := h.start(PerDay, to-1), h.end(PerDay, to-1)
			if dayEnd <= h.dayDone {
				d := change{h: h, add: map[Level][][]byte{}, redo: map[Level][2]int64{Day: {dayEnd - 1, dayEnd}}}
				if err := h.sumDay(&d, dayFrom, dayEnd); err != nil {
					return err
				}
			}
		} else if err := c.apply(); err != nil {
			return err
		}
		delete(h.tardy, from)
	}
	return nil
}
