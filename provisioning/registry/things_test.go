package registry

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/provisioning"
	"postern/xmpp"
)

func Test0347R01R66_TheFeatureIsAdvertised(t *testing.T) {
	l := newLab(t)
	got, err := l.get(stranger, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	if err != nil || !strings.Contains(got, "var='urn:xmpp:iot:discovery'") || !strings.Contains(got, "var='urn:xmpp:iot:provisioning'") {
		t.Errorf("%s, %v", got, err)
	}
	l = newLab(t, func(c *Config) { c.NoProvisioning = true })
	if got, _ := l.get(stranger, "<query xmlns='http://jabber.org/protocol/disco#info'/>"); strings.Contains(got, "'urn:xmpp:iot:provisioning'") {
		t.Error("a service that is not offered is a feature")
	}
}

func Test0347R08R09R10_RegisterReplaces(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register><str name='A' value='1'/><str name='KEY' value='k'/></register>", "")
	l.ok(thing, "<register><str name='B' value='2'/><str name='KEY' value='k'/></register>", "")
	if len(l.things) != 1 {
		t.Fatalf("%d records", len(l.things))
	}
	l.fails(owner, "<mine><str name='A' value='1'/><str name='KEY' value='k'/></mine>", xmpp.ItemNotFound)
	l.ok(owner, "<mine><str name='B' value='2'/><str name='KEY' value='k'/></mine>", "<claimed jid='thing@a.example' public='true'/>")
	if n := l.hits("<strNEq name='A' value=''/>"); n != 0 {
		t.Error("a dropped tag is still there")
	}
}

func Test0347R11_RegisterOfAClaimedThing(t *testing.T) {
	l := claimedLab(t)
	l.ok(thing, "<register><str name='KEY' value='other'/></register>", "<claimed jid='owner@a.example' public='true'/>")
	if n := l.hits("<strEq name='SN' value='42'/>"); n != 1 {
		t.Error("the tags have changed")
	}
}

func Test0347R15_SelfOwnedThings(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MinKeyBits = 64 })
	l.ok(thing, "<register selfOwned='true'><str name='SN' value='42'/></register>", "")
	if got := l.found("<strEq name='SN' value='42'/>"); got != "<found><thing owner='thing@a.example' jid='thing@a.example'><str name='SN' value='42'/></thing></found>" {
		t.Error(got)
	}
	l.fails(owner, "<mine><str name='SN' value='42'/></mine>", xmpp.ItemNotFound)
	l.ok(thing, "<register selfOwned='true'><str name='SN' value='43'/></register>", "<claimed jid='thing@a.example' public='true'/>") // D23
	l.ok(thing, "<update><str name='SN' value='44'/></update>", "")
	if l.hits("<strEq name='SN' value='44'/>") != 1 {
		t.Error("not updated")
	}
}

func Test0347R17_ClaimsNeedExactlyTheTags(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register>"+tags+"</register>", "")
	for _, wrong := range []string{
		"<str name='SN' value='42'/><num name='V' value='1.2'/>",
		tags + "<str name='A' value=''/>",
		"<str name='SN' value='42'/><str name='V' value='1.2'/><str name='KEY' value='k42'/>",
		"<str name='SN' value='42'/><num name='V' value='1.2'/><str name='KEY' value='K42'/>",
	} {
		l.fails(owner, "<mine>"+wrong+"</mine>", xmpp.ItemNotFound)
	}
	l.ok(owner, "<mine><num name='v' value='12E-1'/><str name='key' value='k42'/><str name='sn' value='42'/></mine>", "<claimed jid='thing@a.example' public='true'/>")
}

