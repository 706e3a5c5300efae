package history

import "time"

// Periods are those of the gateway's zone. Hours are cut where its clocks show
// a full hour, so that a zone off by half an hour has its own.

func (h *History) at(ms int64) time.Time { return time.UnixMilli(ms).In(h.cfg.Location) }

// hourStart returns the beginning of the hour that ms lies in.
func (h *History) hourStart(ms int64) int64 {
	_, offset := h.at(ms).Zone()
	return floor(ms+int64(offset)*1000, hourMs) - int64(offset)*1000
}

// hourEnd returns the end of the hour that ms lies in. Where clocks are
// changed by less than an hour one of them is shorter.
func (h *History) hourEnd(ms int64) int64 {
	end := h.hourStart(ms) + hourMs
	if s := h.hourStart(end); s > ms && s < end {
		return s
	}
	return end
}

const (
	minuteMs = int64(60_000)
	hourMs   = 60 * minuteMs
)

func floor(a, b int64) int64 {
	r := a % b
	if r < 0 {
		r += b
	}
	return a - r
}

// Period is what a row stands for.
type Period uint8

// The periods of XEP-0323's historical types.
const (
	PerMinute Period = iota
	PerHour
	PerDay
	PerWeek
	PerMonth
	PerQuarter
	PerYear
)

// start returns the beginning of the period that ms lies in; weeks begin on
// Monday.
func (h *History) start(p Period, ms int64) int64 {
	switch p {
	case PerMinute:
		return floor(ms, minuteMs)
	case PerHour:
		return h.hourStart(ms)
	}
	t := h.at(ms)
	y, m, d := t.Date()
	switch p {
	case PerWeek:
		d -= (int(t.Weekday()) + 6) % 7
	case PerMonth:
		d = 1
	case PerQuarter:
		m, d = m-(m-1)%3, 1
	case PerYear:
		m, d = 1, 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, h.cfg.Location).UnixMilli()
}

// end returns the end of the period that ms lies in.
func (h *History) end(p Period, ms int64) int64 {
	switch p {
	case PerMinute:
		return floor(ms, minuteMs) + minuteMs
	case PerHour:
		return h.hourEnd(ms)
	}
	t := h.at(h.start(p, ms))
	y, m, d := t.Date()
	switch p {
	case PerDay:
		d++
	case PerWeek:
		d += 7
	case PerMonth:
		m++
	case PerQuarter:
		m += 3
	case PerYear:
		y++
	}
	return time.Date(y, m, d, 0, 0, 0, 0, h.cfg.Location).UnixMilli()
}
