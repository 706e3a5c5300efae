package daemon

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/local"
)

// historyStatus tells what is kept and what a power cut would lose.
func historyStatus(b *strings.Builder, h *local.History) {
	const mb = 1 << 20
	fmt.Fprintf(b, "history     %.1f MiB readings, %.1f MiB minutes, hours and days, of %.0f MiB; %d series\n",
		float64(h.Readings)/mb, float64(h.RollUps)/mb, float64(h.Cap)/mb, h.Series)
	bound := func(s float64) string { return (time.Duration(s * float64(time.Second))).String() }
	fmt.Fprintf(b, "            %d readings in memory; a power cut loses %s at most, %s while not connected\n",
		h.Pending, bound(h.LossOnline), bound(h.LossOffline))
	var bad []string
	for _, c := range []struct {
		n    uint64
		what string
	}{{h.Dropped, "dropped for its size"}, {h.Lost, "lost for want of memory"}, {h.Damaged, "parts damaged"}} {
		if c.n > 0 {
			bad = append(bad, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if bad != nil {
		fmt.Fprintf(b, "            since the start: %s\n", strings.Join(bad, ", "))
	}
}
