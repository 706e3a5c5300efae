package control

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

var dim = node.Ref{ID: "dimmer", Source: "light"}

var sessionIn = regexp.MustCompile(`<field var='xdd session' type='hidden'><value>(\w+)</value>`)

// openForm gets the dimmer's form as from and returns its session.
func (r *rig) openForm(from string) string {
	r.t.Helper()
	r.recv(from, getForm("<node nodeId='dimmer'/>"))
	m := sessionIn.FindStringSubmatch(r.out()[0])
	if m == nil {
		r.t.Fatal("no session")
	}
	return m[1]
}

func (r *rig) level(n int32) {
	r.live.Put(dim, "level", live.Reading{Value: drivers.Int(n), Time: time.Now()})
}

func dynamic(what, session, fields string) string {
	return "<iq type='set' id='1'><" + what + " xmlns='urn:xmpp:xdata:dynamic'><x xmlns='jabber:x:data' type='submit'><field var='xdd session' type='hidden'><value>" +
		session + "</value></field>" + fields + "</x></" + what + "></iq>"
}

// R27, R46: a form that somebody has open follows the outputs, with all fields
// marked notSame, and no more often than bearable.
func Test0325R27R46_UpdatedForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		session := r.openForm(alice)
		r.level(10)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		out := r.out()
		wantOut(t, out, "<message to='alice@example.org/desk'><updated xmlns='urn:xmpp:xdata:dynamic' sessionVariable='xdd session'><x xmlns='jabber:x:data' type='form'> … <value>"+session+"</value> … <value>10</value>")
		if strings.Count(out[0], "<notSame") != 3 {
			t.Error(out[0])
		}
		for i := range 100 { // ten seconds of restlessness
			r.level(int32(i))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(r.out()); n < 3 || n > 6 {
			t.Errorf("%d updates in 10 s", n)
		}
		time.Sleep(5 * time.Second)
		r.out()
		r.level(99) // no change, no message
		r.live.Put(node.Ref{ID: "r1"}, "on", live.Reading{Value: drivers.Bool(true), Time: time.Now()})
		time.Sleep(5 * time.Second)
		wantOut(t, r.out())
	})
}

// A form lives 15 minutes without activity, and ends by submission, by cancel
// and when its reader is gone.
func Test0325R51_FormSessionsEnd(t *testing.T) {
	bounce := func(s string) string {
		return "<message type='error'><updated xmlns='urn:xmpp:xdata:dynamic' sessionVariable='xdd session'><x xmlns='jabber:x:data' type='form'><field var='xdd session' type='hidden'><value>" + s + "</value></field></x></updated><error type='cancel'/></message>"
	}
	for name, end := range map[string]func(r *rig, session string){
		"time":   func(*rig, string) { time.Sleep(15 * time.Minute) },
		"cancel": func(r *rig, s string) { r.recv(alice, dynamic("cancel", s, "")) },
		"submit": func(r *rig, s string) {
			r.recv(alice, submit("<field var='xdd session' type='hidden'><value>"+s+"</value></field>"+field("on", "1")))
		},
		"bounce": func(r *rig, s string) { r.recv(alice, bounce(s)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nil)
			defer r.stop()
			session := r.openForm(alice)
			time.Sleep(14 * time.Minute)
			r.recv(alice, dynamic("submit", session, "")) // activity
			wantOut(t, r.out(), "<iq type='result' … <x xmlns='jabber:x:data' type='form'>")
			time.Sleep(14 * time.Minute)
			r.recv("alice@example.org/other", dynamic("submit", session, ""))
			wantOut(t, r.out(), "item-not-found") // not this one's form
			end(r, session)
			synctest.Wait()
			r.out()
			r.recv(alice, dynamic("submit", session, ""))
			r.recv(alice, dynamic("cancel", session, ""))
			wantOut(t, r.out(), "<error type='cancel'><item-not-found", "<error type='cancel'><item-not-found")
			r.level(55)
			time.Sleep(5 * time.Second)
			if out := r.out(); len(out) != 0 {
				t.Errorf("%s: still updated: %s", name, out)
			}
			// D16: a submission of an expired form acts all the same.
			r.written()
			r.recv(alice, submit("<field var='xdd session' type='hidden'><value>"+session+"</value></field>"+field("level", "5")))
			synctest.Wait()
			if got := r.written(); got != "dimmer.level=5" {
				t.Errorf("%s: %q", name, got)
			}
		})
	}
}

// R50: posting back never acts; it says what is wrong with a value.
func Test0325R50_PostBackNeverActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		session := r.openForm(alice)
		r.recv(alice, dynamic("submit", session, field("level", "500")+field("fade", "1.5")))
		synctest.Wait()
		out := r.out()
		wantOut(t, out, "var='fade' … <value>1.5</value> … var='level' … <value>500</value> … <error xmlns='urn:xmpp:xdata:dynamic'>must be from 0 to 100</error>")
		if strings.Count(out[0], "<notSame") != 1 {
			t.Errorf("posted fields are notSame: %s", out[0])
		}
		if got := r.written(); got != "" {
			t.Error(got)
		}
		r.recv(alice, "<iq type='set' id='1'><submit xmlns='urn:xmpp:xdata:dynamic'/></iq>")
		wantOut(t, r.out(), "bad-request")
	})
}

// Rights that are gone end the updates; sessions are bounded per requester.
func TestFormSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		for i := range 100 {
			r.openForm(fmt.Sprint("alice@example.org/", i))
			time.Sleep(time.Second)
		}
		if n := r.svc.sessions.count(); n != maxPerPeer {
			t.Errorf("%d sessions of one account", n)
		}
		access, _ := node.NewAllowList([]string{"owner@example.org"}, nil)
		st := r.svc.state.Load()
		if err := r.svc.Apply(context.Background(), Setup{Tree: st.tree, Devices: st.devices, Access: access}); err != nil {
			t.Fatal(err)
		}
		r.level(1)
		time.Sleep(5 * time.Second)
		wantOut(t, r.out())
		if n := r.svc.sessions.count(); n != 0 {
			t.Errorf("%d sessions without right", n)
		}
	})
}

func (ss *sessions) count() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.open)
}
