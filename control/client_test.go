package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// line connects a Client with something that answers.
type line struct {
	t     testing.TB
	asked string
	reply func(q string) string
}

func (l *line) Query(_ context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	st.ID, st.Kind = "1", xmpp.IQ
	l.asked = render(l.t, &st)
	d := parseXML(l.t, l.reply(l.asked))
	var in xmpp.Stanza
	if err := in.Parse(d.Root()); err != nil {
		l.t.Fatal(err)
	}
	if e := in.Err(); e != nil {
		return e
	}
	return reply(&in)
}

// service answers with a running Service.
func service(r *rig) *Client {
	return NewClient(&line{t: r.t, reply: func(q string) string {
		r.recv(alice, q)
		time.Sleep(time.Second)
		synctest.Wait()
		return r.out()[0]
	}})
}

// A client of ours sets a service of ours: all kinds, narrowed, refused.
func Test0325R33_ClientSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		l := &line{t: t, reply: func(q string) string {
			r.recv(alice, q)
			time.Sleep(time.Second)
			synctest.Wait()
			return r.out()[0]
		}}
		c := NewClient(l)
		all := []node.Ref{{ID: "all"}}
		at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
		res, err := c.Set(t.Context(), addr("gw@example.org/x"), SetRequest{Nodes: all, Lang: "en", Assignments: []Assignment{
			{"boolean", drivers.Bool(true)}, {"int", drivers.Int(-1)}, {"long", drivers.Long(1 << 50)}, {"double", drivers.Decimal(number("1.50"))},
			{"string", drivers.String("a")}, {"enum", drivers.Enum("off")}, {"dateTime", drivers.Time(at)}, {"date", drivers.Text(drivers.KindDate, "2024-01-01")},
			{"time", drivers.Text(drivers.KindClock, "01:02:03")}, {"duration", drivers.Text(drivers.KindDuration, "PT5S")}, {"color", drivers.Text(drivers.KindColor, "ff0000")}}})
		if err != nil || len(res.Nodes)+len(res.Parameters) != 0 {
			t.Fatalf("%+v %v", res, err)
		}
		if !strings.HasPrefix(l.asked, "<iq type='set' id='1' to='gw@example.org/x' xml:lang='en'><set xmlns='urn:xmpp:iot:control'>") {
			t.Error(l.asked)
		}
		if got := r.written(); got != "all.boolean=true all.int=-1 all.long=1125899906842624 all.double=1.50 all.string=a all.enum=off all.dateTime=2024-01-02T03:04:05Z all.date=2024-01-01 all.time=01:02:03 all.duration=PT5S all.color=ff0000" {
			t.Error(got)
		}
		_, err = c.Set(t.Context(), addr("gw@example.org/x"), SetRequest{Nodes: []node.Ref{{ID: "dimmer"}}, Assignments: []Assignment{
			{"level", drivers.Int(101)}, {"fade", drivers.Decimal(number("0.2"))}}})
		var se *SetError
		if !errors.As(err, &se) || se.Refusal.Condition != xmpp.BadRequest || len(se.Params) != 2 || se.Params[1].Name != "fade" || !errors.Is(err, &xmpp.Error{Condition: xmpp.BadRequest}) {
			t.Errorf("%v", err)
		}
		// Each fault is told once.
		if err.Error() != "bad-request: level must be from 0 to 100, and 1 more; fade: must be a multiple of 0.5 counted from 0" {
			t.Error(err)
		}
	})
}

