package provisioning

import (
	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Names of the payloads of XEP-0347, for a Mux.
var (
	NameRegister   = nd("register")
	NameMine       = nd("mine")
	NameClaimed    = nd("claimed")
	NameRemove     = nd("remove")
	NameRemoved    = nd("removed")
	NameUpdate     = nd("update")
	NameSearch     = nd("search")
	NameFound      = nd("found")
	NameUnregister = nd("unregister")
	NameDisown     = nd("disown")
	NameDisowned   = nd("disowned")

	nameThing = nd("thing")

	attrSelfOwned = at("selfOwned")
	attrPublic    = at("public")
	attrOwner     = at("owner")
	attrMore      = at("more")
)

// Register announces a thing (XEP-0347 §3.5).
type Register struct {
	Ref
	SelfOwned bool
	Tags      []Tag
}

// AppendEvents writes the register element.
func (r Register) AppendEvents(d *exi.Doc) {
	d.Start(NameRegister)
	if r.SelfOwned {
		d.Attr(attrSelfOwned, exi.BoolValue(true))
	}
	appendRef(d, r.Ref)
	appendTags(d, r.Tags)
	d.End()
}

// ParseRegister reads the element at c.
func ParseRegister(c exi.Cursor) (r Register, err error) {
	var ok, okRef bool
	r.SelfOwned, ok = flag(c, attrSelfOwned, false)
	r.Ref, okRef = parseRef(c)
	if !ok || !okRef {
		return r, bad("selfOwned is no boolean, or an identifier is too long")
	}
	r.Tags, err = parseTags(c)
	return r, err
}

// Mine claims a thing (XEP-0347 §3.8).
type Mine struct {
	Ref
	Private bool // public='false'; public is the default (0347-R18)
	Tags    []Tag
}

// AppendEvents writes the mine element.
func (m Mine) AppendEvents(d *exi.Doc) {
	d.Start(NameMine)
	d.Attr(attrPublic, exi.BoolValue(!m.Private))
	appendRef(d, m.Ref)
	appendTags(d, m.Tags)
	d.End()
}

// ParseMine reads the element at c.
func ParseMine(c exi.Cursor) (m Mine, err error) {
	public, ok := flag(c, attrPublic, true)
	m.Private = !public
	var okRef bool
	m.Ref, okRef = parseRef(c)
	if !ok || !okRef {
		return m, bad("public is no boolean, or an identifier is too long")
	}
	m.Tags, err = parseTags(c)
	return m, err
}

// Claimed tells a thing its owner, and an owner its thing (XEP-0347 §3.8). The
// visibility is always written (0347-D2).
type Claimed struct {
	Ref
	JID     jid.JID // the other party, bare
	Private bool
}

// AppendEvents writes the claimed element.
func (n Claimed) AppendEvents(d *exi.Doc) {
	d.Start(NameClaimed)
	appendJID(d, n.JID)
	d.Attr(attrPublic, exi.BoolValue(!n.Private))
	appendRef(d, n.Ref)
	d.End()
}

// ParseClaimed reads the element at c; a missing public is true (0347-D2).
func ParseClaimed(c exi.Cursor) (n Claimed, err error) {
	public, ok := flag(c, attrPublic, true)
	var okJID, okRef bool
	n.Private = !public
	n.JID, okJID = address(c)
	n.Ref, okRef = parseRef(c)
	if !ok || !okJID || !okRef || n.JID.String() == "" {
		return n, bad("claimed needs the other party's jid")
	}
	return n, nil
}

// Notice is a payload that names a thing, or a node, and nothing else.
type Notice struct {
	Name exi.Name // NameRemove, NameRemoved, NameUnregister, NameDisown or NameDisowned
	Ref
	JID jid.JID // zero where the sender is meant
}

// AppendEvents writes the element.
func (n Notice) AppendEvents(d *exi.Doc) {
	d.Start(n.Name)
	appendJID(d, n.JID)
	appendRef(d, n.Ref)
	d.End()
}

// ParseNotice reads the element at c.
func ParseNotice(c exi.Cursor) (n Notice, err error) {
	n.Name = c.Name()
	var okJID, okRef bool
	n.JID, okJID = address(c)
	n.Ref, okRef = parseRef(c)
	if !okJID || !okRef {
		return n, bad("jid is no address, or an identifier is too long")
	}
	return n, nil
}

// Update changes some tags (XEP-0347 §3.10). An empty string removes a tag
// (0347-R32, D11).
type Update struct {
	Ref
	JID  jid.JID // of the thing, where its owner updates it
	Tags []Tag
}

// AppendEvents writes the update element.
func (u Update) AppendEvents(d *exi.Doc) {
	d.Start(NameUpdate)
	appendJID(d, u.JID)
	appendRef(d, u.Ref)
	appendTags(d, u.Tags)
	d.End()
}

// ParseUpdate reads the element at c.
func ParseUpdate(c exi.Cursor) (u Update, err error) {
	var okJID, okRef bool
	u.JID, okJID = address(c)
	u.Ref, okRef = parseRef(c)
	if !okJID || !okRef {
		return u, bad("jid is no address, or an identifier is too long")
	}
	u.Tags, err = parseTags(c)
	return u, err
}

// FoundThing is one hit of a search.
type FoundThing struct {
	Ref
	JID, Owner jid.JID
	Tags       []Tag
}

// Found answers a search.
type Found struct {
	Things []FoundThing
	More   bool // there are further hits behind these (0347-R45)
}

// AppendEvents writes the found element.
func (f Found) AppendEvents(d *exi.Doc) {
	d.Start(NameFound)
	if f.More {
		d.Attr(attrMore, exi.BoolValue(true))
	}
	for i := range f.Things {
		t := &f.Things[i]
		d.Start(nameThing)
		optional(d, attrOwner, t.Owner.Bare().String())
		appendJID(d, t.JID)
		appendRef(d, t.Ref)
		appendTags(d, t.Tags)
		d.End()
	}
	d.End()
}

// ParseFound reads the element at c. Things without an address and tags that
// break the rules are left out: what a registry says is content, not truth.
func ParseFound(c exi.Cursor) (f Found, err error) {
	more, ok := flag(c, attrMore, false)
	if !ok || c.Name() != NameFound {
		return f, bad("no list of things")
	}
	f.More = more
	for k := range c.Children() {
		if k.Name() != nameThing || len(f.Things) == MaxNames {
			continue
		}
		var t FoundThing
		var okJID, okRef bool
		t.JID, okJID = address(k)
		t.Ref, okRef = parseRef(k)
		if !okJID || !okRef || t.JID.String() == "" {
			continue
		}
		if o, err := xmpp.ParseJID(text(k, attrOwner)); err == nil {
			t.Owner = o.Bare()
		}
		if t.Tags, err = parseTags(k); err != nil {
			continue
		}
		f.Things = append(f.Things, t)
	}
	return f, nil
}
