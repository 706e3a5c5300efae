package compress

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xsd"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// tapped records what is written to a connection.
type tapped struct {
	net.Conn
	mu  sync.Mutex
	out []byte
}

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out = append(c.out, p...)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tapped) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	return out
}

// portPair is both ends of a connection on a dedicated port, with what they
// wrote.
type portPair struct {
	client, server *tcp.Conn
	sent, answered *tapped
	codec          *PortCodec // the server's
}

func newPortPair(t *testing.T, s *Server, c *PortCodec) *portPair {
	t.Helper()
	a, b := net.Pipe()
	p := &portPair{sent: &tapped{Conn: a}, answered: &tapped{Conn: b}}
	p.client, p.server = tcp.Client(p.sent, tcp.Options{}), tcp.Server(p.answered, tcp.Options{})
	t.Cleanup(func() { _ = p.client.Abort(); _ = p.server.Abort() })
	var err error
	if p.codec, err = s.Port(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.client.SetCodec(c), p.server.SetCodec(p.codec)); err != nil {
		t.Fatal(err)
	}
	return p
}

// open opens the streams of both ends.
func (p *portPair) open(t *testing.T) (client, server error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.server.Open(ctx, xmpp.Header{From: jid.MustParse("example.org")})
		if errors.Is(err, ErrShortcut) {
			var d exi.Doc
			AppendRefusal(&d)
			_ = p.server.WriteElements(&d)
		}
		done <- err
	}()
	_, err := p.client.Open(ctx, header())
	return err, <-done
}

