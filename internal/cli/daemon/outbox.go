package daemon

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"postern/internal/local"
)

// outboxStatus tells who gets events, and what waits for them.
func outboxStatus(b *strings.Builder, o *local.Outbox, now time.Time) {
	fmt.Fprintf(b, "subscribers %d; %d messages wait, %.1f of %.1f MiB\n", len(o.Subscribers), o.Messages, float64(o.Octets)/(1<<20), float64(o.Cap)/(1<<20))
	if o.Error != "" {
		fmt.Fprintf(b, "            what waits is in memory only: %s\n", printable(o.Error))
	}
	for i := range o.Subscribers {
		s := &o.Subscribers[i]
		state := "away"
		if s.Available {
			state = "online"
		}
		line := fmt.Sprintf("            %s  %s; %d delivered", printable(s.JID), state, s.Delivered)
		if s.Proof != "receipts" {
			line += " (handed to the server)"
		}
		if s.Last != nil {
			line += ", last " + ago(now.Sub(*s.Last))
		}
		var waits []string
		for class, n := range s.Waiting {
			waits = append(waits, fmt.Sprintf("%d %s", n, class))
		}
		sort.Strings(waits)
		if waits != nil {
			line += "; waiting: " + strings.Join(waits, ", ")
		}
		if s.Missing {
			line += "; readings from " + s.Since.Local().Format("2006-01-02 15:04:05") + " on wait in the history"
		}
		if s.Dropped > 0 {
			line += fmt.Sprintf("; %d dropped", s.Dropped)
		}
		if s.Trouble != "" {
			line += "; " + printable(s.Trouble)
		}
		b.WriteString(line + "\n")
	}
}
