package provisioning

import (
	"fmt"
	"testing"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

// What an owner asks and is told survives the way over the wire, and anything
// else is a bad request.
func FuzzOwned(f *testing.F) {
	own := func(s string) string { return fmt.Sprintf(s, NSOwner) }
	for _, s := range []string{
		own("<rule xmlns='%s' id='1' jid='a@b.example' subject='*' action='read' deny='true' since='2026-01-01T00:00:00Z' types='momentary peak'><node nodeId='n' sourceId='s'/><name value='power'/></rule>"),
		own("<rule xmlns='%s' id='1' jid='a@b.example' subject='c.example' action='control' min='-15.50' max='2e3'><name value='power'/></rule>"),
		own("<rule xmlns='%s' id='1' jid='a@b.example' subject='*' action='control' max='25' maxOpen='true' minOpen='true'/>"),
		own("<things xmlns='%s' more='true'><thing jid='a@b.example' owner='c@d.example' public='false' removed='true' online='true' since='2026-01-01T00:00:00Z' to='e@f.example' nodeId='n'><str xmlns='urn:xmpp:iot:discovery' name='SN' value='1'/></thing></things>"),
		own("<friends xmlns='%s'><friend jid='a@b.example' result='true'/></friends>"),
		own("<questions xmlns='%s'><question id='q' jid='a@b.example' subject='c@d.example' action='control' since='2026-01-01T00:00:00Z'><name value='on'/></question></questions>"),
		own("<rules xmlns='%s' jid='a@b.example' offset='50'/>"),
		own("<decide xmlns='%s' id='q' verdict='yes'/>"),
		own("<dropRule xmlns='%s' id='1'/>"),
		own("<transfer xmlns='%s' jid='a@b.example' to='c@d.example' nodeId='n'/>"),
		own("<accept xmlns='%s' jid='a@b.example'/>"),
		own("<may xmlns='%s' jid='a@b.example'><isFriend xmlns='urn:xmpp:iot:provisioning' jid='c@d.example'/></may>"),
		own("<may xmlns='%s' jid='a@b.example'><canControl xmlns='urn:xmpp:iot:provisioning' jid='c@d.example'><parameter name='on'/></canControl></may>"),
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
			"rule":     func(c exi.Cursor) (xmpp.Payload, error) { return ParseRule(c) },
			"page":     func(c exi.Cursor) (xmpp.Payload, error) { return ParsePage(c) },
			"owned":    func(c exi.Cursor) (xmpp.Payload, error) { return ParseOwned(c) },
			"decision": func(c exi.Cursor) (xmpp.Payload, error) { return ParseDecision(c) },
			"dropRule": func(c exi.Cursor) (xmpp.Payload, error) { return ParseDropRule(c) },
			"transfer": func(c exi.Cursor) (xmpp.Payload, error) { return ParseTransfer(c) },
			"may":      func(c exi.Cursor) (xmpp.Payload, error) { return ParseMay(c) },
		} {
			if name != "page" || c.Name().Value().Space == NSOwner { // else a handler's name decides
				readsBack(t, name, c, parse)
			}
		}
	})
}
