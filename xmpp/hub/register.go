package hub

import (
	"errors"
	"time"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/register"
)

// register answers a request of somebody without an account (XEP-0077 §3.1).
func (c *client) register(r register.Request) error {
	answer := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Result, ID: r.ID, From: c.h.domain}
	if r.Type == xmpp.Get {
		answer.Payload = xmpp.PayloadFunc(register.Form)
	} else if err := c.makeAccount(r); err != nil {
		answer.Type, answer.Payload = xmpp.TypeError, xmpp.AsError(err)
	}
	return c.write(func(d *exi.Doc) { answer.AppendEvents(d) })
}

func (c *client) makeAccount(r register.Request) error {
	if !r.Complete {
		return xmpp.NewError(xmpp.NotAcceptable, "name and password are wanted")
	}
	if !c.h.mayRegister(c.addr, time.Now()) {
		c.h.log.Warn("too many accounts are registered", "addr", c.addr)
		return xmpp.NewError(xmpp.ResourceConstraint, "no further account for now").WithType(xmpp.Wait)
	}
	err := c.h.AddUser(r.Name, r.Password)
	switch {
	case errors.Is(err, ErrExists):
		return xmpp.NewError(xmpp.Conflict, "")
	case err != nil:
		return xmpp.NewError(xmpp.NotAcceptable, "the name or the password cannot be used")
	}
	c.h.log.Info("an account was registered", "account", r.Name, "addr", c.addr)
	return nil
}

// mayRegister counts a registration of a network address.
func (h *Hub) mayRegister(addr string, now time.Time) bool {
	users, err := h.Users()
	if err != nil || len(users) >= h.lim.Accounts {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for a, list := range h.made {
		if len(list) == 0 || now.Sub(list[len(list)-1]) > time.Hour {
			delete(h.made, a)
		}
	}
	recent := h.made[addr]
	for len(recent) > 0 && now.Sub(recent[0]) > time.Hour {
		recent = recent[1:]
	}
	if len(recent) >= h.lim.Registrations {
		return false
	}
	h.made[addr] = append(recent, now)
	return true
}
