package compress

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

var nsData = "urn:xmpp:iot:sensordata"

// reading is a stanza with numbers whose digits must survive.
func reading(i int) xmpp.Payload {
	st := xmpp.Stanza{Kind: xmpp.Message, From: jid.MustParse("gw@example.org/1"), To: jid.MustParse("op@example.org/1"), Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(exi.N(nsData, "fields"))
		d.Attr(exi.N("", "seqnr"), exi.IntValue(int64(i)))
		d.Start(exi.N(nsData, "node"))
		d.Attr(exi.N("", "nodeId"), exi.Str("climate"))
		d.Start(exi.N(nsData, "timestamp"))
		d.Attr(exi.N("", "value"), exi.CalendarValue(exi.DateTime, exi.Calendar{
			Year: 2026, Month: 11, Day: 25, Hour: 12, Minute: 30, HasZone: true,
		}))
		d.Start(exi.N(nsData, "numeric"))
		d.Attr(exi.N("", "name"), exi.Str("Temperature"))
		d.Attr(exi.N("", "momentary"), exi.BoolValue(true))
		d.Attr(exi.N("", "automaticReadout"), exi.BoolValue(true))
		d.Attr(exi.N("", "value"), exi.FloatValue(2150, -2))
		d.Attr(exi.N("", "unit"), exi.Str("°C"))
		d.End()
		d.End()
		d.End()
		d.End()
	})}
	return &st
}

func checkReading(t *testing.T, c exi.Cursor, i int) {
	t.Helper()
	fields := c.Child(exi.N(nsData, "fields"))
	seq, _ := fields.Attr(exi.N("", "seqnr"))
	num := fields.First().First().First()
	v, _ := num.Attr(exi.N("", "value"))
	unit, _ := num.Attr(exi.N("", "unit"))
	if n, _ := seq.Int(); n != int64(i) || v.String() != "21.50" || !unit.Is("°C") {
		t.Errorf("reading %d arrived as seqnr %v, value %v %v", i, seq, v, unit)
	}
}

func modes() map[string]Params {
	return map[string]Params{
		"plain":       {},
		"session":     {SessionWide: true},
		"strict":      {Strict: true},
		"bytes":       {Alignment: exi.ByteAligned},
		"window":      {Alignment: exi.ByteAligned, Window: true},
		"window+wide": {Alignment: exi.ByteAligned, Window: true, SessionWide: true},
		"deflate":     {Compression: true},
		"limited":     {ValueMaxLength: 32, ValuePartitionCapacity: 16, SessionWide: true},
		"prefixes":    {Preserve: exi.Preserve{Prefixes: true}},
	}
}

func Test0322R33R37R40R42_StanzasBothWaysInEveryMode(t *testing.T) {
	for name, want := range modes() {
		t.Run(name, func(t *testing.T) {
			c := &Client{Want: want}
			p := switched(t, newServer(t, nil), c)
			if got := c.Status(); !got.On || got.Params != want.bounded() {
				t.Errorf("status %+v, wanted %+v", got, want.bounded())
			}
			if p.client.Codec() != "exi" || p.server.Codec() != "exi" {
				t.Errorf("codecs %q and %q", p.client.Codec(), p.server.Codec())
			}
			for i := range 5 {
				write(t, p.client, reading(i))
				checkReading(t, element(t, p.server), i)
				write(t, p.server, reading(-i))
				checkReading(t, element(t, p.client), -i)
			}
			go func() { _ = p.client.Close() }()
			var d exi.Doc
			if err := p.server.ReadElement(&d); !errors.Is(err, xmpp.ErrStreamEnd) {
				t.Errorf("after the client closed: %v", err)
			}
		})
	}
}

