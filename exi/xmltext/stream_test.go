package xmltext

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"postern/exi"
)

const streamOpen = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' " +
	"xmlns:stream='http://etherx.jabber.org/streams' to='site.example' version='1.0' xml:lang='en'>"

// clientScope is what a client's stream root declares.
var clientScope = Scope{Default: "jabber:client", Prefix: "stream", PrefixNS: "http://etherx.jabber.org/streams"}

// readAll opens a stream and returns its elements as they are written again.
func readAll(t *testing.T, r io.Reader, lim Limits) (out []string, err error) {
	t.Helper()
	br := bufio.NewReaderSize(r, 64)
	x := NewStreamReader(lim)
	var d exi.Doc
	if err := x.ReadOpen(br, &d); err != nil {
		return nil, err
	}
	for {
		if err := x.ReadElement(br, &d); err != nil {
			if errors.Is(err, ErrEnd) {
				return out, nil
			}
			return out, err
		}
		b, err := AppendElement(nil, &d, clientScope)
		if err != nil {
			return out, err
		}
		out = append(out, string(b))
	}
}

func TestStreamElements(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "<a/>", "<a/>"},
		{"text", "<a>x &amp; y&#x41;&#65;</a>", "<a>x &amp; yAA</a>"},
		{"attributes", `<a b="1" c='it&apos;s "'/>`, `<a b='1' c='it&apos;s "'/>`},
		{"own namespace", "<iq><q xmlns='urn:x'><b/></q></iq>", "<iq><q xmlns='urn:x'><b/></q></iq>"},
		{"prefix becomes default", "<iq><x:q xmlns:x='urn:x'><x:b/></x:q></iq>", "<iq><q xmlns='urn:x'><b/></q></iq>"},
		{"stream prefix", "<stream:features/>", "<stream:features/>"},
		{"no namespace", "<q xmlns=''/>", "<q xmlns=''/>"},
		{"cdata", "<a>1<![CDATA[<&]]>2]]</a>", "<a>1&lt;&amp;2]]</a>"},
		{"cdata brackets", "<a><![CDATA[]]]]]]></a>", "<a>]]]]</a>"},
		{"line ends", "<a b='1\r\n2\n3\t4'>1\r\n2\r3</a>", "<a b='1 2 3 4'>1\n2\n3</a>"},
		{"written line ends", "<a b='1&#xA;2'>1&#xD;2</a>", "<a b='1&#xA;2'>1&#xD;2</a>"},
		{"wide", "<été ñ='°C 😀'>Ψ√😀x</été>", "<été ñ='°C 😀'>Ψ√😀x</été>"},
		{"white space", " \r\n\t<a  b = '1'\n c='2'  /> <c ></c > ", "<a b='1' c='2'/> <c/>"},
		{"language", "<a xml:lang='de'/>", "<a xml:lang='de'/>"},
		{"foreign attribute", "<a x:b='1' xmlns:x='urn:x'/>", "<a xmlns:_0='urn:x' _0:b='1'/>"},
		{"redeclared", "<a xmlns='urn:x'><b xmlns='jabber:client'><c/></b><d/></a>",
			"<a xmlns='urn:x'><b xmlns='jabber:client'><c/></b><d/></a>"},
		{"mixed", "<a>1<b>2</b>3<c/>4</a>", "<a>1<b>2</b>3<c/>4</a>"},
		{"greater", "<a b='>'>></a>", "<a b='>'>&gt;</a>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := streamOpen + tt.in + "</stream:stream>"
			for name, r := range map[string]io.Reader{
				"whole":    strings.NewReader(all),
				"by octet": iotest.OneByteReader(strings.NewReader(all)),
				"halved":   iotest.HalfReader(strings.NewReader(all)),
			} {
				got, err := readAll(t, r, Limits{})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("%s: got  %s\nwant %s", name, s, tt.want)
				}
			}
		})
	}
}

