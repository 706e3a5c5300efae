package control

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

var sixDigits = regexp.MustCompile(`confirm = (\d{6})<`)

// firstStep sends a command and returns the code it has to be confirmed with.
func (r *rig) firstStep(from, body string) string {
	r.t.Helper()
	r.recv(from, iq(body))
	out := r.out()
	m := sixDigits.FindStringSubmatch(out[0])
	if m == nil || !strings.Contains(out[0], "<error type='wait'><conflict ") {
		r.t.Fatalf("no code: %s", out)
	}
	return m[1]
}

const pumpOn = "<node nodeId='r1'/><boolean name='on' value='true'/>"

func withCode(body, code string) string {
	return iq(body + "<string name='confirm' value='" + code + "'/>")
}

func TestConfirm(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {Confirm: true}}, func(r *rig) {
		r.books.take()
		code := r.firstStep(alice, pumpOn)
		if r.state("r1") {
			t.Fatal("the first step acted")
		}
		if got := r.books.take(); got != "refused iq "+alice+" conflict" || strings.Contains(r.books.why.Text, code) || r.books.why.App != nil {
			t.Error(got)
		}
		r.recv(alice, withCode(pumpOn, code))
		r.must2(t)
		if !r.state("r1") {
			t.Error("the second step did not act")
		}
		// Good for once, for this command, for 30 s, for three tries.
		r.recv(alice, withCode(pumpOn, code))
		wantOut(t, r.out(), "conflict … nothing to confirm")
		r.must("r1", false) // switching off is not confirmed
		code = r.firstStep(alice, pumpOn)
		r.recv(alice, withCode("<node nodeId='r1'/><boolean name='on' value='true'/><boolean name='on' value='true'/>", code))
		wantOut(t, r.out(), "nothing to confirm")
		time.Sleep(31 * time.Second)
		r.recv(alice, withCode(pumpOn, code))
		wantOut(t, r.out(), "nothing to confirm")
		code = r.firstStep(alice, pumpOn)
		for range 3 {
			r.recv(alice, withCode(pumpOn, "x"+code))
			wantOut(t, r.out(), "<error type='modify'><bad-request … var='confirm'>is not the code")
		}
		r.recv(alice, withCode(pumpOn, code))
		wantOut(t, r.out(), "nothing to confirm")
		// Messages get no code, and may carry one.
		r.recv(alice, message(pumpOn))
		wantOut(t, r.out())
		code = r.firstStep(alice, pumpOn)
		r.recv(alice, message(pumpOn+"<string name='confirm' value='"+code+"'/>"))
		time.Sleep(time.Second)
		if !r.state("r1") {
			t.Error("a confirmed message did not act")
		}
		// A person at the gateway is there already.
		r.must("r1", false)
		if _, err := r.svc.Do(context.Background(), Command{Nodes: []node.Ref{{ID: "r1"}}, Assignments: []Assignment{{"on", drivers.Bool(true)}}}); err != nil {
			t.Error(err)
		}
		// Nodes that never ask know no such parameter.
		r.recv(alice, withCode("<node nodeId='r2'/><boolean name='on' value='true'/>", "1"))
		wantOut(t, r.out(), "item-not-found … var='confirm'")
		r.recv(alice, withCode("<node nodeId='r1'/>", "1"))
		wantOut(t, r.out(), "bad-request")
	})
}

func TestTwoPersons(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {TwoPersons: true}}, func(r *rig) {
		code := r.firstStep(alice, pumpOn)
		r.recv("alice@example.org/other", withCode(pumpOn, code))
		wantOut(t, r.out(), "conflict … somebody else")
		r.recv(bob, withCode(pumpOn, code)) // has no right of his own
		wantOut(t, r.out(), "forbidden")
		r.recv(owner1, withCode(pumpOn, code))
		time.Sleep(time.Second)
		wantOut(t, r.out(), "setResponse")
		if !r.state("r1") {
			t.Error("it did not act")
		}
	})
}

// Forms show the code as a field, and take it back.
func TestConfirmInForms(t *testing.T) {
	ruled(t, map[Output]Rules{out("r1"): {Confirm: true}}, func(r *rig) {
		r.recv(alice, getForm("<node nodeId='r1'/>"))
		out := r.out()
		wantOut(t, out, "<field var='confirm' type='text-single' label='Confirmation code'> … <notSame … <fieldref var='confirm'/>")
		form := func(fields string) string {
			return iq("<node nodeId='r1'/><x xmlns='jabber:x:data' type='submit'>" + fields + "</x>")
		}
		r.recv(alice, form(field("on", "1")))
		code := sixDigits.FindStringSubmatch(r.out()[0])[1]
		r.recv(alice, form(field("on", "1")+field("confirm", code)))
		r.must2(t)
		if !r.state("r1") {
			t.Error("it did not act")
		}
	})
}

// Questions are bounded.
func TestConfirmIsBounded(t *testing.T) {
	o := Output{node.Ref{ID: "dimmer", Source: "light"}, "level"}
	ruled(t, map[Output]Rules{o: {Confirm: true}}, func(r *rig) {
		for i := range 100 {
			r.firstStep(alice, "<node nodeId='dimmer'/><int name='level' value='"+drivers.Int(int32(i+1)).String()+"'/>")
		}
		if n := len(r.svc.confirm.open); n != confirmPending {
			t.Errorf("%d questions", n)
		}
	})
}
