package pairing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/node"
	"postern/provisioning"
	"postern/xmpp"
)

const rulesHelp = `Usage: postern rules [list] [THING] [flags]
       postern rules add THING WHO read|control|friend [SCOPE] [flags]
       postern rules remove NUMBER ... [flags]
       postern rules test THING WHO read|control|friend [SCOPE] [flags]

Decides who else may do what with a thing of yours. WHO is somebody's address, a
domain, or '*' for everyone. Of the rules that say something, those for a person
come before those for a domain, these before those for everyone, and newer ones
before older ones. What no rule says is denied, and you are asked; see postern
approve.

  postern rules add gateway@site.example friend@site.example read
  postern rules add gateway@site.example friend@site.example control --node fan \
      --name state --for 8h
  postern rules add gateway@site.example friend@site.example control \
      --node heating --name setpoint --range 15..25
  postern rules add gateway@site.example site.example read --deny --node meter
  postern rules test gateway@site.example friend@site.example read --node meter
  postern rules test gateway@site.example friend@site.example control \
      --node heating --name setpoint --value 22

SCOPE, each several times for several; what is left out means all of it:
  --node N           a node; --source S: the data source of the nodes
  --name F           a field, or a parameter for control
  --type T           a field type, as in postern read
Of add:
  --range A..B       of control: the numbers that may be set, both included;
                     ..B and A.. have one bound. A thing that does not obey
                     ranges may not set the parameter at all
  --deny             forbid it
  --until T, --for D until a time (2026-03-01, 2026-03-01T12:30) or for a while
                     (8h, 30m, 14d)
  --once             for one answer only
Of test:
  --value V          of control: may it be set to this?

test says what the thing would be told: exit code 0 for all of it, 4 for nothing
or only a part.

` + registryHelp

// Rules is the command postern rules.
func Rules(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("rules", rules(ctx, &env, args))
}

// ruleOptions are all options of postern rules.
type ruleOptions struct {
	options
	nodes, names, types        *[]string
	source, until, lasting     string
	values, value              string
	deny, once                 bool
	device                     jid.JID
	who                        string
	action                     string
	ruleNodes                  []provisioning.Ref
	ruleTypes                  provisioning.Types
	ruleRange                  *provisioning.ValueRange
	untilTime                  time.Time
	scopeGiven, onlyAddOptions bool
}

func rules(ctx context.Context, env *cli.Env, args []string) error {
	var o ruleOptions
	f := cli.NewFlags("rules", rulesHelp)
	o.add(f)
	o.nodes, o.names, o.types = f.List("node"), f.List("name"), f.List("type")
	for name, p := range map[string]*string{"source": &o.source, "until": &o.until, "for": &o.lasting, "range": &o.values, "value": &o.value} {
		f.StringVar(p, name, "", "")
	}
	f.BoolVar(&o.deny, "deny", false, "")
	f.BoolVar(&o.once, "once", false, "")
	rest, err := f.Arguments(env, args)
	if err != nil {
		return err
	}
	verb := "list"
	if len(rest) > 0 && !strings.Contains(rest[0], "@") {
		verb, rest = rest[0], rest[1:]
	}
	if err := o.scope(time.Now()); err != nil {
		return err
	}
	if verb != "add" && o.onlyAddOptions {
		return cli.Usagef("--range, --deny, --once, --until and --for go with rules add")
	}
	if verb != "test" && o.value != "" {
		return cli.Usagef("--value goes with rules test; rules add takes a --range")
	}
	if (verb == "list" || verb == "remove") && o.scopeGiven {
		return cli.Usagef("--node, --name, --type and --source go with rules add and rules test")
	}
	do := map[string]func(context.Context, *cli.Env, []string) error{"list": o.list, "add": o.addRule, "remove": o.remove, "test": o.test}[verb]
	if do == nil {
		hint := ""
		if n := config.Nearest(verb, []string{"list", "add", "remove", "test"}); n != "" {
			hint = "; did you mean " + n + "?"
		}
		return cli.Usagef("there is no command rules %s%s", verb, hint)
	}
	return do(ctx, env, rest)
}

// scope reads what a rule is about.
func (o *ruleOptions) scope(now time.Time) error {
	o.scopeGiven = len(*o.nodes)+len(*o.names)+len(*o.types) > 0 || o.source != ""
	o.onlyAddOptions = o.deny || o.once || o.until != "" || o.lasting != "" || o.values != ""
	if o.source != "" && len(*o.nodes) == 0 {
		return cli.Usagef("--source needs --node")
	}
	for _, n := range *o.nodes {
		o.ruleNodes = append(o.ruleNodes, provisioning.Ref{ID: n, Source: o.source})
	}
	for _, list := range *o.types {
		for name := range strings.SplitSeq(list, ",") {
			t, ok := node.ParseType(strings.TrimSpace(name))
			if !ok {
				return cli.Usagef("--type %q is no field type; there are: all historical %s", name, node.All)
			}
			o.ruleTypes |= t
		}
	}
	if o.values != "" {
		r, err := node.ParseRange(o.values)
		if err != nil {
			return cli.Usagef("--range: %v", err)
		}
		o.ruleRange = &r
	}
	switch {
	case o.until != "" && o.lasting != "":
		return cli.Usagef("--until and --for exclude each other")
	case o.until != "":
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
			if t, err := time.ParseInLocation(form, o.until, time.Local); err == nil {
				o.untilTime = t
			}
		}
		if o.untilTime.IsZero() {
			return cli.Usagef("--until %q is no time like 2026-03-01 or 2026-03-01T12:30", o.until)
		}
		if !o.untilTime.After(now) {
			return cli.Usagef("--until %s has passed", o.until)
		}
	case o.lasting != "":
		d, err := parseWhile(o.lasting)
		if err != nil {
			return err
		}
		o.untilTime = now.Add(d)
	}
	return nil
}

