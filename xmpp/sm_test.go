package xmpp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

func message(id string) xmpp.Stanza {
	return xmpp.Stanza{Kind: xmpp.Message, ID: id, To: other}
}

func send(t *testing.T, s *xmpp.Session, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.Send(context.Background(), message(id)); err != nil {
			t.Fatalf("sending %s: %v", id, err)
		}
	}
}

// next returns the next element of the client in a short form.
func next(t *testing.T, p *xmpptest.Peer) string {
	t.Helper()
	d, err := p.Next()
	if err != nil {
		return err.Error()
	}
	c := d.Root()
	s := c.Name().Value().Local
	for _, a := range []string{"id", "h", "type"} {
		if v, ok := c.Attr(exi.N("", a)); ok {
			s += " " + v.String()
		}
	}
	return s
}

func Test0198R02R04R10R13_AcknowledgesWhatItHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, p := online(t, xmpptest.Options{Manual: true}, func(c *xmpp.Config) { c.Handler = pingMux() })
		p.Send("<r xmlns='urn:xmpp:sm:3'/>")
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='0'/>")
		p.Send("<message from='a@example.org'/> <presence from='a@example.org/x'/> <r xmlns='urn:xmpp:sm:3'/>")
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='2'/>")
		// Not stanzas: white space, r, a.
		p.Send("  <a xmlns='urn:xmpp:sm:3' h='0'/><r xmlns='urn:xmpp:sm:3'/>")
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='2'/>")
	})
}

// Asked often, the client answers once in a while (D12); asked and sent much, it
// answers at once.
func TestAnswersToRAreBundled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{Manual: true}, func(c *xmpp.Config) { c.Handler = pingMux() })
		r := "<r xmlns='urn:xmpp:sm:3'/>"
		began := time.Now()
		p.Send(strings.Repeat(r, 100))
		if got := next(t, p); got != "a 0" || time.Since(began) > 150*time.Millisecond {
			t.Errorf("got %q after %v", got, time.Since(began))
		}
		p.Quiet(2 * time.Second)
		began = time.Now()
		p.Send(r + strings.Repeat("<message from='a@example.org'/>", 16))
		if got := next(t, p); got != "a 16" || time.Since(began) > 10*time.Millisecond {
			t.Errorf("got %q after %v", got, time.Since(began))
		}
		// An answer travels with what is sent anyway when it is time.
		p.Send(r)
		time.Sleep(99 * time.Millisecond)
		send(t, s, "m1")
		if a, b := next(t, p), next(t, p); a != "message m1" || b != "a 16" {
			t.Errorf("got %q, %q", a, b)
		}
	})
}

func Test0198R11_EarlyStanzasAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Manual: true})
		s := xmpptest.Start(t, srv.Config())
		p := srv.Accept()
		p.Authenticate()
		p.BindAs("")
		p.Send("<message from='a@example.org' id='before'/>")
		p.Enable()
		p.Send("<message from='a@example.org' id='behind'/><r xmlns='urn:xmpp:sm:3'/>")
		p.Expect("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		if n := s.Stats().In; n != 2 {
			t.Errorf("%d stanzas", n)
		}
	})
}

func TestRefusedEnableIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		s := xmpptest.Start(t, srv.Config())
		p := srv.Accept()
		p.Authenticate()
		p.BindAs("")
		p.Expect("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		p.Send("<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		p.Pump()
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Fatal(err)
		}
		send(t, s, "m1")
		p.Expect("<message id='m1' to='other@example.org/x'/>")
		if st := s.Stats(); st.Unacked != 0 || s.State().Resumable {
			t.Errorf("%+v", st)
		}
		p.Cut()
		synctest.Wait()
		if err := s.Send(context.Background(), message("m2")); !errors.Is(err, xmpp.ErrOffline) {
			t.Errorf("without a session: %v", err)
		}
	})
}

