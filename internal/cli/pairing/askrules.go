package pairing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/internal/node"
	"postern/provisioning"
	"postern/xmpp"
)

func (o *ruleOptions) test(ctx context.Context, env *cli.Env, rest []string) error {
	if err := o.parties(rest); err != nil {
		return err
	}
	who, err := xmpp.ParseJID(o.who)
	if err != nil || who.Localpart() == "" {
		return cli.Usagef("test is about one person: %q is no address like friend@site.example", o.who)
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	var a provisioning.Answer
	if o.action == provisioning.ActionFriend {
		a.Result, err = d.MayBeFriend(d.ctx, o.device, who)
	} else {
		a, err = d.May(d.ctx, o.device, provisioning.Question{Control: o.action == provisioning.ActionControl, JID: who,
			Nodes: o.ruleNodes, Names: *o.names, Types: o.ruleTypes, Ranges: true})
	}
	if err != nil {
		return d.refused(err, o.device.String())
	}
	return o.verdict(env, a)
}

// verdict prints what a test came to.
func (o *ruleOptions) verdict(env *cli.Env, a provisioning.Answer) error {
	limits := valuesText(a.Values)
	part := a.Result && (len(a.Nodes)+len(a.Names) > 0 && (len(a.Nodes) < len(o.ruleNodes) || len(a.Names) < len(*o.names) ||
		len(o.ruleNodes) == 0 && len(a.Nodes) > 0 || len(*o.names) == 0 && len(a.Names) > 0) ||
		a.Types != 0 && a.Types != provisioning.AllTypes && a.Types != o.ruleTypes)
	word := map[bool]string{true: "yes", false: "no"}[a.Result && o.valueAllowed(a)]
	if word == "yes" && (part || o.value == "" && len(limits) > 0) {
		word = "in part"
	}
	switch {
	case o.json:
		if err := cli.WriteJSON(env.Stdout, map[string]any{"version": 1, "answer": word, "nodes": nodesJSON(a.Nodes),
			"names": append([]string{}, a.Names...), "types": append([]string{}, strings.Fields(a.Types.String())...), "values": valuesJSON(a.Values)}); err != nil {
			return err
		}
	case word == "in part" && o.value == "" && len(limits) > 0:
		what := scopeText(a.Nodes, a.Names, a.Types)
		fmt.Fprintf(env.Stdout, "in part: %s; of the values %s\n", cli.Clean(what), cli.Clean(strings.Join(limits, ", ")))
	case word == "in part":
		fmt.Fprintf(env.Stdout, "in part: %s\n", cli.Clean(scopeText(a.Nodes, a.Names, a.Types)))
	case word == "no" && a.Result:
		fmt.Fprintf(env.Stdout, "no: only %s\n", cli.Clean(strings.Join(limits, ", ")))
	default:
		fmt.Fprintln(env.Stdout, word)
	}
	if word == "yes" {
		return nil
	}
	if o.json {
		return cli.Fail(cli.ExitDenied, "", errors.New("not all of it is allowed"))
	}
	return cli.Fail(cli.ExitDenied, "postern rules add allows more", errors.New("not all of it is allowed"))
}

// valueAllowed reports whether the named parameters may be set to the value
// that was asked about.
func (o *ruleOptions) valueAllowed(a provisioning.Answer) bool {
	if o.value == "" {
		return true
	}
	for _, name := range *o.names {
		if !node.ValuesFor(a.Values, name).ContainsText(o.value) {
			return false
		}
	}
	return true
}
