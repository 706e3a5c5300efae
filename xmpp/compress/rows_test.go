package compress

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

func ownCodec(t *testing.T, p Params) *Codec {
	t.Helper()
	lib := newServer(t, nil).Library
	s, err := lib.Grammars(lib.preinstalled())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCodec(p, s, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func Test0322R01_OfferNamesEXI(t *testing.T) {
	var d exi.Doc
	d.Start(exi.N(xmpp.NSStream, "features"))
	newServer(t, nil).Offer().AppendEvents(&d)
	d.End()
	if !offered(d.Root()) {
		t.Error("the offer is not understood")
	}
	var none exi.Doc
	none.Element(exi.N(xmpp.NSStream, "features"), exi.Value{})
	if offered(none.Root()) {
		t.Error("an offer where there is none")
	}
}

func Test0322R08_OneAnswerToEachSetup(t *testing.T) {
	n := newServer(t, nil).Accept()
	for range 3 {
		r, err := n.Handle(parse(t, open+"/>"))
		if err != nil || !r.Handled || r.Reply == nil || replyName(t, r) != "setupResponse/" && replyName(t, r) != "setupResponse" {
			t.Fatalf("%+v %v %s", r, err, replyName(t, r))
		}
	}
}

// The header of a stream becomes a document and comes back; the tags of the
// root are never on the wire.
func Test0322R34R35R36R70R71_HeaderAsADocument(t *testing.T) {
	h := xmpp.Header{To: jid.MustParse("example.org"), From: jid.MustParse("gw@example.org"), ID: "a-1", Lang: "de", Version: "1.0"}
	d, err := streamStart(h)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]string{}
	for k := range d.Root().Children() {
		prefix, _ := k.Attr(attrPrefix)
		ns, _ := k.Attr(attrNamespace)
		declared[prefix.String()] = ns.String()
	}
	if declared[""] != xmpp.NSClient || declared["stream"] != xmpp.NSStream {
		t.Errorf("declarations %v", declared)
	}
	c := ownCodec(t, Params{})
	wire, err := c.AppendOpen(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	if wire, err = c.AppendClose(wire); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wire, []byte("<stream")) || bytes.Contains(wire, []byte("</stream")) {
		t.Errorf("tags on the wire: %q", wire)
	}
	r := reader(wire)
	got, err := ownCodec(t, Params{}).ReadOpen(r)
	if err != nil || got.To.String() != "example.org" || got.From.String() != "gw@example.org" || got.ID != "a-1" || got.Lang != "de" || got.Version != "1.0" {
		t.Errorf("came back as %+v, %v", got, err)
	}
	var end exi.Doc
	if err := ownCodec(t, Params{}).ReadElement(r, &end); !errors.Is(err, xmpp.ErrStreamEnd) {
		t.Errorf("the end came back as %v", err)
	}
	// Something else first.
	var ping exi.Doc
	reading(1).AppendEvents(&ping)
	first, err := ownCodec(t, Params{}).AppendElement(nil, &ping)
	if err != nil {
		t.Fatal(err)
	}
	var fault *xmpp.StreamError
	if _, err := ownCodec(t, Params{}).ReadOpen(reader(first)); !errors.As(err, &fault) {
		t.Errorf("a stanza first: %v", err)
	}
}

// Bodies end with zeros up to the octet; what they are is not looked at.
func Test0322R38R39_Padding(t *testing.T) {
	c := ownCodec(t, Params{})
	padded := 0
	for i := range 32 {
		var d exi.Doc
		d.Start(exi.N(xmpp.NSClient, "presence"))
		d.Element(exi.N(xmpp.NSClient, "status"), exi.Str(strings.Repeat("x", i)))
		d.End()
		body, err := c.AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(body)
		changed[len(body)-1] |= 1
		if changed[len(body)-1] == body[len(body)-1] {
			continue // the body ends there
		}
		var got exi.Doc
		if err := c.ReadElement(reader(changed), &got); err != nil || got.Root().First().Text().String() != strings.Repeat("x", i) {
			continue // the bit belonged to the body
		}
		padded++
	}
	if padded == 0 {
		t.Error("no padding that is not zero was accepted")
	}
}

func Test0322R43_NewConnectionsStartAfresh(t *testing.T) {
	for name, p := range modes() {
		var d exi.Doc
		reading(1).AppendEvents(&d)
		a := ownCodec(t, p)
		first, err := a.AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.AppendElement(nil, &d); err != nil {
			t.Fatal(err)
		}
		again, err := ownCodec(t, p).AppendElement(nil, &d)
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: the first body of a new connection differs", name)
		}
	}
}