func Test0198R08R09_Enabled(t *testing.T) {
	for attrs, resumable := range map[string]bool{
		"resume='true' id='x'": true, "resume='1' id='x'": true, "resume='false' id='x'": false, "resume='0' id='x'": false, "": false,
		"id='x'": false, "resume='true'": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{})
			s := xmpptest.Start(t, srv.Config())
			p := srv.Accept()
			p.Authenticate()
			p.BindAs("")
			p.Read()
			p.Send("<enabled xmlns='urn:xmpp:sm:3' " + attrs + "/>")
			p.Pump()
			if err := s.WaitOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := s.State().Resumable; got != resumable {
				t.Errorf("%s: resumable %v", attrs, got)
			}
		})
	}
}

func Test0198R14R15_CleanEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Manual: true})
		cfg := srv.Config()
		s, err := xmpp.NewSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		p := srv.Login()
		if err := s.WaitOnline(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence}, message("last")); err != nil {
			t.Fatal(err)
		}
		p.Send("<message from='a@example.org'/>")
		synctest.Wait()
		cancel()
		began := time.Now()
		// IM-R58: unavailable before the end.
		for _, want := range []string{"presence", "message last", "presence unavailable", "r"} {
			if got := next(t, p); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='3'/>")
		if got := next(t, p); got != "a 1" {
			t.Errorf("got %q", got)
		}
		if _, err := p.Next(); !errors.Is(err, xmpp.ErrStreamEnd) {
			t.Errorf("the stream ends with %v", err)
		}
		p.Send("</stream:stream>")
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("the end took %v", d)
		}
		if err := s.Send(context.Background(), message("late")); !errors.Is(err, xmpp.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
		if err := s.Run(context.Background()); !errors.Is(err, xmpp.ErrClosed) {
			t.Errorf("Run again: %v", err)
		}
	})
}

func TestIMR58_UnavailableBeforeTheEnd(t *testing.T) {
	for _, present := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{NoSM: true})
			s, err := xmpp.NewSession(srv.Config())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			p := srv.Login()
			if err := s.WaitOnline(ctx); err != nil {
				t.Fatal(err)
			}
			if present {
				if err := s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence}); err != nil {
					t.Fatal(err)
				}
				next(t, p)
			}
			cancel()
			if present {
				p.Expect("<presence type='unavailable'/>")
			}
			if _, err := p.Next(); !errors.Is(err, xmpp.ErrStreamEnd) {
				t.Errorf("then %v", err)
			}
			p.Send("</stream:stream>")
			<-done
		})
	}
}

// The client answers the end of the stream by its own.
func TestCoreR30_ServerEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		p.Send("</stream:stream>")
		if _, err := p.Next(); !errors.Is(err, xmpp.ErrStreamEnd) {
			t.Errorf("the client ends with %v", err)
		}
		p.Cut()
		synctest.Wait()
		if st := s.State(); st.Phase != xmpp.Waiting {
			t.Errorf("state %+v", st)
		}
		// A clean end ends the session (XEP-0198): a new one follows.
		srv.Login()
	})
}

func Test0198R17_TooHigh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{Manual: true}, nil)
		send(t, s, "m1")
		p.Read()
		p.Send("<a xmlns='urn:xmpp:sm:3' h='2'/>")
		_, err := p.Next()
		var se *xmpp.StreamError
		if !errors.As(err, &se) || se.Condition != "undefined-condition" {
			t.Fatalf("the client says %v", err)
		}
		high := se.Elem.Child(exi.N(xmpp.NSSM, "handled-count-too-high"))
		h, _ := high.Attr(exi.N("", "h"))
		sent, _ := high.Attr(exi.N("", "send-count"))
		if !h.Is("2") || !sent.Is("1") {
			t.Errorf("h %v, send-count %v", h, sent)
		}
		p.Cut()
		// The stanza is not lost: it is sent again.
		p, _ = srv.Resume(0)
		p.Expect("<message id='m1' to='other@example.org/x'/>")
	})
}

