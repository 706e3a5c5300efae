package compress

import (
	"errors"
	"strings"
	"testing"

	"postern/exi"
	"postern/xmpp"
)

// What follows compressed and is no EXI ends the stream with processing-failed
// and streamEnd, in EXI, so that the peer hears why.
func TestGarbageBehindCompressedIsAnswered(t *testing.T) {
	for name, want := range modes() {
		p := switched(t, newServer(t, nil), &Client{Want: want})
		if err := p.client.WriteText(strings.Repeat("\xff\x00<message/>", 3000)); err != nil {
			t.Fatal(err)
		}
		var d exi.Doc
		var fault *xmpp.StreamError
		var err error
		for range 3000 { // some of it may be valid
			if err = p.server.ReadElement(&d); err != nil {
				break
			}
		}
		if !errors.As(err, &fault) || !fault.Local {
			t.Errorf("%s: garbage gave %v", name, err)
			continue
		}
		go func(err error) { _ = xmpp.EndWith(p.server, err) }(fault)
		err = p.client.ReadElement(&d)
		if !errors.As(err, &fault) || d.Root().Child(nameFailure).First().Name() != nameProcessing {
			t.Errorf("%s: the client heard %v", name, err)
		}
		if err := p.client.ReadElement(&d); !errors.Is(err, xmpp.ErrStreamEnd) {
			t.Errorf("%s: then %v", name, err)
		}
	}
}

// Bodies beyond the limits end the stream, and the memory of one stays in
// bounds.
func TestOversizeBodiesEndTheStream(t *testing.T) {
	lib := newServer(t, nil).Library
	s, err := lib.Grammars(lib.preinstalled())
	if err != nil {
		t.Fatal(err)
	}
	message := func(build func(d *exi.Doc)) *exi.Doc {
		d := new(exi.Doc)
		d.Start(exi.N(xmpp.NSClient, "message"))
		build(d)
		d.End()
		return d
	}
	bodies := map[string]*exi.Doc{
		"string": message(func(d *exi.Doc) { d.Element(exi.N(xmpp.NSClient, "body"), exi.Str(strings.Repeat("x", 80<<10))) }),
		"octets": message(func(d *exi.Doc) {
			for i := range 10 { // ten, so that no table has them
				d.Element(exi.N(xmpp.NSClient, "body"), exi.Str(strings.Repeat(string(rune('à'+i)), 40<<10)))
			}
		}),
		"events": message(func(d *exi.Doc) {
			for range 20_000 {
				d.Element(exi.N(xmpp.NSClient, "body"), exi.Value{})
			}
		}),
		"depth": message(func(d *exi.Doc) {
			for range 100 {
				d.Start(exi.N("urn:example:deep", "x"))
			}
			for range 100 {
				d.End()
			}
		}),
	}
	for mode, want := range modes() {
		if want.Strict || want.Compression {
			continue // strict has no such body
		}
		for name, d := range bodies {
			enc, err := NewCodec(want, s, exi.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			wire, err := enc.AppendElement(nil, d)
			if err != nil {
				t.Fatalf("%s, %s: %v", mode, name, err)
			}
			dec, err := NewCodec(want, s, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			var got exi.Doc
			var fault *xmpp.StreamError
			if err := dec.ReadElement(reader(wire), &got); !errors.As(err, &fault) || !fault.Local {
				t.Errorf("%s, %s (%d octets): %v", mode, name, len(wire), err)
			}
		}
	}
}
