package concentrator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/node"
	"postern/xmpp/xmpptest"
)

// change applies a changed house and returns what was sent.
func (r *rig) change(f func([]node.Node) []node.Node) []string {
	r.Helper()
	r.Apply(tree(r.TB, f(house())))
	synctest.Wait()
	return r.events()
}

func same(n []node.Node) []node.Node { return n }

func Test0326R12R13R39_EventsOfAChangedTree(t *testing.T) {
	live(t, func(r *rig) {
		for range 2 { // a double subscription is one
			r.want(owner, "set", "<subscribe "+mt+"/>", "<subscribeResponse result='OK'/>")
		}
		if got := r.change(same); len(got) != 0 {
			t.Errorf("nothing changed: %q", got)
		}
		got := r.change(func(n []node.Node) []node.Node {
			n[0].Label = "Great hall"
			n[3].Parent = ref("hall") // sensor moves
			return append(n, node.Node{Ref: ref("new")})
		})
		if len(got) != 1 {
			t.Fatalf("%q", got)
		}
		text := stamp.ReplaceAllString(got[0], "")
		const ns = " xmlns='" + NS + "'"
		want := "<message to='owner@example.org/a'>" +
			"<nodeRemoved" + ns + " sourceId='MeteringTopology' nodeId='sensor'/>" +
			"<nodeUpdated" + ns + " sourceId='MeteringTopology' nodeId='hall' displayName='Great hall' nodeType='kind-h' state='None' hasChildren='true'/>" +
			"<nodeAdded" + ns + " sourceId='MeteringTopology' nodeId='sensor' nodeType='kind-s' state='None' hasChildren='false' isReadable='true' parentId='hall'/>" +
			"<nodeAdded" + ns + " sourceId='MeteringTopology' nodeId='new' nodeType='kind-n' state='None' hasChildren='false'/></message>"
		if text != want {
			t.Errorf("\n got %s\nwant %s", text, want)
		}
		got = r.change(same)
		if len(got) != 1 || idsOf(got[0]) != "sensor new hall sensor" {
			t.Errorf("%q", got)
		}
	})
}

// Who sees a part of the tree hears of that part only.
func TestEventsRespectAccess(t *testing.T) {
	live(t, func(r *rig) {
		r.want(guest, "set", "<subscribe "+mt+"/>", "<subscribeResponse result='OK'/>")
		got := r.change(func(n []node.Node) []node.Node {
			n[0].Label, n[2].Label = "A", "B"
			return n
		})
		if len(got) != 1 || idsOf(got[0]) != "hall" {
			t.Errorf("%q", got)
		}
	})
}

func Test0326R14_SubscriptionsEndWithPresence(t *testing.T) {
	live(t, func(r *rig) {
		rename := func(n []node.Node) []node.Node { n[0].Label = time.Now().String(); return n }
		ends := map[string]func(){
			"the peer goes offline": func() { r.Gone(mustJID(owner)) },
			"we go offline":         r.Offline,
			"a message bounces": func() {
				_, _ = xmpptest.Call(t, r.mux, "<message type='error' from='"+owner+"'><nodeUpdated xmlns='"+NS+"' sourceId='MeteringTopology' nodeId='hall'/><error type='cancel'/></message>")
			},
		}
		for what, end := range ends {
			r.want(owner, "set", "<subscribe "+mt+"/>", "<subscribeResponse result='OK'/>")
			time.Sleep(time.Millisecond)
			if got := r.change(rename); len(got) != 1 {
				t.Errorf("%s: before it %q", what, got)
			}
			end()
			time.Sleep(time.Millisecond)
			if got := r.change(rename); len(got) != 0 || r.Subscriptions() != 0 {
				t.Errorf("%s: after it %q", what, got)
			}
		}
	})
}

func Test0326R15R34_KindsOfEvents(t *testing.T) {
	live(t, func(r *rig) {
		r.want(owner, "set", "<unsubscribe "+mt+"/>", "<unsubscribeResponse result='OK'/>")
		r.want(nobody, "set", "<unsubscribe "+mt+"/>", "<unsubscribeResponse result='OK'/>")
		r.want(owner, "set", "<subscribe "+mt+" nodeUpdated='false'/>", "<subscribeResponse result='OK'/>")
		both := func(n []node.Node) []node.Node { n[0].Label = "x"; return n[:6] }
		if got := r.change(both); len(got) != 1 || strings.Contains(got[0], "nodeUpdated") || !strings.Contains(got[0], "nodeRemoved") {
			t.Errorf("%q", got)
		}
		r.change(same)
		// Only what is named true, or not named, is dropped.
		r.want(owner, "set", "<unsubscribe "+mt+" nodeAdded='false' nodeUpdated='false' nodeStatusChanged='false' nodeMovedUp='false' nodeMovedDown='false'/>", "<unsubscribeResponse result='OK'/>")
		if got := r.change(both); len(got) != 0 {
			t.Errorf("%q", got)
		}
		if got := r.change(same); len(got) != 1 || !strings.Contains(got[0], "nodeAdded") {
			t.Errorf("%q", got)
		}
	})
}

func Test0326R16R17_EventsOfThePast(t *testing.T) {
	live(t, func(r *rig) {
		begin := time.Now()
		time.Sleep(time.Minute)
		r.change(func(n []node.Node) []node.Node { n[0].Label = "first"; return n })
		time.Sleep(time.Minute)
		middle := time.Now()
		time.Sleep(time.Minute)
		r.change(func(n []node.Node) []node.Node { n[0].Label = "second"; return n })

		since := func(at time.Time) string {
			return r.ask(owner, "set", "<subscribe "+mt+" getEventsSince='"+at.UTC().Format(time.RFC3339)+"'/>")
		}
		if got := since(begin.Add(-time.Hour)); got != "<subscribeResponse result='NotImplemented'/>" || r.Subscriptions() != 0 {
			t.Errorf("%s, %d subscriptions", got, r.Subscriptions())
		}
		if got := since(middle); got != "<subscribeResponse result='OK'/>" {
			t.Error(got)
		}
		if got := r.events(); len(got) != 1 || strings.Contains(got[0], "first") || !strings.Contains(got[0], "second") {
			t.Errorf("%q", got)
		}
		r.Gone(mustJID(owner))
		since(begin.Add(time.Second))
		if got := strings.Join(r.events(), ""); strings.Index(got, "first") > strings.Index(got, "second") || !strings.Contains(got, "first") {
			t.Errorf("%q", got)
		}
		if got := r.ask(owner, "set", "<subscribe "+mt+" getEventsSince='yesterday'/>"); got != "<subscribeResponse result='OtherError'/>" {
			t.Error(got)
		}
	})
}

func TestStatusEvents(t *testing.T) {
	live(t, func(r *rig) {
		r.states["room"] = Info{State: WarningUnsigned} // before anybody subscribed
		r.want(owner, "set", "<subscribe "+mt+" messages='true'/>", "<subscribeResponse result='OK'/>")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.events(); len(got) != 0 {
			t.Errorf("%q", got)
		}
		r.mu.Lock()
		r.states["lamp"] = Info{State: ErrorUnsigned, Messages: []Message{{"Error", "dark", time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}}}
		r.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := "<message to='owner@example.org/a'><nodeStatusChanged xmlns='" + NS + "' sourceId='MeteringTopology' nodeId='lamp' state='ErrorUnsigned'>" +
			"<message timestamp='2026-03-01T08:00:00.000Z' type='Error'>dark</message></nodeStatusChanged></message>"
		if got := r.events(); len(got) != 1 || got[0] != want {
			t.Errorf("%q", got)
		}
	})
}