func Test0198R19_AsksInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{Manual: true}, nil)
		var all []xmpp.Stanza
		for i := range 40 {
			all = append(all, message(fmt.Sprint(i)))
		}
		if err := s.Send(context.Background(), all...); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 41 {
			got = append(got, next(t, p))
		}
		if n := strings.Count(strings.Join(got, ","), ",r"); n != 1 || got[40] != "r" {
			t.Errorf("got %q", got)
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='40'/>")
		synctest.Wait()
		if n := s.Stats().Unacked; n != 0 {
			t.Errorf("%d unacknowledged", n)
		}
		// A single stanza is asked about after a second.
		send(t, s, "one")
		next(t, p)
		p.Quiet(900 * time.Millisecond)
		if got := next(t, p); got != "r" {
			t.Errorf("got %q", got)
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='41'/>")
		p.Quiet(4 * time.Minute)
	})
}

func Test0198R20_SilentServerIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{Manual: true}, nil)
		began := time.Now()
		for s.State().Phase == xmpp.Online {
			time.Sleep(time.Second)
		}
		// 5 min of silence, then r, then 30 s.
		if d := time.Since(began); d < 5*time.Minute+29*time.Second || d > 5*time.Minute+32*time.Second {
			t.Errorf("dead after %v", d)
		}
		if got := next(t, p); got != "r" {
			t.Errorf("got %q", got)
		}
		if err := s.State().Err; err == nil || !strings.Contains(err.Error(), "dead") {
			t.Errorf("error %v", err)
		}
		p, _ = srv.Resume(0)
		_ = p
	})
}

func TestCoreR50R51_SilenceIsProbedAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{Manual: true}, nil)
		for i := range 3 {
			p.Quiet(5*time.Minute - time.Second)
			if got := next(t, p); got != "r" {
				t.Errorf("probe %d: %s", i, got)
			}
			p.Send("<a xmlns='urn:xmpp:sm:3' h='0'/>")
			synctest.Wait()
		}
		// Any traffic is a sign of life, so it puts the probe off.
		time.Sleep(4 * time.Minute)
		p.Send("<message from='a@example.org'/>")
		p.Quiet(4 * time.Minute)
		if s.State().Phase != xmpp.Online {
			t.Errorf("state %+v", s.State())
		}
	})
}

func Test0199R03R04R06_TwoPingsWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{NoSM: true}, func(c *xmpp.Config) { c.KeepAlive = time.Minute })
		began := time.Now()
		ping := p.Read()
		if xmpptest.TextAt(t, ping.Root().First()) != "<ping xmlns='urn:xmpp:ping'/>" || time.Since(began) < 59*time.Second {
			t.Errorf("0199-R06: after %v: %s", time.Since(began), xmpptest.Text(t, ping))
		}
		// 0199-R03: an error is an answer.
		id, _ := ping.Root().Attr(exi.N("", "id"))
		p.Send("<iq type='error' id='" + id.String() + "' from='example.org'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		p.Read()
		p.Read() // the second try
		time.Sleep(29 * time.Second)
		if s.State().Phase != xmpp.Online {
			t.Error("gave up too early")
		}
		time.Sleep(2 * time.Second)
		if s.State().Phase == xmpp.Online {
			t.Error("still online")
		}
	})
}

func Test0198R12R25R27R28R33_Resumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var onlines []bool
		srv, s, p := online(t, xmpptest.Options{Manual: true}, func(c *xmpp.Config) {
			c.OnOnline = func(ctx context.Context, _ *xmpp.Session, resumed bool) {
				onlines = append(onlines, resumed)
				<-ctx.Done()
			}
		})
		send(t, s, "m1", "m2", "m3")
		for range 3 {
			p.Read()
		}
		p.Send("<message from='a@example.org'/><a xmlns='urn:xmpp:sm:3' h='1'/>")
		synctest.Wait()
		p.Cut()
		synctest.Wait()
		send(t, s, "m4") // new ones come behind the old
		p, h := srv.Resume(2)
		if h != 1 {
			t.Errorf("the client says h=%d", h)
		}
		for _, want := range []string{"message m3", "message m4"} {
			if got := next(t, p); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if got := next(t, p); !strings.HasPrefix(got, "iq ") {
			t.Errorf("then the ping of the stale time, got %q", got)
		}
		if got := next(t, p); got != "r" {
			t.Errorf("got %q", got)
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='5'/>") // m1..m4 and the ping
		synctest.Wait()
		if st := s.Stats(); st.Unacked != 0 || st.Out != 5 || st.Resumes != 1 || st.Connects != 2 {
			t.Errorf("%+v", st)
		}
		p.Quiet(time.Minute)
		if fmt.Sprint(onlines) != "[false true]" {
			t.Errorf("OnOnline was called with %v", onlines)
		}
	})
}

func TestSecondCutDuringResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		send(t, s, "m1")
		p.Read()
		p.Cut()
		p = srv.Accept()
		p.Authenticate()
		if got := next(t, p); got != "resume 0" {
			t.Errorf("got %q", got)
		}
		p.Cut() // before the answer: the session must still be resumable
		p, _ = srv.Resume(0)
		p.Expect("<message id='m1' to='other@example.org/x'/>")
	})
}

func Test0198R31R32R36_FailedResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) {
			c.Resend = func(st *xmpp.Stanza, queued time.Time) bool { return st.ID != "m3" }
		})
		send(t, s, "m1", "m2", "m3")
		query := make(chan error, 1)
		go func() { query <- s.Query(context.Background(), xmpp.Stanza{To: other}, nil) }()
		for range 4 {
			p.Read()
		}
		queued := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		p.Cut()
		p = srv.Accept()
		p.Authenticate()
		p.Read()
		// The server has handled m1; the iq and m2, m3 are lost.
		p.Send("<failed xmlns='urn:xmpp:sm:3' h='1'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		p.Bind()
		if err := <-query; !errors.Is(err, xmpp.ErrOffline) {
			t.Errorf("the query ends with %v", err)
		}
		p.Expect("<message id='m2' to='other@example.org/x'><delay xmlns='urn:xmpp:delay' from='thing@example.org' stamp='" + queued + "'/></message>")
		send(t, s, "m5")
		p.Expect("<message id='m5' to='other@example.org/x'/>")
		if s.State().Resumed {
			t.Error("resumed")
		}
	})
}

func Test0198R34_Location(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		s := xmpptest.Start(t, srv.Config())
		p := srv.Accept()
		p.Authenticate()
		p.BindAs("")
		p.Read()
		p.Send("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='l' location='other.example:5333'/>")
		p.Pump()
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Fatal(err)
		}
		p.Cut()
		p = srv.Accept()
		p.Cut() // it is not there: the ordinary place is next
		srv.Resume(0)
		if got := strings.Join(srv.Addrs(), " "); got != "server.example:5222 other.example:5333 server.example:5222" {
			t.Errorf("connected to %s", got)
		}
	})
}

// Architecture §4: what the server may have kept during a break is marked,
// until the server answers the ping that follows the resumption.
func TestStaleStanzasAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type seen struct {
			id  string
			age time.Duration
		}
		got := make(chan seen, 16)
		srv, s, p := online(t, xmpptest.Options{}, func(c *xmpp.Config) {
			m := new(xmpp.Mux)
			m.HandleFunc(xmpp.Message, "*", exi.Name{}, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				got <- seen{st.ID, st.Age(time.Now())}
				return nil, nil
			})
			c.Handler = m
		})
		p.Send("<message from='a@example.org' id='live'/>")
		if x := <-got; x.age != 0 {
			t.Errorf("%+v", x)
		}
		time.Sleep(time.Minute) // silence: when it was lost nobody knows
		srv.Down(true)
		p.Cut()
		time.Sleep(30 * time.Second)
		srv.Down(false)
		p, _ = srv.Resume(0)
		p.Send("<message from='a@example.org' id='kept'/>")
		if x := <-got; x.id != "kept" || x.age < 90*time.Second {
			t.Errorf("%+v", x)
		}
		ping := p.Read()
		if to, _ := ping.Root().Attr(exi.N("", "to")); !to.Is("example.org") {
			t.Errorf("ping %s", xmpptest.Text(t, ping))
		}
		p.Send("<message from='a@example.org' id='kept too'/>")
		if x := <-got; x.age < 90*time.Second {
			t.Errorf("%+v", x)
		}
		id, _ := ping.Root().Attr(exi.N("", "id"))
		p.Send("<iq type='result' id='" + id.String() + "' from='a@example.org'/><message from='a@example.org' id='after a false pong'/>")
		if x := <-got; x.age < 90*time.Second {
			t.Errorf("%+v", x)
		}
		p.Send("<iq type='result' id='" + id.String() + "' from='example.org'/><message from='a@example.org' id='fresh'/>")
		if x := <-got; x.id != "fresh" || x.age != 0 {
			t.Errorf("%+v", x)
		}
		_ = s
	})
}

