package provisioning

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/roster"
)

const (
	server    = "prov.example"
	requester = "friend@b.example"
)

type accessLab struct {
	*Access
	w   *world
	mux *xmpp.Mux
	t   *testing.T
}

func newAccess(t *testing.T, change ...func(*AccessConfig)) *accessLab {
	t.Helper()
	l := &accessLab{w: newWorld(t), mux: new(xmpp.Mux), t: t}
	cfg := AccessConfig{Session: l.w, Servers: []jid.JID{jid.MustParse(server)}, Now: l.w.clock, Owner: func(Ref) string { return "owner@a.example" }}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if l.Access, err = NewAccess(cfg); err != nil {
		t.Fatal(err)
	}
	l.Access.Register(l.mux)
	return l
}

func says(xml string) func(string, string) (string, error) {
	return func(string, string) (string, error) { return xml, nil }
}

// allow is the server's yes to reading, with what narrows it.
func allow(narrow string) func(string, string) (string, error) {
	return says("<canReadResponse jid='" + requester + "' result='true'" + narrow + "</canReadResponse>")
}

var request = node.Request{From: requester + "/x", Bare: requester, Nodes: []Ref{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}, Fields: []string{"Energy", "Power"}, Types: node.Momentary | node.Peak}

func (l *accessLab) read(r node.Request) node.Decision {
	l.t.Helper()
	d, err := l.CanRead(context.Background(), r)
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

func (l *accessLab) asked() int { a, _ := l.w.took(); return len(a) }

func Test0324R19R29_TheQuestionSaysWhatWasAskedFor(t *testing.T) {
	l := newAccess(t)
	l.w.answer = allow(">")
	r := request
	r.ServiceToken, r.DeviceToken, r.UserToken = " s1\t s2 ", "d", "u"
	r.Nodes = []Ref{{ID: "n1", Source: "s", Cache: "c"}}
	l.read(r)
	asked, _ := l.w.took()
	want := server + " <canRead jid='friend@b.example' serviceToken='s1 s2' deviceToken='d' userToken='u' momentary='true' peak='true'>" +
		"<node nodeId='n1' sourceId='s' cacheType='c'/><field name='Energy'/><field name='Power'/></canRead>"
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("%v\nwant %s", asked, want)
	}
}

func Test0324R35R36_ControlNamesParameters(t *testing.T) {
	l := newAccess(t)
	l.w.answer = says("<canControlResponse jid='friend@b.example' result='true'><node nodeId='n1'/><parameter name='P'/><parameter name='Q'/></canControlResponse>")
	d, err := l.CanControl(context.Background(), node.Request{Bare: requester, Nodes: []Ref{{ID: "n1"}, {ID: "n2"}}, Parameters: []string{"P", "R"}})
	asked, _ := l.w.took()
	if err != nil || len(asked) != 1 || asked[0] != server+" <canControl jid='friend@b.example'><node nodeId='n1'/><node nodeId='n2'/><parameter name='P'/><parameter name='R'/><values xmlns='urn:postern:values:1'/></canControl>" {
		t.Errorf("%v, %v", asked, err)
	}
	for ref, names := range map[string]map[string]bool{"n1": {"P": true, "R": false, "Q": false}, "n2": {"P": false}} {
		for n, want := range names {
			if d.Settable(Ref{ID: ref}, n) != want {
				t.Errorf("%s %s: %v", ref, n, !want)
			}
		}
	}
}

func Test0324R30_NoIsNo(t *testing.T) {
	l := newAccess(t)
	l.w.answer = says("<canReadResponse jid='friend@b.example' result='false'><field name='Energy'/></canReadResponse>")
	if d := l.read(request); !d.Denied() {
		t.Errorf("%+v", d)
	}
}