// CORE-R39, R40, R41, R46: what is refused, and with which condition.
func TestCoreR39R40R41_Refused(t *testing.T) {
	tests := []struct{ name, in, cond string }{
		{"comment", "<!-- c -->", CondRestricted},
		{"comment inside", "<a><!-- c --></a>", CondRestricted},
		{"instruction", "<?pi x?>", CondRestricted},
		{"instruction inside", "<a>x<?pi x?></a>", CondRestricted},
		{"second declaration", "<?xml version='1.0'?>", CondRestricted},
		{"document type", "<!DOCTYPE a>", CondRestricted},
		{"entity", "<a>&ent;</a>", CondRestricted},
		{"entity in attribute", "<a b='&ent;'/>", CondRestricted},
		{"cdata outside", "<![CDATA[x]]>", CondNotWell},
		{"unbound prefix", "<x:a/>", CondNotWell},
		{"unbound attribute prefix", "<a x:b=''/>", CondNotWell},
		{"mismatch", "<a></b>", CondNotWell},
		{"mismatched prefix", "<x:a xmlns:x='u' xmlns:y='u'></y:a>", CondNotWell},
		{"duplicate attribute", "<a b='' b=''/>", CondNotWell},
		{"duplicate by namespace", "<a xmlns:x='u' xmlns:y='u' x:b='' y:b=''/>", CondNotWell},
		{"duplicate declaration", "<a xmlns:x='u' xmlns:x='v'/>", CondNotWell},
		{"duplicate default", "<a xmlns='u' xmlns='v'/>", CondNotWell},
		{"empty prefix", "<a xmlns:x=''/>", CondNotWell},
		{"xmlns declared", "<a xmlns:xmlns='u'/>", CondNotWell},
		{"xml rebound", "<a xmlns:xml='u'/>", CondNotWell},
		{"xml name stolen", "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>", CondNotWell},
		{"xmlns name taken", "<a xmlns='http://www.w3.org/2000/xmlns/'/>", CondNotWell},
		{"no quotes", "<a b=c/>", CondNotWell},
		{"no value", "<a b/>", CondNotWell},
		{"no gap", "<a b='1'c='2'/>", CondNotWell},
		{"less in value", "<a b='<'/>", CondNotWell},
		{"cdata end", "<a>]]></a>", CondNotWell},
		{"cdata end long", "<a>x]]]]></a>", CondNotWell},
		{"control", "<a>\x01</a>", CondNotWell},
		{"nul in value", "<a b='\x00'/>", CondNotWell},
		{"bad utf-8", "<a>\xff</a>", CondNotWell},
		{"overlong utf-8", "<a>\xc0\xaf</a>", CondNotWell},
		{"surrogate", "<a>\xed\xa0\x80</a>", CondNotWell},
		{"noncharacter", "<a>\xef\xbf\xbf</a>", CondNotWell},
		{"char ref 0", "<a>&#0;</a>", CondNotWell},
		{"char ref surrogate", "<a>&#xD800;</a>", CondNotWell},
		{"char ref big", "<a>&#x110000;</a>", CondNotWell},
		{"char ref huge", "<a>&#99999999999999999999;</a>", CondNotWell},
		{"char ref empty", "<a>&#;</a>", CondNotWell},
		{"char ref hex empty", "<a>&#x;</a>", CondNotWell},
		{"reference without end", "<a>&amp</a>", CondNotWell},
		{"bare ampersand", "<a>& </a>", CondNotWell},
		{"name", "<1a/>", CondNotWell},
		{"name with two colons", "<a:b:c/>", CondNotWell},
		{"colon first", "<:a/>", CondNotWell},
		{"colon last", "<xml:/>", CondNotWell},
		{"times sign", "<a\u00d7/>", CondNotWell},
		{"bad end tag", "<a></a b='1'>", CondNotWell},
		{"unknown markup", "<a><!x></a>", CondNotWell},
		{"text", "hello", CondInvalid},
		{"reference at first level", "&#32;<a/>", CondInvalid},
		{"wrong root end", "</stream>", CondNotWell},
		{"depth", strings.Repeat("<a>", 65), CondPolicy},
		{"attributes", "<a" + manyAttrs(129) + "/>", CondPolicy},
		{"declarations", "<a" + manyDecls(100) + "><a" + manyDecls(100) + "><a" + manyDecls(100) + "/></a></a>", CondPolicy},
		{"name length", "<" + strings.Repeat("a", 257) + "/>", CondPolicy},
		{"octets", "<a>" + strings.Repeat("x", 70000) + "</a>", CondPolicy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{
				strings.NewReader(streamOpen + tt.in),
				iotest.OneByteReader(strings.NewReader(streamOpen + tt.in)),
			} {
				_, err := readAll(t, in, Limits{})
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v, want %s", err, tt.cond)
				}
				if e.Condition != tt.cond {
					t.Errorf("got %v, want %s", err, tt.cond)
				}
			}
		})
	}
}

func manyAttrs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a")
		b.WriteString(strings.Repeat("b", i))
		b.WriteString("=''")
	}
	return b.String()
}

func manyDecls(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" xmlns:p")
		b.WriteString(strings.Repeat("b", i))
		b.WriteString("='u'")
	}
	return b.String()
}

