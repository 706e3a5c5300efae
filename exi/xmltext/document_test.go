package xmltext

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"postern/exi"
)

var everything = Options{Comments: true, PIs: true, DTD: true, Prefixes: true}

// events renders what a Reader yields, one event each.
func events(r exi.Reader) (string, error) {
	var out []string
	for {
		var e exi.Event
		if err := r.Next(&e); err != nil {
			s := strings.Join(out, " ")
			if errors.Is(err, io.EOF) {
				return s, nil
			}
			return s, err
		}
		s := e.Kind.String()
		switch e.Kind {
		case exi.SE, exi.AT, exi.PI, exi.ER, exi.DT:
			s += "(" + e.Name.Value().Local + ")"
		case exi.NS:
			s += "(" + e.Prefix + "=" + e.Name.Value().Space + ")"
		}
		if v := e.Value.String(); v != "" {
			s += "=" + strings.ReplaceAll(v, "\x00", "|")
		}
		out = append(out, s)
	}
}

func TestReader(t *testing.T) {
	tests := []struct {
		name, in string
		opt      Options
		want     string
	}{
		{"plain", "<?xml version='1.0'?>\n<r a='1'>x</r>\n", Options{}, "SD SE(r) AT(a)=1 CH=x EE ED"},
		{"empty root", "<r/>", Options{}, "SD SE(r) EE ED"},
		{"misc", "<!--a--><?b c d?><r><!--e-->f<?g?></r><!----><?h?>", everything,
			"SD CM=a PI(b)=c d SE(r) CM=e CH=f PI(g) EE CM PI(h) ED"},
		{"text around comments is joined", "<r>a<!-- x -->b<?y?>c<![CDATA[d]]></r>", Options{}, "SD SE(r) CH=abcd EE ED"},
		{"prefixes", "<p:r xmlns:p='u' xmlns='v'><s/></p:r>", everything, "SD SE(r) NS(p=u) NS(=v) SE(s) EE EE ED"},
		{"document type", "<!DOCTYPE r PUBLIC 'p' \"s\" [<!ELEMENT r ANY>]><r/>", everything, "SD DT(r)=p|s|<!ELEMENT r ANY> SE(r) EE ED"},
		{"entity", "<!DOCTYPE r [<!ENTITY e 'x&#38;amp;y'>]><r a='&e;'>1&e;2</r>", Options{}, "SD SE(r) AT(a)=x&y CH=1x&y2 EE ED"},
		{"entity kept", "<!DOCTYPE r [<!ENTITY e 'xy'>]><r>1&e;2</r>", everything, "SD DT(r)=||<!ENTITY e 'xy'> SE(r) CH=1 ER(e) CH=2 EE ED"},
		{"entity with markup", "<!DOCTYPE r [<!ENTITY e '<b>x</b>y&f;'><!ENTITY f 'z<c/>'>]><r>1&e;2</r>", Options{},
			"SD SE(r) CH=1 SE(b) CH=x EE CH=yz SE(c) EE CH=2 EE ED"},
		{"external entity", "<!DOCTYPE r [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><r>&e;</r>", Options{}, "SD SE(r) ER(e) EE ED"},
		{"undeclared behind an external subset", "<!DOCTYPE r SYSTEM 'x.dtd'><r>&e;</r>", Options{}, "SD SE(r) ER(e) EE ED"},
		{"first declaration counts", "<!DOCTYPE r [<!ENTITY e '1'><!ENTITY e '2'>]><r>&e;</r>", Options{}, "SD SE(r) CH=1 EE ED"},
		{"defaults", "<!DOCTYPE r [<!ATTLIST c k CDATA \"d\" t (x|y) ' x ' i ID #IMPLIED>]><r><c i=' 1  2 '/><c k='e' t='y'/></r>", Options{},
			"SD SE(r) SE(c) AT(i)=1 2 AT(k)=d AT(t)=x EE SE(c) AT(k)=e AT(t)=y EE EE ED"},
		{"subset", "<!DOCTYPE r [ <!-- ]> ' --> <?x ]>?> <!NOTATION n SYSTEM ']>'> %pe; <!ENTITY e '1'> ]><r>&e;</r>", Options{}, "SD SE(r) ER(e) EE ED"},
		{"byte order mark", "\xef\xbb\xbf<r/>", Options{}, "SD SE(r) EE ED"},
		{"fragment", "<a/> <b>x</b><!-- -->", Options{Fragment: true}, "SD SE(a) EE SE(b) CH=x EE ED"},
		{"empty fragment", " ", Options{Fragment: true}, "SD ED"},
		{"like a declaration", "<?xml-stylesheet a?><r/>", everything, "SD PI(xml-stylesheet)=a SE(r) EE ED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, err := events(NewReader(r, tt.opt))
				if err != nil {
					t.Fatal(err)
				}
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	laughs := "<!DOCTYPE r [<!ENTITY a '" + strings.Repeat("ha", 500) + "'>"
	for c := 'b'; c < 'j'; c++ {
		laughs += "<!ENTITY " + string(c) + " '" + strings.Repeat("&"+string(c-1)+";", 10) + "'>"
	}
	for name, in := range map[string]string{
		"laughs":               laughs + "]><r>&i;</r>",
		"laughs in attribute":  laughs + "]><r a='&i;'/>",
		"laughs with markup":   strings.ReplaceAll(laughs, "'ha", "'<b/>") + "]><r>&i;</r>",
		"recursion":            "<!DOCTYPE r [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><r>&a;</r>",
		"recursion, markup":    "<!DOCTYPE r [<!ENTITY a '<b/>&a;'>]><r>&a;</r>",
		"half an element":      "<!DOCTYPE r [<!ENTITY a '<b>'>]><r>&a;</b></r>",
		"ends an outer":        "<!DOCTYPE r [<!ENTITY a '</r><r>'>]><r>&a;</r>",
		"half a tag":           "<!DOCTYPE r [<!ENTITY a '<b '>]><r>&a;/></r>",
		"external in attr":     "<!DOCTYPE r [<!ENTITY a SYSTEM 'x'>]><r a='&a;'/>",
		"less in attr":         "<!DOCTYPE r [<!ENTITY a '&#60;'>]><r a='&a;'/>",
		"unparsed":             "<!DOCTYPE r [<!ENTITY a SYSTEM 'x' NDATA n>]><r>&a;</r>",
		"undeclared":           "<r>&a;</r>",
		"two roots":            "<r/><r/>",
		"no root":              "<!-- -->",
		"empty":                "",
		"text outside":         "x<r/>",
		"two types":            "<!DOCTYPE r><!DOCTYPE r><r/>",
		"late type":            "<r/><!DOCTYPE r>",
		"type inside":          "<r><!DOCTYPE r></r>",
		"late declaration":     " <?xml version='1.0'?><r/>",
		"comment":              "<r><!-- -- --></r>",
		"comment end":          "<r><!-- ---></r>",
		"instruction xml":      "<r><?XML a?></r>",
		"parameter in literal": "<!DOCTYPE r [<!ENTITY a '%b;'>]><r/>",
		"latin 1":              "<?xml version='1.0' encoding='latin1'?><r/>",
		"open":                 "<r>",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := events(NewReader(strings.NewReader(in), Options{})); err == nil {
				t.Errorf("accepted: %.200s", got)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	for _, in := range []string{
		"<r a=\"1\">x</r>",
		"<!--a--><?b c d?><r><!--e-->f<?g?></r><!---->",
		"<p:r xmlns:p=\"u\" xmlns=\"v\" p:a=\"1\"><s/><p:t/></p:r>",
		"<r xmlns=\"u\"><s xmlns=\"\"/></r>",
		"<!DOCTYPE r PUBLIC \"p\" \"s\" [<!ENTITY e 'x'>]><r>1&e;2</r>",
		"<r a=\"&quot;'&amp;&lt;&#xA;\">&lt;&gt;&amp;\"'</r>",
		"<r xml:lang=\"de\"/>",
	} {
		var b strings.Builder
		if err := Copy(NewWriter(&b, WriterOptions{}), NewReader(strings.NewReader(in), everything)); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if b.String() != in {
			t.Errorf("got  %s\nwant %s", b.String(), in)
		}
	}
}

// Without recorded prefixes the document means the same.
func TestWriterInventsPrefixes(t *testing.T) {
	const in = "<p:r xmlns:p='u' xmlns:q='v' q:a='1' p:b='2' c='3'><s/><q:t q:a='4'/></p:r>"
	var b strings.Builder
	if err := Copy(NewWriter(&b, WriterOptions{Declaration: true}), NewReader(strings.NewReader(in), Options{})); err != nil {
		t.Fatal(err)
	}
	want, err := events(NewReader(strings.NewReader(in), Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := events(NewReader(strings.NewReader(b.String()), Options{})); err != nil || got != want {
		t.Errorf("%s\n%v\ngot  %s\nwant %s", b.String(), err, got, want)
	}
}

func TestWriterRefuses(t *testing.T) {
	n := func(s string) exi.Name { return exi.N("", s) }
	root := exi.Event{Kind: exi.SE, Name: n("r")}
	for name, evs := range map[string][]exi.Event{
		"name with markup":  {{Kind: exi.SE, Name: n("a><b")}, {Kind: exi.EE}},
		"attribute name":    {root, {Kind: exi.AT, Name: n("a='' b")}, {Kind: exi.EE}},
		"same attribute":    {root, {Kind: exi.AT, Name: n("a")}, {Kind: exi.AT, Name: n("a")}, {Kind: exi.EE}},
		"character":         {root, {Kind: exi.CH, Value: exi.Str("\x01")}},
		"comment end":       {{Kind: exi.CM, Value: exi.Str("--><x/>")}},
		"instruction end":   {{Kind: exi.PI, Name: n("p"), Value: exi.Str("?><x/>")}},
		"instruction name":  {{Kind: exi.PI, Name: n("xml")}},
		"two roots":         {root, {Kind: exi.EE}, root, {Kind: exi.EE}},
		"late attribute":    {root, {Kind: exi.CH, Value: exi.Str("x")}, {Kind: exi.AT, Name: n("a")}},
		"end too many":      {root, {Kind: exi.EE}, {Kind: exi.EE}},
		"no root":           {{Kind: exi.ED}},
		"subset ends early": {{Kind: exi.DT, Name: n("r"), Value: exi.DocTypeValue("", "", "]><evil/><!--")}},
		"literal ends":      {{Kind: exi.DT, Name: n("r"), Value: exi.DocTypeValue("", `"'>`, "")}},
		"reference":         {root, {Kind: exi.ER, Name: n("a;<b")}},
		"prefix":            {root, {Kind: exi.NS, Name: exi.N("u", ""), Prefix: "a='' b"}, {Kind: exi.EE}},
	} {
		var b strings.Builder
		w := NewWriter(&b, WriterOptions{})
		var err error
		for _, e := range evs {
			if err = w.Event(e); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTokens(t *testing.T) {
	const in = "<iq xmlns='jabber:client' type='get' xml:lang='en'><q xmlns='urn:q'>x</q></iq>"
	var d, back exi.Doc
	if err := ParseElement(in, &d); err != nil {
		t.Fatal(err)
	}
	var v struct {
		XMLName xml.Name `xml:"jabber:client iq"`
		Type    string   `xml:"type,attr"`
		Q       string   `xml:"urn:q q"`
	}
	if err := xml.NewTokenDecoder(Tokens(d.Root())).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Type != "get" || v.Q != "x" {
		t.Errorf("%+v", v)
	}
	if err := FromTokens(&back, xml.NewDecoder(strings.NewReader(in))); err != nil {
		t.Fatal(err)
	}
	a, err := AppendElement(nil, &d, Scope{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := AppendElement(nil, &back, Scope{})
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) || string(a) != in {
		t.Errorf("%s\n%s", a, b)
	}
}

// The inputs of the shared EXI cases read, and read back the same.
func TestReaderOnVectors(t *testing.T) {
	dir := os.Getenv("POSTERN_VECTORS")
	if dir == "" {
		t.Skip("POSTERN_VECTORS is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, "exi", "*", "*", "input.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no inputs below %s: %v", dir, err)
	}
	for _, f := range files {
		in, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		o, wo := everything, WriterOptions{}
		if n := filepath.Base(filepath.Dir(f)); strings.Contains(n, "frag") {
			o.Fragment, wo.Fragment = true, true
		}
		want, err := events(NewReader(bytes.NewReader(in), o))
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var b bytes.Buffer
		if err := Copy(NewWriter(&b, wo), NewReader(bytes.NewReader(in), o)); err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if got, err := events(NewReader(&b, o)); err != nil || got != want {
			t.Errorf("%s: %v\ngot  %.300s\nwant %.300s", f, err, got, want)
		}
	}
}