func Test0324R31R32R33_AnswersNarrow(t *testing.T) {
	n := func(s string) Ref { return Ref{ID: s} }
	for narrow, want := range map[string]map[string]node.Types{
		">": {"n1 Energy": node.Momentary | node.Peak, "n3 Power": node.Momentary | node.Peak},
		"><node nodeId='n1'/><node nodeId='n2'/>": {"n1 Energy": node.Momentary | node.Peak, "n3 Energy": 0},
		"><field name='Energy'/>":                 {"n1 Energy": node.Momentary | node.Peak, "n1 Power": 0},
		" peak='true'>":                           {"n1 Energy": node.Peak},                  // D8
		" all='true'>":                            {"n1 Energy": node.Momentary | node.Peak}, // D10
		" status='true'>":                         {"n1 Energy": 0, "n2 Power": 0},           // nothing of what was asked for
		"><node nodeId='m'/>":                     {"n1 Energy": 0, "m Energy": 0},           // D10
		"><field name='Secret'/>":                 {"n1 Secret": 0, "n1 Energy": 0},          // D10
		" momentary='true'><node nodeId='n2'/><field name='Power'/>": {"n2 Power": node.Momentary, "n2 Energy": 0, "n1 Power": 0},
	} {
		l := newAccess(t)
		l.w.answer = allow(narrow)
		d := l.read(request)
		for cell, types := range want {
			ref, name, _ := strings.Cut(cell, " ")
			if got := d.Readable(n(ref), name, request.Types); got != types {
				t.Errorf("%s: %s is %v, want %v", narrow, cell, got, types)
			}
		}
	}
	// D9, D11: lists in the answer restrict a request that had none.
	l := newAccess(t)
	l.w.answer = allow("><node nodeId='n1'/><field name='Energy'/>")
	d := l.read(node.Request{Bare: requester})
	if d.Readable(n("n1"), "Energy", node.Peak) == 0 || d.Readable(n("n2"), "Energy", node.Peak) != 0 || d.Readable(n("n1"), "Power", node.Peak) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestAnswersAboutOthersDoNotCount(t *testing.T) {
	for _, a := range []string{
		"<canReadResponse jid='other@b.example' result='true'/>", "<canControlResponse jid='friend@b.example' result='true'/>",
		"<canReadResponse jid='friend@b.example'/>", "<isFriendResponse jid='friend@b.example' result='true'/>", "",
	} {
		l := newAccess(t)
		l.w.answer = says(a)
		d, err := l.CanRead(context.Background(), request)
		if !d.Denied() || xmpp.AsError(err).Condition != xmpp.RemoteServerTimeout {
			t.Errorf("%s: %+v, %v", a, d, err)
		}
	}
}

// 0324-D15, for reading.
func TestWithoutAnswerNothingIsAllowed(t *testing.T) {
	l := newAccess(t)
	for _, fail := range []error{context.DeadlineExceeded, xmpp.NewError(xmpp.RemoteServerNotFound, ""), xmpp.ErrOffline, xmpp.NewError(xmpp.Forbidden, "")} {
		l.w.answer = func(string, string) (string, error) { return "", fail }
		d, err := l.CanRead(context.Background(), request)
		var e *xmpp.Error
		if !d.Denied() || !errors.As(err, &e) || e.Condition != xmpp.RemoteServerTimeout || e.Type != xmpp.Wait {
			t.Errorf("%v: %+v, %v", fail, d, err)
		}
	}
	l.w.answer = allow(">")
	l.read(request)
	l.w.answer = nil
	l.w.pass(1000 * time.Hour)
	if d := l.read(request); d.Denied() {
		t.Error("what is cached counts while the server is away")
	}
	if d, err := l.CanRead(context.Background(), node.Request{Bare: "owner@a.example"}); err != nil || d.Readable(Ref{ID: "x"}, "y", node.Peak) == 0 {
		t.Errorf("the owner: %+v, %v", d, err)
	}
}

// 0324-D15, for control: a cached yes needs a server that is alive.
func TestControlNeedsALiveServer(t *testing.T) {
	l := newAccess(t)
	r := node.Request{Bare: requester, Nodes: []Ref{{ID: "n1"}}, Parameters: []string{"P"}}
	may := func() (bool, error) {
		d, err := l.CanControl(context.Background(), r)
		return d.Settable(Ref{ID: "n1"}, "P"), err
	}
	yes := says("<canControlResponse jid='friend@b.example' result='true'/>")
	l.w.answer = yes
	if ok, err := may(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	l.w.answer = nil
	l.w.pass(59 * time.Second)
	if ok, err := may(); !ok || err != nil {
		t.Error("within the window", ok, err)
	}
	l.w.pass(2 * time.Second)
	if ok, err := may(); ok || xmpp.AsError(err).Condition != xmpp.RemoteServerTimeout {
		t.Error("behind the window", ok, err)
	}
	if d, err := l.CanControl(context.Background(), node.Request{Bare: "owner@a.example"}); err != nil || !d.Settable(Ref{ID: "n1"}, "P") {
		t.Error("the owner", err)
	}
	l.w.answer = yes
	if ok, err := may(); !ok || err != nil {
		t.Error("it is back", ok, err)
	}
	// A no needs nobody.
	l.w.answer = says("<canControlResponse jid='friend@b.example' result='false'/>")
	r.Parameters = []string{"Q"}
	may()
	l.w.took()
	l.w.answer = nil
	l.w.pass(time.Hour)
	if ok, err := may(); ok || err != nil || l.asked() != 0 {
		t.Error("a cached no", ok, err)
	}
}

func Test0324R38_AnswersAreCachedAndEvicted(t *testing.T) {
	l := newAccess(t, func(c *AccessConfig) { c.CacheSize, c.CacheAge = 3, time.Hour })
	l.w.answer = func(_, xml string) (string, error) {
		_, rest, _ := strings.Cut(xml, "jid='")
		who, _, _ := strings.Cut(rest, "'")
		return "<canReadResponse jid='" + who + "' result='true'/>", nil
	}
	ask := func(i int) int {
		l.read(node.Request{Bare: fmt.Sprintf("u%d@b.example", i)})
		return l.asked()
	}
	for i, want := range []int{0: 1, 1: 1, 2: 1} {
		if ask(i) != want || ask(i) != 0 {
			t.Fatalf("u%d", i)
		}
	}
	ask(0)
	ask(3) // evicts u1, the longest unused
	if ask(0) != 0 || ask(1) != 1 {
		t.Error("not the longest unused went")
	}
	l.w.pass(61 * time.Minute)
	if ask(0) != 1 {
		t.Error("too old")
	}
	// Tokens, names and types make other questions.
	l.asked()
	for _, r := range []node.Request{{Bare: requester, UserToken: "t"}, {Bare: requester, Fields: []string{"a"}}, {Bare: requester, Types: node.Peak}, {Bare: requester, Nodes: []Ref{{ID: "a"}}}} {
		if l.read(r); l.asked() != 1 {
			t.Errorf("%+v was answered from the cache", r)
		}
	}
}

func Test0324R39_TheCacheSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	db := openStore(t, path)
	with := func(c *AccessConfig) { c.Store = db }
	l := newAccess(t, with)
	l.w.answer = allow("><field name='Energy'/>")
	want := l.read(request)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	l = newAccess(t, with)
	if got := l.read(request); !reflect.DeepEqual(got, want) || l.asked() != 0 {
		t.Errorf("%+v, want %+v", got, want)
	}
	// Cleared is cleared, also on the disk.
	if got := gives(t, l.mux, xmpp.IQ, xmpp.Set, server, "<clearCache/>"); got != "<clearCacheResponse/>" {
		t.Fatal(got)
	}
	l = newAccess(t, with)
	l.w.answer = allow(">")
	if l.read(request); l.asked() != 1 {
		t.Error("an answer from before the clearing")
	}
	// Another server's answers are not taken over.
	_ = l.cache.save()
	l = newAccess(t, with, func(c *AccessConfig) { c.Servers = []jid.JID{jid.MustParse("else.example")} })
	l.w.answer = allow(">")
	if l.read(request); l.asked() != 1 {
		t.Error("an answer of a server that is no longer trusted")
	}
}

func Test0324R40R41_ClearCache(t *testing.T) {
	l := newAccess(t)
	l.w.answer = allow(">")
	l.read(request)
	l.w.took()
	for _, from := range []string{"stranger@c.example/x", "owner@a.example", "x@prov.example", "evil.prov.example", requester} {
		if got := gives(t, l.mux, xmpp.IQ, xmpp.Set, from, "<clearCache/>"); got != "forbidden" {
			t.Errorf("%s: %s", from, got)
		}
	}
	if l.read(request); l.asked() != 0 {
		t.Error("a forged clearCache cleared")
	}
	for _, typ := range []string{xmpp.Set, xmpp.Get} {
		if got := gives(t, l.mux, xmpp.IQ, typ, server, "<clearCache/>"); got != "<clearCacheResponse/>" {
			t.Error(got)
		}
		if l.read(request); l.asked() != 1 {
			t.Error("not cleared")
		}
	}
}

// An answer that was under way while the cache was cleared is not kept.
func TestClearingOvertakesAnswers(t *testing.T) {
	l := newAccess(t)
	l.w.answer = func(to, xml string) (string, error) {
		gives(t, l.mux, xmpp.IQ, xmpp.Set, server, "<clearCache/>")
		return allow(">")(to, xml)
	}
	l.read(request)
	l.w.took()
	if l.read(request); l.asked() != 1 {
		t.Error("kept")
	}
}

func Test0324R44_ANewOwnerStartsEmpty(t *testing.T) {
	l := newAccess(t)
	l.w.answer = allow(">")
	l.read(request)
	if err := l.Forget(); err != nil {
		t.Fatal(err)
	}
	l.w.took()
	if l.read(request); l.asked() != 1 {
		t.Error("kept")
	}
}

func Test0324R45R46_OneGrantIsEnough(t *testing.T) {
	l := newAccess(t, func(c *AccessConfig) {
		c.Servers = append(c.Servers, jid.MustParse("second.example"), jid.MustParse("third.example"))
	})
	l.w.answer = func(to, xml string) (string, error) {
		switch to {
		case server:
			return "<canReadResponse jid='friend@b.example' result='true'><field name='Energy'/></canReadResponse>", nil
		case "second.example":
			return "<canReadResponse jid='friend@b.example' result='true'><field name='Power'/></canReadResponse>", nil
		}
		return "", context.DeadlineExceeded
	}
	d := l.read(request)
	for _, f := range request.Fields {
		if d.Readable(Ref{ID: "n1"}, f, request.Types) != request.Types {
			t.Errorf("%s: %+v", f, d)
		}
	}
	if l.asked() != 3 {
		t.Error("not all were asked")
	}
}

func Test0324R03R04_OnlyServersOnAccountsNeedPresence(t *testing.T) {
	full := jid.JID{}
	l := newAccess(t, func(c *AccessConfig) {
		c.Servers = []jid.JID{jid.MustParse("prov@a.example")}
		c.Resolve = func(jid.JID) jid.JID { return full }
	})
	l.w.answer = allow(">")
	if d, err := l.CanRead(context.Background(), request); !d.Denied() || err == nil || l.asked() != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	full = jid.MustParse("prov@a.example/r")
	if l.read(request).Denied() {
		t.Error("denied")
	}
	if asked, _ := l.w.took(); len(asked) != 1 || !strings.HasPrefix(asked[0], "prov@a.example/r ") {
		t.Errorf("%v", asked)
	}
	if got := gives(t, l.mux, xmpp.IQ, xmpp.Set, "prov@a.example/other", "<clearCache/>"); got != "<clearCacheResponse/>" { // D12
		t.Error(got)
	}
	l = newAccess(t)
	l.w.answer = allow(">")
	if l.read(request).Denied() {
		t.Error("a component")
	}
}

func Test0324R15_ChallengesAreRefusedWithoutAToken(t *testing.T) {
	l := newAccess(t)
	for _, from := range []string{server, "stranger@c.example/x"} {
		if got := gives(t, l.mux, xmpp.IQ, xmpp.Get, from, "<tokenChallenge token='t'>AAAA</tokenChallenge>"); got != "forbidden" {
			t.Errorf("%s: %s", from, got)
		}
	}
}

func Test0324R21R60_SubscriptionRequests(t *testing.T) {
	l := newAccess(t)
	then := func(context.Context, jid.JID) roster.Decision { t.Error("not asked for"); return roster.Accepted }
	policy := l.Policy(then)
	friends := map[string]string{requester: "true", "enemy@b.example": "false"}
	l.w.answer = func(_, xml string) (string, error) {
		for j, yes := range friends {
			if xml == "<isFriend jid='"+j+"'/>" {
				return "<isFriendResponse jid='" + j + "' result='" + yes + "'/>", nil
			}
		}
		return "", context.DeadlineExceeded
	}
	for j, want := range map[string]roster.Decision{"owner@a.example/x": roster.Accepted, server: roster.Accepted, requester + "/x": roster.Accepted,
		"enemy@b.example": roster.Refused, "unknown@b.example": roster.Pending} {
		if got := policy(context.Background(), jid.MustParse(j)); got != want {
			t.Errorf("%s: %v", j, got)
		}
	}
	asked, _ := l.w.took()
	for _, a := range asked {
		if strings.Contains(a, "owner@a.example") || strings.Contains(a, "jid='"+server) {
			t.Errorf("%s", a) // D18
		}
	}
	l = newAccess(t, func(c *AccessConfig) { c.Servers = nil })
	if got := l.Policy(func(context.Context, jid.JID) roster.Decision { return roster.Pending })(context.Background(), jid.MustParse(requester)); got != roster.Pending {
		t.Error(got)
	}
}

func Test0324R26R27R62_Recommendations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAccess(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		for _, from := range []string{"stranger@c.example/x", "owner@a.example", "x@" + server, requester} {
			for _, m := range []string{"<friend jid='stranger@c.example'/>", "<unfriend jid='friend@b.example'/>"} {
				if got := gives(t, l.mux, xmpp.Message, "", from, m); got != "" {
					t.Errorf("%s: an answer %s", from, got)
				}
			}
		}
		synctest.Wait()
		if _, sent := l.w.took(); len(sent) != 0 {
			t.Errorf("forged, but %v", sent)
		}
		gives(t, l.mux, xmpp.Message, "", server, "<friend jid='friend@b.example/x'/>")
		gives(t, l.mux, xmpp.Message, "normal", server, "<unfriend jid='enemy@b.example'/>")
		gives(t, l.mux, xmpp.Message, "", server, "<unfriend jid='owner@a.example'/>")
		gives(t, l.mux, xmpp.Message, "", server, "<friend/>")
		synctest.Wait()
		if _, sent := l.w.took(); !reflect.DeepEqual(sent, []string{"presence subscribe friend@b.example", "presence unsubscribed enemy@b.example"}) {
			t.Errorf("%v", sent)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func Test0324R28_RecommendationsMayBeChecked(t *testing.T) {
	l := newAccess(t, func(c *AccessConfig) { c.CheckFriends = true })
	for answer, want := range map[string]int{"true": 1, "false": 0} {
		l.w.answer = says("<isFriendResponse jid='friend@b.example' result='" + answer + "'/>")
		if err := l.follow(context.Background(), Recommend{JID: jid.MustParse(requester)}); err != nil {
			t.Error(err)
		}
		if asked, sent := l.w.took(); len(asked) != 1 || len(sent) != want {
			t.Errorf("%s: %v, %v", answer, asked, sent)
		}
	}
}