func TestCoreR41_Open(t *testing.T) {
	const root = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>"
	tests := []struct{ name, in, cond string }{
		{"plain", root, ""},
		{"white space", "\n " + root, ""},
		{"declaration", "<?xml version='1.0' encoding='utf-8' standalone='yes'?>\n" + root, ""},
		{"double quotes", `<?xml version="1.0"?>` + root, ""},
		{"byte order mark", "\xef\xbb\xbf<?xml version='1.0'?>" + root, ""},
		{"other prefix", "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client'>", ""},
		{"xml 1.1", "<?xml version='1.1'?>" + root, CondUnsupported},
		{"latin 1", "<?xml version='1.0' encoding='ISO-8859-1'?>" + root, CondEncoding},
		{"utf-16", "\xfe\xff\x00<", CondEncoding},
		{"utf-16 without mark", "\x00<\x00?", CondEncoding},
		{"late declaration", " <?xml version='1.0'?>" + root, CondNotWell},
		{"no version", "<?xml encoding='utf-8'?>" + root, CondNotWell},
		{"twice", "<?xml version='1.0' version='1.0'?>" + root, CondNotWell},
		{"unknown", "<?xml version='1.0' more='1'?>" + root, CondNotWell},
		{"two declarations", "<?xml version='1.0'?><?xml version='1.0'?>" + root, CondRestricted},
		{"comment", "<!-- -->" + root, CondRestricted},
		{"document type", "<?xml version='1.0'?><!DOCTYPE x>" + root, CondRestricted},
		{"instruction", "<?xsl?>" + root, CondRestricted},
		{"unbound", "<stream:stream>", CondNotWell},
		{"empty", "<stream:stream xmlns:stream='u'/>", CondInvalid},
		{"text", "GET / HTTP/1.1\r\n", CondNotWell},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d exi.Doc
			x := NewStreamReader(Limits{})
			err := x.ReadOpen(bufio.NewReader(iotest.OneByteReader(strings.NewReader(tt.in))), &d)
			if tt.cond == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := d.Root().Name(); got != exi.N("http://etherx.jabber.org/streams", "stream") {
					t.Errorf("root is %v", got)
				}
				if x.DefaultSpace() != "jabber:client" {
					t.Errorf("default namespace %q", x.DefaultSpace())
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Condition != tt.cond {
				t.Errorf("got %v, want %s", err, tt.cond)
			}
		})
	}
}

// What follows an element stays in the bufio.Reader (CORE-R58 relies on it).
func TestStreamReadsNoFurther(t *testing.T) {
	br := bufio.NewReader(strings.NewReader("<?xml version='1.0'?><a xmlns='u'><b/><c>x</c>rest"))
	x := NewStreamReader(Limits{})
	var d exi.Doc
	if err := x.ReadOpen(br, &d); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.ReadElement(br, &d); err != nil {
			t.Fatal(err)
		}
	}
	rest, _ := io.ReadAll(br)
	if string(rest) != "rest" {
		t.Errorf("left over: %q", rest)
	}
}

// An element is delivered as soon as its last octet is there.
func TestStreamDoesNotWaitForMore(t *testing.T) {
	pr, pw := io.Pipe()
	go func() {
		for _, s := range []string{"<s xmlns='u'", ">", "<a>x</", "a>"} {
			if _, err := io.WriteString(pw, s); err != nil {
				return
			}
		}
	}()
	br := bufio.NewReader(pr)
	x := NewStreamReader(Limits{})
	var d exi.Doc
	if err := x.ReadOpen(br, &d); err != nil {
		t.Fatal(err)
	}
	if err := x.ReadElement(br, &d); err != nil {
		t.Fatal(err)
	}
	pr.Close()
}

func TestStreamEndOfInput(t *testing.T) {
	open := "<s xmlns='u'>"
	for in, want := range map[string]error{
		"": io.EOF, open: io.EOF, open + " ": io.EOF, open + "<a": io.ErrUnexpectedEOF,
		open + "<a>x": io.ErrUnexpectedEOF, open + "<a b='": io.ErrUnexpectedEOF,
		open + "<a>\xc3": io.ErrUnexpectedEOF, "<s": io.ErrUnexpectedEOF, open + "</s>": ErrEnd,
		open + "<a/></s": io.ErrUnexpectedEOF,
	} {
		if _, err := readAll(t, strings.NewReader(in), Limits{}); !errors.Is(err, want) && (want != ErrEnd || err != nil) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

func TestKeepPrefixes(t *testing.T) {
	x := NewStreamReader(Limits{KeepPrefixes: true})
	var d exi.Doc
	br := bufio.NewReader(strings.NewReader("<a xmlns='u' xmlns:x='urn:x'><x:b x:c='1'/></a>"))
	if err := x.ReadElement(br, &d); err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := range d.Root().Events() {
		got = append(got, e.Kind.String()+":"+e.Prefix)
	}
	if s := strings.Join(got, " "); s != "SE: NS: NS:x SE:x AT:x EE: EE:" {
		t.Error(s)
	}
	b, err := AppendElement(nil, &d, Scope{})
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != "<a xmlns='u' xmlns:x='urn:x'><b xmlns='urn:x' xmlns:_0='urn:x' _0:c='1'/></a>" {
		t.Errorf("%s", b)
	}
}
