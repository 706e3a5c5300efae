package hil

import (
	"fmt"
	"strings"
	"time"

	"postern/board/hil/agent"
)

// Rhythm samples an LED of the guest for some seconds and names the signal that
// a person would see: "dark", "online", "booting", "buffering", "claimable",
// "fault", "identify", or what it saw.
func (g *Guest) Rhythm(led string) string {
	g.tb.Helper()
	const window = 4500 * time.Millisecond
	a := g.mustIn(agent.Request{Op: "sample", Path: "/sys/class/leds/" + led + "/brightness", Num: int(window.Milliseconds())}, window+20*time.Second)
	return rhythm(a.Text, window)
}

// rhythm names what was sampled: lines of "VALUE MILLISECONDS".
func rhythm(text string, window time.Duration) string {
	type run struct{ on, ms int }
	var runs []run
	last := 0
	for line := range strings.Lines(text) {
		var value, at int
		if _, err := fmt.Sscanf(line, "%d %d", &value, &at); err != nil {
			return line
		}
		if len(runs) > 0 {
			runs[len(runs)-1].ms = at - last
		}
		runs, last = append(runs, run{value, 0}), at
	}
	if len(runs) == 0 {
		return "nothing"
	}
	runs[len(runs)-1].ms = int(window.Milliseconds()) - last
	if len(runs) == 1 {
		if runs[0].on == 0 {
			return "dark"
		}
		return "online"
	}
	inner := runs[1 : len(runs)-1] // the first and the last are cut
	on, flashes, gaps, most := 0, 0, 0, 0
	for _, r := range inner {
		switch {
		case r.on != 0:
			on += r.ms
			flashes++
			most = max(most, r.ms)
		case r.ms > 800: // a pause between groups
			gaps++
		}
	}
	switch {
	case len(runs) > 30:
		return "identify"
	case most > 1000:
		return "buffering"
	case gaps == 0 && flashes >= 4:
		return "booting"
	}
	// Flashes between two pauses.
	group, groups := -1, []int{}
	for _, r := range inner {
		switch {
		case r.on == 0 && r.ms > 800:
			if group >= 0 {
				groups = append(groups, group)
			}
			group = 0
		case r.on != 0 && group >= 0:
			group++
		}
	}
	for _, n := range groups {
		switch n {
		case 2:
			return "claimable"
		case 3:
			return "fault"
		}
	}
	return fmt.Sprint(runs)
}
