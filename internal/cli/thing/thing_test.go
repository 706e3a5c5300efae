package thing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const gw = "gateway@site.example/postern"

func start(t *testing.T, answer func(string) string) (*Client, *fakeSession, *xmpp.Mux) {
	c, f, m := New(), &fakeSession{t: t, answer: answer}, &xmpp.Mux{}
	c.Use(f)
	c.Register(m)
	return c, f, m
}

func deliver(t *testing.T, m *xmpp.Mux, text string) {
	t.Helper()
	if _, err := m.HandleStanza(context.Background(), stanza(t, text)); err != nil {
		t.Fatal(err)
	}
}

// fields makes a message of a read-out.
func fields(from string, seq int, attrs, body string) string {
	return fmt.Sprintf("<message from='%s'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='%d' %s>%s</fields></message>", from, seq, attrs, body)
}

const body = `<node nodeId='room'><timestamp value='2026-11-25T17:00:00Z'>` +
	`<numeric name='temperature' value='21.50' unit='°C' momentary='true' automaticReadout='1' writable='false'/>` +
	`<boolean name='door' value='1' status='true' momentary='true' warning='true'/></timestamp></node>`

const accepted = "<iq type='result' from='" + gw + "' id='x'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='1'/></iq>"

func TestReadCollectsUntilTheEnd(t *testing.T) { // 0323-R16, R33
	synctest.Test(t, func(t *testing.T) {
		c, f, m := start(t, func(string) string { return accepted })
		go func() {
			time.Sleep(time.Second)
			deliver(t, m, fields(gw, 1, "", body))
			time.Sleep(time.Second)
			deliver(t, m, "<message from='"+gw+"'><failure xmlns='urn:xmpp:iot:sensordata' seqnr='1'><error nodeId='attic' timestamp='2026-11-25T17:00:00Z'>no answer</error></failure></message>")
			deliver(t, m, fields(gw, 1, "done='true'", ""))
		}()
		res, err := c.Read(context.Background(), mustJID(gw), Request{Nodes: []node.Ref{{ID: "room"}}, Fields: []string{"temperature", "door"}, Types: node.Momentary})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Fields) != 2 || len(res.Failures) != 1 || res.Failures[0].Text != "no answer" {
			t.Fatalf("%+v", res)
		}
		temp := res.Fields[0]
		if temp.Value != "21.50" || temp.Unit != "°C" || temp.Types != node.Momentary || temp.Quality != live.AutomaticReadout || temp.Writable == nil || *temp.Writable {
			t.Errorf("%+v", temp)
		}
		if door := res.Fields[1]; door.Kind != "boolean" || door.Quality != live.Warning || door.Writable != nil {
			t.Errorf("%+v", door)
		}
		for _, part := range []string{"seqnr='1'", "momentary='true'", "nodeId='room'", "name='door'"} {
			if !strings.Contains(strings.ReplaceAll(f.sent[0], `"`, "'"), part) {
				t.Errorf("%s lacks %s", f.sent[0], part)
			}
		}
		if len(c.reads) != 0 {
			t.Error("the read-out was not forgotten")
		}
	})
}