// carry sends a reading from one end to the other.
func carry(t *testing.T, from, to xmpp.Conn, i int) {
	t.Helper()
	var d exi.Doc
	reading(i).AppendEvents(&d)
	done := make(chan error, 1)
	go func() { done <- from.WriteElements(&d) }()
	checkReading(t, element(t, to), i)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func clientCodec(t *testing.T, c *Client, conf *Configuration) *PortCodec {
	t.Helper()
	p, err := c.portCodec(conf)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func Test0322R53R57R68R79_HeadersOnADedicatedPort(t *testing.T) {
	p := newPortPair(t, newServer(t, nil), clientCodec(t, &Client{}, nil))
	if c, s := p.open(t); c != nil || s != nil {
		t.Fatal(c, s)
	}
	for _, side := range []*tapped{p.sent, p.answered} {
		if out := side.take(); !bytes.HasPrefix(out, []byte("$EXI\x80")) {
			t.Errorf("the first document starts with %x", out[:6])
		}
	}
	if c, s := p.open(t); c != nil || s != nil { // as behind STARTTLS and login
		t.Fatal(c, s)
	}
	for _, side := range []*tapped{p.sent, p.answered} {
		if out := side.take(); out[0] != headerPlain || out[1] == headerPlain || bytes.Contains(out, []byte("$EXI")) {
			t.Errorf("a restarted stream starts with %x", out[:6])
		}
	}
}

// Cookie and header are optional, and an options document that says what is in
// force is accepted (decision D7).
func TestHeadersOfOthers(t *testing.T) {
	s := newServer(t, nil)
	for name, change := range map[string]func([]byte) []byte{
		"both":      func(b []byte) []byte { return b },
		"no cookie": func(b []byte) []byte { return b[4:] },
		"neither":   func(b []byte) []byte { return b[5:] },
	} {
		c := clientCodec(t, &Client{}, nil)
		wire, err := c.AppendOpen(nil, header())
		if err != nil {
			t.Fatal(err)
		}
		server, err := s.Port()
		if err != nil {
			t.Fatal(err)
		}
		h, err := server.ReadOpen(reader(change(wire)))
		if err != nil || h.To.String() != "example.org" {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	options := func(change func(*exi.Options)) error {
		c := clientCodec(t, &Client{}, nil)
		o := c.engine.opts
		o.Cookie, o.OptionsInHeader, o.SchemaIDInHeader, o.SchemaID = true, true, true, DefaultSchemaID
		change(&o)
		enc, err := exi.NewEncoder(o)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := streamStart(header())
		wire, err := enc.AppendDocument(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		server, err := s.Port()
		if err != nil {
			t.Fatal(err)
		}
		_, err = server.ReadOpen(reader(wire))
		return err
	}
	if err := options(func(*exi.Options) {}); err != nil {
		t.Errorf("an options document that says what is in force: %v", err)
	}
	if err := options(func(o *exi.Options) { o.ValueMaxLength = 32 }); err == nil {
		t.Error("other options were accepted")
	}
}

func Test0322R60R61R62R69_ShortcutHeaders(t *testing.T) {
	s := newServer(t, nil)
	conf := Configuration{ID: newID(), Params: PortParams(), Used: time.Now()}
	conf.Params.Strict = false
	s.Configs.Remember(conf.ID, conf)
	for _, wide := range []bool{false, true} {
		conf.Params.SessionWide = wide
		s.Configs.Remember(conf.ID, conf)
		p := newPortPair(t, s, clientCodec(t, &Client{}, &conf))
		if c, s := p.open(t); c != nil || s != nil {
			t.Fatal(c, s)
		}
		for _, side := range []*tapped{p.sent, p.answered} {
			out := side.take()
			o, id := headerOptionsOf(t, out)
			if id != "c:"+conf.ID || o.Strict || o.ValueMaxLength != exi.Unbounded || o.Profile != nil {
				t.Errorf("the header says %q and %+v", id, o)
			}
		}
		for i := range 3 { // tables live on from the first document
			carry(t, p.client, p.server, i)
			carry(t, p.server, p.client, i)
		}
	}
	unknown := conf
	unknown.ID = newID()
	p := newPortPair(t, s, clientCodec(t, &Client{}, &unknown))
	c, srv := p.open(t)
	if !errors.Is(c, ErrShortcut) || !errors.Is(srv, ErrShortcut) {
		t.Errorf("an unknown configuration: client %v, server %v", c, srv)
	}
	if out := p.answered.take(); !bytes.HasPrefix(out, []byte("$EXI\x80")) || len(out) > 7 {
		t.Errorf("the refusal is %x", out)
	}
}

// headerOptionsOf reads the options document of a header alone.
func headerOptionsOf(t *testing.T, wire []byte) (exi.Options, string) {
	t.Helper()
	id := ""
	o := exi.DefaultOptions()
	o.Schemas = func(s string) (*exi.Schema, error) { id = s; return xsd.TypesOnly(), nil }
	dec, err := exi.NewDecoder(o)
	if err != nil {
		t.Fatal(err)
	}
	var d exi.Doc
	_ = dec.DecodeDocument(reader(wire), &d) // the body needs the schema
	return dec.Options(), id
}

// Only the identical schemaId together with streamStart accepts a shortcut.
func Test0322R69_WhatIsNoAcceptance(t *testing.T) {
	c := &Client{}
	conf := Configuration{ID: "abc", Params: PortParams()}
	answer := func(change func(*PortCodec)) []byte {
		p := clientCodec(t, c, nil)
		change(p)
		wire, err := p.AppendOpen(nil, header())
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	for name, wire := range map[string][]byte{
		"no header":      answer(func(*PortCodec) {})[5:],
		"no options":     answer(func(*PortCodec) {}),
		"another id":     answer(func(p *PortCodec) { p.shortcut = "c:abd" }),
		"plain XML":      []byte("<?xml version='1.0'?><stream:stream>"),
		"nothing at all": {headerOptions, 0, 0, 0, 0, 0, 0, 0},
	} {
		p := clientCodec(t, c, &conf)
		if _, err := p.AppendOpen(nil, header()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ReadOpen(reader(wire)); err == nil {
			t.Errorf("%s: taken for an acceptance", name)
		}
	}
}

// A stanza that the strict default schema does not declare is refused as a
// whole, and the stream goes on.
func Test0322R59_StrictRefusesUndeclaredContent(t *testing.T) {
	p := newPortPair(t, newServer(t, nil), clientCodec(t, &Client{}, nil))
	if c, s := p.open(t); c != nil || s != nil {
		t.Fatal(c, s)
	}
	d := new(exi.Doc)
	d.Start(exi.N(xmpp.NSClient, "message"))
	d.Attr(attrTo, exi.Str("a@example.org"))
	d.Element(exi.N("urn:example:unknown", "x"), exi.Str("y"))
	d.End()
	var unfit *xmpp.EncodeError
	if err := p.client.WriteElements(d); !errors.As(err, &unfit) {
		t.Fatalf("an undeclared payload: %v", err)
	}
	carry(t, p.client, p.server, 4)
}

// The canonical schema imports the negotiated ones in ascending order.
func Test0322R50R51_CanonicalSchema(t *testing.T) {
	got := string(canonicalText([]string{"urn:b", "jabber:client", "urn:a&b"}))
	if !strings.Contains(got, `targetNamespace="urn:xmpp:exi:cs"`) {
		t.Errorf("canonical schema: %s", got)
	}
	at := -1
	for _, ns := range []string{`"jabber:client"`, `"urn:a&amp;b"`, `"urn:b"`} {
		i := strings.Index(got, "import namespace="+ns)
		if i <= at {
			t.Errorf("%s is not in its place: %s", ns, got)
		}
		at = i
	}
	lib, err := NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	refs := lib.preinstalled()
	one, err := lib.set(refs, "")
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(refs)
	if two, err := lib.set(refs, ""); err != nil || two != one {
		t.Errorf("the order of the proposal matters: %v", err)
	}
}

// A setup adds to the default schema what it names and what that imports
// (decision D5), keeps what it does not mention (D6), and never replaces a
// default schema.
func Test0322R07R58R77_SetupOnADedicatedPortIsAdditive(t *testing.T) {
	a := "<schema xmlns='" + exi.NSXSD + "' targetNamespace='urn:example:a' xmlns:b='urn:example:b'><import namespace='urn:example:b'/><element name='a'><complexType><sequence><element ref='b:b'/></sequence></complexType></element></schema>"
	b := "<schema xmlns='" + exi.NSXSD + "' targetNamespace='urn:example:b'><element name='b' type='int'/></schema>"
	lib, err := NewLibrary([]byte(a), []byte(b))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, func(s *Server) { s.Library = lib })
	p, err := s.Port()
	if err != nil {
		t.Fatal(err)
	}
	n := s.AcceptPort(p)
	got, r := handle(t, n, open+"strict='false'>"+refs([]Ref{refOf("urn:example:a", []byte(a))})+"</setup>")
	next, ok := r.Codec.(*PortCodec)
	if !got.Agreement || got.ConfigID == "" || !ok {
		t.Fatalf("answer %+v, codec %T", got, r.Codec)
	}
	if q := next.Params(); q.Strict || q.ValueMaxLength != 64 || q.ValuePartitionCapacity != 64 || !q.Profile {
		t.Errorf("params %+v", q)
	}
	for _, ns := range []string{"urn:example:a", "urn:example:b", xmpp.NSClient} {
		if !slices.Contains(next.Schemas(), ns) {
			t.Errorf("%s is not among the schemas", ns)
		}
	}
	if next.shortcut != "" || !next.sent {
		t.Error("the re-opened stream would have more than a plain header")
	}
	other := "<schema xmlns='" + exi.NSXSD + "' targetNamespace='jabber:iq:roster'><element name='query'/></schema>"
	ref, err := lib.Upload([]byte(other))
	if err != nil {
		t.Fatal(err)
	}
	if got, r := handle(t, n, open+">"+refs([]Ref{ref})+"</setup>"); got.Agreement || r.Codec != nil || len(got.Missing) != 1 {
		t.Errorf("a default schema was replaced: %+v", got)
	}
}

type srv map[string][]*net.SRV

func (s srv) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return "", s["_"+service+"._"+proto+"."+name], nil
}

func Test0322R03R52_FindingTheDedicatedPort(t *testing.T) {
	base := &tcp.Transport{Resolver: srv{"_xmpp-client._tcp.example.org": {{Target: "b.example.", Port: 5222}}}}
	find := func(tr *PortTransport) string {
		tr.Base, tr.Client = base, &Client{}
		targets, err := tr.Find(t.Context(), "example.org", "", xmpp.TLSStart)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, x := range targets {
			s = append(s, x.Addr)
		}
		return strings.Join(s, " ")
	}
	if got := find(&PortTransport{Resolver: srv{"_xmpp-bclient._tcp.example.org": {{Target: "exi.example.", Port: 15222}}}}); got != "exi.example:15222 b.example:5222" {
		t.Errorf("by DNS: %s", got)
	}
	if got := find(&PortTransport{Addr: "c.example:9"}); got != "c.example:9 b.example:5222" {
		t.Errorf("by configuration: %s", got)
	}
	if got := find(&PortTransport{Resolver: srv{}}); got != "b.example:5222" {
		t.Errorf("without: %s", got)
	}
}

func Test0322R02_AdvertOfTheDedicatedPort(t *testing.T) {
	var d exi.Doc
	newServer(t, nil).OfferPort(54321).AppendEvents(&d)
	var methods []string
	for m := range d.Root().Children() {
		methods = append(methods, m.Text().String())
	}
	if !slices.Equal(methods, []string{"exi", "exi:54321"}) {
		t.Errorf("methods %q", methods)
	}
}

// The published files whose hashes the XEP lists are known by these hashes.
func Test0322R73_PublishedFilesAreNamedAsListed(t *testing.T) {
	root := os.Getenv("POSTERN_SPEC")
	if root == "" {
		t.Skip("POSTERN_SPEC names no folder with schemas/published-2014/")
	}
	index, err := os.ReadFile(filepath.Join(root, "schemas/published-2014/INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(index)) {
		f := strings.Split(line, "\t")
		text, err := os.ReadFile(filepath.Join(root, "schemas/published-2014", f[1]))
		if err != nil {
			continue // not recovered
		}
		lib, err := NewLibrary(text)
		if err != nil {
			t.Errorf("%s: %v", f[1], err)
			continue
		}
		ref := refOf(f[0], text)
		if ref.MD5 != f[3] || !lib.Has(ref) {
			t.Errorf("%s: %+v, listed as %s", f[1], ref, f[3])
		}
		n++
	}
	if n < 100 {
		t.Errorf("%d files", n)
	}
}
