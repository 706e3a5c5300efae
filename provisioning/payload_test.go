package provisioning

import (
	"reflect"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/node"
	"postern/xmpp"
)

func element(t testing.TB, xml string) exi.Cursor {
	t.Helper()
	var d exi.Doc
	if err := xmltext.ParseElement(xml, &d); err != nil {
		t.Fatalf("%s: %v", xml, err)
	}
	return d.Root()
}

func written(t testing.TB, p xmpp.Payload) string {
	t.Helper()
	var d exi.Doc
	p.AppendEvents(&d)
	b, err := xmltext.AppendElement(nil, &d, xmltext.Scope{Default: xmpp.NSClient})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func disc(s string) string { return strings.Replace(s, ">", " xmlns='"+NSDiscovery+"'>", 1) }

func someRange(s string) ValueRange {
	r, err := node.ParseRange(s)
	if err != nil {
		panic(err)
	}
	return r
}

// Each payload reads back as it was written.
func TestPayloadsReadBack(t *testing.T) {
	owner, thing := jid.MustParse("owner@a.example"), jid.MustParse("thing@a.example")
	ref := Ref{ID: "n", Source: "s", Cache: "c"}
	tags := []Tag{{"SN", false, "a<b"}, {"V", true, "1.20"}, {"LAT", true, "-33.5"}}
	for _, c := range []struct {
		p     xmpp.Payload
		parse func(exi.Cursor) (any, error)
	}{
		{Register{ref, true, tags}, func(c exi.Cursor) (any, error) { v, err := ParseRegister(c); return v, err }},
		{Mine{ref, true, tags}, func(c exi.Cursor) (any, error) { v, err := ParseMine(c); return v, err }},
		{Claimed{ref, owner, true}, func(c exi.Cursor) (any, error) { v, err := ParseClaimed(c); return v, err }},
		{Notice{NameDisown, ref, thing}, func(c exi.Cursor) (any, error) { v, err := ParseNotice(c); return v, err }},
		{Update{ref, thing, tags}, func(c exi.Cursor) (any, error) { v, err := ParseUpdate(c); return v, err }},
		{Found{[]FoundThing{{ref, thing, owner, tags}}, true}, func(c exi.Cursor) (any, error) { v, err := ParseFound(c); return v, err }},
		{Search{3, 7, []Op{{Tag: "A", Compare: NEq, Value: "x"}, {Tag: "B", Numeric: true, Compare: NRange, Min: "1.5", Max: "2", OpenMax: true}, {Tag: "C", Compare: Mask, Value: "a*b", Wildcard: "*"}}},
			func(c exi.Cursor) (any, error) { v, err := ParseSearch(c); return v, err }},
		{Question{false, owner, []Ref{ref}, []string{"Energy"}, node.Momentary | node.Historical, "s", "d", "u", false}, func(c exi.Cursor) (any, error) { v, err := ParseQuestion(c); return v, err }},
		{Question{true, owner, []Ref{ref, {ID: "m"}}, []string{"Output"}, 0, "s", "d", "u", true}, func(c exi.Cursor) (any, error) { v, err := ParseQuestion(c); return v, err }},
		{Answer{Question: Question{JID: owner, Nodes: []Ref{ref}, Names: []string{"Energy"}, Types: AllTypes}, Result: true}, func(c exi.Cursor) (any, error) { v, err := ParseAnswer(c); return v, err }},
		{Answer{Question: Question{Control: true, JID: owner, Nodes: []Ref{ref}, Names: []string{"A", "B", "C"}}, Result: true, Values: []ParameterValues{
			{Name: "A", Values: node.Numbers(someRange("15..25"), someRange("30.5.."))}, {Name: "B", Values: Values{Limited: true, Other: true}},
			{Name: "C"}, {Values: node.NoValue()}}}, func(c exi.Cursor) (any, error) { v, err := ParseAnswer(c); return v, err }},
		{Friendship{owner, true, true}, func(c exi.Cursor) (any, error) { v, err := ParseFriendship(c); return v, err }},
	} {
		got, err := c.parse(element(t, written(t, c.p)))
		if err != nil || !reflect.DeepEqual(got, any(c.p)) {
			t.Errorf("%s\nread %#v, %v\nwant %#v", written(t, c.p), got, err, c.p)
		}
	}
}

func Test0347R18_PublicIsTheDefault(t *testing.T) {
	m, err := ParseMine(element(t, disc("<mine><str name='KEY' value='x'/></mine>")))
	if err != nil || m.Private {
		t.Errorf("%+v, %v", m, err)
	}
}

func Test0347R54_LimitsOfTags(t *testing.T) {
	for value, ok := range map[string]bool{strings.Repeat("ä", 128): true, strings.Repeat("ä", 129): false} {
		if err := (Tag{"A", false, value}).Check(); (err == nil) != ok {
			t.Errorf("value of %d octets: %v", len(value), err)
		}
	}
	for name, ok := range map[string]bool{
		strings.Repeat("ä", 32): true, strings.Repeat("ä", 33): false, "": false,
		"a:b": false, "a#": false, "a b": false, "a;b": false, `a\b`: false, "a\u00a0b": false,
	} {
		if err := (Tag{name, false, ""}).Check(); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, xml := range []string{
		"<register><num name='V' value='NaN'/></register>",
		"<register><num name='V' value='INF'/></register>",
		"<register><num name='V' value='x'/></register>",
		"<register><str name='V' value='1'/><num name='v' value='1'/></register>",
		"<register><str name='V'/></register>",
		"<register>" + strings.Repeat("<str name='V' value='1'/>", 65) + "</register>",
	} {
		if r, err := ParseRegister(element(t, disc(xml))); xmpp.AsError(err).Condition != xmpp.BadRequest {
			t.Errorf("%.60s: %v, %v", xml, r, err)
		}
	}
}

func Test0347R14_NamesFoldCase(t *testing.T) {
	if !(Tag{"sn", false, "x"}).Same(Tag{"SN", false, "x"}) || !(Tag{"V", true, "1.2"}).Same(Tag{"v", true, "1.20"}) {
		t.Error("the same tag differs")
	}
	if (Tag{"V", true, "1"}).Same(Tag{"V", false, "1"}) || (Tag{"SN", false, "x"}).Same(Tag{"SN", false, "X"}) {
		t.Error("other tags are the same")
	}
}

func search(t *testing.T, ops string) Search {
	t.Helper()
	s, err := ParseSearch(element(t, disc("<search>"+ops+"</search>")))
	if err != nil {
		t.Fatalf("%s: %v", ops, err)
	}
	return s
}

var searched = []Tag{{"NAME", false, "Meter 10"}, {"COUNT", false, "10"}, {"V", true, "1.5"}, {"KEY", false, "secret"}}

func check(t *testing.T, cases map[string]bool) {
	t.Helper()
	for op, want := range cases {
		s := search(t, op)
		if got := s.Compile().Matches(IndexTags(searched)); got != want {
			t.Errorf("%s: %v", op, got)
		}
	}
}

func Test0347R64_Ranges(t *testing.T) {
	check(t, map[string]bool{
		"<numRange name='V' min='1.5' max='2'/>":                                              true,
		"<numRange name='V' min='1.5' max='2' minIncluded='false'/>":                          false,
		"<numRange name='V' min='1' max='1.50'/>":                                             true,
		"<numRange name='V' min='1' max='1.5' maxIncluded='false'/>":                          false,
		"<numRange name='V' min='1.5' max='1.5' minIncluded='true' maxIncluded='true'/>":      true,
		"<numNRange name='V' min='1.5' max='2'/>":                                             false,
		"<numNRange name='V' min='1.5' max='2' minIncluded='false'/>":                         true,
		"<numNRange name='V' min='1' max='1.5' maxIncluded='false'/>":                         true,
		"<numNRange name='V' min='1' max='2' minIncluded='false' maxIncluded='false'/>":       false,
		"<numRange name='V' min='2' max='1'/>":                                                false, // D26
		"<numNRange name='V' min='2' max='1'/>":                                               true,
		"<numNRange name='W' min='2' max='1'/>":                                               false, // D18
		"<strRange name='COUNT' min='10' max='2'/>":                                           true,
		"<strRange name='COUNT' min='10' max='2' minIncluded='false'/>":                       false,
		"<strRange name='COUNT' min='0' max='10' maxIncluded='0'/>":                           false,
		"<strNRange name='COUNT' min='0' max='10' maxIncluded='0'/>":                          true,
		"<strNRange name='COUNT' min='0' max='2'/>":                                           false,
		"<strNRange name='COUNT' min='10' max='10' minIncluded='false' maxIncluded='false'/>": true,
	})
}

func Test0347R47_OperatorsSeeTheirKind(t *testing.T) {
	check(t, map[string]bool{
		"<strEq name='count' value='10'/>":   true,
		"<strLt name='COUNT' value='9'/>":    true, // as text
		"<numEq name='COUNT' value='10'/>":   false,
		"<numNEq name='COUNT' value='9'/>":   false,
		"<strEq name='V' value='1.5'/>":      false,
		"<strNEq name='V' value='9'/>":       false,
		"<numEq name='v' value='15E-1'/>":    true,
		"<numNEq name='V' value='1.5'/>":     false,
		"<numGt name='V' value='1.4'/>":      true,
		"<numGtEq name='V' value='1.5'/>":    true,
		"<numLt name='V' value='1.5'/>":      false,
		"<numLtEq name='V' value='1.5'/>":    true,
		"<strGt name='NAME' value='Meter'/>": true,
		"<strGtEq name='NAME' value='N'/>":   false,
		"<strLtEq name='NAME' value='N'/>":   true,
	})
}

func Test0347R41R42_UnknownTagsAndKey(t *testing.T) {
	check(t, map[string]bool{
		"<strNEq name='NONE' value='x'/>":                   false,
		"<numNEq name='NONE' value='1'/>":                   false,
		"<strNEq name='KEY' value='x'/>":                    false,
		"<strEq name='key' value='secret'/>":                false,
		"<strMask name='KEY' value='*' wildcard='*'/>":      false,
		"<strMask name='\u212aEY' value='*' wildcard='*'/>": false,
		"<strGt name='KEY' value=''/>":                      false,
		"<strNRange name='KEY' min='b' max='a'/>":           false,
		"<numNEq name='KEY' value='1'/>":                    false,
	})
}

func TestMasks(t *testing.T) {
	for _, c := range []struct {
		s, mask, wildcard string
		want              bool
	}{
		{"Meter 10", "Met*", "*", true}, {"Meter 10", "*10", "*", true}, {"Meter 10", "M*r*0", "*", true}, {"Meter 10", "*", "*", true},
		{"Meter 10", "meter*", "*", false}, {"Meter 10", "Meter 10", "*", true}, {"", "**", "*", true}, {"aba", "ab%%ba", "%%", false},
		{"abba", "ab%%ba", "%%", true}, {"a*c", "a*c", "%", true}, {"abab", "*ab*ab*", "*", true}, {"ab", "*ab*ab*", "*", false},
	} {
		if got := maskMatches(c.s, c.mask, c.wildcard); got != c.want {
			t.Errorf("%q ~ %q: %v", c.s, c.mask, got)
		}
	}
}

func TestSearchesThatAreNone(t *testing.T) {
	for _, ops := range []string{"", "<strMask name='A' value='x' wildcard=''/>", "<strMask name='A' value='x'/>", "<numMask name='A' value='x' wildcard='*'/>",
		"<numEq name='A' value='NaN'/>", "<numEq name='A' value='x'/>", "<numEq name='A'/>", "<strRange name='A' min='1'/>", "<strEq value='x'/>",
		"<numRange name='A' min='1' max='2' minIncluded='maybe'/>", "<foo name='A' value='x'/>", strings.Repeat("<strEq name='A' value='x'/>", 33)} {
		if s, err := ParseSearch(element(t, disc("<search>"+ops+"</search>"))); xmpp.AsError(err).Condition != xmpp.BadRequest {
			t.Errorf("%.60s: %v, %v", ops, s, err)
		}
	}
	for _, attrs := range []string{"offset='-1'", "maxCount='0'", "offset='x'"} {
		if s, err := ParseSearch(element(t, disc("<search "+attrs+"><strEq name='A' value='x'/></search>"))); err == nil {
			t.Errorf("%s: %v", attrs, s)
		}
	}
}

func TestAnswersWithoutResultAreErrors(t *testing.T) {
	for _, xml := range []string{"<canReadResponse jid='a@b.example'/>", "<canReadResponse jid='a@b.example' result='yes'/>",
		"<canReadResponse result='true'/>", "<other jid='a@b.example' result='true'/>", "<canReadResponse jid='a@b.example' result='true'><node/></canReadResponse>"} {
		xml = strings.Replace(xml, " ", " xmlns='"+NS+"' ", 1)
		if a, err := ParseAnswer(element(t, xml)); err == nil {
			t.Errorf("%s: %v", xml, a)
		}
	}
}

func FuzzPayloads(f *testing.F) {
	for _, s := range []string{
		disc("<register><str name='A' value='b'/><num name='V' value='1.2'/></register>"),
		disc("<search><strMask name='A' value='*' wildcard='*'/><numRange name='V' min='1' max='2'/></search>"),
		"<canRead xmlns='" + NS + "' jid='a@b.example/c' all='true'><node nodeId='x'/><field name='y'/></canRead>",
		"<found xmlns='" + NSDiscovery + "' more='true'><thing jid='a@b.example' owner='c@d.example'/></found>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d exi.Doc
		if xmltext.ParseElement(s, &d) != nil {
			return
		}
		c := d.Root()
		if r, err := ParseRegister(c); err == nil {
			back, err := ParseRegister(element(t, written(t, r)))
			if err != nil || len(back.Tags) != len(r.Tags) {
				t.Fatalf("%v became %v, %v", r, back, err)
			}
		}
		if s, err := ParseSearch(c); err == nil {
			s.Compile().Matches(IndexTags(searched))
			if back, err := ParseSearch(element(t, written(t, s))); err != nil || len(back.Ops) != len(s.Ops) {
				t.Fatalf("%v became %v, %v", s, back, err)
			}
		}
		if q, err := ParseQuestion(c); err == nil {
			if back, err := ParseQuestion(element(t, written(t, q))); err != nil || back.Types != q.Types || len(back.Names) != len(q.Names) {
				t.Fatalf("%v became %v, %v", q, back, err)
			}
		}
		for _, parse := range []func(exi.Cursor) error{
			func(c exi.Cursor) error { _, err := ParseMine(c); return err },
			func(c exi.Cursor) error { _, err := ParseClaimed(c); return err },
			func(c exi.Cursor) error { _, err := ParseNotice(c); return err },
			func(c exi.Cursor) error { _, err := ParseUpdate(c); return err },
			func(c exi.Cursor) error { _, err := ParseFound(c); return err },
			func(c exi.Cursor) error { _, err := ParseAnswer(c); return err },
			func(c exi.Cursor) error { _, err := ParseFriendship(c); return err },
			func(c exi.Cursor) error { _, err := ParseJID(c); return err },
		} {
			if err := parse(c); err != nil && xmpp.AsError(err).Condition != xmpp.BadRequest {
				t.Fatal(err)
			}
		}
	})
}