func TestReadTakesDataBeforeAcceptance(t *testing.T) { // 0323-R10
	var m *xmpp.Mux
	c, _, mux := start(t, func(string) string {
		deliver(t, m, fields(gw, 1, "done='1'", body))
		return accepted
	})
	m = mux
	res, err := c.Read(context.Background(), mustJID(gw), Request{Types: node.Momentary})
	if err != nil || len(res.Fields) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestReadTakesDataInsideTheResult(t *testing.T) { // 0323-D2
	c, _, _ := start(t, func(string) string {
		return "<iq type='result' from='" + gw + "' id='x'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'>" + body + "</fields></iq>"
	})
	res, err := c.Read(context.Background(), mustJID(gw), Request{Types: node.Momentary})
	if err != nil || len(res.Fields) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestReadIgnoresOthers(t *testing.T) { // spoofed sender, foreign seqnr, fields nobody asked for
	synctest.Test(t, func(t *testing.T) {
		c, _, m := start(t, func(string) string { return accepted })
		go func() {
			time.Sleep(time.Second)
			deliver(t, m, fields("gateway@site.example/other", 1, "done='true'", body))
			deliver(t, m, fields(gw, 2, "done='true'", body))
			deliver(t, m, fields(gw, 1, "done='true'", strings.ReplaceAll(body, "momentary", "historicalDay")+body))
		}()
		res, err := c.Read(context.Background(), mustJID(gw), Request{Fields: []string{"temperature"}, Types: node.Momentary})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Fields) != 1 || res.Fields[0].Name != "temperature" || res.Fields[0].Types != node.Momentary {
			t.Errorf("%+v", res.Fields)
		}
	})
}

func TestReadOfASilentThing(t *testing.T) { // 0323-R18
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := start(t, func(string) string { return accepted })
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		_, err := c.Read(ctx, mustJID(gw), Request{Types: node.Momentary})
		if !errors.Is(err, ErrSilent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestReadRefused(t *testing.T) {
	c, _, _ := start(t, func(string) string {
		return "<iq type='error' from='" + gw + "' id='x'><error type='cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" +
			"<rejected xmlns='urn:xmpp:iot:sensordata' seqnr='1'><error>no</error></rejected></iq>"
	})
	_, err := c.Read(context.Background(), mustJID(gw), Request{Types: node.Momentary})
	if !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
		t.Error(err)
	}
}

func TestSet(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		check        func(Applied, error) bool
	}{
		{"as asked", "<setResponse xmlns='urn:xmpp:iot:control'/>", func(a Applied, err error) bool {
			return err == nil && !a.Narrowed()
		}},
		{"narrowed", "<setResponse xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><parameter name='state'/></setResponse>", func(a Applied, err error) bool {
			return err == nil && len(a.Nodes) == 1 && a.Nodes[0].ID == "pump" && len(a.Parameters) == 1
		}},
		{"old refusal", "<setResponse xmlns='urn:xmpp:iot:control' responseCode='NotFound'/>", func(_ Applied, err error) bool {
			return errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, f, _ := start(t, func(string) string { return "<iq type='result' from='" + gw + "' id='x'>" + tc.answer + "</iq>" })
			a, err := c.Set(context.Background(), mustJID(gw), []node.Ref{{ID: "pump"}}, []Parameter{{"state", "boolean", "true"}, {"speed", "double", "0.50"}})
			if !tc.check(a, err) {
				t.Errorf("%+v, %v", a, err)
			}
			sent := strings.ReplaceAll(f.sent[0], `"`, "'")
			if !strings.Contains(sent, "<boolean name='state' value='true'/><double name='speed' value='0.50'/>") {
				t.Errorf("sent %s", sent)
			}
		})
	}
}

func TestSetRefusedNamesParameters(t *testing.T) {
	c, _, _ := start(t, func(string) string {
		return "<iq type='error' from='" + gw + "' id='x'><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
			"<paramError xmlns='urn:xmpp:iot:control' var='speed'>at most 1</paramError></error></iq>"
	})
	_, err := c.Set(context.Background(), mustJID(gw), nil, []Parameter{{"speed", "double", "2"}})
	var r *Refused
	if !errors.As(err, &r) || len(r.Parameters) != 1 || r.Parameters[0] != (ParameterFault{"speed", "at most 1"}) || r.Err.Condition != xmpp.BadRequest {
		t.Errorf("%+v", err)
	}
}

func roster(sub string) string {
	return "<iq type='result' id='x'><query xmlns='jabber:iq:roster'><item jid='gateway@site.example' subscription='" + sub + "'/></query></iq>"
}

func TestFindSubscribesAndGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f, m := start(t, func(string) string { return roster("none") })
		go func() {
			time.Sleep(time.Second)
			deliver(t, m, "<presence type='subscribe' from='gateway@site.example'/>")
			deliver(t, m, "<presence type='subscribe' from='stranger@site.example'/>")
			deliver(t, m, "<presence type='subscribed' from='gateway@site.example'/>")
			deliver(t, m, "<presence from='"+gw+"'/>")
		}()
		full, err := c.Find(t.Context(), mustJID("gateway@site.example"))
		if err != nil || full.String() != gw {
			t.Fatalf("%v, %v", full, err)
		}
		all := strings.ReplaceAll(strings.Join(f.sent, "\n"), `"`, "'")
		if !strings.Contains(all, "<presence type='subscribe' to='gateway@site.example'/>") || !strings.Contains(all, "<presence type='subscribed' to='gateway@site.example'/>") {
			t.Errorf("sent %s", all)
		}
		if strings.Contains(all, "stranger") {
			t.Errorf("granted a stranger: %s", all)
		}
	})
}

func TestFindFails(t *testing.T) {
	for _, tc := range []struct {
		name, sub, news string
		want            error
	}{
		{"offline", "both", "", ErrOffline},
		{"pending", "none", "", ErrPending},
		{"refused", "none", "<presence type='unsubscribed' from='gateway@site.example'/>", ErrRefused},
		{"no such domain", "none", "<presence type='error' from='gateway@site.example'><error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
			&xmpp.Error{Condition: xmpp.RemoteServerNotFound}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _, m := start(t, func(string) string { return roster(tc.sub) })
				go func() {
					if time.Sleep(time.Second); tc.news != "" {
						deliver(t, m, tc.news)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := c.Find(ctx, mustJID("gateway@site.example")); !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			})
		})
	}
}

func TestFindChoosesTheThing(t *testing.T) {
	c, _, m := start(t, func(req string) string {
		switch {
		case strings.Contains(req, "roster"):
			return roster("to")
		case strings.Contains(req, "/phone"):
			return "<iq type='result' from='gateway@site.example/phone' id='x'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:ping'/></query></iq>"
		}
		return "<iq type='result' from='" + gw + "' id='x'><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:iot:sensordata'/></query></iq>"
	})
	deliver(t, m, "<presence from='gateway@site.example/phone'/>")
	deliver(t, m, "<presence from='"+gw+"'/>")
	full, err := c.Find(t.Context(), mustJID("gateway@site.example"))
	if err != nil || full.String() != gw {
		t.Fatalf("%v, %v", full, err)
	}
	deliver(t, m, "<presence from='"+gw+"' type='unavailable'/>")
	if c.Online(full) {
		t.Error("still online")
	}
}

// A translated name is for people: what was asked for is found by the name
// itself, whatever the string ids say.
func Test0323R41_NamesAreNotTranslated(t *testing.T) {
	d := xmpptest.Doc(t, `<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'><node nodeId='n'><timestamp value='2026-03-01T00:00:00Z'>`+
		`<numeric name='temperature' momentary='true' stringIds='1' module='texts' value='1.5' unit='C'/>`+
		`<numeric name='1' momentary='true' stringIds='2|texts|temperature' value='2.5' unit='C'/></timestamp></node></fields>`)
	req := Request{Fields: []string{"temperature"}, Types: node.Momentary}
	got := req.filter(appendFields(nil, d.Root()))
	if len(got) != 1 || got[0].Name != "temperature" || got[0].Value != "1.5" {
		t.Errorf("%+v", got)
	}
}