func Test0347R16R19R46_NodesBehindAConcentrator(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register nodeId='n1' sourceId='s'><str name='SN' value='1'/><str name='KEY' value='a'/></register>", "")
	l.ok(thing, "<register nodeId='n2' sourceId='s' cacheType='c'><str name='SN' value='2'/><str name='KEY' value='b'/></register>", "")
	l.took()
	l.ok(owner, "<mine><str name='SN' value='2'/><str name='KEY' value='b'/></mine>", "<claimed jid='thing@a.example' public='true' nodeId='n2' sourceId='s' cacheType='c'/>")
	if s := l.took(); len(s) != 1 || s[0].xml != "<claimed jid='owner@a.example' public='true' nodeId='n2' sourceId='s' cacheType='c'/>" || s[0].To.String() != thing {
		t.Errorf("%v", s)
	}
	if got := l.found("<strEq name='SN' value='2'/>"); !strings.Contains(got, "nodeId='n2' sourceId='s' cacheType='c'") {
		t.Error(got)
	}
	l.fails(owner, "<remove jid='thing@a.example' nodeId='n2'/>", xmpp.ItemNotFound)
	l.ok(owner, "<remove jid='thing@a.example/any' nodeId='n2' sourceId='s' cacheType='c'/>", "")
	if s := l.took(); len(s) != 1 || s[0].xml != "<removed nodeId='n2' sourceId='s' cacheType='c'/>" {
		t.Errorf("%v", s)
	}
}

func Test0347R20_ARepeatedClaimChangesNothing(t *testing.T) {
	l := claimedLab(t)
	l.ok(thing, "<update><str name='KEY' value=''/></update>", "")
	l.ok(owner, "<mine public='false'>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	if s := l.took(); len(s) != 0 {
		t.Errorf("sent %v", s)
	}
	if l.hits("<strEq name='SN' value='42'/>") != 1 {
		t.Error("it is no longer public")
	}
}

func Test0347R21_ForeignThingsLookUnknown(t *testing.T) {
	l := claimedLab(t)
	_, foreign := l.set(other1, "<mine>"+tags+"</mine>")
	_, unknown := l.set(other1, "<mine><str name='KEY' value='no'/></mine>")
	a, b := xmlOf(t, xmpp.AsError(foreign)), xmlOf(t, xmpp.AsError(unknown))
	if a != b || !strings.Contains(a, "item-not-found") {
		t.Errorf("%s and %s", a, b)
	}
	// The same work for both: a digest and one look-up, nothing written.
	work := func(inner string) float64 {
		return testing.AllocsPerRun(20, func() {
			l.claimable(l.claimDigest([]provisioning.Tag{{Name: "KEY", Value: inner}}), provisioning.Ref{}, "other@b.example")
		})
	}
	if x, y := work("k42"), work("xyz"); x != y {
		t.Errorf("%v and %v allocations", x, y)
	}
}

func Test0347R22R23_TheThingIsTold(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(owner, "<mine public='false'>"+tags+"</mine>", "<claimed jid='thing@a.example' public='false'/>")
	s := l.took()
	if len(s) != 1 || s[0].Type != xmpp.Set || s[0].To.String() != thing || s[0].From.String() != domain || s[0].xml != "<claimed jid='owner@a.example' public='false'/>" {
		t.Errorf("%v", s)
	}
	l.ok(thing, "<register>"+tags+"</register>", "<claimed jid='owner@a.example' public='false'/>")
	if s := l.took(); len(s) != 0 {
		t.Errorf("told again although it has answered: %v", s)
	}
}

