package hub

import (
	"context"
	"maps"
	"slices"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/entitytime"
	"postern/xmpp/ping"
	"postern/xmpp/version"
)

// software names the hub in capabilities (XEP-0115).
const software = "https://postern.example/hub"

func empty(context.Context, *xmpp.Stanza) (xmpp.Payload, error) { return nil, nil }

// serveIQs registers what is answered for the domain itself.
func (h *Hub) serveIQs() error {
	ping.Register(&h.mux)
	version.Register(&h.mux, version.Software{Name: "Postern hub", Version: h.cfg.Version})
	entitytime.Register(&h.mux, entitytime.Clock{})
	h.mux.HandleFunc(xmpp.IQ, xmpp.Set, nameSession, empty)
	d := disco.New(disco.Config{
		Software:   software,
		Identities: []disco.Identity{{Category: "server", Type: "im", Name: "Postern hub"}},
		Features:   []string{"msgoffline"}, // XEP-0160
		Items:      h.items,
	})
	d.Register(&h.mux)
	var err error
	h.caps, err = d.Caps()
	return err
}

// items lists the components (0030-R19).
func (h *Hub) items(_ context.Context, _ jid.JID, node string) (list []disco.Item, err error) {
	if node != "" {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	for _, domain := range slices.Sorted(maps.Keys(h.cfg.Components)) {
		j, err := jid.Parse(domain)
		if err != nil {
			return nil, err
		}
		list = append(list, disco.Item{JID: j, Name: h.cfg.Components[domain].Name})
	}
	return list, nil
}

// serveIQs registers what is answered for the account.
func (acc *account) serveIQs() {
	ping.Register(&acc.mux)
	disco.New(disco.Config{
		Software:   software,
		Identities: []disco.Identity{{Category: "account", Type: "registered"}},
		Items:      acc.items,
	}).Register(&acc.mux)
}

// items lists the available resources (0030-R18).
func (acc *account) items(_ context.Context, _ jid.JID, node string) (list []disco.Item, err error) {
	if node != "" {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "")
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	for _, s := range acc.available() {
		list = append(list, disco.Item{JID: s.full})
	}
	return list, nil
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
	case !mine && !acc.sees(p.from):
		// The same as for an account that does not exist (IM-R55).
		return nil, xmpp.NewError(xmpp.ServiceUnavailable, "")
	case name == nameRoster && !mine:
		return nil, xmpp.NewError(xmpp.Forbidden, "").WithType(xmpp.Auth) // IM-R09
	case name == nameRoster && typ == xmpp.Get && p.src != nil:
		p.src.getRoster(p)
		return nil, nil
	case name == nameRoster && typ == xmpp.Set:
		return xmpp.PayloadFunc(done), acc.setRoster(p)
	case name == nameBind && mine:
		return nil, xmpp.NewError(xmpp.NotAllowed, "one resource for each stream")
	case name == nameSession && mine:
		return xmpp.PayloadFunc(done), nil
	}
	st := *p.st
	st.From, st.To = p.from, p.to
	reply, err := acc.mux.HandleStanza(context.Background(), &st)
	if reply == nil {
		reply = xmpp.PayloadFunc(done)
	}
	return reply, err
}
