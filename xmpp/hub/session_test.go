package hub

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// TestOwnSession: the product's own client on the product's own server, over
// XML and over EXI: it logs in, answers, loses its connection, and resumes
// without losing a message.
func TestOwnSession(t *testing.T) {
	for _, codec := range []string{"xml", "exi"} {
		t.Run(codec, func(t *testing.T) {
			x := newSite(t, withEXI(t))
			var got atomic.Int32
			var mux xmpp.Mux
			mux.HandleFunc(xmpp.Message, "*", nameBody, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				got.Add(1)
				return nil, nil
			})
			mux.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:x", "x"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
				return xmpp.Copied(st.Child()), nil
			})
			online := make(chan bool, 10)
			cfg := xmpp.Config{
				JID:       jid.MustParse("anna@site.example/own"),
				Password:  func(context.Context) (string, error) { return "anna", nil },
				CAs:       x.ca.Pool(),
				Transport: &tcp.Transport{},
				Addr:      x.Addrs()[0].String(),
				Handler:   &mux,
				Backlog:   100, // of the messages below none is refused, however slow this machine is
				Backoff:   xmpp.Backoff{First: time.Millisecond, Stable: time.Millisecond},
				OnOnline:  func(_ context.Context, _ *xmpp.Session, resumed bool) { online <- resumed },
			}
			if codec == "exi" {
				cfg.Compress = (&compress.Client{Known: &compress.Memory{}, Server: domain}).Negotiate
			}
			s, err := xmpp.NewSession(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			defer func() {
				cancel()
				<-done
			}()
			isOnline := func(resumed bool) {
				t.Helper()
				select {
				case got := <-online:
					if got != resumed {
						t.Fatalf("resumed: %v", got)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("not online: %+v", s.State())
				}
			}
			isOnline(false)
			if st := s.State(); st.Codec != codec || !st.Resumable || st.Mechanism != "SCRAM-SHA-256" {
				t.Errorf("%+v", st)
			}
			if err := s.Send(ctx, xmpp.Stanza{Kind: xmpp.Presence}); err != nil {
				t.Fatal(err)
			}
			b := x.online("ben", "b")
			b.send("<iq type='get' id='q' to='anna@site.example/own'><x xmlns='urn:x' a='1'>ä</x></iq>")
			b.expect("id='q'", "type='result'", "<x xmlns='urn:x' a='1'>ä</x>")
			// The connection breaks in the middle of a row of messages.
			const n = 100
			for i := range n {
				b.send("<message to='anna@site.example' type='chat'><body>x</body></message>")
				if i == n/2 {
					b.settle()
					acc, err := x.account("anna")
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range acc.allSessions() {
						if l := s.link.Load(); l != nil {
							l.c.abort()
						}
					}
				}
			}
			b.want()
			isOnline(true)
			waitFor(t, func() bool { return got.Load() == n })
			if err := s.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: x.Domain(),
				Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(namePing, exi.Value{}) })}, nil); err != nil {
				t.Error(err)
			}
			if got.Load() != n {
				t.Errorf("%d of %d messages", got.Load(), n)
			}
		})
	}
}
