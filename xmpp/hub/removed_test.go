package hub

import (
	"fmt"
	"strings"
	"testing"
)

// A contact of an account that is removed sees its sessions leave, however the
// end of its streams and that of its subscriptions fall together.
func TestRemovedAccountsAreSeenLeaving(t *testing.T) {
	x := newSite(t)
	b := x.online("ben", "r")
	for i := range 10 {
		name := fmt.Sprintf("guest%d", i)
		if err := x.AddUser(name, name); err != nil {
			t.Fatal(err)
		}
		a := x.online(name, "r")
		x.friends(a, b)
		if err := x.Remove(name); err != nil {
			t.Fatal(err)
		}
		a.fails("not-authorized")
		var got string
		waitFor(t, func() bool {
			got += strings.Join(b.settle(), "\n")
			return strings.Contains(got, "type='unavailable'")
		})
		if n := strings.Count(got, "type='unavailable'"); n != 1 {
			t.Errorf("told %d times:\n%s", n, got)
		}
	}
}
