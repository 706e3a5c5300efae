package provisioning

import (
	"context"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/node"
	"postern/xmpp"
)

func inNS(s string) string { return s + " xmlns='" + NS + "'" }

// Tokens, challenges, and what services ask and are told: read back as written,
// or a bad request.
func FuzzTokensAndServices(f *testing.F) {
	for _, s := range []string{
		inNS("<getToken") + ">MIIB</getToken>",
		inNS("<getToken") + ">-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n</getToken>",
		inNS("<getTokenChallenge") + " seqnr='7'>AAEC</getTokenChallenge>",
		inNS("<getTokenChallengeResponse") + " seqnr='-7'>AAEC</getTokenChallengeResponse>",
		inNS("<getTokenResponse") + " token='abc'/>",
		inNS("<tokenChallenge") + " token='abc'>AAEC</tokenChallenge>",
		inNS("<tokenChallengeResponse") + "/>",
		inNS("<canAccess") + " serviceToken='s'><jid value='a@b.example'/><ip4 value='192.0.2.1'/><x509Certificate base64='AAEC'/><protocol value='XMPP'/></canAccess>",
		inNS("<canAccess") + " serviceToken='s'><credentials type='jid' value='a@b.example'/></canAccess>",
		inNS("<canAccessResponse") + " result='true' userToken='u'/>",
		inNS("<hasPrivilege") + " serviceToken='s' userToken='u' privilegeId='A.B'/>",
		inNS("<hasPrivilegeResponse") + " result='1'/>",
		inNS("<userLoggedIn") + " serviceToken='s' userToken='u' userName='n'/>",
		inNS("<downloadPrivilegesResponse") + "><exclude id='A.B'/><include id='A'/></downloadPrivilegesResponse>",
		"<downloadPrivilegesResponse xmlns='jabber:client'><include id='A'/></downloadPrivilegesResponse>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d exi.Doc
		if xmltext.ParseElement(s, &d) != nil {
			return
		}
		c := d.Root()
		for name, parse := range map[string]func(exi.Cursor) (xmpp.Payload, error){
			"getToken":    func(c exi.Cursor) (xmpp.Payload, error) { return ParseGetToken(c) },
			"challenge":   func(c exi.Cursor) (xmpp.Payload, error) { return ParseChallenge(c) },
			"token":       func(c exi.Cursor) (xmpp.Payload, error) { return ParseToken(c) },
			"canAccess":   func(c exi.Cursor) (xmpp.Payload, error) { return ParseCanAccess(c) },
			"userRequest": func(c exi.Cursor) (xmpp.Payload, error) { return ParseUserRequest(c) },
			"privileges":  func(c exi.Cursor) (xmpp.Payload, error) { return ParsePrivileges(c) },
		} {
			if c.Name().Value().Space == NS || name == "privileges" { // else which handler it reaches decides
				readsBack(t, name, c, parse)
			}
		}
		if p, err := ParsePrivileges(c); err == nil {
			for i := range p {
				p.Allows(p[i].ID)
				p.Allows(p[i].ID + ".X")
			}
		}
		// A service takes nothing for a yes that is none.
		svc := Service{Session: echo{c}, Server: jid.MustParse("ps.example"), Token: "s"}
		result, _ := c.Attr(attrResult)
		yes, _ := result.Bool()
		if u, err := svc.Access(t.Context(), nil); err == nil && u != "" && (!yes || c.Name() != NameCanAccessResponse) {
			t.Fatalf("access by %s", s)
		}
		if ok, err := svc.HasPrivilege(t.Context(), "u", "A"); err == nil && ok && (!yes || c.Name() != NameHasPrivilegeResponse) {
			t.Fatalf("a privilege by %s", s)
		}
	})
}

// readsBack fails unless what is parsed is written and read as the same, and
// what is not is a bad request.
func readsBack(t *testing.T, name string, c exi.Cursor, parse func(exi.Cursor) (xmpp.Payload, error)) {
	t.Helper()
	p, err := parse(c)
	if err != nil {
		if xmpp.AsError(err).Condition != xmpp.BadRequest {
			t.Fatalf("%s: %v", name, err)
		}
		return
	}
	back, err := parse(element(t, written(t, p)))
	if err != nil || written(t, back) != written(t, p) {
		t.Fatalf("%s: %+v\nbecame %+v, %v", name, p, back, err)
	}
}

// echo answers every question with one element.
type echo struct{ c exi.Cursor }

func (echo) Send(context.Context, ...xmpp.Stanza) error { return nil }

func (e echo) Query(_ context.Context, _ xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.AppendElement(e.c) })}
	var d exi.Doc
	st.AppendEvents(&d)
	st.Elem = d.Root()
	return reply(&st)
}

// An answer with ranges allows what was asked for and nothing more, whatever
// it says, and reads back as it was written.
func FuzzAnswer(f *testing.F) {
	const head = "<canControlResponse xmlns='" + NS + "' jid='a@b.example' result='true'>"
	const own = " xmlns='" + NSValues + "'"
	for _, s := range []string{
		head + "<node nodeId='n'/><parameter name='P'/><values" + own + " name='P'><range min='15' max='25' maxOpen='true'/></values></canControlResponse>",
		head + "<values" + own + " other='true'><range max='-1e3'/><range min='0.5' minOpen='1'/></values></canControlResponse>",
		head + "<values" + own + "/></canControlResponse>",
		"<canReadResponse xmlns='" + NS + "' jid='a@b.example' result='true' momentary='true'><field name='E'/></canReadResponse>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d exi.Doc
		if xmltext.ParseElement(s, &d) != nil {
			return
		}
		a, err := ParseAnswer(d.Root())
		if err != nil {
			if xmpp.AsError(err).Condition != xmpp.BadRequest {
				t.Fatal(err)
			}
			return
		}
		if back, err := ParseAnswer(element(t, written(t, a))); err != nil || written(t, back) != written(t, a) {
			t.Fatalf("%+v\nbecame %+v, %v", a, back, err)
		}
		q := Question{Control: a.Control, Ranges: true, JID: a.JID, Nodes: []Ref{{ID: "n"}}, Names: []string{"P"}}
		got, ok := scope(q, a)
		if !ok {
			return
		}
		dec := node.Decision{Scopes: []node.Scope{got}}
		if !a.Result || dec.Settable(Ref{ID: "other"}, "P") || a.Control && dec.Settable(Ref{ID: "n"}, "other") {
			t.Fatalf("%+v allows %+v", a, got)
		}
		if v := node.ValuesFor(a.Values, "P"); dec.Values(Ref{ID: "n"}, "P").String() != v.String() && a.Control && !v.Empty() {
			t.Fatalf("%+v allows %s", a, dec.Values(Ref{ID: "n"}, "P"))
		}
	})
}