// A notice that is lost comes when the thing is there again, also after the
// service was restarted (0347-D4).
func TestNoticesWaitForTheThing(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.answer = func(sent) *xmpp.Error { return xmpp.NewError(xmpp.ServiceUnavailable, "") }
	l.ok(owner, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	l.ok(owner, "<remove jid='thing@a.example'/>", "")
	l.took()
	l.restart()
	l.answer = nil
	if _, err := l.give(xmpp.Presence, "", "thing@a.example/new", ""); err != nil {
		t.Fatal(err)
	}
	s := l.took()
	if len(s) != 2 || s[0].To.String() != "thing@a.example/new" || !strings.HasPrefix(s[0].xml, "<claimed") || s[1].xml != "<removed/>" {
		t.Fatalf("%v", s)
	}
	if _, err := l.give(xmpp.Presence, "", "thing@a.example/new", ""); err != nil || len(l.took()) != 0 {
		t.Error("told twice")
	}
}

func Test0347R28R29_RemoveIsForTheOwner(t *testing.T) {
	l := claimedLab(t)
	l.fails(other1, "<remove jid='thing@a.example'/>", xmpp.ItemNotFound)
	l.fails(owner, "<remove jid='nothing@a.example'/>", xmpp.ItemNotFound)
	l.fails(owner, "<remove/>", xmpp.BadRequest)
	l.ok(owner, "<remove jid='thing@a.example'/>", "")
	if s := l.took(); len(s) != 1 || s[0].xml != "<removed/>" || s[0].To.String() != thing {
		t.Errorf("%v", s)
	}
	if l.hits("<strNEq name='SN' value='0'/>") != 0 {
		t.Error("it is still listed")
	}
}

// A removed thing stays its owner's (0347-D1).
func TestTombstones(t *testing.T) {
	l := claimedLab(t)
	l.ok(owner, "<remove jid='thing@a.example'/>", "")
	for range 2 {
		l.fails(owner, "<remove jid='thing@a.example'/>", xmpp.ItemNotFound)
		l.fails(thing, "<update><str name='A' value='1'/></update>", xmpp.ItemNotFound)
		l.fails(owner, "<update jid='thing@a.example'><str name='A' value='1'/></update>", xmpp.ItemNotFound)
		l.ok(thing, "<register>"+tags+"</register>", "<claimed jid='owner@a.example' public='true'/>")
		l.fails(other1, "<mine>"+tags+"</mine>", xmpp.ItemNotFound)
		l.restart()
	}
	l.ok(owner, "<mine public='true'>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	if l.hits("<strEq name='SN' value='42'/>") != 1 {
		t.Error("not listed anew")
	}
	l.ok(owner, "<remove jid='thing@a.example'/>", "")
	l.ok(owner, "<disown jid='thing@a.example'/>", "")
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(other1, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
}

func Test0347R31R32_UpdateOverwrites(t *testing.T) {
	l := claimedLab(t)
	l.ok(thing, "<update><str name='sn' value='43'/><str name='key' value=''/><str name='v' value=''/><str name='ROOM' value='1'/></update>", "")
	want := "<found><thing owner='owner@a.example' jid='thing@a.example'><str name='sn' value='43'/><str name='ROOM' value='1'/></thing></found>"
	if got := l.found("<strEq name='SN' value='43'/>"); got != want {
		t.Error(got)
	}
	l.restart()
	if got := l.found("<strEq name='SN' value='43'/>"); got != want {
		t.Error("after a restart: " + got)
	}
}

func Test0347R33_UpdateOfAnUnclaimedThing(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(thing, "<update><str name='SN' value='0'/></update>", "<disowned/>")
	l.ok(owner, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	l.fails(thing2, "<update><str name='SN' value='0'/></update>", xmpp.ItemNotFound)
}

func Test0347R35R36_UpdateByTheOwner(t *testing.T) {
	l := claimedLab(t)
	l.ok(owner, "<update jid='thing@a.example'><str name='ROOM' value='1'/></update>", "")
	if l.hits("<strEq name='ROOM' value='1'/>") != 1 {
		t.Error("not updated")
	}
	l.fails(other1, "<update jid='thing@a.example'><str name='ROOM' value='2'/></update>", xmpp.ItemNotFound)
	l.fails(owner, "<update jid='nothing@a.example'><str name='ROOM' value='2'/></update>", xmpp.ItemNotFound)
	l.fails(owner, "<update><str name='ROOM' value='2'/></update>", xmpp.ItemNotFound)
}

func Test0347R39_SearchSeesPublicThingsOnly(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register>"+tags+"</register>", "")
	if l.hits("<strEq name='SN' value='42'/>") != 0 {
		t.Error("an unclaimed thing is found")
	}
	l.ok(owner, "<mine public='false'>"+tags+"</mine>", "<claimed jid='thing@a.example' public='false'/>")
	if l.hits("<strEq name='SN' value='42'/>") != 0 {
		t.Error("a private thing is found")
	}
}

func Test0347R40_OperatorsAreAnded(t *testing.T) {
	l := claimedLab(t)
	if l.hits("<strEq name='SN' value='42'/><numGt name='V' value='1'/>") != 1 || l.hits("<strEq name='SN' value='42'/><numGt name='V' value='2'/>") != 0 {
		t.Error("not both")
	}
}

func Test0347R42R43_KeyIsNeitherFoundNorShown(t *testing.T) {
	l := claimedLab(t)
	for _, op := range []string{"<strNEq name='KEY' value='x'/>", "<strEq name='key' value='k42'/>", "<strMask name='KEY' value='*' wildcard='*'/>",
		"<strEq name='SN' value='42'/><strNEq name='Key' value=''/>", "<strNRange name='KEY' min='b' max='a'/>"} {
		if l.hits(op) != 0 {
			t.Errorf("%s finds", op)
		}
	}
	if got := l.found("<strEq name='SN' value='42'/>"); strings.Contains(got, "k42") || strings.Contains(got, "KEY") {
		t.Error(got)
	}
}

func Test0347R44R45_Paging(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Limits.ClaimsJID, c.Limits.ClaimsDomain = 1000, 1000 })
	for i := range 120 {
		inner := fmt.Sprintf("<num name='N' value='%d'/><str name='KEY' value='%d'/>", i, i)
		l.ok(fmt.Sprintf("t%03d@a.example/x", i), "<register>"+inner+"</register>", "")
		if _, err := l.set(owner, "<mine>"+inner+"</mine>"); err != nil {
			t.Fatal(err)
		}
		l.pass(time.Second)
	}
	page := func(attrs string) (first string, n int, more bool) {
		got, err := l.get(stranger, "<search "+attrs+"><numGtEq name='N' value='0'/></search>")
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, ok := strings.Cut(got, "jid='"); ok {
			first, _, _ = strings.Cut(rest, "@")
		}
		return first, strings.Count(got, "<thing "), strings.Contains(got, "more='true'")
	}
	for _, c := range []struct {
		attrs, first string
		n            int
		more         bool
	}{
		{"", "t000", 50, true}, {"maxCount='7' offset='5'", "t005", 7, true}, {"maxCount='1000'", "t000", 100, true},
		{"offset='100'", "t100", 20, false}, {"offset='115' maxCount='5'", "t115", 5, false}, {"offset='114' maxCount='5'", "t114", 5, true}, {"offset='120'", "", 0, false},
	} {
		if first, n, more := page(c.attrs); first != c.first || n != c.n || more != c.more {
			t.Errorf("%s: %s, %d, %v", c.attrs, first, n, more)
		}
	}
}

func Test0347R48_UnregisterAlwaysSucceeds(t *testing.T) {
	l := claimedLab(t)
	l.ok(thing2, "<unregister/>", "")
	l.ok(thing, "<unregister nodeId='none'/>", "")
	if l.hits("<strEq name='SN' value='42'/>") != 1 {
		t.Fatal("another record is gone")
	}
	l.ok(thing, "<unregister/>", "")
	if l.hits("<strEq name='SN' value='42'/>") != 0 || len(l.things)+len(l.claims)+len(l.byJID)+len(l.listed) != 0 {
		t.Error("something is left")
	}
}

func Test0347R49R50R51R52_Disown(t *testing.T) {
	l := claimedLab(t)
	l.fails(other1, "<disown jid='thing@a.example'/>", xmpp.ItemNotFound)
	if _, err := l.give(xmpp.Presence, "unavailable", thing, ""); err != nil {
		t.Fatal(err)
	}
	l.fails(owner, "<disown jid='thing@a.example'/>", xmpp.NotAllowed)
	if _, err := l.give(xmpp.Presence, "", thing, ""); err != nil {
		t.Fatal(err)
	}
	l.took()
	l.ok(owner, "<disown jid='thing@a.example'/>", "")
	s := l.took()
	if len(s) != 2 || s[0].xml != "<disowned/>" || s[0].To.String() != thing || s[1].To.String() != owner || s[1].Type != xmpp.Result {
		t.Fatalf("%v", s)
	}
	l.fails(other1, "<mine>"+tags+"</mine>", xmpp.ItemNotFound)
	r := l.Server.get("thing@a.example", provisioning.Ref{})
	if k, ok := provisioning.FindTag(r.Tags, "KEY"); r.Owner != "" || len(r.Tags) != 1 || !ok || k.Value == "k42" {
		t.Errorf("%+v", r)
	}
	l.ok(thing, "<register>"+tags+"</register>", "")
	l.ok(other1, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
}

func Test0347R53_WithoutTheThingsAnswerNothingChanges(t *testing.T) {
	l := claimedLab(t)
	l.silent = true
	if _, err := l.set(owner, "<disown jid='thing@a.example'/>"); err != xmpp.ErrLater {
		t.Fatal(err)
	}
	l.pass(19 * time.Second)
	if s := l.took(); len(s) != 1 {
		t.Fatalf("%v", s)
	}
	l.pass(2 * time.Second)
	if s := l.took(); len(s) != 1 || !strings.Contains(s[0].xml, "not-allowed") || s[0].To.String() != owner {
		t.Fatalf("%v", s)
	}
	l.silent = false
	l.answer = func(sent) *xmpp.Error { return xmpp.NewError(xmpp.Forbidden, "") }
	l.fails(owner, "<disown jid='thing@a.example'/>", xmpp.NotAllowed)
	l.ok(thing, "<register>"+tags+"</register>", "<claimed jid='owner@a.example' public='true'/>")
}

func Test0347R55_AllTagsAreKept(t *testing.T) {
	l := newLab(t)
	var all strings.Builder
	for _, n := range []string{"APT", "AREA", "BLD", "CITY", "CLASS", "COUNTRY", "KEY", "MAN", "MLOC", "MNR", "MODEL", "NAME", "PURL", "REGION", "ROOM", "SN", "STREET", "STREETNR", "CUSTOM"} {
		fmt.Fprintf(&all, "<str name='%s' value='%s'/>", n, strings.ToLower(n))
	}
	for i, n := range []string{"ALT", "LAT", "LON", "V"} {
		fmt.Fprintf(&all, "<num name='%s' value='%d.50'/>", n, i)
	}
	l.ok(thing, "<register>"+all.String()+"</register>", "")
	l.ok(owner, "<mine>"+all.String()+"</mine>", "<claimed jid='thing@a.example' public='true'/>")
	l.restart()
	if got := l.found("<strEq name='CUSTOM' value='custom'/>"); strings.Count(got, "<str ")+strings.Count(got, "<num ") != 22 || !strings.Contains(got, "<num name='V' value='3.50'/>") {
		t.Error(got)
	}
}

func Test0347R56_TagsAreLimited(t *testing.T) {
	l := claimedLab(t)
	for i := range 70 {
		_, err := l.set(thing, fmt.Sprintf("<update><str name='T%d' value='1'/></update>", i))
		if full := i+3 >= provisioning.MaxTags; (err != nil) != full {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MinKeyBits = 64 })
	l.fails(thing, "<register>"+tags+"</register>", xmpp.BadRequest)
	l.fails(thing, "<register><str name='SN' value='1'/></register>", xmpp.BadRequest)
	l.ok(thing, "<register><str name='KEY' value='"+provisioning.NewKey()+"'/></register>", "")
}

// Claim storms are limited for an account and for a domain (0347-D17).
func TestClaimsAreLimited(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Limits.ClaimsJID, c.Limits.ClaimsDomain = 3, 5 })
	wrong := "<mine><str name='KEY' value='x'/></mine>"
	for range 3 {
		l.fails(stranger, wrong, xmpp.ItemNotFound)
	}
	l.fails(stranger, wrong, xmpp.ResourceConstraint)
	// What an account is refused is not counted for its domain.
	l.fails("second@c.example/x", wrong, xmpp.ItemNotFound)
	l.fails("third@c.example/x", wrong, xmpp.ItemNotFound)
	l.fails("fourth@c.example/x", wrong, xmpp.ResourceConstraint)
	l.fails(owner, wrong, xmpp.ItemNotFound)
	l.pass(time.Minute)
	l.fails(stranger, wrong, xmpp.ItemNotFound)
}

