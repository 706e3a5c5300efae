package registry

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
)

// link is a device's session that ends in the service.
type link struct {
	l    *lab
	from string // full address of the device
	mux  xmpp.Mux
	// asked counts the questions.
	asked int
}

func (k *link) Send(context.Context, ...xmpp.Stanza) error { return nil }

func (k *link) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	k.asked++
	st.Kind, st.ID, st.From = xmpp.IQ, "d1", jid.MustParse(k.from)
	in := received(&st)
	p, err := k.l.HandleStanza(ctx, &in)
	if err == xmpp.ErrLater {
		for _, s := range k.l.took() {
			if s.ID == "d1" {
				p, err = s.Payload, nil
			}
		}
	}
	if err != nil {
		return err
	}
	if reply == nil {
		return nil
	}
	out := st.Reply(xmpp.Result, p)
	out.From = k.l.Addr()
	got := received(&out)
	return reply(&got)
}

// received is a stanza as it comes off the wire.
func received(st *xmpp.Stanza) xmpp.Stanza {
	var d exi.Doc
	st.AppendEvents(&d)
	var in xmpp.Stanza
	_ = in.Parse(d.Root())
	return in
}

// deliver gives the device what the service sends it.
func (k *link) deliver(s sent) *xmpp.Error {
	if s.To.String() != k.from {
		return xmpp.NewError(xmpp.ServiceUnavailable, "")
	}
	st := s.Stanza
	in := received(&st)
	if _, err := k.mux.HandleStanza(context.Background(), &in); err != nil {
		return xmpp.AsError(err)
	}
	return nil
}

