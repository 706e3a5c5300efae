package hub

import (
	"context"
	"maps"
	"slices"
	"time"

	"postern/exi"
	"postern/xmpp"
)

const (
	nsInfo    = "http://jabber.org/protocol/disco#info"
	nsItems   = "http://jabber.org/protocol/disco#items"
	nsVersion = "jabber:iq:version"
	nsTime    = "urn:xmpp:time"
)

var (
	nameInfo     = exi.N(nsInfo, "query")
	nameIdentity = exi.N(nsInfo, "identity")
	nameFeature  = exi.N(nsInfo, "feature")
	nameItems    = exi.N(nsItems, "query")
	nameDiscoIt  = exi.N(nsItems, "item")
	nameVersion  = exi.N(nsVersion, "query")
	nameTime     = exi.N(nsTime, "time")
	attrCategory = exi.N("", "category")
	attrVar      = exi.N("", "var")
	attrNode     = exi.N("", "node")
)

// domainFeatures are what the domain serves, accountFeatures what it serves
// for an account.
func domainFeatures() []string {
	return []string{nsInfo, nsItems, nsVersion, nsTime, "urn:xmpp:ping", "msgoffline", nsRoster}
}

func accountFeatures() []string { return []string{nsInfo, nsItems, "urn:xmpp:ping"} }

// serveIQs registers what is answered for the domain itself.
func (h *Hub) serveIQs() {
	h.mux.HandleFunc(xmpp.IQ, xmpp.Get, namePing, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return nil, nil })
	h.mux.HandleFunc(xmpp.IQ, xmpp.Get, nameVersion, h.version)
	h.mux.HandleFunc(xmpp.IQ, xmpp.Get, nameTime, h.time)
	h.mux.HandleFunc(xmpp.IQ, xmpp.Get, nameInfo, func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		return info(st, "server", "im", "Postern hub", domainFeatures())
	})
	h.mux.HandleFunc(xmpp.IQ, xmpp.Get, nameItems, h.items)
	h.mux.HandleFunc(xmpp.IQ, xmpp.Set, nameSession, func(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return nil, nil })
}

func (h *Hub) version(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
	version := h.cfg.Version
	if version == "" {
		version = "unknown"
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameVersion)
		d.Element(exi.N(nsVersion, "name"), exi.Str("Postern hub"))
		d.Element(exi.N(nsVersion, "version"), exi.Str(version))
		d.End()
	}), nil
}

func (h *Hub) time(context.Context, *xmpp.Stanza) (xmpp.Payload, error) {
	now := time.Now()
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameTime)
		d.Element(exi.N(nsTime, "tzo"), exi.Str(now.Format("-07:00")))
		d.Element(exi.N(nsTime, "utc"), exi.Str(now.UTC().Format("2006-01-02T15:04:05Z")))
		d.End()
	}), nil
}

// info builds a disco#info result. No nodes are known here.
func info(st *xmpp.Stanza, category, typ, name string, features []string) (xmpp.Payload, error) {
	if node, ok := st.Child().Attr(attrNode); ok && !node.IsZero() {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameInfo)
		d.Start(nameIdentity)
		d.Attr(attrCategory, exi.Str(category))
		d.Attr(attrType, exi.Str(typ))
		if name != "" {
			d.Attr(attrName, exi.Str(name))
		}
		d.End()
		for _, f := range features {
			d.Start(nameFeature)
			d.Attr(attrVar, exi.Str(f))
			d.End()
		}
		d.End()
	}), nil
}

// items lists the components (0030-R19).
func (h *Hub) items(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if node, ok := st.Child().Attr(attrNode); ok && !node.IsZero() {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameItems)
		for _, domain := range slices.Sorted(maps.Keys(h.cfg.Components)) {
			d.Start(nameDiscoIt)
			d.Attr(attrJID, exi.Str(domain))
			if name := h.cfg.Components[domain].Name; name != "" {
				d.Attr(attrName, exi.Str(name))
			}
			d.End()
		}
		d.End()
	}), nil
}

// serveIQ answers a request to the account's bare address (IM-R46, R52).
func (acc *account) serveIQ(p *packet) {
	reply, err := acc.answerIQ(p)
	switch {
	case err != nil:
		acc.h.refuse(p, err)
	case reply != nil:
		acc.h.answer(p, p.st.Reply(xmpp.Result, reply))
	}
}

// done is the Payload of an empty result.
func done(*exi.Doc) {}

// answerIQ returns the payload of the answer; nil when it was sent already.
func (acc *account) answerIQ(p *packet) (xmpp.Payload, error) {
	mine := p.from.Bare().Equal(acc.bare)
	name, typ := p.st.Child().Name(), p.st.Type
	switch {
	case name == nameRoster && !mine && acc.sees(p.from):
		return nil, xmpp.NewError(xmpp.Forbidden, "").WithType(xmpp.Auth) // IM-R09
	case name == nameRoster && !mine:
		return nil, xmpp.NewError(xmpp.ServiceUnavailable, "") // IM-R55
	case name == nameRoster && typ == xmpp.Get && p.src != nil:
		p.src.getRoster(p)
		return nil, nil
	case name == nameRoster && typ == xmpp.Set:
		return xmpp.PayloadFunc(done), acc.setRoster(p)
	case name == nameBind && mine:
		return nil, xmpp.NewError(xmpp.NotAllowed, "one resource for each stream")
	case name == nameSession && mine, name == namePing && typ == xmpp.Get && (mine || acc.sees(p.from)):
		return xmpp.PayloadFunc(done), nil
	case typ != xmpp.Get || !mine && !acc.sees(p.from):
		// The same as for an account that does not exist (IM-R55).
		return nil, xmpp.NewError(xmpp.ServiceUnavailable, "")
	case name == nameInfo:
		return info(p.st, "account", "registered", "", accountFeatures())
	case name == nameItems:
		return acc.items(p)
	}
	return nil, xmpp.NewError(xmpp.ServiceUnavailable, "")
}

// items lists the available resources (0030-R18).
func (acc *account) items(p *packet) (xmpp.Payload, error) {
	if node, ok := p.st.Child().Attr(attrNode); ok && !node.IsZero() {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	var list []string
	for _, s := range acc.available() {
		list = append(list, s.full.String())
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameItems)
		for _, j := range list {
			d.Start(nameDiscoIt)
			d.Attr(attrJID, exi.Str(j))
			d.End()
		}
		d.End()
	}), nil
}
