package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/outbox"
	"postern/sensors/events"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

func TestParseChange(t *testing.T) {
	for in, want := range map[string]events.Field{
		"temperature=0.5": {Name: "temperature", Up: 0.5, Down: 0.5}, "t=+2": {Name: "t", Up: 2}, "t=-1.5": {Name: "t", Down: 1.5},
	} {
		if got, err := parseChange(in); err != nil || got.Name != want.Name || got.Up != want.Up || got.Down != want.Down {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "t", "t=", "=1", "t=0", "t=warm", "t=inf", "t=NaN", "t=1=2"} {
		if got, err := parseChange(in); err == nil {
			t.Errorf("%q was taken as %+v", in, got)
		}
	}
}

func TestSeqLine(t *testing.T) {
	var l seqLine
	for _, tc := range []struct {
		boot     string
		n        uint64
		from, to uint64
		anew     bool
	}{
		{"a", 41, 0, 0, false}, {"a", 42, 0, 0, false}, {"a", 45, 43, 44, false}, {"a", 43, 0, 0, false}, {"a", 46, 0, 0, false},
		{"b", 3, 0, 0, true}, {"b", 4, 0, 0, false},
	} {
		if from, to, anew := l.next(outbox.Seq{Boot: tc.boot, N: tc.n}); from != tc.from || to != tc.to || anew != tc.anew {
			t.Errorf("%+v: %d to %d, %v", tc, from, to, anew)
		}
	}
}

// Only the thing's own messages count, each once, and each gets its receipt;
// what there is no room for gets none, so that it comes again.
func TestSubscriptionTakesMessages(t *testing.T) {
	s := newSubscription(jid.MustParse("gateway@site.example"), events.Request{})
	s.in = make(chan events.Delivery, 2)
	f := &fakeSession{t: t}
	var m xmpp.Mux
	s.register(&m)
	s.c = &conn{}
	s.send = f.Send
	message := func(from, n string) string {
		return "<message from='" + from + "' id='m" + n + "'><seq xmlns='urn:postern:seq:1' n='" + n + "' boot='b'/><request xmlns='urn:xmpp:receipts'/></message>"
	}
	for _, text := range []string{message(testThing, "1"), message("other@site.example/x", "2"), message(testThing, "1"), message(testThing, "3"), message(testThing, "4")} {
		if _, err := m.HandleStanza(t.Context(), xmpptest.Stanza(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-s.in, <-s.in; a.Seq.N != 1 || b.Seq.N != 3 || len(s.in) != 0 {
		t.Errorf("%+v, %+v, %d more", a, b, len(s.in))
	}
	if got := strings.Join(f.sent, "\n"); strings.Count(got, "<received") != 3 || strings.Contains(got, "m4") || strings.Contains(got, "m2") {
		t.Errorf("receipts: %s", got)
	}
	if !s.lost.Load() {
		t.Error("that there was no room is not told")
	}
}

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFinder()
		done := make(chan error, 1)
		go func() { done <- f.settle(t.Context()) }()
		time.Sleep(time.Second)
		if err := f.register(&xmpp.Mux{}, jid.MustParse("operator@site.example/x")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatal("settled too early", err)
		default:
		}
		f.online(t.Context(), &fakeSession{t: t, answer: func(string) string { return rosterAnswer("to") }}, false)
		if err := <-done; err != nil || f.sessions() != 1 {
			t.Error(err, f.sessions())
		}
	})
}

func TestTexts(t *testing.T) {
	now := time.Now()
	if got := gapText(&outbox.Gap{Why: outbox.WhyFull, Class: outbox.Momentary, Count: 12}, now); got != "lost: 12 messages (momentary): there was no room for them" {
		t.Error(got)
	}
	if got := gapText(&outbox.Gap{Why: "x\x1b", From: now, To: now}, now); !strings.HasPrefix(got, "lost: readings from ") || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
	c := events.Command{From: "op@site.example", Outcome: "failed", Error: "no\x1b answer", Set: []events.Setting{{Name: "state", Value: "true"}}}
	if got := commandText(&c); got != "command of op@site.example: state = true, failed: no\ufffd answer" {
		t.Error(got)
	}
}
