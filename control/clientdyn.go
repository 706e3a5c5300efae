package control

import (
	"context"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Session returns the value of the hidden field called name; ok is false when
// the form has none.
func (f *Form) Session(name string) (value string, ok bool) {
	for i := range f.Fields {
		if fd := &f.Fields[i]; fd.Hidden && fd.Var == name && len(fd.Values) == 1 {
			return fd.Values[0], true
		}
	}
	return "", false
}

// Merge takes an update of the same form over, and returns what the user has
// edited of it (XEP-0336 §3.4; R49): the update decides which fields there are,
// their order and properties, and the values of those that were not edited;
// edited values win, and those of fields that are gone are forgotten.
func (f *Form) Merge(update *Form, edited map[string]string) map[string]string {
	kept := make(map[string]string, len(edited))
	for i := range update.Fields {
		fd := &update.Fields[i]
		if v, ok := edited[fd.Var]; ok && !fd.Hidden && fd.Writable {
			kept[fd.Var] = v
			fd.NotSame = false
		}
	}
	*f = *update
	return kept
}

// Update is a form that a thing sent again, with newer values.
type Update struct {
	From    jid.JID // only the full address that served the form counts (D37)
	Session string  // name and value of the hidden field that tells which form
	Value   string
	Form    *Form
}

// ServeUpdates calls f for every update of a form that arrives. It is
// registered before the session runs; f must return soon.
func ServeUpdates(m *xmpp.Mux, f func(Update)) {
	take := func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		for c := range st.Elem.Children() {
			if c.Name() != nameUpdated {
				continue
			}
			name, _ := c.Attr(attrSessionVariable)
			x := c.Child(nameX)
			if !x.Valid() {
				continue
			}
			u := Update{From: st.From, Session: name.String(), Form: parseForm(x)}
			var ok bool
			if u.Value, ok = u.Form.Session(u.Session); ok {
				f(u)
			}
		}
		return nil, nil
	}
	for _, typ := range [...]string{"", "normal", "chat", "headline"} {
		m.HandleFunc(xmpp.Message, typ, nameUpdated, take)
	}
}

// Applies reports whether an update is of this form, which from served (R47).
func (u Update) Applies(f *Form, from jid.JID) bool {
	v, ok := f.Session(u.Session)
	return ok && v == u.Value && u.From.Equal(from)
}

// PostBack shows a thing the form as it is being edited, and returns what the
// thing makes of it (XEP-0336 §3.3): fields may come, go, be locked, or carry an
// error. Nothing is set. Merge takes the answer over. It is for forms with a
// field that has PostBack, when the person has left that field; a thing that has
// forgotten the form answers item-not-found.
func (c *Client) PostBack(ctx context.Context, to jid.JID, f *Form, edited map[string]string, lang string) (*Form, error) {
	var out *Form
	err := c.q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, To: to, Lang: lang, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameDynSubmit)
		d.Start(nameX)
		d.Attr(attrType, exi.Str("submit"))
		for i := range f.Fields {
			fd := &f.Fields[i]
			if _, is := edited[fd.Var]; !is && fd.Known && !fd.NotSame && !fd.Hidden {
				fd.appendSubmit(d, map[string]string{fd.Var: fd.Value}) // what is undefined stays away
				continue
			}
			fd.appendSubmit(d, edited)
		}
		d.End()
		d.End()
	})}, func(st *xmpp.Stanza) (err error) {
		out, err = formIn(st)
		return err
	})
	return out, setError(err)
}

// Cancel tells a thing that a form is given up. Things that keep nothing for
// it answer with an error, which does not matter.
func (c *Client) Cancel(ctx context.Context, to jid.JID, f *Form) error {
	return c.q.Query(ctx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Set, To: to, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameDynCancel)
		d.Start(nameX)
		d.Attr(attrType, exi.Str("cancel"))
		for i := range f.Fields {
			f.Fields[i].appendSubmit(d, nil)
		}
		d.End()
		d.End()
	})}, func(*xmpp.Stanza) error { return nil })
}
