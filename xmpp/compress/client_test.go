package compress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// scripted is a connection to a server that answers as told. It records what
// the client sent.
type scripted struct {
	t       *testing.T
	answers func(sent exi.Cursor) string // "" for no answer
	sent    []exi.Name
	queue   []string
	codec   xmpp.Codec
}

func (s *scripted) Open(context.Context, xmpp.Header) (xmpp.Header, error) { return xmpp.Header{}, nil }
func (s *scripted) Close() error                                           { return nil }
func (s *scripted) Abort() error                                           { return nil }
func (s *scripted) StartTLS(context.Context, *tls.Config) error            { return nil }
func (s *scripted) TLS() *tls.ConnectionState                              { return nil }

func (s *scripted) SetCodec(c xmpp.Codec) error {
	s.codec = c
	return nil
}

func (s *scripted) WriteElements(ds ...*exi.Doc) error {
	for _, d := range ds {
		s.sent = append(s.sent, d.Root().Name())
		if a := s.answers(d.Root()); a != "" {
			s.queue = append(s.queue, a)
		}
	}
	return nil
}

func (s *scripted) ReadElement(d *exi.Doc) error {
	if len(s.queue) == 0 {
		return io.ErrUnexpectedEOF
	}
	d.Reset()
	d.AppendElement(parse(s.t, s.queue[0]))
	s.queue = s.queue[1:]
	return nil
}

func (s *scripted) count(name exi.Name) (n int) {
	for _, got := range s.sent {
		if got == name {
			n++
		}
	}
	return n
}

const feature = "<features xmlns='" + xmpp.NSStream + "'><compression xmlns='" + NSFeature + "'><method>zlib</method><method>exi</method></compression></features>"

// byServer answers as a Server does, after change has seen the result.
func byServer(t *testing.T, srv *Server, change func(sent exi.Cursor, answer *setup)) func(exi.Cursor) string {
	n := srv.Accept()
	return func(sent exi.Cursor) string {
		r, err := n.Handle(sent)
		if err != nil || !r.Handled {
			t.Fatalf("the server: %+v, %v", r, err)
		}
		if r.Reply == nil {
			return ""
		}
		if resp, ok := r.Reply.(response); ok && change != nil {
			change(sent, resp.setup)
		}
		var d exi.Doc
		r.Reply.AppendEvents(&d)
		return text(t, &d)
	}
}

func Test0322R14R15_NoAgreementNoCompression(t *testing.T) {
	s := &scripted{t: t}
	s.answers = byServer(t, newServer(t, nil), func(_ exi.Cursor, a *setup) { a.Agreement = false })
	c := &Client{}
	on, err := c.Negotiate(t.Context(), s, parse(t, feature))
	if on || err != nil || s.codec != nil || s.count(nameCompress) != 0 {
		t.Errorf("Negotiate = %v, %v; sent %v", on, err, s.sent)
	}
	if c.Status().Reason == "" {
		t.Error("the status gives no reason")
	}
}

func TestAnswerThatLacksSchemasIsNeverAnAgreement(t *testing.T) {
	srv := newServer(t, nil)
	s := &scripted{t: t}
	s.answers = byServer(t, srv, func(_ exi.Cursor, a *setup) {
		a.Agreement, a.Missing = true, append(a.Missing, a.Schemas[0])
	})
	on, err := (&Client{}).Negotiate(t.Context(), s, parse(t, feature))
	if on || err != nil {
		t.Errorf("Negotiate = %v, %v", on, err)
	}
}

func Test0322R16R22R27_MissingSchemasAreUploadedOnce(t *testing.T) {
	for _, takes := range []bool{true, false} {
		srv := newServer(t, func(s *Server) { s.Uploads = takes })
		lib, gone := srv.Library, srv.Library.preinstalled()[:3]
		for _, r := range gone {
			delete(lib.preset, r)
		}
		s := &scripted{t: t}
		s.answers = byServer(t, srv, nil)
		on, err := (&Client{}).Negotiate(t.Context(), s, parse(t, feature))
		if err != nil || on != takes {
			t.Errorf("uploads taken %v: Negotiate = %v, %v", takes, on, err)
		}
		if n := s.count(nameUpload); n != len(gone) {
			t.Errorf("uploads taken %v: %d uploads for %d missing schemas", takes, n, len(gone))
		}
		if takes && !slices.Equal(s.sent, []exi.Name{nameSetup, nameUpload, nameUpload, nameUpload, nameSetup, nameCompress}) {
			t.Errorf("sent %v", s.sent)
		}
	}
}

func Test0322R28R31_QuickSetupThenFullProposal(t *testing.T) {
	srv := newServer(t, nil)
	known := &Memory{}
	c := &Client{Known: known, Server: "example.org", Want: Params{SessionWide: true}}
	connect := func() *scripted {
		s := &scripted{t: t}
		s.answers = byServer(t, srv, func(sent exi.Cursor, _ *setup) {
			if _, ok := sent.Attr(attrConfig); ok && sent.First().Valid() {
				t.Error("an id and schemas in one setup")
			}
		})
		if on, err := c.Negotiate(t.Context(), s, parse(t, feature)); !on || err != nil {
			t.Fatalf("Negotiate = %v, %v, %+v", on, err, c.Status())
		}
		return s
	}
	if s := connect(); len(s.sent) != 2 {
		t.Errorf("first connection sent %v", s.sent)
	}
	quick := connect()
	if len(quick.sent) != 2 || !c.Status().Params.SessionWide {
		t.Errorf("second connection sent %v with %+v", quick.sent, c.Status().Params)
	}
	srv.Configs = &Memory{} // the server forgets
	if s := connect(); len(s.sent) != 3 {
		t.Errorf("after the server forgot, the client sent %v", s.sent)
	}
	if s := connect(); len(s.sent) != 2 {
		t.Errorf("the new id was not remembered: %v", s.sent)
	}
}

