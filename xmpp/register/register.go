// Package register makes an account on a server by in-band registration
// (XEP-0077), before the login and on the same stream.
package register

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace of registration.
const NS = "jabber:iq:register"

// Names of what is sent; Feature is in the features of a server that lets
// anybody register.
var (
	Feature  = exi.N("http://jabber.org/features/iq-register", "register")
	Query    = exi.N(NS, "query")
	Username = exi.N(NS, "username")
	Password = exi.N(NS, "password")

	nameRegistered   = exi.N(NS, "registered")
	nameInstructions = exi.N(NS, "instructions")
	nameIQ           = exi.N(xmpp.NSClient, "iq")
	attrID           = exi.N("", "id")
)

// ErrForm says that a server wants to know more than name and password.
var ErrForm = errors.New("register: the server wants more than a name and a password: make the account by hand")

// Account is the account to make.
type Account struct {
	JID      jid.JID
	Password func(context.Context) (string, error)
	// Known reports whether the account exists as far as is known; then nothing
	// is sent. Made is told that it does: made is false when it did before.
	Known func() bool
	Made  func(made bool) error
}

// BeforeLogin is for xmpp.Config.BeforeLogin. A server that offers no
// registration is left alone: the login says what is wrong.
func (a *Account) BeforeLogin(ctx context.Context, conn xmpp.Conn, features exi.Cursor) error {
	if a.Known() || !features.Child(Feature).Valid() {
		return nil
	}
	password, err := a.Password(ctx)
	if err != nil {
		return fmt.Errorf("register: the password is not available: %w", err)
	}
	form, err := ask(conn, xmpp.Get, "reg1", nil)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	for k := range form.Elem.First().Children() {
		switch n := k.Name(); {
		case n == nameRegistered:
			return a.Made(false)
		case n.Value().Space == NS && n != Username && n != Password && n != nameInstructions:
			return fmt.Errorf("%w (it asks for %s)", ErrForm, n.Value().Local)
		}
	}
	_, err = ask(conn, xmpp.Set, "reg2", func(d *exi.Doc) {
		d.Element(Username, exi.Str(a.JID.Localpart()))
		d.Element(Password, exi.Str(password))
	})
	switch {
	case errors.Is(err, &xmpp.Error{Condition: xmpp.Conflict}):
		return a.Made(false)
	case err != nil:
		return fmt.Errorf("register: %s: %w", a.JID.Bare(), err)
	}
	return a.Made(true)
}

// ask sends a request and reads its answer; nothing else can come here.
func ask(conn xmpp.Conn, typ, id string, content func(*exi.Doc)) (xmpp.Stanza, error) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: typ, ID: id, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(Query)
		if content != nil {
			content(d)
		}
		d.End()
	})}
	var out, in exi.Doc
	st.AppendEvents(&out)
	if err := conn.WriteElements(&out); err != nil {
		return st, err
	}
	if err := conn.ReadElement(&in); err != nil {
		return st, err
	}
	var got xmpp.Stanza
	if in.Root().Name() != nameIQ {
		return st, errors.New("the server answers with something else")
	}
	if err := got.Parse(in.Root()); err != nil {
		return st, err
	}
	if v, _ := in.Root().Attr(attrID); !v.Is(id) {
		return st, errors.New("the server answers another request")
	}
	if e := got.Err(); e != nil {
		return st, e
	}
	return got, nil
}

// Request is what somebody without an account sends to a server.
type Request struct {
	ID, Type         string
	Name, Password   string
	Wanted, Complete bool // a request about registration, with name and password
}

// Parse reads an element before the login.
func Parse(c exi.Cursor) (r Request) {
	q := c.Child(Query)
	if c.Name() != nameIQ || !q.Valid() {
		return r
	}
	var st xmpp.Stanza
	if st.Parse(c) != nil || st.ID == "" || st.Type != xmpp.Get && st.Type != xmpp.Set {
		return r
	}
	r = Request{ID: st.ID, Type: st.Type, Wanted: true, Name: q.Child(Username).Text().String(), Password: q.Child(Password).Text().String()}
	r.Complete = strings.TrimSpace(r.Name) != "" && r.Password != ""
	return r
}

// Form is the answer that says what is wanted.
func Form(d *exi.Doc) {
	d.Start(Query)
	d.Element(nameInstructions, exi.Str("Choose a name and a password."))
	d.Element(Username, exi.Value{})
	d.Element(Password, exi.Value{})
	d.End()
}
