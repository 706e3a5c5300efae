package adhoc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const (
	owner = "owner@site.example/pc"
	thief = "thief@site.example/pc"
)

// desk is a service with a command of two stages, one that only shows, and one
// that fails.
type desk struct {
	*Service
	t     *testing.T
	mux   *xmpp.Mux
	now   time.Time
	right bool
	ran   []string
	seq   int
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, mux: new(xmpp.Mux), right: true, now: time.Unix(1_800_000_000, 0)}
	allowed := func(_ context.Context, from jid.JID) bool {
		return d.right && from.Bare().String() == "owner@site.example"
	}
	form := func(f *Form) func(context.Context, *Request) (*Form, error) {
		return func(context.Context, *Request) (*Form, error) { return f, nil }
	}
	d.Service = New(Config{Now: func() time.Time { return d.now }, Commands: []Command{
		{Node: "two", Name: "In two steps", Allowed: allowed, Stages: []Stage{
			{Form: form(&Form{Title: "First", Instructions: "one\ntwo", Fields: []Field{
				{Var: "name", Required: true}, {Var: "kind", Type: "list-single", Options: []Option{{"A", "a"}, {"B", "b"}}, Values: []string{"a"}}}}),
				Check: func(_ context.Context, r *Request) error {
					if r.Values.Get("name") == "bad" {
						return errors.New("the name is bad")
					}
					return nil
				}},
			{Form: form(&Form{Fields: []Field{{Var: "sure", Type: "boolean"}, {Var: "tags", Type: "list-multi", Options: []Option{{"", "x"}, {"", "y"}}}}})},
		}, Run: func(_ context.Context, r *Request) (Result, error) {
			d.ran = append(d.ran, fmt.Sprint(r.Values.Get("name"), r.Values.Get("kind"), r.Values.Bool("sure"), r.Values["tags"]))
			return Result{Note: "made"}, nil
		}},
		{Node: "show", Name: "Show", Allowed: allowed, Run: func(context.Context, *Request) (Result, error) {
			return Result{Form: &Form{Columns: []Field{{Var: "a", Label: "A"}, {Var: "b"}}, Rows: [][]string{{"1", "2"}, {"3"}}}}, nil
		}},
		{Node: "fail", Name: "Fail", Allowed: allowed, Run: func(context.Context, *Request) (Result, error) { return Result{}, errors.New("no paper") }},
	}})
	d.Register(d.mux)
	return d
}

// ask sends a command element and returns the answer's text.
func (d *desk) ask(from, attrs, body string) string {
	d.t.Helper()
	d.seq++
	return d.askID(from, fmt.Sprint("id", d.seq), attrs, body)
}

func (d *desk) askID(from, id, attrs, body string) string {
	d.t.Helper()
	got, err := xmpptest.Call(d.t, d.mux, fmt.Sprintf("<iq type='set' id='%s' from='%s'><command xmlns='%s' %s>%s</command></iq>", id, from, NS, attrs, body))
	if err != nil {
		return d.failure(err, got[0])
	}
	return got[0]
}

// failure writes an error with what is inside.
func (d *desk) failure(err error, answer string) string {
	e := xmpp.AsError(err)
	out := fmt.Sprintf("%s/%s", e.Condition, e.Type)
	for _, n := range []string{"malformed-action", "bad-action", "bad-payload", "bad-sessionid", "session-expired"} {
		if strings.Contains(answer, "<"+n+" ") {
			out += " " + n
		}
	}
	return out + " " + e.Text
}

var sessionID = regexp.MustCompile(`sessionid='([^']+)'`)

func (d *desk) open(node string) (id, answer string) {
	d.t.Helper()
	answer = d.ask(owner, "node='"+node+"'", "")
	m := sessionID.FindStringSubmatch(answer)
	if m == nil {
		d.t.Fatalf("no session: %s", answer)
	}
	return m[1], answer
}

func in(id, action string) string {
	return fmt.Sprintf("node='two' sessionid='%s' action='%s'", id, action)
}

func submit(kv ...string) string {
	var b strings.Builder
	b.WriteString("<x xmlns='jabber:x:data' type='submit'>")
	for i := 0; i < len(kv); i += 2 {
		b.WriteString("<field var='" + kv[i] + "'>")
		for _, v := range strings.Split(kv[i+1], "|") {
			b.WriteString("<value>" + v + "</value>")
		}
		b.WriteString("</field>")
	}
	return b.String() + "</x>"
}

func (d *desk) wants(what, got string, parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if not, ok := strings.CutPrefix(p, "!"); ok && strings.Contains(got, not) || !ok && !strings.Contains(got, p) {
			d.t.Errorf("%s: %s; want %s", what, got, p)
		}
	}
}

