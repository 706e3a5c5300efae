package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/store"
	"postern/provisioning"
	"postern/xmpp"
)

// wire connects a service and any number of others, as a server would.
type wire struct {
	l  *lab
	mu sync.Mutex
	// ends are who is there, by full address; the service has its domain.
	ends map[string]*end
	wait map[string]chan xmpp.Stanza // answers to requests of ends, by id
	log  []string                    // names of payloads in order, as "from>to name"
}

// end is somebody's session.
type end struct {
	w    *wire
	addr jid.JID
	mux  xmpp.Mux
}

func newWire(t *testing.T, l *lab) *wire {
	w := &wire{l: l, ends: make(map[string]*end), wait: make(map[string]chan xmpp.Stanza)}
	l.SetSender(w)
	return w
}

func (w *wire) end(addr string) *end {
	e := &end{w: w, addr: jid.MustParse(addr)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[addr] = e
	return e
}

// Send implements Sender for the service.
func (w *wire) Send(ctx context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		w.route(ctx, st)
	}
	return nil
}

// Send implements provisioning.Session.
func (e *end) Send(ctx context.Context, sts ...xmpp.Stanza) error {
	for _, st := range sts {
		st.From = e.addr
		e.w.route(ctx, st)
	}
	return nil
}

// Query implements provisioning.Session.
func (e *end) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	st.Kind, st.ID, st.From = xmpp.IQ, rand.Text(), e.addr
	answer := make(chan xmpp.Stanza, 1)
	e.w.mu.Lock()
	e.w.wait[st.ID] = answer
	e.w.mu.Unlock()
	e.w.route(ctx, st)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case got := <-answer:
		if err := got.Err(); err != nil {
			return err
		}
		if reply == nil {
			return nil
		}
		return reply(&got)
	}
}

// route takes a stanza to its receiver and its answer back.
func (w *wire) route(ctx context.Context, st xmpp.Stanza) {
	in := received(&st)
	w.mu.Lock()
	if n := in.Child(); n.Valid() && in.Kind == xmpp.IQ {
		w.log = append(w.log, in.From.Localpart()+">"+in.To.Localpart()+" "+n.Name().Value().Local)
	}
	answer, to := w.wait[in.ID], w.ends[in.To.String()]
	w.mu.Unlock()
	if in.Kind == xmpp.IQ && (in.Type == xmpp.Result || in.Type == xmpp.TypeError) && answer != nil {
		select {
		case answer <- in:
		default:
		}
		return
	}
	var h xmpp.Handler
	switch {
	case in.To.String() == domain:
		h = w.l
	case to != nil:
		h = &to.mux
	default:
		if in.Kind == xmpp.IQ {
			w.back(ctx, in, nil, xmpp.NewError(xmpp.ServiceUnavailable, ""))
		}
		return
	}
	p, err := h.HandleStanza(ctx, &in)
	if in.Kind == xmpp.IQ && in.Type != xmpp.Result && in.Type != xmpp.TypeError && !errors.Is(err, xmpp.ErrLater) {
		w.back(ctx, in, p, err)
	}
}

func (w *wire) back(ctx context.Context, in xmpp.Stanza, p xmpp.Payload, err error) {
	out := in.Reply(xmpp.Result, p)
	if err != nil {
		out = in.ErrorReply(err)
	}
	out.From = in.To
	w.route(ctx, out)
}

func (w *wire) took() (log []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	log, w.log = w.log, nil
	return log
}

// tokens gives an end a keeper of tokens that runs until the test ends.
func (e *end) tokens(t *testing.T, change ...func(*provisioning.TokensConfig)) *provisioning.Tokens {
	t.Helper()
	db, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "t.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	cfg := provisioning.TokensConfig{Session: e, Store: db, Name: e.addr.Bare().String(), Now: e.w.l.clock}
	for _, f := range change {
		f(&cfg)
	}
	k, err := provisioning.NewTokens(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.Register(&e.mux)
	background(t, k.Run)
	return k
}

// xmppPayload is a payload given as text.
func xmppPayload(t *testing.T, text string) xmpp.Payload {
	t.Helper()
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		var in exi.Doc
		if err := xmltext.ParseElement(text, &in); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		d.AppendElement(in.Root())
	})
}

func attr(name string) exi.Name { return exi.N("", name) }
