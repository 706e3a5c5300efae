package registry

import (
	"fmt"
	"strings"
	"testing"

	"postern/xmpp"
)

// A server makes no presence for a component: it answers for itself.
func Test0114R11_PresenceOfAComponent(t *testing.T) {
	l := claimedLab(t)
	for _, c := range []struct{ typ, from, want string }{
		{"probe", stranger, "available"},
		{"subscribe", stranger, "subscribed available"},
		{"subscribe", thing, "subscribed available subscribe"},
		{"unsubscribe", stranger, "unsubscribed"},
		{"unavailable", stranger, ""},
	} {
		l.took()
		if _, err := l.give(xmpp.Presence, c.typ, c.from, ""); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range l.took() {
			if s.Kind != xmpp.Presence || s.To.String() != strings.Split(c.from, "/")[0] {
				t.Errorf("%s from %s is answered by %s to %s", c.typ, c.from, s.Kind, s.To)
			}
			if s.Type == "" {
				s.Type = "available"
			}
			got = append(got, s.Type)
		}
		if fmt.Sprint(got) != "["+c.want+"]" {
			t.Errorf("%s from %s is answered %s, want %s", c.typ, c.from, got, c.want)
		}
	}
}