func Test0322R41_TablesStartAfreshPerStanza(t *testing.T) {
	for name, want := range modes() {
		c, err := newServer(t, nil).Library.Grammars(newServer(t, nil).Library.preinstalled())
		if err != nil {
			t.Fatal(err)
		}
		codec, err := NewCodec(want, c, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var d exi.Doc
		reading(1).AppendEvents(&d)
		first, err := codec.AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		second, err := codec.AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		if kept := want.SessionWide || want.Window; kept != (len(second) < len(first)) {
			t.Errorf("%s: the same stanza took %d, then %d octets", name, len(first), len(second))
		}
	}
}

func TestWindowSurvivesWhatCannotBeEncoded(t *testing.T) {
	for _, want := range []Params{{Strict: true, SessionWide: true}, {Alignment: exi.ByteAligned, Window: true, Strict: true}} {
		p := switched(t, newServer(t, nil), &Client{Want: want})
		write(t, p.client, reading(1))
		checkReading(t, element(t, p.server), 1)
		var bad exi.Doc
		bad.Start(exi.N(xmpp.NSClient, "message"))
		bad.Attr(exi.N("", "no-such-attribute"), exi.Str("x"))
		bad.End()
		var fault *xmpp.EncodeError
		if err := p.client.WriteElements(&bad); !errors.As(err, &fault) {
			t.Fatalf("a strict stream took an undeclared attribute: %v", err)
		}
		write(t, p.client, reading(2))
		checkReading(t, element(t, p.server), 2)
	}
}

// TestMutationsEndCleanly changes octets of a recorded stream and reads it: what
// comes is elements, an end, or an error that says what the stream error is,
// and it comes soon. With EXI many changes are valid content.
func TestMutationsEndCleanly(t *testing.T) {
	schema, err := newServer(t, nil).Library.Grammars(newServer(t, nil).Library.preinstalled())
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	const perMode = 1200
	faults := 0
	for name, want := range modes() {
		enc, err := NewCodec(want, schema, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var wire []byte
		for i := range 5 {
			var d exi.Doc
			reading(i).AppendEvents(&d)
			if wire, err = enc.AppendElement(wire, &d); err != nil {
				t.Fatal(err)
			}
		}
		for range perMode {
			bad := slices.Clone(wire)
			for range 1 + rnd.IntN(3) {
				bad[rnd.IntN(len(bad))] = byte(rnd.Uint32())
			}
			dec, err := NewCodec(want, schema, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			err = readAll(dec, bad)
			var se *xmpp.StreamError
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xmpp.ErrStreamEnd):
			case errors.As(err, &se) && !se.Local:
			case errors.As(err, &se):
				faults++
				var d exi.Doc
				se.AppendEvents(&d)
				if d.Root().Child(nameFailure).First().Name() != nameProcessing {
					t.Fatalf("%s: %v lacks processing-failed", name, err)
				}
			default:
				t.Fatalf("%s: a changed stream: %v", name, err)
			}
		}
	}
	if faults == 0 {
		t.Error("no change was found out: the test does not test")
	}
}

func readAll(c *Codec, wire []byte) error {
	r := reader(wire)
	var d exi.Doc
	for {
		if err := c.ReadElement(r, &d); err != nil {
			return err
		}
	}
}

func TestEveryPrefixOfABodyIsIncomplete(t *testing.T) {
	for name, want := range modes() {
		s, err := newServer(t, nil).Library.Grammars(newServer(t, nil).Library.preinstalled())
		if err != nil {
			t.Fatal(err)
		}
		enc, err := NewCodec(want, s, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var d exi.Doc
		reading(7).AppendEvents(&d)
		body, err := enc.AppendElement(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range body {
			dec, err := NewCodec(want, s, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			var got exi.Doc
			if err := dec.ReadElement(reader(body[:cut]), &got); err == nil {
				t.Errorf("%s: a body cut to %d of %d octets was read", name, cut, len(body))
			}
		}
		dec, _ := NewCodec(want, s, DefaultLimits())
		var got exi.Doc
		if err := dec.ReadElement(reader(body), &got); err != nil {
			t.Errorf("%s: the whole body: %v", name, err)
		} else {
			checkReading(t, got.Root(), 7)
		}
	}
}