func Test0198R21_SendWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Manual: true})
		cfg := srv.Config()
		cfg.Queue = 4
		s := xmpptest.Start(t, cfg)
		if err := s.Send(context.Background(), message("early")); !errors.Is(err, xmpp.ErrOffline) {
			t.Errorf("before a session: %v", err)
		}
		p := srv.Login()
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Fatal(err)
		}
		send(t, s, "1", "2", "3", "4")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Send(ctx, message("5")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("full: %v", err)
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		send(t, s, "5")
		synctest.Wait()
		for want := 1; want <= 5; {
			got := next(t, p)
			if got == "r" {
				continue
			}
			if got != fmt.Sprint("message ", want) {
				t.Errorf("got %q, want %d", got, want)
			}
			want++
		}
	})
}

// When the server has surely given the session up, nobody should queue for it.
func TestQueueClosesWithTheHibernation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{Max: 20}, nil)
		srv.Down(true)
		p.Cut()
		synctest.Wait()
		send(t, s, "in time")
		time.Sleep(25 * time.Second)
		if err := s.Send(context.Background(), message("late")); !errors.Is(err, xmpp.ErrOffline) {
			t.Errorf("after the hibernation: %v", err)
		}
		srv.Down(false)
		p, _ = srv.Resume(0) // still tried, until the server says no
		p.Expect("<message id='in time' to='other@example.org/x'/>")
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p := online(t, xmpptest.Options{Manual: true}, nil)
		send(t, s, "m1")
		done := make(chan error, 1)
		go func() { done <- s.Flush(context.Background()) }()
		next(t, p)
		next(t, p) // r
		synctest.Wait()
		select {
		case <-done:
			t.Error("flushed before the acknowledgement")
		default:
		}
		p.Send("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCoreR18_ConflictWaitsForTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		p.Send("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
		synctest.Wait()
		if st := s.State(); st.Phase != xmpp.Held || !errors.Is(st.Err, &xmpp.StreamError{Condition: "conflict"}) {
			t.Errorf("CoreR18: %+v", st)
		}
		if s.LocalAddr().String() != (jid.JID{}).String() {
			t.Error("the session is kept")
		}
		time.Sleep(40 * time.Minute)
		if n := srv.Dials(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestCoreR15R16_BackoffGrowsAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		srv.Down(true)
		p.Cut()
		time.Sleep(time.Hour)
		// 0..10 s, then doubling to 10 min ± 30 %: between 9 and 18 in an hour.
		if n := srv.Dials() - 1; n < 9 || n > 18 {
			t.Errorf("%d tries in an hour", n)
		}
		st := s.State()
		if st.Phase != xmpp.Waiting || st.Retry.IsZero() || st.Err == nil {
			t.Errorf("state %+v", st)
		}
		srv.Down(false)
		p = srv.Accept()
		p.Authenticate()
		p.Read()
		p.Send("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		p.Bind()
		// Lost again at once: no fresh start for the back-off.
		time.Sleep(time.Second)
		p.Cut()
		synctest.Wait()
		if wait := time.Until(s.State().Retry); wait < 6*time.Minute {
			t.Errorf("tries again in %v", wait)
		}
		p, _ = srv.Resume(0)
		time.Sleep(3 * time.Minute)
		p.Cut()
		synctest.Wait()
		if wait := time.Until(s.State().Retry); wait > 10*time.Second {
			t.Errorf("after a stable connection: tries again in %v", wait)
		}
	})
}
