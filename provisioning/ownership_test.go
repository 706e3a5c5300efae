package provisioning

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// owned is a thing with an owner, whose KEY is forgotten, in a running world.
func owned(t *testing.T, answer func(to, xml string) (string, error), change ...func(*ThingConfig)) *thingLab {
	t.Helper()
	l := newThing(t, nil, append([]func(*ThingConfig){func(c *ThingConfig) { c.Nodes = c.Nodes[:1] }}, change...)...)
	l.w.answer = answer
	if _, err := l.claims.change(Ref{}, func(c *Claim) { c.Owner, c.Key, c.Blanked = "owner@a.example", "", true }); err != nil {
		t.Fatal(err)
	}
	return l
}

const askSoon = 10 * time.Minute

const question = "things.example <update><str name='KEY' value=''/></update>"

// A thing asks soon after each new session and once a day, whatever the wall
// clock does, and takes the answer that nobody owns it for a notice.
func Test0347R33R34_AThingAsksWhetherItIsOwned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := owned(t, yes)
		stop := run(t, l)
		asks := func(d time.Duration) (n int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			asked, _ := l.w.took()
			for _, a := range asked {
				if a != question {
					t.Errorf("asked %s", a)
				}
			}
			return len(asked)
		}
		if n := asks(time.Hour); n != 0 {
			t.Errorf("offline: %d", n)
		}
		l.Online(false)
		if n := asks(askSoon); n != 1 {
			t.Errorf("a new session: %d", n)
		}
		l.w.pass(-56 * 365 * 24 * time.Hour)
		l.Online(true)
		if n := asks(askEvery*3/4 - askSoon); n != 0 {
			t.Errorf("resumed: %d", n)
		}
		if n := asks(askEvery/4 + askSoon); n != 1 {
			t.Errorf("a day later: %d", n)
		}
		l.w.pass(56 * 365 * 24 * time.Hour)
		if n := asks(30 * askEvery); n < 29 || n > 40 {
			t.Errorf("in a month: %d", n)
		}
		l.Offline()
		if n := asks(2 * askEvery); n != 0 {
			t.Errorf("without a session: %d", n)
		}
		l.w.mu.Lock()
		l.w.answer = func(_, xml string) (string, error) {
			if strings.HasPrefix(xml, "<update") {
				return "<disowned/>", nil
			}
			return "", nil
		}
		l.w.mu.Unlock()
		l.Online(false)
		time.Sleep(askSoon)
		synctest.Wait()
		asked, _ := l.w.took()
		if l.Owner(Ref{}) != "" || len(asked) != 2 || !strings.Contains(asked[1], "<register>") || strings.Join(l.told, " ") != "disowned  owner@a.example" {
			t.Errorf("%q, asked %v, told %v", l.Owner(Ref{}), asked, l.told)
		}
		stop()
	})
}

// What a registry says instead of an answer changes no owner, and does not make
// the thing ask more often than it registers.
func TestAnswersAboutTheOwnerThatAreNone(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		err    error
		most   int // questions in a day
	}{
		{"another owner", "<claimed jid='evil@c.example'/>", nil, 2},
		{"a thing that is not there", "", xmpp.NewError(xmpp.ItemNotFound, ""), 2},
		{"refused", "", xmpp.NewError(xmpp.Forbidden, ""), 2},
		{"not served", "", xmpp.NewError(xmpp.FeatureNotImplemented, ""), 2},
		{"away", "", xmpp.NewError(xmpp.ServiceUnavailable, ""), 120},
		{"too many", "", xmpp.NewError(xmpp.ResourceConstraint, "").WithType(xmpp.Wait), 120},
		{"silent", "", context.DeadlineExceeded, 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := owned(t, func(string, string) (string, error) { return c.answer, c.err })
				stop := run(t, l)
				l.Online(false)
				time.Sleep(askEvery)
				synctest.Wait()
				asked, _ := l.w.took()
				if len(asked) == 0 || len(asked) > c.most || l.Owner(Ref{}) != "owner@a.example" || len(l.told) != 0 {
					t.Errorf("%d questions, owner %q, told %v", len(asked), l.Owner(Ref{}), l.told)
				}
				stop()
			})
		})
	}
}

// A thing that the registry has taken from view goes on asking, and is in view
// again when the registry says so.
func Test0347R30_ARemovedThingCanComeBack(t *testing.T) {
	l := owned(t, func(string, string) (string, error) { return "", xmpp.NewError(xmpp.ItemNotFound, "") })
	for _, want := range []bool{true, false} {
		if err := l.askOwner(t.Context(), Ref{}); err != nil {
			t.Fatal(err)
		}
		if c, _ := l.Claim(Ref{}); c.Removed != want || c.Owner == "" {
			t.Errorf("%+v", c)
		}
		l.w.answer = yes
	}
}