// Two unclaimed things with the same tags cannot be told apart (0347-D25).
func TestAmbiguousClaims(t *testing.T) {
	l := newLab(t)
	l.ok(thing, "<register nodeId='a'>"+tags+"</register>", "")
	l.ok(thing, "<register nodeId='b'>"+tags+"</register>", "")
	l.fails(owner, "<mine>"+tags+"</mine>", xmpp.ItemNotFound)
	l.ok(owner, "<mine nodeId='b'>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true' nodeId='b'/>")
	l.ok(other1, "<mine>"+tags+"</mine>", "<claimed jid='thing@a.example' public='true' nodeId='a'/>")
}

// Smack asks with get where the text says set.
func TestGetIsTakenWhereSmackSendsIt(t *testing.T) {
	l := newLab(t)
	steps := []struct{ from, inner, want string }{
		{thing, "<register>" + tags + "</register>", ""},
		{owner, "<mine>" + tags + "</mine>", "<claimed jid='thing@a.example' public='true'/>"},
		{owner, "<remove jid='thing@a.example'/>", ""},
		{owner, "<disown jid='thing@a.example'/>", ""},
	}
	for _, s := range steps {
		if got, err := l.get(s.from, s.inner); err != nil || got != s.want {
			t.Fatalf("%s: %s, %v", s.inner, got, err)
		}
	}
}