func Test0050R01R02R03_Discovery(t *testing.T) {
	d := newDesk(t)
	self := jid.MustParse("gateway@site.example/postern")
	items := d.Items(t.Context(), jid.MustParse(owner), self)
	if len(items) != 3 || items[0].Node != "two" || items[0].Name != "In two steps" || !items[0].JID.Equal(self) {
		t.Errorf("%+v", items)
	}
	if items := d.Items(t.Context(), jid.MustParse(thief), self); len(items) != 0 {
		t.Errorf("a stranger sees %+v", items)
	}
	info, ok, err := d.Info(t.Context(), jid.MustParse(owner), NS)
	if !ok || err != nil || info.Identities[0].Category != "automation" || info.Identities[0].Type != "command-list" {
		t.Errorf("%+v %v %v", info, ok, err)
	}
	info, ok, err = d.Info(t.Context(), jid.MustParse(owner), "two")
	if !ok || err != nil || info.Identities[0].Type != "command-node" || !info.Has(NS) || !info.Has(nsData) {
		t.Errorf("%+v %v %v", info, ok, err)
	}
	if _, ok, err := d.Info(t.Context(), jid.MustParse(thief), "two"); !ok || xmpp.AsError(err).Condition != xmpp.Forbidden {
		t.Errorf("%v %v", ok, err)
	}
	if _, ok, _ := d.Info(t.Context(), jid.MustParse(owner), "none"); ok {
		t.Error("a node that is none")
	}
	if ns := d.mux.Namespaces(); len(ns) != 1 || ns[0] != NS {
		t.Errorf("features %v", ns)
	}
}

func Test0050R06R07R08R09R15_Stages(t *testing.T) {
	d := newDesk(t)
	id, first := d.open("two")
	d.wants("first stage", first, "status='executing'", "<actions execute='next'><next/></actions>", "type='form'", "<title>First</title>",
		"<instructions>one</instructions><instructions>two</instructions>", "<required/>", "<value>a</value>", "!<prev/>")
	second := d.ask(owner, in(id, "next"), submit("name", "n", "kind", "b", "unknown", "z"))
	d.wants("second stage", second, "sessionid='"+id+"'", "<actions execute='complete'><prev/><complete/></actions>", "var='sure'")
	back := d.ask(owner, in(id, "prev"), submit("sure", "1"))
	d.wants("back", back, "<value>n</value>", "<value>b</value>")
	again := d.ask(owner, in(id, "execute"), submit("name", "m", "kind", "b")) // the default action is next here
	d.wants("forth", again, "<value>1</value>")
	done := d.ask(owner, in(id, "complete"), submit("sure", "true", "tags", "x|y"))
	d.wants("end", done, "status='completed'", "<note type='info'>made</note>", "!<actions")
	if len(d.ran) != 1 || d.ran[0] != "mbtrue [x y]" {
		t.Errorf("%q", d.ran)
	}
	other, _ := d.open("two")
	if mine := d.ask(owner, "node='two' sessionid='chosen' action='execute'", ""); !strings.Contains(mine, "bad-sessionid") {
		t.Errorf("a session id that the requester made up: %s", mine)
	}
	if other == id {
		t.Error("a session id came twice")
	}
}

func Test0050R04R05_RightsAndOwner(t *testing.T) {
	d := newDesk(t)
	id, _ := d.open("two")
	d.wants("thief", d.ask(thief, in(id, "next"), submit("name", "n")), "forbidden/cancel")
	d.wants("another resource", d.ask("owner@site.example/phone", in(id, "next"), submit("name", "n")), "bad-request/modify bad-sessionid")
	d.wants("another command", d.ask(owner, "node='show' sessionid='"+id+"'", ""), "bad-sessionid")
	d.right = false
	d.wants("right revoked midway", d.ask(owner, in(id, "next"), submit("name", "n")), "forbidden/cancel")
	if len(d.ran) != 0 {
		t.Errorf("%q", d.ran)
	}
}

func Test0050R10_Cancel(t *testing.T) {
	d := newDesk(t)
	id, _ := d.open("two")
	d.wants("cancel", d.ask(owner, in(id, "cancel"), ""), "status='canceled'")
	d.wants("over", d.ask(owner, in(id, "next"), submit("name", "n")), "not-allowed/cancel session-expired")
}

func Test0050R11_FailureIsANote(t *testing.T) {
	d := newDesk(t)
	_, answer := d.open("fail")
	d.wants("failure", answer, "status='completed'", "<note type='error'>no paper</note>")
}

func Test0050R12_CancelledFormIsASubmission(t *testing.T) {
	d := newDesk(t)
	id, _ := d.open("two")
	d.wants("type cancel", d.ask(owner, in(id, "next"), strings.Replace(submit("name", "n"), "submit", "cancel", 1)), "status='executing'", "var='sure'")
	d.wants("type result", d.ask(owner, in(id, "complete"), strings.Replace(submit(), "submit", "result", 1)), "bad-payload")
}

func Test0050R13_BoundsAndTimeOuts(t *testing.T) {
	d := newDesk(t)
	var ids []string
	for range sessionsPerJID {
		id, _ := d.open("two")
		ids = append(ids, id)
	}
	d.wants("one more", d.ask(owner, "node='two'", ""), "not-allowed/cancel")
	d.now = d.now.Add(sessionLife - time.Second)
	d.wants("still there", d.ask(owner, in(ids[0], "next"), submit("name", "n")), "var='sure'")
	d.now = d.now.Add(2 * time.Second)
	d.wants("kept by activity", d.ask(owner, in(ids[0], "prev"), ""), "var='name'")
	d.wants("timed out", d.ask(owner, in(ids[1], "next"), submit("name", "n")), "bad-sessionid")
	for range 3 * maxSessions { // ended ones are bounded too
		d.open("show")
	}
	if len(d.sessions) > maxSessions {
		t.Errorf("%d sessions", len(d.sessions))
	}
}

