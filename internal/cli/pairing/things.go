package pairing

import (
	"context"
	"fmt"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
)

const thingsHelp = `Usage: postern things [THING] [flags]

Lists the things that are yours, and those that are offered to you. ONLINE says
whether the registry knows where to reach them.

  postern things
  postern things gateway@site.example --json

` + registryHelp

// maxListed bounds what is kept of a list.
const maxListed = 100_000

// Things is the command postern things.
func Things(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("things", things(ctx, &env, args))
}

func things(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	f := cli.NewFlags("things", thingsHelp)
	o.add(f)
	device, err := optionalThing(env, f, args)
	if err != nil {
		return err
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	all, err := d.ListAll(d.ctx, provisioning.Page{Name: provisioning.NameOwnThings, Device: device}, maxListed)
	if err != nil {
		return d.refused(err, "the list")
	}
	if o.json {
		return d.thingsJSON(all.Things)
	}
	if len(all.Things) == 0 {
		fmt.Fprintln(env.Stderr, "Nothing is yours here; postern claim makes it.")
		return nil
	}
	rows := [][]string{{"THING", "NODE", "STATE", "ONLINE", "SINCE", "TAGS"}}
	for i := range all.Things {
		t := &all.Things[i]
		online := "no"
		if t.Online {
			online = "yes"
		}
		rows = append(rows, []string{t.JID.String(), t.Ref.String(), d.state(t), online, when(t.Since), tagText(t.Tags)})
	}
	return env.Table(env.Stdout, rows)
}

// optionalThing parses a command line that may name one thing.
func optionalThing(env *cli.Env, f cli.Flags, args []string) (jid.JID, error) {
	rest, err := f.Arguments(env, args)
	switch {
	case err != nil:
		return jid.JID{}, err
	case len(rest) == 0:
		return jid.JID{}, nil
	case len(rest) > 1:
		return jid.JID{}, cli.Usagef("name one thing, or none for all")
	}
	j, err := cli.ParseThing(rest[0])
	return j.Bare(), err
}

func (d *desk) state(t *provisioning.OwnThing) string {
	s := "public"
	switch {
	case t.Removed:
		s = "removed"
	case t.Private:
		s = "private"
	}
	switch {
	case t.To.String() == "":
	case t.Owner.Equal(d.op.Own()):
		s += ", offered to " + t.To.String()
	default:
		s = "offered by " + t.Owner.String()
	}
	return s
}

func (d *desk) thingsJSON(all []provisioning.OwnThing) error {
	type thing struct {
		Thing   string    `json:"thing"`
		Node    string    `json:"node,omitempty"`
		Source  string    `json:"source,omitempty"`
		Cache   string    `json:"cacheType,omitempty"`
		Owner   string    `json:"owner"`
		Private bool      `json:"private"`
		Removed bool      `json:"removed"`
		Online  bool      `json:"online"`
		Since   string    `json:"since,omitempty"`
		Offered string    `json:"offered,omitempty"`
		Tags    []jsonTag `json:"tags"`
	}
	list := []thing{}
	for _, t := range all {
		list = append(list, thing{t.JID.String(), t.ID, t.Source, t.Cache, t.Owner.String(), t.Private, t.Removed, t.Online, jsonTime(t.Since), t.To.String(), tagsJSON(t.Tags)})
	}
	return cli.WriteJSON(d.env.Stdout, map[string]any{"version": 1, "registry": d.Addr.String(), "things": list})
}