func TestLoweredValuesAreProposedAgain(t *testing.T) {
	srv := newServer(t, func(s *Server) { s.Ceiling = Ceiling{ValueMaxLength: 40, BlockSize: 1000} })
	s := &scripted{t: t}
	s.answers = byServer(t, srv, nil)
	c := &Client{Want: Params{SessionWide: true, ValueMaxLength: 100}}
	on, err := c.Negotiate(t.Context(), s, parse(t, feature))
	want := Params{ValueMaxLength: 40, ValuePartitionCapacity: KeptValues, BlockSize: 1000}
	if !on || err != nil || c.Status().Params != want {
		t.Errorf("Negotiate = %v, %v with %+v", on, err, c.Status().Params)
	}
}

func TestRaisedValuesAreRefused(t *testing.T) {
	s := &scripted{t: t}
	s.answers = byServer(t, newServer(t, nil), func(_ exi.Cursor, a *setup) { a.Agreement, a.ValueMaxLength = false, 200 })
	on, err := (&Client{Want: Params{ValueMaxLength: 100}}).Negotiate(t.Context(), s, parse(t, feature))
	if on || err != nil || s.count(nameSetup) != 1 {
		t.Errorf("Negotiate = %v, %v after %v", on, err, s.sent)
	}
}

func Test0322R05_RefusalsLeaveTheStreamAlone(t *testing.T) {
	for name, answer := range map[string]string{
		"setup-failed":       "<failure xmlns='" + NSCompress + "'><setup-failed/></failure>",
		"unsupported-method": "<failure xmlns='" + NSCompress + "'><unsupported-method/></failure>",
	} {
		s := &scripted{t: t}
		good := byServer(t, newServer(t, nil), nil)
		s.answers = func(sent exi.Cursor) string {
			if sent.Name() == nameCompress {
				return answer
			}
			return good(sent)
		}
		on, err := (&Client{}).Negotiate(t.Context(), s, parse(t, feature))
		if on || err != nil || s.codec != nil {
			t.Errorf("%s: Negotiate = %v, %v", name, on, err)
		}
	}
	for name, features := range map[string]string{
		"none":  "<features xmlns='" + xmpp.NSStream + "'/>",
		"zlib":  "<features xmlns='" + xmpp.NSStream + "'><compression xmlns='" + NSFeature + "'><method>zlib</method></compression></features>",
		"other": "<features xmlns='" + xmpp.NSStream + "'><compression xmlns='" + NSFeature + "'><method>exi:5222</method></compression></features>",
	} {
		s := &scripted{t: t, answers: func(exi.Cursor) string { return "" }}
		on, err := (&Client{}).Negotiate(t.Context(), s, parse(t, features))
		if on || err != nil || len(s.sent) != 0 {
			t.Errorf("features with %s: Negotiate = %v, %v, sent %v", name, on, err, s.sent)
		}
	}
}

func TestUnansweredNegotiationIsNotTriedAgainForAWhile(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &Client{Now: func() time.Time { return now }}
	silent := func() *scripted { return &scripted{t: t, answers: func(exi.Cursor) string { return "" }} }
	if on, err := c.Negotiate(t.Context(), silent(), parse(t, feature)); on || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a silent server: %v, %v", on, err)
	}
	s := silent()
	if on, err := c.Negotiate(t.Context(), s, parse(t, feature)); on || err != nil || len(s.sent) != 0 {
		t.Errorf("the next connection: %v, %v, sent %v", on, err, s.sent)
	}
	now = now.Add(pause + time.Second)
	good := &scripted{t: t}
	good.answers = byServer(t, newServer(t, nil), nil)
	if on, err := c.Negotiate(t.Context(), good, parse(t, feature)); !on || err != nil {
		t.Errorf("later: %v, %v", on, err)
	}
}

func FuzzServer(f *testing.F) {
	f.Add("<setup xmlns='" + NSEXI + "' strict='true' valueMaxLength='5'><schema ns='a' bytes='1' md5Hash='b'/></setup>")
	f.Add("<uploadSchema xmlns='" + NSEXI + "'>PHg+</uploadSchema>")
	f.Add(doCompress)
	lib, err := NewLibrary()
	if err != nil {
		f.Fatal(err)
	}
	srv := &Server{Library: lib, Configs: &Memory{}, Uploads: true}
	f.Fuzz(func(t *testing.T, in string) {
		var d exi.Doc
		if !read(in, &d) {
			return
		}
		r, err := srv.Accept().Handle(d.Root())
		if err == nil && r.Codec != nil {
			t.Error("compressed without an agreement")
		}
	})
}
