package compress

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

func reader(p []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(p)) }

// read reads one XML element into d.
func read(text string, d *exi.Doc) bool {
	x := xmltext.NewStreamReader(xmltext.Limits{})
	r := bufio.NewReader(strings.NewReader("<s:stream xmlns:s='" + xmpp.NSStream + "' xmlns='jabber:client'>" + text))
	return x.ReadOpen(r, d) == nil && x.ReadElement(r, d) == nil
}

// parse reads one XML element.
func parse(t *testing.T, text string) exi.Cursor {
	t.Helper()
	d := new(exi.Doc)
	if !read(text, d) {
		t.Fatalf("not an element: %s", text)
	}
	return d.Root()
}

// text writes one XML element.
func text(t *testing.T, d *exi.Doc) string {
	t.Helper()
	b, err := xmltext.AppendElement(nil, d, xmltext.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func handle(t *testing.T, n *Negotiation, text string) (setup, Result) {
	t.Helper()
	r, err := n.Handle(parse(t, text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !r.Handled {
		t.Fatalf("%s: not taken", text)
	}
	var s setup
	if r.Reply != nil {
		var d exi.Doc
		r.Reply.AppendEvents(&d)
		if d.Root().Name() == nameSetupResponse {
			if err := s.parse(d.Root()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, r
}

func replyName(t *testing.T, r Result) string {
	t.Helper()
	if r.Reply == nil {
		return ""
	}
	var d exi.Doc
	r.Reply.AppendEvents(&d)
	name := d.Root().Name().Value().Local
	if f := d.Root().First(); name == "failure" && f.Valid() {
		name += "/" + f.Name().Value().Local
	}
	return name
}

// refs writes schema elements.
func refs(list []Ref) string {
	var d exi.Doc
	s := setup{Schemas: list}
	s.AppendEvents(&d)
	text, err := xmltext.AppendElement(nil, &d, xmltext.Scope{})
	if err != nil {
		panic(err)
	}
	inner := string(text)
	inner = inner[strings.Index(inner, ">")+1:]
	return strings.TrimSuffix(inner, "</setup>")
}

const open = "<setup xmlns='" + NSEXI + "' "

const doCompress = "<compress xmlns='" + NSCompress + "'><method>exi</method></compress>"

func Test0322R04R06_CompressBeforeAgreement(t *testing.T) {
	n := newServer(t, nil).Accept()
	_, r := handle(t, n, doCompress)
	if got := replyName(t, r); got != "failure/setup-failed" || r.Codec != nil {
		t.Errorf("compress before agreement: %s", got)
	}
	for _, m := range []string{"lzw", "exi:15222", ""} {
		_, r := handle(t, n, "<compress xmlns='"+NSCompress+"'><method>"+m+"</method></compress>")
		if got := replyName(t, r); got != "failure/unsupported-method" {
			t.Errorf("method %q: %s", m, got)
		}
	}
}

func Test0322R09_NumbersOnlyGoDown(t *testing.T) {
	s := newServer(t, func(s *Server) { s.Ceiling.ValueMaxLength = 50 })
	all := refs(s.Library.preinstalled())
	for _, c := range []struct {
		asked string
		want  int
		agree bool
	}{{"valueMaxLength='100'", 50, false}, {"valueMaxLength='50'", 50, true}, {"valueMaxLength='20'", 20, true}, {"", 50, false}} {
		got, _ := handle(t, s.Accept(), open+c.asked+">"+all+"</setup>")
		if got.ValueMaxLength != c.want || got.Agreement != c.agree {
			t.Errorf("%q: got %d, agreement %v; want %d, %v", c.asked, got.ValueMaxLength, got.Agreement, c.want, c.agree)
		}
	}
}

func Test0322R10R11R12R13_AgreementOnlyForWhatIsKnownExactly(t *testing.T) {
	s := newServer(t, nil)
	have := s.Library.preinstalled()
	got, _ := handle(t, s.Accept(), open+">"+refs(have)+"</setup>")
	if !got.Agreement || got.ConfigID == "" || len(got.Missing) != 0 || len(got.Schemas) != len(have) {
		t.Errorf("an exact proposal: agreement %v, id %q, %d missing", got.Agreement, got.ConfigID, len(got.Missing))
	}
	again, _ := handle(t, s.Accept(), open+">"+refs(have)+"</setup>")
	if again.ConfigID == got.ConfigID {
		t.Error("two agreements share an id")
	}
	for name, change := range map[string]func(*Ref){
		"ns":    func(r *Ref) { r.NS += "x" },
		"bytes": func(r *Ref) { r.Bytes++ },
		"md5":   func(r *Ref) { r.MD5 = strings.Repeat("0", 32) },
		"case":  func(r *Ref) { r.MD5 = strings.ToUpper(r.MD5) }, // 0322-R47
	} {
		one := have[0]
		change(&one)
		got, _ := handle(t, s.Accept(), open+">"+refs(append([]Ref{one}, have[1:]...))+"</setup>")
		if got.Agreement || len(got.Missing) != 1 || got.Missing[0] != one || len(got.Schemas) != len(have)-1 {
			t.Errorf("another %s: agreement %v, missing %v", name, got.Agreement, got.Missing)
		}
	}
	twice, _ := handle(t, s.Accept(), open+">"+refs(append(have, have[0]))+"</setup>")
	if twice.Agreement || len(twice.Missing) != 1 {
		t.Errorf("one namespace twice: agreement %v, missing %v", twice.Agreement, twice.Missing)
	}
}

func Test0322R28R29R30R32_QuickSetup(t *testing.T) {
	s := newServer(t, nil)
	have := refs(s.Library.preinstalled())
	full, _ := handle(t, s.Accept(), open+"preserveComments='true'>"+have+"</setup>")
	n := s.Accept()
	quick, _ := handle(t, n, open+"configurationId='"+full.ConfigID+"'/>")
	if !quick.Agreement || quick.ConfigID != full.ConfigID || len(quick.Schemas) != 0 || !quick.bare {
		t.Errorf("known id: %+v", quick)
	}
	if _, r := handle(t, n, doCompress); r.Codec == nil {
		t.Error("no compression after quick setup")
	}
	for name, text := range map[string]string{
		"unknown id":  open + "configurationId='nobody'/>",
		"id and more": open + "configurationId='" + full.ConfigID + "' strict='true'/>",
		"location":    open + "configurationLocation='https://example.org/c'/>",
	} {
		n := s.Accept()
		got, _ := handle(t, n, text)
		if got.Agreement {
			t.Errorf("%s: agreement", name)
		}
		if _, r := handle(t, n, doCompress); r.Codec != nil {
			t.Errorf("%s: compressed", name)
		}
	}
	if got, _ := handle(t, s.Accept(), open+"configurationId='nobody'/>"); got.ConfigID != "nobody" {
		t.Errorf("an unknown id is answered with %q", got.ConfigID)
	}
}

func TestConfigurationsExpire(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newServer(t, func(s *Server) { s.Now = func() time.Time { return now } })
	full, _ := handle(t, s.Accept(), open+">"+refs(s.Library.preinstalled())+"</setup>")
	now = now.Add(Expiry + time.Second)
	if got, _ := handle(t, s.Accept(), open+"configurationId='"+full.ConfigID+"'/>"); got.Agreement {
		t.Error("an expired configuration was taken")
	}
}

func TestImpossibleOptionsAreMendedAndWrittenOut(t *testing.T) {
	s := newServer(t, nil)
	have := refs(s.Library.preinstalled())
	for asked, check := range map[string]func(setup) bool{
		"strict='true' preserveComments='true'":         func(g setup) bool { return !g.Strict },
		"strict='true' selfContained='true'":            func(g setup) bool { return !g.Strict },
		"compression='true' alignment='byte-alignment'": func(g setup) bool { return g.Alignment == exi.BitPacked },
		"compression='true' selfContained='true'":       func(g setup) bool { return !g.SelfContained },
		"version='2'":                                 func(g setup) bool { return g.Version == 1 },
		"alignment='sideways'":                        func(g setup) bool { return g.Alignment == exi.BitPacked },
		"valueMaxLength='0'":                          func(g setup) bool { return g.ValueMaxLength == 0 },
		"valueMaxLength='99999999999999999999'":       func(g setup) bool { return true },
		"xmlns:p='" + NSPostern + "' p:window='true'": func(g setup) bool { return !g.Window },
	} {
		got, r := handle(t, s.Accept(), open+asked+">"+have+"</setup>")
		if got.Agreement || !check(got) {
			t.Errorf("%s: %+v", asked, got.Params)
		}
		var d exi.Doc
		r.Reply.AppendEvents(&d)
		if _, ok := d.Root().Attr(exi.N("", "strict")); !ok {
			t.Errorf("%s: the options are not written out", asked)
		}
	}
}

func Test0322R17R46_TextUploadIsSharedUnderItsRealName(t *testing.T) {
	text := "<schema xmlns='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:example:u'><element name='e'/></schema>"
	want := refOf("urn:example:u", []byte(text))
	upload := func(t *testing.T, s *Server, attrs string) {
		t.Helper()
		var d exi.Doc
		d.Element(exi.N("", "x"), exi.BytesValue(exi.Base64, text))
		handle(t, s.Accept(), "<uploadSchema xmlns='"+NSEXI+"' "+attrs+">"+d.Root().Text().String()+"</uploadSchema>")
	}
	s := newServer(t, func(s *Server) { s.Uploads = true })
	upload(t, s, "md5Hash='00000000000000000000000000000000' bytes='1'")
	got, _ := handle(t, s.Accept(), open+">"+refs(append(s.Library.preinstalled(), want))+"</setup>")
	if !got.Agreement {
		t.Errorf("another client's proposal with the uploaded schema: missing %v", got.Missing)
	}
	closed := newServer(t, nil)
	upload(t, closed, "")
	if closed.Library.Has(want) {
		t.Error("an upload was taken although uploads are off")
	}
	upload(t, s, "contentType='ExiBody'")
	if _, err := s.Library.Upload([]byte("<nonsense/>")); err == nil {
		t.Error("an upload that is no schema was taken")
	}
}

func TestUploadsAreBounded(t *testing.T) {
	l, err := NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	l.maxOctets = 2000
	var names []Ref
	for i := range 20 {
		text := "<schema xmlns='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:example:" + strings.Repeat("x", i+1) + "'><!--" + strings.Repeat("y", 300) + "--></schema>"
		r, err := l.Upload([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, r)
		l.Has(names[0]) // keep the first in use
	}
	if !l.Has(names[0]) || !l.Has(names[19]) || l.Has(names[1]) || l.octets > 2000 {
		t.Errorf("kept %d octets; first %v, second %v, last %v", l.octets, l.Has(names[0]), l.Has(names[1]), l.Has(names[19]))
	}
	if _, err := l.Upload(make([]byte, MaxSchema+1)); err == nil {
		t.Error("an oversize upload was taken")
	}
}

func Test0322R23R26_DownloadIsRefusedWithTheSameURL(t *testing.T) {
	_, r := handle(t, newServer(t, nil).Accept(), "<downloadSchema xmlns='"+NSEXI+"' url='https://example.org/a.xsd'/>")
	var d exi.Doc
	r.Reply.AppendEvents(&d)
	url, _ := d.Root().Attr(attrURL)
	result, _ := d.Root().Attr(attrResult)
	if d.Root().Name() != nameDownloaded || !url.Is("https://example.org/a.xsd") || !result.Is("false") || d.Root().First().Name() != exi.N(NSEXI, "invalidUrl") {
		t.Errorf("answer: %v %v %v", d.Root().Name(), url, result)
	}
}

func TestSetupFloodEndsTheStream(t *testing.T) {
	n := newServer(t, nil).Accept()
	for range maxSetups {
		handle(t, n, open+"/>")
	}
	if _, err := n.Handle(parse(t, open+"/>")); err == nil {
		t.Error("one proposal too many was answered")
	}
}

func TestOtherElementsAreLeftAlone(t *testing.T) {
	r, err := newServer(t, nil).Accept().Handle(parse(t, "<iq id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"))
	if err != nil || r.Handled {
		t.Errorf("an iq: %+v, %v", r, err)
	}
}