func Test0050R21_RepeatedRequestsRunOnce(t *testing.T) {
	d := newDesk(t)
	id, _ := d.open("two")
	d.ask(owner, in(id, "next"), submit("name", "n"))
	first := d.askID(owner, "last", in(id, "complete"), submit("sure", "1"))
	again := d.askID(owner, "last", in(id, "complete"), submit("sure", "1"))
	if first != again || len(d.ran) != 1 {
		t.Errorf("ran %q; answers\n%s\n%s", d.ran, first, again)
	}
	d.wants("another request", d.askID(owner, "later", in(id, "complete"), submit("sure", "1")), "session-expired")
}

func Test0050R14_LanguageOfTheFirstRequest(t *testing.T) {
	d := newDesk(t)
	var heard []string
	d.cfg.Commands[0].Stages[1].Check = func(_ context.Context, r *Request) error {
		heard = append(heard, r.Lang)
		return nil
	}
	for _, lang := range []string{"de", "tlh", ""} {
		say := func(lang, attrs, body string) string {
			d.seq++
			got, err := xmpptest.Call(t, d.mux, fmt.Sprintf("<iq type='set' id='l%d' from='%s' xml:lang='%s'><command xmlns='%s' %s>%s</command></iq>", d.seq, owner, lang, NS, attrs, body))
			if err != nil {
				t.Fatalf("in %q: %v", lang, err) // never bad-locale
			}
			return got[0]
		}
		m := sessionID.FindStringSubmatch(say(lang, "node='two'", ""))
		if m == nil {
			t.Fatalf("no session in %q", lang)
		}
		say("fr", in(m[1], "next"), submit("name", "n", "kind", "a"))
		d.wants(lang, say("fr", in(m[1], "complete"), submit("sure", "1")), "completed")
	}
	if got := fmt.Sprintf("%q", heard); got != `["de" "tlh" ""]` {
		t.Errorf("the command heard %s", got)
	}
}

func TestWrongRequests(t *testing.T) {
	d := newDesk(t)
	id, _ := d.open("two")
	for _, c := range []struct{ attrs, body, want string }{
		{"node='none'", "", "item-not-found/cancel"},
		{"node='two' action='jump'", "", "bad-request/modify malformed-action"},
		{"node='two' action='next'", submit("name", "n"), "bad-sessionid"},
		{in("nothing", "next"), "", "bad-request/modify bad-sessionid"},
		{in(id, "prev"), "", "bad-request/modify bad-action"},
		{in(id, "complete"), submit("name", "n"), "bad-request/modify bad-action"}, // D1
		{in(id, "next"), "", "bad-request/modify bad-payload the form is missing"},
		{in(id, "next"), submit(), "bad-payload name is missing"},
		{in(id, "next"), submit("name", ""), "bad-payload name is missing"},
		{in(id, "next"), submit("name", "a|b"), "bad-payload name has several values"},
		{in(id, "next"), submit("name", "n", "kind", "c"), "bad-payload kind is not one of the options"},
		{in(id, "next"), submit("name", "n", "name", "m"), "bad-payload a field"},
		{in(id, "next"), "<x xmlns='jabber:x:data' type='submit'><field><value>1</value></field></x>", "bad-payload a field"},
		{in(id, "next"), submit("name", strings.Repeat("x", maxText+1)), "bad-payload the form is too large"},
		{in(id, "next"), submit("name", "bad"), "bad-payload the name is bad"},
		{in(id, "next"), submit("name", "good"), "var='sure'"}, // the session outlived all that
		{in(id, "complete"), submit("sure", "maybe"), "bad-payload sure is neither"},
	} {
		if got := d.ask(owner, c.attrs, c.body); !strings.Contains(got, c.want) {
			t.Errorf("%s %.60s: %s, want %s", c.attrs, c.body, got, c.want)
		}
	}
	empty := New(Config{})
	m := new(xmpp.Mux)
	empty.Register(m)
	if _, err := xmpptest.Call(t, m, "<iq type='set' id='1' from='"+owner+"'><command xmlns='"+NS+"' node='x'/></iq>"); xmpp.AsError(err).Condition != xmpp.FeatureNotImplemented {
		t.Errorf("no commands at all: %v", err)
	}
}

func TestTableOfAResult(t *testing.T) { // XEP-0004 §3.4
	d := newDesk(t)
	_, got := d.open("show")
	d.wants("table", got, "type='result'><reported><field var='a' label='A'/><field var='b'/></reported>"+
		"<item><field var='a'><value>1</value></field><field var='b'><value>2</value></field></item>"+
		"<item><field var='a'><value>3</value></field><field var='b'><value/></field></item>")
}
