package provisioning

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/store"
	"postern/xmpp"
)

// world is the other end of a device's session.
type world struct {
	t *testing.T

	mu     sync.Mutex
	asked  []string // requests, as "to xml"
	sent   []string // other stanzas, as "type to xml"
	answer func(to, xml string) (string, error)
	now    time.Time
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) Send(_ context.Context, sts ...xmpp.Stanza) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range sts {
		w.sent = append(w.sent, strings.TrimSpace(st.Kind.String()+" "+st.Type+" "+st.To.String()))
	}
	return nil
}

func (w *world) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	xml := bare(written(w.t, st.Payload))
	w.mu.Lock()
	w.asked = append(w.asked, st.To.String()+" "+xml)
	answer := w.answer
	w.mu.Unlock()
	if answer == nil {
		return context.DeadlineExceeded
	}
	got, err := answer(st.To.String(), xml)
	if err != nil || reply == nil {
		return err
	}
	in := incoming(w.t, xmpp.IQ, xmpp.Result, st.To.String(), got)
	return reply(&in)
}

func (w *world) took() (asked, sent []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked, sent, w.asked, w.sent = w.asked, w.sent, nil, nil
	return asked, sent
}

// bare leaves namespaces out.
func bare(xml string) string {
	for _, ns := range []string{NSDiscovery, NS} {
		xml = strings.ReplaceAll(xml, " xmlns='"+ns+"'", "")
	}
	return xml
}

// incoming is a received stanza with the given payload, in its namespace.
func incoming(t testing.TB, kind xmpp.StanzaKind, typ, from, inner string) xmpp.Stanza {
	t.Helper()
	ns := NS
	for _, n := range []exi.Name{NameClaimed, NameRemoved, NameDisowned} {
		if strings.HasPrefix(inner, "<"+n.Value().Local) {
			ns = NSDiscovery
		}
	}
	var d exi.Doc
	st := xmpp.Stanza{Kind: kind, Type: typ, ID: "i", From: jid.MustParse(from), Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		if inner != "" {
			if strings.Contains(inner, " xmlns=") {
				d.AppendElement(element(t, inner))
				return
			}
			i := strings.IndexAny(inner, " />")
			d.AppendElement(element(t, inner[:i]+" xmlns='"+ns+"'"+inner[i:]))
		}
	})}
	st.AppendEvents(&d)
	var in xmpp.Stanza
	if err := in.Parse(d.Root()); err != nil {
		t.Fatal(err)
	}
	return in
}

// gives hands a stanza to a mux and returns the condition of the refusal, or
// the answer's payload.
func gives(t testing.TB, m *xmpp.Mux, kind xmpp.StanzaKind, typ, from, inner string) string {
	t.Helper()
	st := incoming(t, kind, typ, from, inner)
	p, err := m.HandleStanza(context.Background(), &st)
	var e *xmpp.Error
	switch {
	case errors.As(err, &e):
		return string(e.Condition)
	case err != nil:
		t.Fatal(err)
	case p == nil:
		return ""
	}
	return bare(written(t, p))
}

func openStore(t testing.TB, path string) *store.DB {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "state.db")
	}
	db, err := store.Open(context.Background(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
