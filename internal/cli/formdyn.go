package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/control"
	"postern/internal/node"
	"postern/sensors"
	"postern/xmpp"
	"postern/xmpp/disco"
)

// postBack shows the thing the form after a field that it wants to know of, and
// takes over what it makes of it. fault is what is wrong with the field.
func (f *editor) postBack(ctx context.Context, name string) (fault string, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.opt.timeout)
	defer cancel()
	answer, err := f.client.PostBack(ctx, f.full, f.form, f.edited, f.o.lang)
	if errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
		return "", &failure{code: ExitFailure, msg: "the thing has forgotten this form; nothing was sent", hint: "start anew: a form lasts 15 minutes"}
	}
	if err != nil {
		return "", f.refused(err)
	}
	before := fieldNames(f.form)
	f.edited = f.form.Merge(answer, f.edited)
	if now := fieldNames(f.form); now != before {
		fmt.Fprintf(f.e.Stdout, "  (the form has changed: %s)\n", clean(now))
	}
	i := f.index(name)
	if i < 0 || f.form.Fields[i].Error == "" {
		return "", nil
	}
	fault = f.form.Fields[i].Error
	f.form.Fields[i].Error = "" // it is about what is being written anew
	delete(f.edited, name)
	return fault, nil
}

// fieldNames lists what can be seen of a form.
func fieldNames(form *control.Form) string {
	var all []string
	for i := range form.Fields {
		if !form.Fields[i].Hidden {
			all = append(all, form.Fields[i].Var)
		}
	}
	return strings.Join(all, ", ")
}

// complete asks for the rest of an action of which something was changed: it is
// set together.
func (f *editor) complete() error {
	f.merge()
	for _, name := range f.form.Together(f.edited) {
		i := f.index(name)
		if i < 0 || !f.form.Fields[i].Known {
			continue // the thing goes by its default
		}
		value := f.form.Fields[i].Value
		yes, err := f.yes(fmt.Sprintf("%s belongs to what you changed. Set it to %s with it?", clean(name), clean(value)))
		if err != nil {
			return err
		}
		if yes {
			f.edited[name] = value
		}
	}
	return nil
}

// fillTime bounds the read-out of values that a form does not tell.
const fillTime = 3 * time.Second

// fill reads present values that the form does not tell. A thing that does not
// let itself be read leaves them unknown.
func (f *editor) fill(ctx context.Context) {
	var names []string
	for i := range f.form.Fields {
		if fd := &f.form.Fields[i]; !fd.Hidden && !fd.Known {
			names = append(names, fd.Var)
		}
	}
	if len(names) == 0 || len(f.o.nodes) != 1 {
		return // of several nodes each may have its own value
	}
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	res, err := f.c.read(ctx, f.full, sensors.Request{Nodes: f.o.nodes, Fields: names, Types: node.Momentary | node.Status}, nil)
	if err != nil {
		return
	}
	seen := make([]control.Seen, 0, len(res.Items))
	for i := range res.Items {
		it := &res.Items[i]
		seen = append(seen, control.Seen{Name: it.Name, Value: it.Value, Missing: !it.Quality.Usable(),
			Momentary: it.Types&node.Momentary != 0, Status: it.Types&node.Status != 0})
	}
	for i := range f.form.Fields {
		if fd := &f.form.Fields[i]; !fd.Hidden && !fd.Known {
			if v, ok := control.Current(seen, fd.Var, fd.Kind, time.Local); ok {
				fd.Value, fd.Known = v.String(), true
			}
		}
	}
}

// caps are the capabilities of the thing, as far as its presence told.
func (f *editor) caps() disco.Caps {
	for _, p := range f.c.finder.contacts.Resources(f.full.Bare()) {
		if p.From.Equal(f.full) {
			return p.Caps
		}
	}
	return disco.Caps{}
}