func TestWhatIsNotForTheService(t *testing.T) {
	l := newLab(t)
	l.fails(thing, "<claimed jid='a@b.example'/>", xmpp.ServiceUnavailable)
	if got, err := l.give(xmpp.Presence, "subscribe", stranger, ""); err != nil || got != "" {
		t.Error(got, err)
	}
	if s := l.took(); len(s) != 2 || s[0].Type != "subscribed" || s[0].To.String() != "stranger@c.example" || s[1].Type != "" {
		t.Errorf("%v", s)
	}
	if len(l.contacts) != 0 {
		t.Error("strangers are remembered")
	}
	// Answers that nobody waits for, or of the wrong sender, do nothing.
	if _, err := l.HandleStanza(context.Background(), &xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: "x", From: address(thing), To: l.Addr()}); err != nil {
		t.Error(err)
	}
}

// A third party cannot answer in the thing's place.
func TestForgedAcknowledgement(t *testing.T) {
	l := claimedLab(t)
	l.silent = true
	if _, err := l.set(owner, "<disown jid='thing@a.example'/>"); err != xmpp.ErrLater {
		t.Fatal(err)
	}
	id := l.took()[0].ID
	for _, from := range []string{owner, stranger, "thing@a.example/other"} {
		st := &xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: id, From: address(from), To: l.Addr()}
		if _, err := l.HandleStanza(context.Background(), st); err != nil || len(l.took()) != 0 {
			t.Errorf("%s answered for the thing", from)
		}
	}
	if r := l.Server.get("thing@a.example", provisioning.Ref{}); r.Owner == "" {
		t.Error("released")
	}
}
