package sensors

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

const (
	alice   = "alice@example.org/desk"
	bob     = "bob@example.org/phone"
	owner1  = "owner@example.org/laptop"
	mallory = "mallory@example.net/x"
)

// parseXML reads one element in the namespace jabber:client.
func parseXML(t testing.TB, text string) *exi.Doc {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(
		"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	d := new(exi.Doc)
	if err := x.ReadOpen(r, d); err != nil {
		t.Fatal(err)
	}
	if err := x.ReadElement(r, d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

// render writes a stanza as text, attributes in single quotes.
func render(t testing.TB, st *xmpp.Stanza) string {
	t.Helper()
	var d exi.Doc
	st.AppendEvents(&d)
	b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
	if err != nil {
		t.Fatalf("cannot be written: %v", err)
	}
	return strings.ReplaceAll(string(b), `"`, `'`)
}

// wire stands for the session: it dispatches stanzas to a Mux and records what
// goes out, one group of texts for each write.
type wire struct {
	t   testing.TB
	mux xmpp.Mux

	mu     sync.Mutex
	writes [][]string
	fail   error
	onSend func(*xmpp.Stanza) // called without the lock; nil for nothing
}

func (w *wire) Send(_ context.Context, sts ...xmpp.Stanza) error {
	var g []string
	for i := range sts {
		g = append(g, render(w.t, &sts[i]))
		if w.onSend != nil {
			w.onSend(&sts[i])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, g)
	return w.fail
}

// recv dispatches a stanza as if it had come from from.
func (w *wire) recv(from, text string) {
	w.t.Helper()
	d := parseXML(w.t, text)
	var st xmpp.Stanza
	if err := st.Parse(d.Root()); err != nil {
		w.t.Fatal(err)
	}
	st.From = addr(from)
	p, err := w.mux.HandleStanza(context.Background(), &st)
	if st.Kind != xmpp.IQ || errors.Is(err, xmpp.ErrLater) {
		return
	}
	out := st.Reply(xmpp.Result, p)
	if err != nil {
		out = st.ErrorReply(err)
	}
	_ = w.Send(context.Background(), out)
}

// out returns everything sent so far and forgets it.
func (w *wire) out() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, g := range w.writes {
		all = append(all, g...)
	}
	w.writes = nil
	return all
}

// groups is out by write.
func (w *wire) groups() [][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.writes
	w.writes = nil
	return g
}

// probe is a simulated device.
type probe struct {
	mu      sync.Mutex
	samples []drivers.Sample
	err     error
	delay   time.Duration // how long a read takes
	deaf    bool          // answers only when ctx ends
	reads   int
}

func (p *probe) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	p.mu.Lock()
	p.reads++
	samples, err, delay, deaf := p.samples, p.err, p.delay, p.deaf
	p.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return dst, drivers.ErrTimeout
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return dst, drivers.ErrTimeout
		}
	}
	if err != nil {
		return dst, err
	}
	for _, s := range samples {
		s.Time = time.Now()
		dst = append(dst, s)
	}
	return dst, nil
}

func (p *probe) Close() error { return nil }

func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads
}

func (p *probe) set(f func(p *probe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func temperature(text string) *probe {
	n, err := drivers.ParseNumber(text)
	if err != nil {
		panic(err)
	}
	return &probe{samples: []drivers.Sample{{Channel: "temperature", Value: drivers.Decimal(n), Unit: "°C"}}}
}

// thermo is a node with one temperature, read from the device of its name.
func thermo(id string) node.Node {
	return node.Node{Ref: node.Ref{ID: id}, Device: id, Fields: []node.Field{
		{Name: "temperature", Types: node.Momentary, Kind: drivers.KindNumber, Unit: "°C"},
	}}
}

// rig is a running service with its simulated surroundings.
type rig struct {
	*wire
	svc  *Service
	live *live.Store
	stop func()
}

// start runs a service. It must be called in a synctest bubble.
func start(t testing.TB, nodes []node.Node, devices map[string]Device, change func(*Config)) *rig {
	t.Helper()
	tree, err := node.NewTree(nodes)
	if err != nil {
		t.Fatal(err)
	}
	access, err := node.NewAllowList([]string{"owner@example.org"}, []node.Grant{
		{JID: "alice@example.org", Read: true}, {JID: "bob@example.org", Read: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t}
	cfg := Config{
		Setup: Setup{Tree: tree, Devices: devices, Access: access},
		Live:  live.New(), Sender: w, Location: time.UTC,
	}
	if change != nil {
		change(&cfg)
	}
	svc, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	svc.Register(&w.mux)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = svc.Run(ctx)
	}()
	synctest.Wait()
	return &rig{wire: w, svc: svc, live: cfg.Live, stop: func() { cancel(); <-done }}
}

// only returns the single device under its own name.
func only(name string, d drivers.Device) map[string]Device {
	return map[string]Device{name: {Device: d}}
}

func req(id, attrs, body string) string {
	return "<iq type='get' id='" + id + "'><req xmlns='urn:xmpp:iot:sensordata' " + attrs + ">" + body + "</req></iq>"
}

// want fails unless each of the texts contains, in order, the given parts;
// parts of one text are separated by " … ".
func want(t testing.TB, got []string, parts ...string) {
	t.Helper()
	if len(got) != len(parts) {
		t.Fatalf("got %d stanzas, want %d:\n%s", len(got), len(parts), strings.Join(got, "\n"))
	}
	for i, p := range parts {
		rest := got[i]
		for _, piece := range strings.Split(p, " … ") {
			j := strings.Index(rest, piece)
			if j < 0 {
				t.Fatalf("stanza %d lacks %q (in order):\n%s", i, piece, got[i])
			}
			rest = rest[j+len(piece):]
		}
	}
}
