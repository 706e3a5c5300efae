package registry

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/provisioning"
	"postern/xmpp"
)

// Many accounts claim the same things at once, while what keeps the state is
// disturbed as far as it can be: each thing gets one owner, the one who was
// told so, and that is what is kept.
func TestClaimStorm(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Limits.ClaimsJID, c.Limits.ClaimsDomain = 1_000_000, 1_000_000 })
	const things, accounts = 150, 12
	tag := func(i int) string {
		return fmt.Sprintf("<str name='SN' value='%d'/><str name='KEY' value='k%d'/>", i, i)
	}
	for i := range things {
		l.ok(fmt.Sprintf("t%d@a.example/gw", i), "<register>"+tag(i)+"</register>", "")
	}
	var mu sync.Mutex
	told := make(map[string][]string) // owners by thing
	refused := 0
	stop := l.kept.disturb()
	var wg sync.WaitGroup
	for a := range accounts {
		wg.Go(func() {
			who := fmt.Sprintf("o%d@a.example/x", a)
			for i := range things {
				i = (i + a) % things
				for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
					_, err := l.set(who, "<mine>"+tag(i)+"</mine>")
					e := xmpp.AsError(err)
					if err != nil && e.Condition == xmpp.InternalServerError && e.Type == xmpp.Wait && time.Now().Before(end) {
						mu.Lock()
						refused++
						mu.Unlock()
						continue
					}
					mu.Lock()
					switch {
					case err == nil:
						thing := fmt.Sprintf("t%d@a.example", i)
						told[thing] = append(told[thing], fmt.Sprintf("o%d@a.example", a))
					case e.Condition != xmpp.ItemNotFound:
						t.Errorf("%s claims %d: %v", who, i, err)
					}
					mu.Unlock()
					break
				}
			}
		})
	}
	wg.Wait()
	stop()
	t.Logf("%d claims had to be repeated", refused)
	check := func() {
		t.Helper()
		for i := range things {
			thing := fmt.Sprintf("t%d@a.example", i)
			r := l.Server.get(thing, provisioning.Ref{})
			if r == nil || len(told[thing]) != 1 || r.Owner != told[thing][0] {
				t.Errorf("%s: %+v; told was %v", thing, r, told[thing])
			}
		}
	}
	check()
	l.restart()
	check()
}

// All that a registry keeps can be carried to another one and comes back the
// same.
func TestExportAndImport(t *testing.T) {
	l := claimedLab(t)
	l.rule(Rule{Subject: "friend@b.example", Action: Read, Names: []string{"Energy <&> \u2028", "é"}})
	l.asks(canRead("other@b.example", ">"), "<canReadResponse jid='other@b.example' result='false'/>")
	l.ok(thing2, "<register nodeId='n&amp;1' sourceId='s'>"+tags+"</register>", "")
	if _, err := l.PutService(Service{Name: "portal", Token: "T"}); err != nil {
		t.Fatal(err)
	}
	var first bytes.Buffer
	if err := Export(l.cfg.Store, &first); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(first.Bytes(), []byte("\n")); n < 7 {
		t.Errorf("%d lines", n)
	}
	for name, other := range others(t) {
		n, err := Import(other, bytes.NewReader(first.Bytes()))
		if err != nil || n != bytes.Count(first.Bytes(), []byte("\n")) {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		var again bytes.Buffer
		if err := Export(other, &again); err != nil || again.String() != first.String() {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, again.String(), first.String())
		}
		// Half an import leaves nothing.
		if _, err := Import(other, bytes.NewReader(first.Bytes())); err == nil {
			t.Errorf("%s: imported twice", name)
		}
		s, err := New(Config{Domain: domain, Store: other})
		if err != nil || len(s.things) != 2 || len(s.Rules("")) != 1 || len(s.Questions()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := newKept(t).open()
	if _, err := Import(empty, bytes.NewReader(append(first.Bytes(), "nonsense\n"...))); err == nil {
		t.Error("nonsense is imported")
	}
	var none bytes.Buffer
	if err := Export(empty, &none); err != nil || none.Len() != 0 {
		t.Errorf("%v, %s", err, none.String())
	}
}
