package daemon

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
)

const outputsHelp = `Usage: postern outputs [NODE ...] [--json] [--socket PATH]

Shows the outputs of the gateway on this machine: their state, who holds them
(somebody afar, a person here, a schedule, an override, or the safe state), what
keeps them from being switched, and how long.

Options:
  --json          for programs
  --socket PATH   the local door of the gateway (default: that of postern run)

Exit codes: 0 shown, 1 no such node, 2 usage, 3 no gateway runs, 4 not permitted.

Example:
  postern outputs pump
`

// Outputs is the command postern outputs.
func Outputs(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("outputs", outputsHelp)
	asJSON := f.Bool("json", false, "")
	socket := f.String("socket", "", "")
	nodes, err := f.parse(&env, args)
	if err != nil {
		return finish(&env, "outputs", err)
	}
	var all local.Outputs
	err = ask(sockets(*socket, "postern"), func(d *local.Client) (err error) {
		all, err = d.Outputs(ctx)
		return err
	})
	if err == nil {
		all.Outputs, err = onlyOf(all.Outputs, nodes)
	}
	switch {
	case err != nil:
	case *asJSON:
		err = writeIndented(env.Stdout, all)
	default:
		err = writeOutputs(env.Stdout, all)
	}
	return finish(&env, "outputs", err)
}

// onlyOf keeps the outputs of the named nodes.
func onlyOf(all []local.Output, nodes []string) ([]local.Output, error) {
	if len(nodes) == 0 {
		return all, nil
	}
	out := []local.Output{}
	for _, n := range nodes {
		found := false
		for i := range all {
			if all[i].Node == n {
				found, out = true, append(out, all[i])
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no output of a node %s; postern outputs lists all", n)
		}
	}
	return out, nil
}

// writeOutputs shows outputs to a person.
func writeOutputs(w io.Writer, all local.Outputs) error {
	var b strings.Builder
	rows := [][]string{{"NODE", "OUTPUT", "VALUE", "HELD BY", "FOR", "TIMES"}}
	for i := range all.Outputs {
		o := &all.Outputs[i]
		value, since := "unknown", "-"
		if o.Value != nil {
			value = *o.Value
		}
		if !o.Since.IsZero() {
			since = ago(all.Now.Sub(o.Since))
		}
		rows = append(rows, []string{o.Node, o.Parameter, value, heldBy(o), since, outputTimes(o)})
	}
	if len(rows) == 1 {
		b.WriteString("this gateway has no outputs\n")
	} else {
		table(&b, rows, -1)
	}
	for i := range all.Outputs {
		o := &all.Outputs[i]
		for _, s := range []struct{ what, text string }{{"not made safe yet: ", o.Due}, {"locked: ", o.Locked}, {"override: ", o.Override}, {"", o.OverrideWaits}, {"cannot be switched on: ", o.Interlock}} {
			if s.text != "" {
				fmt.Fprintf(&b, "! %s %s: %s%s\n", printable(o.Node), printable(o.Parameter), s.what, printable(s.text))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func heldBy(o *local.Output) string {
	switch o.HeldBy {
	case "":
		return "nobody"
	case "iq", "message":
		return o.From
	case "local":
		return "a person here"
	case "schedule":
		return "a schedule"
	case "safe":
		return "its safe state"
	case "override":
		return "an override"
	}
	return o.HeldBy
}

// outputTimes lists the times that run.
func outputTimes(o *local.Output) string {
	var out []string
	for _, t := range []struct {
		left   float64
		format string
	}{
		{o.MaxOnLeft, "safe in %s"}, {o.HoldLeft, "stays for %s"}, {o.ChangeLeft, "changed again in %s"}, {o.ConfirmLeft, "waits %s for a second step"},
	} {
		if t.left > 0 {
			out = append(out, fmt.Sprintf(t.format, ago(time.Duration(math.Ceil(t.left))*time.Second)))
		}
	}
	if o.Restart == "hold" {
		out = append(out, "held over a restart")
	}
	return strings.Join(out, ", ")
}
