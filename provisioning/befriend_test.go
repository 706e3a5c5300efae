package provisioning

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
)

// A registry on an account is a friend only while it is needed: until the thing
// is claimed and its KEY forgotten, and around an update.
func Test0347R57R68_TheRegistryIsAFriendWhileNeeded(t *testing.T) {
	db := openStore(t, "")
	synctest.Test(t, func(t *testing.T) {
		var friend bool
		var log []string
		var away atomic.Bool
		change := func(c *ThingConfig) {
			c.Nodes = c.Nodes[:1]
			c.Registry = jid.MustParse("registry@a.example")
			c.Resolve = func(jid.JID) jid.JID {
				if !friend || away.Load() {
					return jid.JID{}
				}
				return jid.MustParse("registry@a.example/r")
			}
			c.Befriend = func(_ context.Context, j jid.JID, yes bool) error {
				if j.String() != "registry@a.example" {
					t.Errorf("befriends %s", j)
				}
				if yes != friend {
					log = append(log, map[bool]string{true: "friend", false: "end"}[yes])
				}
				friend = yes
				return nil
			}
		}
		l := newThing(t, db, change)
		l.w.answer = func(_, xml string) (string, error) {
			log = append(log, xml[1:strings.IndexAny(xml, " >/")])
			return "", nil
		}
		is := func(want string) {
			t.Helper()
			if got := strings.Join(log, " "); got != want {
				t.Errorf("%s; want %s", got, want)
			}
			log = nil
		}
		ctx := context.Background()
		l.Online(false)
		if !l.work(ctx) || !friend {
			t.Error("unclaimed, it must be reachable")
		}
		is("friend register")
		if got := l.notice(t, "registry@a.example/r", "<claimed jid='owner@a.example'/>"); got != "" {
			t.Error(got)
		}
		l.work(ctx)
		is("update end")
		// Nothing more to do, also after a new start.
		l = newThing(t, db, change)
		l.w.answer = func(_, xml string) (string, error) {
			log = append(log, xml[1:strings.IndexAny(xml, " >/")])
			return "", nil
		}
		l.Online(false)
		l.work(ctx)
		is("")
		// An update makes it a friend again, waits for its presence, and ends that.
		away.Store(true)
		time.AfterFunc(5*time.Second, func() { away.Store(false) })
		if err := l.Update(ctx, Ref{}, []Tag{{Name: "ROOM", Value: "7"}}); err != nil {
			t.Error(err)
		}
		is("friend update end")
		away.Store(true)
		if err := l.Update(ctx, Ref{}, []Tag{{Name: "ROOM", Value: "8"}}); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		friend, log = false, nil
		away.Store(false)
		// Given up, it has to be reachable again.
		if err := l.forget(Ref{}); err != nil {
			t.Error(err)
		}
		l.work(ctx)
		is("friend register")
		// A component is nobody's friend.
		l.SetRegistry(jid.MustParse(registryAddr))
		l.work(ctx)
		is("register")
	})
}
