package pairing

import (
	"context"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
)

const approveHelp = `Usage: postern approve [QUESTION ...] [--once|--domain] [flags]

Lists what others wanted to do with your things and no rule decides, or allows
it. The answer becomes a rule; postern rules shows it, and can remove it.

  postern approve                      lists the open questions
  postern approve K7DQ2M               the first letters of a question are enough
  postern approve K7DQ2M --domain      everybody of the asker's domain

  --once             for one answer within the hour
  --domain           not only the asker but everybody of the domain
` + registryHelp

const denyHelp = `Usage: postern deny [QUESTION ...] [--domain] [flags]

Lists what others wanted to do with your things and no rule decides, or forbids
it. The answer becomes a rule; postern rules shows it, and can remove it.

  postern deny                         lists the open questions
  postern deny K7DQ2M                  the first letters of a question are enough

  --domain           not only the asker but everybody of the domain
` + registryHelp

// Approve is the command postern approve.
func Approve(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("approve", answer(ctx, &env, "approve", approveHelp, args))
}

// Deny is the command postern deny.
func Deny(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("deny", answer(ctx, &env, "deny", denyHelp, args))
}

// verdicts are the service's words.
var verdicts = map[[3]bool]string{ // yes, once, domain
	{true, false, false}: "yes", {true, true, false}: "yes-once", {true, false, true}: "yes-domain",
	{false, false, false}: "no", {false, false, true}: "no-domain",
}

func answer(ctx context.Context, env *cli.Env, command, help string, args []string) error {
	var o options
	f := cli.NewFlags(command, help)
	o.add(f)
	yes := command == "approve"
	var once, domain bool
	if yes {
		f.BoolVar(&once, "once", false, "")
	}
	f.BoolVar(&domain, "domain", false, "")
	rest, err := f.Arguments(env, args)
	if err != nil {
		return err
	}
	verdict, ok := verdicts[[3]bool{yes, once, domain}]
	switch {
	case !ok:
		return cli.Usagef("--once and --domain exclude each other")
	case len(rest) == 0 && (once || domain):
		return cli.Usagef("which question? postern %s lists them", command)
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	all, err := d.ListAll(d.ctx, provisioning.Page{Name: provisioning.NameQuestions}, maxListed)
	if err != nil {
		return d.refused(err, "the list")
	}
	if len(rest) == 0 {
		return d.listQuestions(all.Questions, o.json)
	}
	// All are looked up before the first is answered.
	var chosen []provisioning.Asked
	for _, id := range rest {
		q, err := pick(all.Questions, id)
		if err != nil {
			return err
		}
		chosen = append(chosen, q)
	}
	for _, q := range chosen {
		if err := d.Decide(d.ctx, q.ID, verdict); err != nil {
			return d.refused(err, "question "+short(q.ID))
		}
		if !o.json {
			fmt.Fprintf(env.Stdout, "%s\n", cli.Clean(decided(q, verdict)))
		}
	}
	if o.json {
		list := []map[string]any{}
		for _, q := range chosen {
			list = append(list, questionJSON(q))
		}
		return cli.WriteJSON(env.Stdout, map[string]any{"version": 1, "verdict": verdict, "questions": list})
	}
	return nil
}

// pick finds a question by the first letters of its name.
func pick(all []provisioning.Asked, id string) (found provisioning.Asked, err error) {
	n := 0
	for _, q := range all {
		if strings.HasPrefix(q.ID, strings.ToUpper(id)) || q.ID == id {
			found = q
			n++
		}
	}
	switch n {
	case 0:
		return found, cli.Fail(cli.ExitFailure, "postern approve lists the open ones", fmt.Errorf("there is no open question %s", cli.Clean(id)))
	case 1:
		return found, nil
	}
	return found, cli.Usagef("%d questions begin with %s; type more of it", n, id)
}

// shown is how many letters of a question's name lists show: one in a million
// million is met twice.
const shown = 8

func short(id string) string { return id[:min(len(id), shown)] }

// request says a question in words.
func request(q provisioning.Asked) string {
	if q.Action == provisioning.ActionFriend {
		return "be a friend"
	}
	return q.Action + " " + scopeText(q.Nodes, q.Names, q.Types)
}

func decided(q provisioning.Asked, verdict string) string {
	who := q.Who.String()
	if strings.HasSuffix(verdict, "-domain") {
		who = "everybody of " + q.Who.Domainpart()
	}
	may := " may "
	if strings.HasPrefix(verdict, "no") {
		may = " may not "
	}
	once := ""
	if verdict == "yes-once" {
		once = ", once"
	}
	return who + may + request(q) + " of " + q.Device.String() + once
}

func questionJSON(q provisioning.Asked) map[string]any {
	return map[string]any{"question": q.ID, "thing": q.Device.String(), "who": q.Who.String(), "action": q.Action,
		"nodes": nodesJSON(q.Nodes), "names": append([]string{}, q.Names...), "types": append([]string{}, strings.Fields(q.Types.String())...), "asked": jsonTime(q.When)}
}

func (d *desk) listQuestions(all []provisioning.Asked, asJSON bool) error {
	if asJSON {
		list := []map[string]any{}
		for _, q := range all {
			list = append(list, questionJSON(q))
		}
		return cli.WriteJSON(d.env.Stdout, map[string]any{"version": 1, "questions": list})
	}
	if len(all) == 0 {
		fmt.Fprintln(d.env.Stderr, "There are no open questions.")
		return nil
	}
	rows := [][]string{{"QUESTION", "ASKED", "WHO", "WANTS TO", "OF"}}
	for _, q := range all {
		rows = append(rows, []string{short(q.ID), when(q.When), q.Who.String(), request(q), q.Device.String()})
	}
	return d.env.Table(d.env.Stdout, rows)
}