// A form read, edited and sent back: only the edited fields act.
func Test0325R17R23_ClientForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		r.live.Put(node.Ref{ID: "dimmer", Source: "light"}, "level", live.Reading{Value: drivers.Int(70), Time: time.Now()})
		c := service(r)
		dim := []node.Ref{{ID: "dimmer"}}
		f, err := c.GetForm(t.Context(), addr("gw@example.org/x"), dim, "en", Tokens{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Title != "Dimmer" || len(f.Fields) != 4 || !f.Fields[0].Hidden {
			t.Fatalf("%+v", f)
		}
		if l := f.Fields[2]; l.Var != "level" || l.Kind != drivers.KindInt || l.Value != "70" || !l.Known || l.Max != "100" || l.Page != "Dimmer" || l.Group != "go" || !l.Writable {
			t.Errorf("%+v", l)
		}
		if _, err := c.Submit(t.Context(), addr("gw@example.org/x"), dim, f, map[string]string{"on": "true", "fade": "3"}, "", Tokens{}); err != nil {
			t.Fatal(err)
		}
		if got := r.written(); got != "dimmer.fade=3 dimmer.on=true" { // R23
			t.Error(got)
		}
	})
}

// R53, R54, R57, D5: what other forms may look like.
func Test0325R19R32R53R54R57_LenientForms(t *testing.T) {
	l := &line{t: t, reply: func(string) string {
		return `<iq type='result' id='1'><x xmlns='jabber:x:data' type='form' xmlns:xdv='http://jabber.org/protocol/xdata-validate' xmlns:xdl='http://jabber.org/protocol/xdata-layout'>
		<xdl:page label='P'><xdl:fieldref var='nope'/><xdl:section label='S'><xdl:fieldref var='b'/></xdl:section></xdl:page>
		<field var='xdd session' type='hidden'><value>S1</value></field>
		<field var='a' type='text-fancy'><xdv:validate datatype='x:odd'><xdv:sometimes/></xdv:validate></field>
		<field var='b' type='boolean'><value>1</value></field>
		<field var='c'><value/></field><field type='fixed'><value>Hi</value></field><field type='text-single'/>
		<field var='d' type='list-single'><option label='O'><value>o</value></option><xdv:validate><xdv:open/></xdv:validate></field></x></iq>`
	}}
	c := NewClient(l)
	f, err := c.GetForm(t.Context(), addr("gw@example.org/x"), nil, "", Tokens{User: "u"})
	if err != nil || len(f.Fields) != 5 {
		t.Fatalf("%+v %v", f, err)
	}
	if f.Fields[1].Kind != drivers.KindString || f.Fields[2].Kind != drivers.KindBool || f.Fields[2].Page != "P" || !f.Fields[3].Known ||
		f.Fields[4].Kind != drivers.KindEnum || !f.Fields[4].Open || f.Fields[4].Options[0].Label != "O" {
		t.Errorf("%+v", f.Fields)
	}
	if !strings.Contains(l.asked, "userToken='u'") {
		t.Error(l.asked)
	}
	l.reply = func(string) string {
		return "<iq type='result' id='1'><setResponse xmlns='urn:xmpp:iot:control'><node nodeId='n'/><parameter name='c'/></setResponse></iq>"
	}
	res, err := c.Submit(t.Context(), addr("gw@example.org/x"), nil, f, map[string]string{"c": "x"}, "", Tokens{})
	if err != nil || len(res.Nodes) != 1 || res.Parameters[0] != "c" {
		t.Errorf("%+v %v", res, err)
	}
	// R19: the session goes back.
	if !strings.Contains(l.asked, "<x xmlns='jabber:x:data' type='submit'><field var='xdd session' type='hidden'><value>S1</value></field><field var='c'><value>x</value></field></x>") {
		t.Error(l.asked)
	}
}

