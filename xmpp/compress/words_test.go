package compress

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"testing"

	"postern/exi"
	"postern/xmpp"
)

func chat(id, text string) *exi.Doc {
	d := new(exi.Doc)
	client := func(local string) exi.Name { return exi.N(xmpp.NSClient, local) }
	d.Start(client("message"))
	d.Attr(attrID, exi.Str(id))
	d.Attr(attrTo, exi.Str("a@example.org"))
	d.Element(client("body"), exi.Str(text))
	d.End()
	return d
}

// Words are used on streams with sessionWideBuffers, between ends that both
// have the file, and lose nothing.
func Test0322R42_WordsWhereTablesAreKept(t *testing.T) {
	plain, words := proseRefs()
	for name, tt := range map[string]struct {
		want    Params
		change  func(*Server)
		refused bool // the server has not got the file
		file    Ref
	}{
		"session-wide":            {want: Params{SessionWide: true}, file: words},
		"with a window":           {want: Params{SessionWide: true, Window: true, Alignment: exi.ByteAligned}, file: plain},
		"tables for each stanza":  {want: Params{}, file: plain},
		"window alone":            {want: Params{Window: true, Alignment: exi.ByteAligned}, file: plain},
		"strict":                  {want: Params{SessionWide: true, Strict: true}, file: plain},
		"preserved lexical forms": {want: Params{SessionWide: true, Preserve: exi.Preserve{LexicalValues: true}}, file: plain},
		"not session-wide here":   {want: Params{SessionWide: true}, change: func(s *Server) { s.Ceiling.SessionWide = false }, file: plain},
		"a server without it": {want: Params{SessionWide: true}, file: plain, change: func(s *Server) {
			s.Uploads = true
			delete(s.Library.preset, words)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, tt.change)
			c := &Client{Want: tt.want}
			p := switched(t, srv, c)
			st := c.Status()
			if !slices.Contains(st.Schemas, tt.file) {
				t.Errorf("the agreed schemas are without %+v", tt.file)
			}
			if len(srv.Library.uploads) > 0 {
				t.Error("the file of words was uploaded")
			}
			for _, text := range []string{"so it is", "so  it is", " so", "it ", "\n", "is\nit\tso", "x"} {
				for from, to := range map[xmpp.Conn]xmpp.Conn{p.client: p.server, p.server: p.client} {
					if err := from.WriteElements(chat("1", text)); err != nil {
						t.Fatal(err)
					}
					if got := element(t, to).First().Text(); !got.Is(text) {
						t.Errorf("%q arrived as %q", text, got.String())
					}
				}
			}
		})
	}
}

// A stream whose tables are kept goes on for ever, though each stanza brings
// strings that were never seen before.
func TestKeptTablesStayWithinTheirBounds(t *testing.T) {
	p := Params{SessionWide: true}.bounded()
	lib, err := NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := lib.Grammars(lib.Proposal(p))
	if err != nil {
		t.Fatal(err)
	}
	pair := make([]*Codec, 2)
	for i := range pair {
		if pair[i], err = NewCodec(p, s, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	}
	var wire []byte
	var got exi.Doc
	src := bytes.NewReader(nil)
	r := bufio.NewReader(src)
	for i := range 20_000 {
		d := chat(fmt.Sprint("id", i), fmt.Sprintf("word%d of 日本語%d", i, i))
		if wire, err = pair[0].AppendElement(wire[:0], d); err != nil {
			t.Fatalf("stanza %d: %v", i, err)
		}
		src.Reset(wire)
		r.Reset(src)
		if err := pair[1].ReadElement(r, &got); err != nil {
			t.Fatalf("stanza %d: %v", i, err)
		}
	}
	out, _ := pair[0].enc.Tables()
	in, octets := pair[1].dec.Tables()
	if most := KeptValues + 10; out > most || in > most || octets > DefaultLimits().TableOctets {
		t.Errorf("%d and %d entries, %d octets", out, in, octets)
	}
	if v, _ := got.Root().Attr(attrID); !v.Is("id19999") {
		t.Errorf("the last stanza has the id %v", v)
	}
}

// What a server grants of tables that are kept is bounded.
func Test0322R09_KeptTablesAreGrantedWithinBounds(t *testing.T) {
	s := newServer(t, nil)
	have := refs(s.Library.preinstalled())
	got, _ := handle(t, s.Accept(), open+"sessionWideBuffers='true' valueMaxLength='100'>"+have+"</setup>")
	if got.Agreement || !got.SessionWide || got.ValuePartitionCapacity != KeptValues || got.ValueMaxLength != 100 {
		t.Errorf("without bounds: %+v", got.Params)
	}
	got, _ = handle(t, s.Accept(), open+"sessionWideBuffers='true' valueMaxLength='100' valuePartitionCapacity='64'>"+have+"</setup>")
	if !got.Agreement || got.ValuePartitionCapacity != 64 {
		t.Errorf("within bounds: %+v", got.Params)
	}
}
