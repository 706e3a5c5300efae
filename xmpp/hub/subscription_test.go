package hub

import (
	"strings"
	"testing"
)

// states by their names in RFC 6121 appendix A.
var states = map[string]subscription{
	"N": {}, "No": {Ask: true}, "Ni": {In: true}, "Noi": {Ask: true, In: true},
	"T": {To: true}, "Ti": {To: true, In: true}, "F": {From: true}, "Fo": {From: true, Ask: true}, "B": {To: true, From: true},
}

var subscriptionTypes = []string{"subscribe", "unsubscribe", "subscribed", "unsubscribed"}

func cells(t *testing.T, table string, check func(t *testing.T, state, typ, cell string)) {
	n := 0
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Split(line, "|")
		state := strings.TrimSpace(f[0])
		for i, typ := range subscriptionTypes {
			n++
			cell := strings.TrimSpace(f[i+1])
			t.Run(state+"/"+typ, func(t *testing.T) { check(t, state, typ, cell) })
		}
	}
	if n != 36 {
		t.Errorf("%d cells", n)
	}
}

// Cells: what happens, next state ("-" unchanged, "P" pre-approved).
func TestIMR19_OutboundTable(t *testing.T) {
	cells(t, `
N   | route No  | route -  | keep P   | keep -
No  | route -   | route N  | keep P   | keep -
Ni  | route Noi | route -  | route F  | route N
Noi | route -   | route Ni | route Fo | route No
T   | route -   | route N  | keep P   | keep -
Ti  | route -   | route Ni | route B  | route T
F   | route Fo  | route -  | keep -   | route N
Fo  | route -   | route F  | keep -   | route No
B   | route -   | route F  | keep -   | route T`, func(t *testing.T, state, typ, cell string) {
		verb, next, _ := strings.Cut(cell, " ")
		got, route := states[state].outbound(typ)
		if route != (verb == "route") {
			t.Errorf("routed: %v", route)
		}
		want := states[state]
		switch next {
		case "-":
		case "P":
			want.Approved = true
		default:
			want = states[next]
		}
		if got != want {
			t.Errorf("next state %+v, want %+v", got, want)
		}
	})
}

func TestIMR20_InboundTable(t *testing.T) {
	cells(t, `
N   | deliver Ni  | drop -     | drop -     | drop -
No  | deliver Noi | drop -     | deliver T  | deliver N
Ni  | drop -      | deliver N  | drop -     | drop -
Noi | drop -      | deliver No | deliver Ti | deliver Ni
T   | deliver Ti  | drop -     | drop -     | deliver N
Ti  | drop -      | deliver T  | drop -     | deliver Ni
F   | answer -    | deliver N  | drop -     | drop -
Fo  | answer -    | deliver No | deliver B  | deliver F
B   | answer -    | deliver T  | drop -     | deliver F`, func(t *testing.T, state, typ, cell string) {
		verb, next, _ := strings.Cut(cell, " ")
		got, deliver, answer := states[state].inbound(typ)
		if deliver != (verb == "deliver") || answer != (verb == "answer") {
			t.Errorf("delivered %v, answered %v", deliver, answer)
		}
		want := states[state]
		if next != "-" {
			want = states[next]
		}
		if got != want {
			t.Errorf("next state %+v, want %+v", got, want)
		}
	})
}

// A request that was approved beforehand goes where answering it would have
// gone, and no client sees it.
func TestIMR27_PreApproval(t *testing.T) {
	for state, want := range map[string]string{"N": "F", "No": "Fo", "T": "B"} {
		s := states[state]
		s.Approved = true
		got, deliver, answer := s.inbound("subscribe")
		if deliver || !answer {
			t.Errorf("%s: delivered %v, answered %v", state, deliver, answer)
		}
		if got.Approved = false; got != states[want] {
			t.Errorf("%s: %+v, want %s", state, got, want)
		}
		if back, route := s.outbound("unsubscribed"); back.Approved || route {
			t.Errorf("%s: unsubscribed leaves %+v, routed %v", state, back, route)
		}
	}
}