// A registry on an account is a friend for the question and for a while after
// it, in which it can say what it could not before.
func Test0347R57_ARegistryOnAnAccountIsVisited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var friend bool
		var since time.Time
		var stays []time.Duration
		is := func() bool { mu.Lock(); defer mu.Unlock(); return friend }
		l := owned(t, yes, func(c *ThingConfig) {
			c.Registry = jid.MustParse("registry@a.example")
			c.Resolve = func(jid.JID) jid.JID {
				if !is() {
					return jid.JID{}
				}
				return jid.MustParse("registry@a.example/r")
			}
			c.Befriend = func(_ context.Context, _ jid.JID, yes bool) error {
				mu.Lock()
				defer mu.Unlock()
				if yes && !friend {
					since = time.Now()
				}
				if !yes && friend {
					stays = append(stays, time.Since(since).Round(time.Second))
				}
				friend = yes
				return nil
			}
		})
		stop := run(t, l)
		l.Online(false)
		time.Sleep(5 * askEvery)
		synctest.Wait()
		asked, _ := l.w.took()
		if len(stays) < 5 || len(stays) > 7 || len(asked) != len(stays) {
			t.Errorf("%d questions in visits of %v", len(asked), stays)
		}
		for _, d := range stays {
			if d != askSoon {
				t.Errorf("a visit of %s", d)
			}
		}
		// The owner gives it up while it is there.
		for !is() {
			time.Sleep(time.Minute)
		}
		if got := l.notice(t, "registry@a.example/r", "<disowned/>"); got != "" || l.Owner(Ref{}) != "" {
			t.Errorf("%s, owner %q", got, l.Owner(Ref{}))
		}
		stop()
	})
}

// 10,000 things whose server comes back at one moment do not ask at one moment.
func TestQuestionsOfManyThingsAreSpread(t *testing.T) {
	const things = 10_000
	now := time.Now()
	var in [10]int
	for range things {
		q := questions{}
		q.newSession(now, askSoon)
		in[q.next.Sub(now)*10/askSoon]++
	}
	for i, n := range in {
		if n < things/10*8/10 || n > things/10*12/10 {
			t.Errorf("%d in part %d", n, i)
		}
	}
}

// A claim that could not be kept, because the disk was full, is learned from the
// registry when there is room again, in the same session.
func TestAClaimThatCouldNotBeKeptIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newThing(t, nil, func(c *ThingConfig) { c.Nodes = c.Nodes[:1] })
		full := openStore(t, "")
		if err := full.Close(); err != nil {
			t.Fatal(err)
		}
		l.w.answer = yes
		stop := run(t, l)
		l.Online(false)
		synctest.Wait()
		l.w.mu.Lock()
		l.w.answer = func(_, xml string) (string, error) {
			if strings.HasPrefix(xml, "<register") {
				return "<claimed jid='owner@a.example'/>", nil
			}
			return "", nil
		}
		l.w.mu.Unlock()
		l.claims.changing.Lock()
		room := l.claims.db
		l.claims.db = full
		l.claims.changing.Unlock()
		st := incoming(t, xmpp.IQ, xmpp.Set, registryAddr, "<claimed jid='owner@a.example'/>")
		if _, err := l.mux.HandleStanza(context.Background(), &st); err == nil || l.Owner(Ref{}) != "" {
			t.Errorf("%v, owner %q", err, l.Owner(Ref{}))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked, _ := l.w.took(); len(asked) < 2 || len(asked) > 20 || l.Owner(Ref{}) != "" {
			t.Errorf("%d attempts, owner %q", len(asked), l.Owner(Ref{}))
		}
		l.claims.changing.Lock()
		l.claims.db = room
		l.claims.changing.Unlock()
		time.Sleep(lastPause)
		synctest.Wait()
		if l.Owner(Ref{}) != "owner@a.example" {
			t.Error("the owner is not known")
		}
		stop()
	})
}

// A claim that comes while the window shuts, and with it the registry forgets
// the thing, counts for nothing.
func TestAClaimThatTheRegistryForgotIsForgotten(t *testing.T) {
	l := newThing(t, nil, func(c *ThingConfig) { c.Nodes = c.Nodes[:1] })
	l.w.answer = yes
	l.Online(false)
	if !l.work(t.Context()) {
		t.Fatal("not registered")
	}
	l.w.answer = func(_, xml string) (string, error) {
		if strings.HasPrefix(xml, "<unregister") {
			if got := l.notice(t, registryAddr, "<claimed jid='owner@a.example'/>"); got != "" {
				t.Error(got)
			}
		}
		return "", nil
	}
	l.Shut(true)
	if !l.work(t.Context()) || l.Owner(Ref{}) != "" || strings.Join(l.told, " ") != "claimed  owner@a.example disowned  owner@a.example" {
		t.Errorf("owner %q, told %v", l.Owner(Ref{}), l.told)
	}
	if c, _ := l.Claim(Ref{}); c.Key == "" {
		t.Error("it has no KEY to be claimed by")
	}
}

// To be forgotten by a registry on an account, a claimed thing befriends it.
func Test0347R48R68_UnregisteringReachesARegistryOnAnAccount(t *testing.T) {
	friend := false
	l := owned(t, yes, func(c *ThingConfig) {
		c.Registry = jid.MustParse("registry@a.example")
		c.Resolve = func(jid.JID) (j jid.JID) {
			if friend {
				j = jid.MustParse("registry@a.example/r")
			}
			return j
		}
		c.Befriend = func(_ context.Context, _ jid.JID, yes bool) error { friend = yes; return nil }
	})
	if err := l.Unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked, _ := l.w.took(); len(asked) != 1 || asked[0] != "registry@a.example/r <unregister/>" {
		t.Errorf("%v", asked)
	}
}