func newDevice(t *testing.T, l *lab, cacheSize int, owner func(provisioning.Ref) string) (*provisioning.Access, *link) {
	t.Helper()
	k := &link{l: l, from: thing}
	a, err := provisioning.NewAccess(provisioning.AccessConfig{Session: k, Servers: []jid.JID{l.Addr()}, CacheSize: cacheSize, Now: l.clock, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	a.Register(&k.mux)
	return a, k
}

// For random rules that change all the time, a device permits exactly what
// they say, with a cache as without one.
func TestDevicesPermitWhatRulesSay(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	l := claimedLab(t, func(c *Config) { c.Limits.RulesPerThing = 1000 })
	cached, link1 := newDevice(t, l, 64, nil)
	plain, link2 := newDevice(t, l, -1, nil)
	l.answer = link1.deliver
	ctx := context.Background()
	nodes := []provisioning.Ref{{ID: "n1"}, {ID: "n2", Source: "s"}}
	names := []string{"A", "B"}
	people := []string{"a@b.example", "z@b.example", "a@c.example"}
	types := []provisioning.Types{node.Momentary, node.Peak}
	values := someValues()
	var ids []string
	checked, limited := 0, 0
	for range 300 {
		if len(ids) > 0 && rnd.IntN(3) == 0 {
			i := rnd.IntN(len(ids))
			if err := l.RemoveRule(ctx, ids[i]); err != nil {
				t.Fatal(err)
			}
			ids = append(ids[:i], ids[i+1:]...)
		} else {
			r := Rule{Subject: append(people, "b.example", "c.example", Everyone)[rnd.IntN(6)], Action: []Action{Read, Control}[rnd.IntN(2)], Deny: rnd.IntN(3) == 0,
				Nodes: some(rnd, nodes), Names: some(rnd, names)}
			for _, x := range some(rnd, types) {
				if r.Action == Read {
					r.Types |= x
				}
			}
			if r.Action == Control {
				r.Range = randomRange(rnd)
			}
			ids = append(ids, l.rule(r).ID)
		}
		l.took()
		for range 12 {
			who := people[rnd.IntN(len(people))]
			r := node.Request{Bare: who, Nodes: some(rnd, nodes), Types: types[rnd.IntN(2)]}
			f := some(rnd, names)
			if rnd.IntN(2) == 0 { // one value: exact
				r.Nodes, f = []provisioning.Ref{nodes[rnd.IntN(2)]}, []string{names[rnd.IntN(2)]}
			}
			r.Fields, r.Parameters = f, f
			for _, control := range []bool{false, true} {
				var d1, d2 node.Decision
				var err1, err2 error
				if control {
					d1, err1 = cached.CanControl(ctx, r)
					d2, err2 = plain.CanControl(ctx, r)
				} else {
					d1, err1 = cached.CanRead(ctx, r)
					d2, err2 = plain.CanRead(ctx, r)
				}
				if err1 != nil || err2 != nil || !reflect.DeepEqual(d1, d2) {
					t.Fatalf("%+v: with cache %+v, %v; without %+v, %v", r, d1, err1, d2, err2)
				}
				for _, n := range nodes {
					for _, name := range names {
						single := len(r.Nodes) == 1 && len(f) == 1 && n == r.Nodes[0] && name == f[0]
						for _, v := range values {
							may := rulesSay(l, who, control, n, name, r.Types, v)
							got := d1.Readable(n, name, r.Types) != 0
							if control {
								set := d1.Values(n, name)
								if got = set.Contains(v); set.Limited && !set.Empty() {
									limited++
								}
							}
							if got && !may || single && got != may {
								t.Fatalf("%s control=%v %v %s %s: %v, the rules say %v\n%+v\n%+v", who, control, n, name, v, got, may, r, l.Rules(""))
							}
							checked++
						}
					}
				}
			}
		}
	}
	if link1.asked >= link2.asked || checked < 100_000 || limited < 10_000 {
		t.Errorf("the cache saved nothing: %d and %d questions; %d values checked, %d of limited parameters", link1.asked, link2.asked, checked, limited)
	}
}

// someValues are values in, between and at the ends of random ranges, and one
// that is no number.
func someValues() (list []drivers.Value) {
	for i := int64(-5); i <= 45; i += 5 {
		list = append(list, drivers.Decimal(drivers.Num(i, -1)))
	}
	return append(list, drivers.Int(3), drivers.Bool(true))
}

// randomRange is often nil.
func randomRange(rnd *rand.Rand) *provisioning.ValueRange {
	low := rnd.Int64N(4)
	r := provisioning.ValueRange{Min: drivers.Num(low, 0), Max: drivers.Num(low+rnd.Int64N(3), 0), HasMin: rnd.IntN(4) > 0, HasMax: rnd.IntN(4) > 0}
	if rnd.IntN(3) == 0 {
		return nil
	}
	return &r
}

// inRange says anew what a rule's range holds.
func inRange(r *provisioning.ValueRange, v drivers.Value) bool {
	if r == nil {
		return true
	}
	n, ok := v.Number()
	return ok && (!r.HasMin || r.Min.Float64() <= n.Float64()) && (!r.HasMax || n.Float64() <= r.Max.Float64())
}

// rulesSay reads the rules anew, without the code that decides.
func rulesSay(l *lab, who string, control bool, n provisioning.Ref, name string, types provisioning.Types, v drivers.Value) bool {
	best, bestRank := (*Rule)(nil), 9
	rules := l.Rules("")
	for i := range rules {
		r := &rules[i]
		rank := 9
		switch {
		case r.Subject == who:
			rank = 0
		case strings.HasSuffix(who, "@"+r.Subject):
			rank = 1
		case r.Subject == Everyone:
			rank = 2
		}
		about := (r.Action == Control) == control
		in := len(r.Nodes) == 0
		for _, p := range r.Nodes {
			in = in || p == n
		}
		named := len(r.Names) == 0
		for _, x := range r.Names {
			named = named || x == name
		}
		if rank < 9 && about && in && named && (!control || inRange(r.Range, v)) && (control || r.Types == 0 || r.Types&types != 0) && rank <= bestRank {
			best, bestRank = r, rank // rules are in order: a later one wins
		}
	}
	return best != nil && !best.Deny
}

// The whole life of a thing with both sides' code, and both restarted at each
// step.
func TestTheWholeLife(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MinKeyBits = 64 })
	db, err := store.Open(context.Background(), l.path+".device", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var th *provisioning.Thing
	var access *provisioning.Access
	var k *link
	start := func() {
		l.restart()
		k = &link{l: l, from: thing}
		th, err = provisioning.NewThing(provisioning.ThingConfig{Session: k, Store: db, Registry: l.Addr(), Now: l.clock,
			Nodes:      []provisioning.Node{{Tags: []provisioning.Tag{{Name: "SN", Value: "42"}}}},
			OnDisowned: func(provisioning.Ref, jid.JID) { _ = access.Forget() }})
		if err != nil {
			t.Fatal(err)
		}
		th.Register(&k.mux)
		access, err = provisioning.NewAccess(provisioning.AccessConfig{Session: k, Store: db, Servers: []jid.JID{l.Addr()}, Owner: th.Owner, Now: l.clock})
		if err != nil {
			t.Fatal(err)
		}
		access.Register(&k.mux)
		l.answer = k.deliver
	}
	work := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond) // everything answers at once
		defer cancel()
		th.Online(false)
		if err := th.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	may := func(who string) bool {
		t.Helper()
		d, err := access.CanRead(context.Background(), node.Request{Bare: who, Nodes: []provisioning.Ref{{ID: "n"}}, Fields: []string{"Energy", "Power"}, Types: node.Momentary})
		if err != nil {
			t.Fatal(err)
		}
		return d.Readable(provisioning.Ref{ID: "n"}, "Energy", node.Momentary) != 0
	}
	mine := func(from string) string {
		code, ok := th.Code(provisioning.Ref{})
		if !ok {
			t.Fatal("no code")
		}
		scanned, err := provisioning.ParseCode(code.String())
		if err != nil {
			t.Fatal(err)
		}
		return xmlOf(t, provisioning.Mine{Tags: scanned.Tags})
	}
	start()
	work()
	claim := mine(owner)
	start()
	l.ok(owner, claim, "<claimed jid='thing@a.example' public='true'/>")
	start()
	work()
	if th.Owner(provisioning.Ref{}) != "owner@a.example" || !may("owner@a.example") || may("friend@b.example") {
		t.Fatal("claimed wrongly")
	}
	id, _ := l.question()
	if id == "" {
		t.Fatal("no question")
	}
	start()
	l.replies(owner, id, "yes")
	if !may("friend@b.example") || may("stranger@c.example") {
		t.Fatal("the owner's yes")
	}
	start()
	l.rule(Rule{Subject: "friend@b.example", Action: Read, Names: []string{"Energy"}, Deny: true})
	if may("friend@b.example") {
		t.Fatal("narrowed")
	}
	start()
	l.took()
	l.ok(owner, "<disown jid='thing@a.example'/>", "")
	if th.Owner(provisioning.Ref{}) != "" || may("owner@a.example") || may("friend@b.example") {
		t.Fatal("disowned")
	}
	start()
	work()
	l.fails(owner, claim, xmpp.ItemNotFound)
	l.ok(other1, mine(other1), "<claimed jid='thing@a.example' public='true'/>")
	start()
	if !may("other@b.example") || may("owner@a.example") || may("friend@b.example") {
		t.Fatal("claimed by another")
	}
}