// The captures of slixmpp and Smack: their sets are understood, and so are
// their answers.
func TestCapturedPeers(t *testing.T) {
	lab := os.Getenv("POSTERN_LAB")
	if lab == "" {
		t.Skip("POSTERN_LAB is not set: captures of other implementations are not at hand")
	}
	sets, bad := 0, 0
	codes := map[string]int{}
	for _, name := range []string{"wire-slix-prosody-failure.txt", "wire-slix-prosody-threaded-tick.txt", "wire-smack-reader.txt", "wire-smack-thing.txt"} {
		b, err := os.ReadFile(filepath.Join(lab, "captures", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Split(string(b), "\n") {
			_, text, ok := strings.Cut(text, ": ")
			if !ok || !strings.Contains(text, NS+`"`) && !strings.Contains(text, NS+"'") || !strings.HasPrefix(text, "<") || strings.Contains(text, "disco#info") {
				continue
			}
			for k := range parseXML(t, text).Root().Children() {
				switch k.Name() {
				case nameSet:
					r, fault := parseRequest(k, 10)
					sets++
					if fault != nil || len(r.wants) == 0 {
						bad++
						t.Errorf("%v: %s", fault, text)
					}
				case nameSetResponse:
					_, err := parseResponse(k)
					code, _ := k.Attr(attrResponseCode)
					codes[code.String()]++
					if legacy := code.Is("NotFound"); legacy != errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
						t.Errorf("%v: %s", err, text)
					}
				}
			}
		}
	}
	t.Logf("%d sets, %d not understood, responses %v", sets, bad, codes)
	if sets < 15 || codes["OK"] == 0 || codes["NotFound"] == 0 {
		t.Error("the captures hold less than expected")
	}
}

// A legacy device: stanza error and the old answer beside it.
func TestClientLegacyRefusal(t *testing.T) {
	c := NewClient(&line{t: t, reply: func(string) string {
		return `<iq type='error' id='1'><error type='cancel'><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>` +
			`<setResponse xmlns='urn:xmpp:iot:control' responseCode='NotFound'><parameter name='x'/><error var='Output'>Invalid field x</error></setResponse></iq>`
	}})
	_, err := c.Set(t.Context(), addr("d@example.org/x"), SetRequest{Assignments: []Assignment{{"x", drivers.Int(1)}}})
	if !errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) || !strings.Contains(err.Error(), "Invalid field x") {
		t.Error(err)
	}
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{
		"<set xmlns='urn:xmpp:iot:control' userToken='u'><node nodeId='dimmer'/><int name='level' value='1'/><duration name='d' value='PT1S'/></set>",
		"<set xmlns='urn:xmpp:iot:control'><x xmlns='jabber:x:data' type='submit'><field var='level'><value>5</value></field></x></set>",
		"<getForm xmlns='urn:xmpp:iot:control'><node nodeId='a' sourceId='b' cacheType='c'/></getForm>",
	} {
		f.Add(s)
	}
	nodes := testNodes()
	tree, err := node.NewTree(nodes)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := tryXML(s)
		if err != nil {
			return
		}
		r, fault := parseRequest(d.Root(), 20)
		if fault != nil {
			var out exi.Doc
			fault.AppendEvents(&out)
			return
		}
		if len(r.nodes)+len(r.wants) > 20 {
			t.Fatal("limit passed")
		}
		for _, n := range tree.Nodes() {
			for i := range n.Parameters {
				p := &n.Parameters[i]
				for _, w := range r.wants {
					v, err := w.value(p, time.UTC)
					if err == nil && (v.Kind() != p.Kind || p.Check(v) != nil) {
						t.Fatalf("%v became %v for %s", w, v, p.Name)
					}
					if err == nil && v.Kind() != drivers.KindTime {
						if again, err := parseText(p.Kind, lexicalForm(v), time.UTC); err != nil || !same(again, v) {
							t.Fatalf("%v %q reads back %v, %v", v, lexicalForm(v), again, err)
						}
					}
				}
			}
		}
	})
}

func FuzzParseForm(f *testing.F) {
	f.Add("<x xmlns='jabber:x:data' type='form'><title>T</title><field var='a' type='list-single'><option><value>x</value></option></field><page xmlns='http://jabber.org/protocol/xdata-layout'><section><fieldref var='a'/></section></page></x>")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := tryXML(s)
		if err != nil {
			return
		}
		form := parseForm(d.Root())
		values := map[string]string{}
		for _, fl := range form.Fields {
			values[fl.Var] = fl.Value
			var out exi.Doc
			fl.appendSubmit(&out, values)
			if !out.Complete() {
				t.Fatal("no element")
			}
		}
	})
}