// Prefixes pass only where they were negotiated, and mean nothing elsewhere.
func Test0322R44R45_Prefixes(t *testing.T) {
	var d exi.Doc
	d.Start(exi.N(xmpp.NSClient, "message"))
	for _, ev := range []exi.Event{
		{Kind: exi.SE, Name: exi.N("urn:example:p", "x"), Prefix: "odd"},
		{Kind: exi.NS, Name: exi.N("urn:example:p", ""), Prefix: "odd", LocalNS: true},
		{Kind: exi.EE},
	} {
		if err := d.Add(ev); err != nil {
			t.Fatal(err)
		}
	}
	d.End()
	for _, keep := range []bool{false, true} {
		p := Params{Preserve: exi.Preserve{Prefixes: keep}}
		body, err := ownCodec(t, p).AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		var got exi.Doc
		if err := ownCodec(t, p).ReadElement(reader(body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Root().First().Name() != exi.N("urn:example:p", "x") {
			t.Errorf("kept %v: the name is %v", keep, got.Root().First().Name().Value())
		}
		seen := false
		for i := range got.Len() {
			seen = seen || got.Event(i).Kind == exi.NS && got.Event(i).Prefix == "odd"
		}
		if seen != keep {
			t.Errorf("negotiated %v: the prefix came through: %v", keep, seen)
		}
	}
}

func Test0322R76_DeclarationsWinOverWildcards(t *testing.T) {
	// A declared payload is coded by its own type, though a wildcard in the
	// same place would take it as well: it costs a fraction of one that is not
	// declared.
	size := func(ns string) int {
		var d exi.Doc
		d.Start(exi.N(xmpp.NSStream, "features"))
		d.Element(exi.N(ns, "bind"), exi.Value{})
		d.End()
		body, err := ownCodec(t, Params{}).AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		return len(body)
	}
	if known, wild := size(xmpp.NSBind), size("urn:ietf:params:xml:ns:xmpp-xxxx"); known > 3 || wild < 20 {
		t.Errorf("declared %d octets, by the wildcard %d", known, wild)
	}
}

// Both directions are closed, each by streamEnd.
func Test0322R37R78_StreamEndIsAnswered(t *testing.T) {
	p := newPortPair(t, newServer(t, nil), clientCodec(t, &Client{}, nil))
	if c, s := p.open(t); c != nil || s != nil {
		t.Fatal(c, s)
	}
	p.sent.take()
	p.answered.take()
	done := make(chan error, 1)
	go func() {
		var d exi.Doc
		err := p.server.ReadElement(&d)
		_ = p.server.Close()
		done <- err
	}()
	if err := p.client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, xmpp.ErrStreamEnd) {
		t.Errorf("the server read %v", err)
	}
	if a, b := p.sent.take(), p.answered.take(); len(a) == 0 || !bytes.Equal(a, b) || len(a) > 2 {
		t.Errorf("sent %x, answered %x", a, b)
	}
}

// The octets that are counted are those on the wire, and what they would have
// been as XML is near the truth.
func TestTraffic(t *testing.T) {
	for name, p := range modes() {
		if p.Compression {
			continue // the decoder does not count within blocks
		}
		a, b := ownCodec(t, p), ownCodec(t, p)
		var wire []byte
		var xml, n int
		for i := range 100 {
			var d exi.Doc
			reading(i).AppendEvents(&d)
			xml += len(text(t, &d)) - len(" xmlns='jabber:client'")
			var err error
			if wire, err = a.AppendElement(wire, &d); err != nil {
				t.Fatal(err)
			}
			n++
		}
		r := reader(wire)
		for range n {
			var d exi.Doc
			if err := b.ReadElement(r, &d); err != nil {
				t.Fatal(err)
			}
		}
		out, in := a.Traffic(), b.Traffic()
		if out.Out != int64(len(wire)) || in.In != int64(len(wire)) {
			t.Errorf("%s: %d octets, counted %d out and %d in", name, len(wire), out.Out, in.In)
		}
		for _, got := range []int64{out.XMLOut, in.XMLIn} {
			slack := int64(xml / 20)
			if d := got - int64(xml); d > slack || -d > slack {
				t.Errorf("%s: %d octets of XML, projected %d", name, xml, got)
			}
		}
	}
}

// A schema without an encoding declaration is UTF-8, and one that is not is
// none.
func Test0322R21_SchemasWithoutADeclarationAreUTF8(t *testing.T) {
	l := newServer(t, nil).Library
	text := "<schema xmlns='" + exi.NSXSD + "' targetNamespace='urn:example:größe'><element name='größe' type='string'/></schema>"
	r, err := l.Upload([]byte(text))
	if err != nil || r.NS != "urn:example:größe" {
		t.Fatalf("%+v, %v", r, err)
	}
	s, err := l.Grammars([]Ref{r})
	if err != nil || s.Elements[exi.N("urn:example:größe", "größe")] == nil {
		t.Errorf("the element is not there: %v", err)
	}
	latin := strings.ReplaceAll(strings.ReplaceAll(text, "ö", "\xf6"), "ß", "\xdf")
	if _, err := l.Upload([]byte(latin)); err == nil {
		t.Error("octets that are no UTF-8 were taken")
	}
}

// A constrained client needs no upload: what it proposes is installed.
func Test0322R67_InstalledSchemasNeedNoUpload(t *testing.T) {
	s := newServer(t, nil) // which takes no uploads
	c := &Client{NoUpload: true}
	switched(t, s, c)
	if st := c.Status(); !st.On || len(st.Schemas) != len(s.Library.preinstalled()) {
		t.Errorf("status %+v", st)
	}
}
