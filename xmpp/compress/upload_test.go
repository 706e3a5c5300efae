package compress

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"postern/exi"
	"postern/exi/schemas"
	"postern/xmpp"
)

const uploaded = `<?xml version="1.0" encoding="UTF-8"?>
<!-- any comment -->
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:u="urn:example:u" targetNamespace="urn:example:u">
 <xs:simpleType name="n"><xs:restriction base="xs:int"/></xs:simpleType>
 <xs:element name="e" type="u:n"/>
</xs:schema>
`

// uploadElement is an uploadSchema as the client would send it.
func uploadElement(t *testing.T, as string, text string) *exi.Doc {
	t.Helper()
	p, err := uploadOf(as, refOf("urn:example:u", []byte(text)), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d := new(exi.Doc)
	p.AppendEvents(d)
	return d
}

// The same file three ways: as text it serves everybody, in EXI the account.
func Test0322R18R19R72_UploadsInEveryForm(t *testing.T) {
	want := refOf("urn:example:u", []byte(uploaded))
	for _, as := range []string{UploadText, UploadEXIBody, UploadEXIDocument} {
		s := newServer(t, func(s *Server) { s.Uploads = true })
		n := s.Accept()
		n.Account = "gw"
		if _, err := n.Handle(uploadElement(t, as, uploaded).Root()); err != nil {
			t.Fatal(err)
		}
		propose := open + ">" + refs(append(s.Library.preinstalled(), want)) + "</setup>"
		if got, _ := handle(t, n, propose); !got.Agreement {
			t.Errorf("%s: the schema is missing: %v", as, got.Missing)
		}
		mine, other := s.Accept(), s.Accept()
		mine.Account, other.Account = "gw", "stranger"
		if got, _ := handle(t, mine, propose); !got.Agreement {
			t.Errorf("%s: the account's next stream lacks the schema", as)
		}
		if got, _ := handle(t, other, propose); got.Agreement != (as == UploadText) {
			t.Errorf("%s: another account: agreement %v", as, got.Agreement)
		}
	}
	if text, _ := uploadElement(t, UploadText, uploaded).Root().Text().Bytes(exi.Base64); string(text) != uploaded {
		t.Error("a Text upload is not an octet-exact copy")
	}
}

// The grammars of a schema uploaded in EXI never become another account's,
// even when that one names the same triple for a file of its own.
func TestForgedUploadsStayWithTheirAccount(t *testing.T) {
	honest := `<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:example:u"><element name="honest"/></schema>`
	want := refOf("urn:example:u", []byte(honest))
	s := newServer(t, func(s *Server) { s.Uploads = true })
	bad := s.Accept()
	bad.Account = "mallory"
	data, err := toEXI([]byte(uploaded), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Library.uploadEXI(data, false, want.Bytes, want.MD5, bad.scope()); err != nil {
		t.Fatal(err)
	}
	forged, err := s.Library.set([]Ref{want}, bad.scope())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Library.Upload([]byte(honest)); err != nil {
		t.Fatal(err)
	}
	set, err := s.Library.set([]Ref{want}, "account alice")
	if err != nil {
		t.Fatal(err)
	}
	if set == forged || set.schema.Elements[exi.N("urn:example:u", "honest")] == nil {
		t.Error("another account got the forged grammars")
	}
	// Nor does it replace a preinstalled one.
	own := s.Library.preinstalled()[3]
	if err := s.Library.uploadEXI(data, false, own.Bytes, own.MD5, bad.scope()); err != nil {
		t.Fatal(err)
	}
	if text, mine := s.Library.text(own, bad.scope()); mine || !strings.Contains(string(text), own.NS) {
		t.Error("a preinstalled schema was replaced")
	}
}

func Test0322R19R20_EXIUploadsThatStayMissing(t *testing.T) {
	want := refOf("urn:example:u", []byte(uploaded))
	body, err := toEXI([]byte(uploaded), false)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, func(s *Server) { s.Uploads = true })
	o, err := schemaOptions()
	if err != nil {
		t.Fatal(err)
	}
	o.Preserve.Prefixes = false
	bare := encodeSchema(t, o, uploaded)
	for name, up := range map[string]struct {
		data []byte
		size int64
		md5  string
	}{
		"no size":     {body, 0, want.MD5},
		"no hash":     {body, want.Bytes, ""},
		"no prefixes": {bare, want.Bytes, want.MD5},
		"cut off":     {body[:len(body)/2], want.Bytes, want.MD5},
		"no schema":   {[]byte{0x41, 0x42, 0x43}, want.Bytes, want.MD5},
		"too large":   {make([]byte, MaxSchema+1), want.Bytes, want.MD5},
	} {
		if err := s.Library.uploadEXI(up.data, false, up.size, up.md5, "x"); err == nil {
			t.Errorf("%s: taken", name)
		}
		if s.Library.has(want, "x") {
			t.Fatalf("%s: the schema is there", name)
		}
	}
}

func encodeSchema(t *testing.T, o exi.Options, text string) []byte {
	t.Helper()
	full, err := toEXI([]byte(text), false)
	if err != nil {
		t.Fatal(err)
	}
	with, err := schemaOptions()
	if err != nil {
		t.Fatal(err)
	}
	dec, err := exi.NewDecoder(with)
	if err != nil {
		t.Fatal(err)
	}
	var d exi.Doc
	if _, err := dec.DecodeBytes(full, &d); err != nil {
		t.Fatal(err)
	}
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := enc.Append(nil, &d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Documents with headers: cookie, options, and a schemaId (decision D29).
func TestUploadedDocumentsWithHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*exi.Options)
		ok     bool
	}{
		"plain":   {func(*exi.Options) {}, true},
		"cookie":  {func(o *exi.Options) { o.Cookie = true }, true},
		"options": {func(o *exi.Options) { o.OptionsInHeader, o.Alignment = true, exi.ByteAligned }, true},
		"the schema for schemas": {func(o *exi.Options) {
			o.OptionsInHeader, o.SchemaIDInHeader = true, true
		}, true},
		"another schema": {func(o *exi.Options) {
			o.OptionsInHeader, o.SchemaIDInHeader, o.SchemaID = true, true, "urn:example:other"
		}, false},
		"compressed": {func(o *exi.Options) { o.OptionsInHeader, o.Alignment = true, exi.Compression }, true},
	} {
		o, err := schemaOptions()
		if err != nil {
			t.Fatal(err)
		}
		c.change(&o)
		body, err := toEXI([]byte(uploaded), false)
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := schemaOptions()
		dec, _ := exi.NewDecoder(plain)
		var d exi.Doc
		if _, err := dec.DecodeBytes(body, &d); err != nil {
			t.Fatal(err)
		}
		enc, err := exi.NewEncoder(o)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := enc.AppendDocument(nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fromEXI(doc, true); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// All our schema files survive the way through EXI: they compile to the same
// grammars.
func TestOurSchemasSurviveUploadsInEXI(t *testing.T) {
	packed, plain := 0, 0
	for _, f := range schemas.Files() {
		data, err := toEXI(f.Text, true)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		text, err := fromEXI(data, true)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		packed, plain = packed+len(data), plain+len(f.Text)
		if ns, err := targetNamespace(text); err != nil || ns != f.Namespace {
			t.Errorf("%s: namespace %q, %v", f.Name, ns, err)
		}
	}
	if packed > plain/2 {
		t.Errorf("%d octets of text took %d in EXI", plain, packed)
	}
	t.Logf("%d octets of text take %d in EXI", plain, packed)
}

// A bomb in EXI, by DEFLATE or by repetition, is refused with little memory.
func TestUploadBombs(t *testing.T) {
	o, err := schemaOptions()
	if err != nil {
		t.Fatal(err)
	}
	o.OptionsInHeader, o.Alignment, o.Limits = true, exi.Compression, exi.Limits{}
	var d exi.Doc
	d.Start(exi.N(exi.NSXSD, "schema"))
	for range 20_000 {
		d.Start(exi.N(exi.NSXSD, "annotation"))
		d.Start(exi.N(exi.NSXSD, "documentation"))
		d.Text(exi.Str(strings.Repeat("x", 500)))
		d.End()
		d.End()
	}
	d.End()
	enc, err := exi.NewEncoder(o)
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := enc.AppendDocument(nil, &d)
	if err != nil || len(bomb) > MaxSchema {
		t.Fatalf("%d octets, %v", len(bomb), err)
	}
	if _, err := fromEXI(bomb, true); err == nil {
		t.Error("a bomb was taken")
	}
	s := newServer(t, func(s *Server) { s.Uploads = true })
	n := s.Accept()
	for range 40 { // a flood: only the first ones of a stream count
		if _, err := n.Handle(uploadElement(t, UploadText, strings.Replace(uploaded, "any comment", newID(), 1)).Root()); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Library.recent.Len(); got != 16 {
		t.Errorf("%d uploads of one stream were kept", got)
	}
}

func FuzzUploadEXI(f *testing.F) {
	for _, doc := range []bool{false, true} {
		data, err := toEXI([]byte(uploaded), doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, doc)
	}
	f.Fuzz(func(t *testing.T, data []byte, document bool) {
		text, err := fromEXI(data, document)
		if err == nil && !bytes.Contains(text, []byte("schema")) {
			t.Errorf("taken for a schema: %q", text)
		}
	})
}

type fetcher map[string]any

func (f fetcher) Fetch(_ context.Context, url string) ([]byte, error) {
	switch v := f[url].(type) {
	case string:
		return []byte(v), nil
	case error:
		return nil, v
	}
	return nil, errors.New("not among those of the test")
}

func Test0322R23R24_DownloadsAndTheirFailures(t *testing.T) {
	s := newServer(t, func(s *Server) {
		s.Downloads = fetcher{
			"https://example.org/ok":      uploaded,
			"https://example.org/404":     &FetchError{Kind: BadStatus, Status: 404, Message: "Not Found"},
			"https://example.org/slow":    &FetchError{Kind: NoAnswer, Message: "none"},
			"ftp://example.org/x":         &FetchError{Kind: BadURL, Message: "no"},
			"https://example.org/html":    &FetchError{Kind: NotASchema, Type: "text/html"},
			"https://example.org/nothing": "<html/>",
			"https://example.org/broken":  errors.New("it broke"),
		}
	})
	n := s.Accept()
	for url, want := range map[string]string{
		"https://example.org/ok": "", "https://example.org/404": "httpError", "https://example.org/slow": "timeout",
		"ftp://example.org/x": "invalidUrl", "https://example.org/html": "invalidContentType",
		"https://example.org/nothing": "invalidContentType", "https://example.org/broken": "error",
	} {
		_, r := handle(t, n, "<downloadSchema xmlns='"+NSEXI+"' url='"+url+"'/>")
		var d exi.Doc
		r.Reply.AppendEvents(&d)
		root := d.Root()
		got, _ := root.Attr(attrURL)
		result, _ := root.Attr(attrResult)
		kind := ""
		if k := root.First(); k.Valid() {
			kind = k.Name().Value().Local
		}
		if !got.Is(url) || kind != want || result.Is("true") != (want == "") {
			t.Errorf("%s: %v, %v, %q; want %q", url, got, result, kind, want)
		}
		if want == "httpError" {
			if code, _ := root.First().Attr(exi.N("", "code")); !code.Is("404") {
				t.Errorf("code %v", code)
			}
		}
	}
	if !s.Library.Has(refOf("urn:example:u", []byte(uploaded))) {
		t.Error("the downloaded schema is not there")
	}
}

// The client has missing schemas downloaded, uploads those where that fails,
// and checks by a new setup.
func Test0322R25_ClientChecksDownloads(t *testing.T) {
	text := []byte(uploaded)
	lib, err := NewLibrary(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, served := range map[string]any{
		"right": uploaded, "other": strings.Replace(uploaded, "any comment", "another", 1), "broken": errors.New("no"),
	} {
		s := newServer(t, func(s *Server) { s.Uploads, s.Downloads = true, fetcher{"https://example.org/u": served} })
		c := &Client{Library: lib, URL: func(r Ref) string {
			if r.NS == "urn:example:u" {
				return "https://example.org/u"
			}
			return ""
		}}
		switched(t, s, c)
		agreed := false
		for _, r := range c.Status().Schemas {
			agreed = agreed || r == refOf("urn:example:u", text)
		}
		// The wrong file is still missing at the second setup, and is left out
		// then (0322-R27).
		if agreed != (name != "other") {
			t.Errorf("%s: the schema is used: %v", name, agreed)
		}
	}
}

// The client uploads in EXI where it is told to.
func Test0322R16R19_ClientUploadsInEXI(t *testing.T) {
	lib, err := NewLibrary([]byte(uploaded))
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{UploadEXIBody, UploadEXIDocument} {
		s := newServer(t, func(s *Server) { s.Uploads = true })
		c := &Client{Library: lib, UploadAs: as}
		p := switched(t, s, c)
		if n := len(c.Status().Schemas); n != len(lib.preinstalled()) {
			t.Errorf("%s: %d schemas agreed", as, n)
		}
		d := new(exi.Doc)
		d.Start(exi.N(xmpp.NSClient, "message"))
		d.Element(exi.N("urn:example:u", "e"), exi.IntValue(7))
		d.End()
		if err := p.client.WriteElements(d); err != nil {
			t.Fatal(err)
		}
		if got := element(t, p.server).First().Text(); !got.Is("7") {
			t.Errorf("%s: got %v", as, got)
		}
	}
}

func Test0322R47_UpperCaseHashesAreOtherHashes(t *testing.T) {
	s := newServer(t, nil)
	all := s.Library.preinstalled()
	all[0].MD5 = strings.ToUpper(all[0].MD5)
	if got, _ := handle(t, s.Accept(), open+">"+refs(all)+"</setup>"); got.Agreement || len(got.Missing) != 1 {
		t.Errorf("agreement %v, missing %v", got.Agreement, got.Missing)
	}
	sum := md5.Sum([]byte(uploaded))
	if got := refOf("urn:example:u", []byte(uploaded)).MD5; got != hex.EncodeToString(sum[:]) {
		t.Errorf("our hash is %s", got)
	}
}
