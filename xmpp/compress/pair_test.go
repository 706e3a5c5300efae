package compress

import (
	"context"
	"net"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// pair is a client's and a server's connection behind login: XML streams are
// open and the client has read the features.
type pair struct {
	client, server *tcp.Conn
	features       exi.Doc
	served         chan served
}

type served struct {
	header xmpp.Header
	err    error
}

func element(t *testing.T, c xmpp.Conn) exi.Cursor {
	t.Helper()
	d := new(exi.Doc)
	if err := c.ReadElement(d); err != nil {
		t.Fatalf("reading an element: %v", err)
	}
	return d.Root()
}

func write(t *testing.T, c xmpp.Conn, p xmpp.Payload) {
	t.Helper()
	var d exi.Doc
	p.AppendEvents(&d)
	if err := c.WriteElements(&d); err != nil {
		t.Fatalf("writing an element: %v", err)
	}
}

// newPair connects over loopback TCP and runs the server's side of the
// negotiation by n until it has switched the codec and opened the new stream,
// or until the client sends something else.
func newPair(t *testing.T, s *Server) *pair {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := ln.Accept()
		accepted <- c
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{client: tcp.Client(nc, tcp.Options{}), server: tcp.Server(<-accepted, tcp.Options{}), served: make(chan served, 1)}
	t.Cleanup(func() { _ = p.client.Abort(); _ = p.server.Abort() })
	go p.serve(s)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := p.client.Open(ctx, header()); err != nil {
		t.Fatal(err)
	}
	if err := p.client.ReadElement(&p.features); err != nil {
		t.Fatal(err)
	}
	return p
}

func header() xmpp.Header {
	return xmpp.Header{To: jid.MustParse("example.org"), From: jid.MustParse("gw@example.org"), Version: "1.0", Lang: "en"}
}

func (p *pair) serve(s *Server) {
	ctx := context.Background()
	answer := xmpp.Header{From: jid.MustParse("example.org"), Version: "1.0"}
	if _, err := p.server.Open(ctx, answer); err != nil {
		p.served <- served{err: err}
		return
	}
	var d exi.Doc
	d.Start(exi.N(xmpp.NSStream, "features"))
	s.Offer().AppendEvents(&d)
	d.End()
	_ = p.server.WriteElements(&d)
	n := s.Accept()
	for {
		if err := p.server.ReadElement(&d); err != nil {
			p.served <- served{err: err}
			return
		}
		r, err := n.Handle(d.Root())
		if err != nil || !r.Handled {
			p.served <- served{err: err}
			return
		}
		if r.Reply != nil {
			var out exi.Doc
			r.Reply.AppendEvents(&out)
			if err := p.server.WriteElements(&out); err != nil {
				p.served <- served{err: err}
				return
			}
		}
		if r.Codec != nil {
			if err := p.server.SetCodec(r.Codec); err != nil {
				p.served <- served{err: err}
				return
			}
			h, err := p.server.Open(ctx, answer)
			p.served <- served{h, err}
			return
		}
	}
}

func newServer(t *testing.T, change func(*Server)) *Server {
	t.Helper()
	lib, err := NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Library: lib, Configs: &Memory{}, Ceiling: Ceiling{SessionWide: true, Window: true, Compression: true}}
	if change != nil {
		change(s)
	}
	return s
}

// switched negotiates and opens the EXI stream on both sides.
func switched(t *testing.T, s *Server, c *Client) *pair {
	t.Helper()
	p := newPair(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	on, err := c.Negotiate(ctx, p.client, p.features.Root())
	if err != nil || !on {
		t.Fatalf("Negotiate = %v, %v; status %+v", on, err, c.Status())
	}
	if _, err := p.client.Open(ctx, header()); err != nil {
		t.Fatal(err)
	}
	got := <-p.served
	if got.err != nil {
		t.Fatal(got.err)
	}
	if got.header.To.String() != "example.org" || got.header.From.String() != "gw@example.org" || got.header.Version != "1.0" || got.header.Lang != "en" {
		t.Errorf("the server read the header %+v", got.header)
	}
	return p
}
