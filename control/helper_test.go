package control

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

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

func addr(s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// parseXML reads one element in the namespace jabber:client.
func parseXML(t testing.TB, text string) *exi.Doc {
	t.Helper()
	d, err := tryXML(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

func tryXML(text string) (*exi.Doc, error) {
	r := bufio.NewReader(strings.NewReader(
		"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + text))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	d := new(exi.Doc)
	if err := x.ReadOpen(r, d); err != nil {
		return nil, err
	}
	if err := x.ReadElement(r, d); err != nil {
		return nil, err
	}
	return d, nil
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
// goes out.
type wire struct {
	t   testing.TB
	mux xmpp.Mux

	mu   sync.Mutex
	sent []string
}

func (w *wire) Send(_ context.Context, sts ...xmpp.Stanza) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range sts {
		w.sent = append(w.sent, render(w.t, &sts[i]))
	}
	return nil
}

// recv dispatches a stanza as if it had come from from.
func (w *wire) recv(from, text string) { w.recvWith(from, text, nil) }

func (w *wire) recvWith(from, text string, change func(*xmpp.Stanza)) {
	w.t.Helper()
	d := parseXML(w.t, text)
	var st xmpp.Stanza
	if err := st.Parse(d.Root()); err != nil {
		w.t.Fatal(err)
	}
	st.From = addr(from)
	if change != nil {
		change(&st)
	}
	p, err := w.mux.HandleStanza(context.Background(), &st)
	d.Reset() // as the session does: nothing may look at it any more
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
	s := w.sent
	w.sent = nil
	return s
}

// journal is what all panels wrote, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

// panel is a simulated device with outputs. It logs what is written.
type panel struct {
	mu    sync.Mutex
	log   *journal
	name  string
	state map[string]drivers.Value
	fail  map[string]error
	delay time.Duration
	late  error // told although it was written
	hang  bool  // a write does not return before it has to
	lie   bool  // reads back something else
	blind bool  // cannot be read
	tries int   // to write
}

func newPanel(name string, log *journal) *panel {
	return &panel{name: name, log: log, state: map[string]drivers.Value{}, fail: map[string]error{}}
}

func (p *panel) Set(ctx context.Context, channel string, v drivers.Value) error {
	p.mu.Lock()
	delay, hang := p.delay, p.hang
	p.tries++
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		return drivers.ErrTimeout
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return drivers.ErrTimeout
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fail[channel]; err != nil {
		return err
	}
	p.state[channel] = v
	p.log.add(p.name + "." + channel + "=" + v.String())
	return p.late
}

func (p *panel) Read(_ context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blind {
		return dst, drivers.ErrGone
	}
	for ch, v := range p.state {
		if b, ok := v.Bool(); ok && p.lie {
			v = drivers.Bool(!b)
		}
		dst = append(dst, drivers.Sample{Channel: ch, Value: v, Time: time.Now()})
	}
	return dst, nil
}

func (p *panel) Close() error { return nil }

// books is an Auditor that remembers.
type books struct {
	mu    sync.Mutex
	lines []string
	fail  error
	why   *xmpp.Error // of the last refusal
}

func (b *books) add(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, s)
}

func (b *books) Begin(_ context.Context, c *Command) error {
	b.add("begin " + string(c.Origin) + " " + c.From)
	return b.fail
}

func (b *books) End(_ context.Context, c *Command, r Result, err error) {
	s := "end " + string(c.Origin)
	if r.Verified {
		s += " verified"
	}
	if err != nil {
		s += " " + err.Error()
	}
	b.add(s)
}

func (b *books) Refused(_ context.Context, c *Command, why *xmpp.Error) {
	b.mu.Lock()
	b.why = why
	b.mu.Unlock()
	b.add("refused " + string(c.Origin) + " " + c.From + " " + string(why.Condition))
}

func (b *books) Overridden(c *Command, taken bool) {
	what := "released"
	if taken {
		what = "taken"
	}
	b.add(what + " " + c.From)
}

func (b *books) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.lines, "; ")
	b.lines = nil
	return s
}

// rig is a running service with three relays, a dimmer and a panel of every
// type.
type rig struct {
	*wire
	svc     *Service
	live    *live.Store
	log     journal
	panels  map[string]*panel
	books   *books
	stop    func()
	cfg     Config
	devices map[string]Device
	before  map[string]bool // what r1 and r2 were before the last step of a model test
}

func relay(id string) node.Node {
	return node.Node{Ref: node.Ref{ID: id}, Device: id,
		Fields:     []node.Field{{Name: "on", Kind: drivers.KindBool}},
		Parameters: []node.Parameter{{Name: "on", Kind: drivers.KindBool, Label: "Switched on", Safe: drivers.Bool(false)}}}
}

func number(s string) drivers.Number {
	n, err := drivers.ParseNumber(s)
	if err != nil {
		panic(err)
	}
	return n
}

func testNodes() []node.Node {
	dimmer := node.Node{Ref: node.Ref{ID: "dimmer", Source: "light"}, Label: "Dimmer", Device: "dimmer",
		Fields: []node.Field{{Name: "level", Kind: drivers.KindInt, Unit: "%"}, {Name: "fade", Kind: drivers.KindNumber}},
		Parameters: []node.Parameter{
			{Name: "fade", Kind: drivers.KindNumber, Min: number("0"), Max: number("10"), HasMin: true, HasMax: true, Step: number("0.5"), Doc: "Seconds to get there", Group: "go"},
			{Name: "level", Kind: drivers.KindInt, Min: number("0"), Max: number("100"), HasMin: true, HasMax: true, Group: "go"},
			{Name: "on", Kind: drivers.KindBool, Page: "Switch"},
		}}
	all := node.Node{Ref: node.Ref{ID: "all"}, Device: "all", Parameters: []node.Parameter{
		{Name: "boolean", Kind: drivers.KindBool}, {Name: "int", Kind: drivers.KindInt}, {Name: "long", Kind: drivers.KindLong},
		{Name: "double", Kind: drivers.KindNumber}, {Name: "string", Kind: drivers.KindString, Regex: "[a-z ]*"},
		{Name: "enum", Kind: drivers.KindEnum, Options: []node.Option{{Value: "auto", Label: "Automatic"}, {Value: "off"}}},
		{Name: "date", Kind: drivers.KindDate}, {Name: "dateTime", Kind: drivers.KindTime}, {Name: "time", Kind: drivers.KindClock},
		{Name: "duration", Kind: drivers.KindDuration}, {Name: "color", Kind: drivers.KindColor}, {Name: "alpha", Kind: drivers.KindColor, Alpha: true},
	}}
	return []node.Node{relay("r1"), relay("r2"), relay("r3"), dimmer, all, {Ref: node.Ref{ID: "branch"}}}
}

// start runs a service. It must be called in a synctest bubble.
func start(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{wire: &wire{t: t}, panels: map[string]*panel{}, books: &books{}, devices: map[string]Device{}, live: live.New()}
	nodes := testNodes()
	for _, n := range nodes {
		if n.Device != "" {
			r.panels[n.Device] = newPanel(n.Device, &r.log)
			r.devices[n.Device] = Device{Device: r.panels[n.Device]}
		}
	}
	tree, err := node.NewTree(nodes)
	if err != nil {
		t.Fatal(err)
	}
	access, err := node.NewAllowList([]string{"owner@example.org"}, []node.Grant{
		{JID: "alice@example.org", Read: true, Control: true}, {JID: "bob@example.org", Read: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Setup: Setup{Tree: tree, Devices: r.devices, Access: access}, Live: r.live, Sender: r.wire, Auditor: r.books, Location: time.UTC}
	if change != nil {
		change(&cfg)
	}
	r.cfg = cfg
	r.launch(nil)
	return r
}

// launch makes the service and runs it; before is called with it in between.
func (r *rig) launch(before func()) {
	r.t.Helper()
	var err error
	if r.svc, err = New(r.cfg); err != nil {
		r.t.Fatal(err)
	}
	r.mux = xmpp.Mux{}
	r.svc.Register(&r.mux)
	if before != nil {
		before()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	svc := r.svc
	go func() {
		defer close(done)
		_ = svc.Run(ctx)
	}()
	synctest.Wait()
	r.stop = func() { cancel(); <-done }
}

func (r *rig) written() string {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	s := strings.Join(r.log.lines, " ")
	r.log.lines = nil
	return s
}

// iq is a set in an iq.
func iq(body string) string {
	return "<iq type='set' id='1'><set xmlns='urn:xmpp:iot:control'>" + body + "</set></iq>"
}

func message(body string) string {
	return "<message><set xmlns='urn:xmpp:iot:control'>" + body + "</set></message>"
}

const done = "<iq type='result' id='1' to='" + alice + "'><setResponse xmlns='urn:xmpp:iot:control'/></iq>"

// want fails unless each of the texts contains, in order, the given parts;
// parts of one text are separated by " … ".
func wantOut(t testing.TB, got []string, parts ...string) {
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
