package schemas

import (
	"bytes"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
)

func words(t testing.TB) *exi.Schema {
	s, err := SetWithWords()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// message is a chat message with the given body.
func message(text string) *exi.Doc {
	d := &exi.Doc{}
	client := func(local string) exi.Name { return exi.N("jabber:client", local) }
	d.Start(client("message"))
	d.Attr(exi.N("", "to"), exi.Str("a@example.org"))
	d.Element(client("body"), exi.Str(text))
	d.End()
	return d
}

// Every text comes back as it was, whatever its white space.
func TestWordsKeepEveryText(t *testing.T) {
	o := xmppOptions(t)
	o.Schema = words(t)
	texts := []string{
		"", " ", "a", "two words", "two  words", " in front", "behind ", "tab\ttab", "one\ntwo", "one\n", "\r", "a\u00a0b c", "ä ö 日本 🜁 ö",
		strings.Repeat("a ", 3000) + "a", strings.Repeat(" ", 70), strings.Repeat("x", 5000), "a \n b",
	}
	var docs []*exi.Doc
	for range 2 {
		for _, s := range texts {
			docs = append(docs, message(s))
		}
	}
	for _, a := range []exi.Alignment{exi.BitPacked, exi.ByteAligned, exi.PreCompression, exi.Compression} {
		for _, keep := range []bool{true, false} {
			o := o
			o.Alignment = a
			octets(t, o, keep, docs)
		}
	}
}

// A word that was said before costs little, one that was not no more than in
// plain text.
func TestWordsCost(t *testing.T) {
	plain := xmppOptions(t)
	listed := plain
	listed.Schema = words(t)
	fresh := message("alpha bravo charlie delta echo foxtrot golf hotel")
	if p, l := octets(t, plain, true, []*exi.Doc{fresh}), octets(t, listed, true, []*exi.Doc{fresh}); l > p+1 {
		t.Errorf("words that are new take %d octets, in plain text %d", l, p)
	}
	again := message("hotel delta alpha echo")
	first := octets(t, listed, true, []*exi.Doc{fresh})
	if n := octets(t, listed, true, []*exi.Doc{fresh, again}) - first; n > 20 {
		t.Errorf("four known words take %d octets", n)
	}
}

// A long body of short words costs the encoder no more memory than its text.
func TestWordsMemory(t *testing.T) {
	o := xmppOptions(t)
	o.Schema = words(t)
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	d := message(strings.Repeat("a ", 30_000) + "a")
	var buf []byte
	if n := testing.AllocsPerRun(20, func() {
		if buf, err = enc.Append(buf[:0], d); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a b", "a  b", " a", "a\t", "\r\n", "ä ö"} {
		f.Add(s)
	}
	o := xmppOptions(f)
	o.Schema = words(f)
	enc, err := exi.NewEncoder(o)
	if err != nil {
		f.Fatal(err)
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		f.Fatal(err)
	}
	enc.Keep(true)
	dec.Keep(true)
	f.Fuzz(func(t *testing.T, s string) {
		d := message(s)
		body, err := enc.Append(nil, d)
		if err != nil {
			return // not UTF-8
		}
		var back exi.Doc
		if rest, err := dec.DecodeBytes(body, &back); err != nil || len(rest) > 0 {
			t.Fatalf("%q: %v, %d octets left", s, err, len(rest))
		}
		want, _ := xmltext.AppendElement(nil, d, xmltext.Scope{})
		got, _ := xmltext.AppendElement(nil, &back, xmltext.Scope{})
		if !bytes.Equal(got, want) {
			t.Fatalf("%q came back as %q", want, got)
		}
		if entries, _ := enc.Tables(); entries > 10_000 {
			enc.Reset()
			dec.Reset()
		}
	})
}
