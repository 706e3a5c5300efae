package pairing

import (
	"context"
	"fmt"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
	"postern/xmpp"
)

const friendsHelp = `Usage: postern friends THING [flags]
       postern friends add|remove THING WHO [flags]

Says who may be a friend of a thing of yours: who sees whether it is online, and
can talk to it. Whoever may read or control something is a friend without being
named. A friend alone may do neither; postern rules says that.

  postern friends gateway@site.example
  postern friends add gateway@site.example friend@site.example

remove ends the friendship, even where rules allow to read or control.

` + registryHelp

// Friends is the command postern friends.
func Friends(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("friends", friends(ctx, &env, args))
}

func friends(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	f := cli.NewFlags("friends", friendsHelp)
	o.add(f)
	rest, err := f.Arguments(env, args)
	if err != nil {
		return err
	}
	verb := ""
	if len(rest) > 0 && (rest[0] == "add" || rest[0] == "remove") {
		verb, rest = rest[0], rest[1:]
	}
	if verb == "" && len(rest) != 1 || verb != "" && len(rest) != 2 {
		return cli.Usagef("name the thing, or say: friends add THING WHO, friends remove THING WHO")
	}
	device, err := cli.ParseThing(rest[0])
	if err != nil {
		return err
	}
	device = device.Bare()
	var who jid.JID
	if verb != "" {
		if who, err = xmpp.ParseJID(rest[1]); err != nil || who.Localpart() == "" {
			return cli.Usagef("%q is not the address of a person", rest[1])
		}
		who = who.Bare()
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	switch verb {
	case "add":
		err = d.befriend(device, who)
	case "remove":
		err = d.unfriend(device, who)
	default:
		return d.listFriends(device, o.json)
	}
	if err != nil {
		return d.refused(err, device.String())
	}
	yes := verb == "add"
	text := map[bool]string{true: "%s may be a friend of %s.", false: "%s is no friend of %s any more."}[yes]
	return d.said(o.json, map[string]any{"thing": device.String(), "who": who.String(), "friend": yes}, text, who, device)
}

func (d *desk) listFriends(device jid.JID, asJSON bool) error {
	all, err := d.ListAll(d.ctx, provisioning.Page{Name: provisioning.NameFriends, Device: device}, maxListed)
	if err != nil {
		return d.refused(err, device.String())
	}
	if asJSON {
		type friend struct {
			Who    string `json:"who"`
			Friend bool   `json:"friend"`
			Owner  bool   `json:"owner,omitempty"`
		}
		list := []friend{}
		for _, f := range all.Friends {
			list = append(list, friend{f.JID.String(), f.Yes, f.JID.Equal(d.op.Own())})
		}
		return cli.WriteJSON(d.env.Stdout, map[string]any{"version": 1, "thing": device.String(), "friends": list})
	}
	rows := [][]string{{"WHO", "FRIEND"}}
	for _, f := range all.Friends {
		word := "no"
		switch {
		case f.JID.Equal(d.op.Own()):
			word = "owner"
		case f.Yes:
			word = "yes"
		}
		rows = append(rows, []string{f.JID.String(), word})
	}
	return d.env.Table(d.env.Stdout, rows)
}

// dropFriendRules forgets the rules about one person's friendship that say yes,
// or no.
func (d *desk) dropFriendRules(device, who jid.JID, deny bool) error {
	all, err := d.ListAll(d.ctx, provisioning.Page{Name: provisioning.NameRules, Device: device}, maxListed)
	if err != nil {
		return err
	}
	for _, r := range all.Rules {
		if r.Action == provisioning.ActionFriend && r.Subject == who.String() && r.Deny == deny {
			if err := d.DropRule(d.ctx, r.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *desk) befriend(device, who jid.JID) error {
	if err := d.dropFriendRules(device, who, true); err != nil {
		return err
	}
	_, err := d.AddRule(d.ctx, provisioning.Rule{Device: device, Subject: who.String(), Action: provisioning.ActionFriend})
	return err
}

func (d *desk) unfriend(device, who jid.JID) error {
	if who.Equal(d.op.Own()) {
		return fmt.Errorf("the owner stays a friend; postern disown ends that")
	}
	if err := d.dropFriendRules(device, who, false); err != nil {
		return err
	}
	yes, err := d.MayBeFriend(d.ctx, device, who)
	if err != nil || !yes {
		return err
	}
	_, err = d.AddRule(d.ctx, provisioning.Rule{Device: device, Subject: who.String(), Action: provisioning.ActionFriend, Deny: true})
	return err
}
