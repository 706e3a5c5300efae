package xmpp

import "postern/exi"

var (
	nameStartTLS = exi.N(NSTLS, "starttls")
	nameProceed  = exi.N(NSTLS, "proceed")
	nameTLSFail  = exi.N(NSTLS, "failure")
	nameBind     = exi.N(NSBind, "bind")
	nameResource = exi.N(NSBind, "resource")
	nameBindJID  = exi.N(NSBind, "jid")
	nameSession  = exi.N(NSSession, "session")
	nameOptional = exi.N(NSSession, "optional")
)

// features is what the server's stream features say (RFC 6120 §4.3.2).
type features struct {
	startTLS    bool
	mechanisms  []string
	bindings    []string // XEP-0440
	bind        bool
	session     bool // and not optional
	sm          bool
	names       []exi.Name // all of them
	unsupported exi.Name   // a feature this side does not know and must negotiate
}

// maxFeatures bounds what is remembered of a list the server sends.
const maxFeatures = 64

func parseFeatures(c exi.Cursor) features {
	var f features
	for k := range c.Children() {
		n := k.Name()
		if len(f.names) < maxFeatures {
			f.names = append(f.names, n)
		}
		switch n {
		case nameStartTLS:
			f.startTLS = true
		case nameMechanisms:
			f.mechanisms = parseList(k, nameMechanism, func(c exi.Cursor) string { return c.Text().String() })
		case nameCBList:
			f.bindings = parseList(k, nameCB, func(c exi.Cursor) string { v, _ := c.Attr(attrType); return v.String() })
		case nameBind:
			f.bind = true
		case nameSession:
			f.session = !k.Child(nameOptional).Valid()
		case nameSM:
			f.sm = true
		default:
			if k.Child(exi.N(n.Value().Space, "required")).Valid() {
				f.unsupported = n
			}
		}
	}
	return f
}

func parseList(c exi.Cursor, name exi.Name, text func(exi.Cursor) string) []string {
	var list []string
	for k := range c.Children() {
		if k.Name() == name && len(list) < maxFeatures {
			list = append(list, text(k))
		}
	}
	return list
}