// parseWhile reads a length of time, in which d is a day.
func parseWhile(s string) (time.Duration, error) {
	text, days := strings.CutSuffix(s, "d")
	if days {
		text += "h"
	}
	d, err := time.ParseDuration(text)
	if days {
		d *= 24
	}
	if err != nil || d <= 0 || d > 100*365*24*time.Hour {
		return 0, cli.Usagef("--for %q is no length of time like 30m, 8h or 14d", s)
	}
	return d, nil
}

// parties reads THING WHO ACTION.
func (o *ruleOptions) parties(rest []string) (err error) {
	if len(rest) != 3 {
		return cli.Usagef("say which thing, who, and what: gateway@site.example friend@site.example read")
	}
	if o.device, err = cli.ParseThing(rest[0]); err != nil {
		return err
	}
	o.device, o.who, o.action = o.device.Bare(), rest[1], rest[2]
	if o.who != provisioning.Everyone {
		j, err := xmpp.ParseJID(o.who)
		if err != nil || j.Resourcepart() != "" {
			return cli.Usagef("%q is neither an address, nor a domain, nor '*'", o.who)
		}
		o.who = j.String()
	}
	switch o.action {
	case provisioning.ActionRead:
	case provisioning.ActionControl, provisioning.ActionFriend:
		if o.ruleTypes != 0 {
			return cli.Usagef("only reading knows --type")
		}
	default:
		return cli.Usagef("%q is not read, control or friend", o.action)
	}
	if o.action != provisioning.ActionControl && (o.values != "" || o.value != "") {
		return cli.Usagef("only control knows --range and --value")
	}
	if o.value != "" && len(*o.names) == 0 {
		return cli.Usagef("--value of which parameter? give its --name")
	}
	if o.action == provisioning.ActionFriend && o.scopeGiven {
		return cli.Usagef("a friend is one of the whole thing; leave --node and --name out")
	}
	return nil
}

func (o *ruleOptions) list(ctx context.Context, env *cli.Env, rest []string) error {
	var device jid.JID
	switch {
	case len(rest) > 1:
		return cli.Usagef("name one thing, or none for all")
	case len(rest) == 1:
		var err error
		if device, err = cli.ParseThing(rest[0]); err != nil {
			return err
		}
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	all, err := d.ListAll(d.ctx, provisioning.Page{Name: provisioning.NameRules, Device: device.Bare()}, maxListed)
	if err != nil {
		return d.refused(err, device.Bare().String())
	}
	if o.json {
		list := []jsonRule{}
		for _, r := range all.Rules {
			list = append(list, ruleJSON(r))
		}
		return cli.WriteJSON(env.Stdout, map[string]any{"version": 1, "rules": list})
	}
	if len(all.Rules) == 0 {
		fmt.Fprintln(env.Stderr, "There are no rules: only the owner may do anything, and whom the thing's configuration names.")
		return nil
	}
	rows := [][]string{{"NUMBER", "THING", "WHO", "MAY", "WHAT", "UNTIL"}}
	for _, r := range all.Rules {
		scope := ruleText(r)
		if r.Action == provisioning.ActionFriend {
			scope = "-"
		}
		rows = append(rows, []string{r.ID, r.Device.String(), r.Subject, verbText(r), scope, untilText(r)})
	}
	return env.Table(env.Stdout, rows)
}

func (o *ruleOptions) addRule(ctx context.Context, env *cli.Env, rest []string) error {
	if err := o.parties(rest); err != nil {
		return err
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	r, err := d.AddRule(d.ctx, provisioning.Rule{Device: o.device, Subject: o.who, Action: o.action, Deny: o.deny, Nodes: o.ruleNodes,
		Names: *o.names, Types: o.ruleTypes, Range: o.ruleRange, Until: o.untilTime, Once: o.once})
	if err != nil {
		return d.refused(err, o.device.String())
	}
	if o.json {
		return cli.WriteJSON(env.Stdout, struct {
			Version int `json:"version"`
			jsonRule
		}{1, ruleJSON(r)})
	}
	_, err = fmt.Fprintf(env.Stdout, "Rule %s: %s\n", r.ID, cli.Clean(sentence(r)))
	return err
}

func (o *ruleOptions) remove(ctx context.Context, env *cli.Env, rest []string) error {
	if len(rest) == 0 {
		return cli.Usagef("which? postern rules lists their numbers")
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	for _, id := range rest {
		if err := d.DropRule(d.ctx, id); err != nil {
			if errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
				return cli.Fail(cli.ExitFailure, "postern rules lists those there are", fmt.Errorf("there is no rule %s of yours", cli.Clean(id)))
			}
			return d.refused(err, "rule "+id)
		}
		if !o.json {
			fmt.Fprintf(env.Stdout, "Rule %s is gone.\n", cli.Clean(id))
		}
	}
	if o.json {
		return cli.WriteJSON(env.Stdout, map[string]any{"version": 1, "removed": rest})
	}
	return nil
}
