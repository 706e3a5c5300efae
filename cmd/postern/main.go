// Postern is a gateway between sensors and actuators and XMPP. This file only
// chooses the sub-command.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"postern/internal/cli"
	"postern/internal/cli/daemon"
	"postern/internal/cli/exicmd"
	"postern/internal/cli/exisession"
	"postern/internal/cli/pairing"
	"postern/internal/config"
)

// command is one sub-command.
type command struct {
	name    string
	group   string
	summary string
	run     func(ctx context.Context, env cli.Env, args []string) int
}

// commands are in the order of the help.
func commands() []command {
	const start, gw, op, own, hub, more = "Start here", "Gateway", "Operator", "Owner", "Server", "More"
	return []command{
		{"demo", start, "a server, a gateway and an operator on this machine, to try", daemon.Demo},
		{"run", gw, "run the gateway", daemon.Run},
		{"check", gw, "check a configuration and show everything that is wrong", daemon.Check},
		{"scan", gw, "find what is connected to this machine", daemon.Scan},
		{"doctor", gw, "find what this machine lacks, and what to do", daemon.Doctor},
		{"schema", gw, "print the JSON Schema, an example configuration, the hardware table", daemon.Schema},
		{"status", gw, "show how the gateway or hub on this machine is", daemon.Status},
		{"explain", gw, "tell why a node reads as it does", daemon.Explain},
		{"outputs", gw, "show the outputs, who holds them, and what keeps them", daemon.Outputs},
		{"schedule", gw, "switch outputs by the calendar", daemon.Schedule},
		{"audit", gw, "show who switched what, and whether that record is whole", daemon.Audit},
		{"pair", gw, "show the gateway's claim code, as a QR code and on labels", pairing.Pair},
		{"override", gw, "take an output over at the machine, and give it back", daemon.Override},
		{"decommission", gw, "make the gateway a new one, without owner and data", daemon.Decommission},
		{"login", op, "keep an account to read and switch things with", cli.Login},
		{"read", op, "read things", cli.Read},
		{"set", op, "switch things", cli.Set},
		{"form", op, "set a thing by the form that it offers", cli.Form},
		{"watch", op, "watch the readings of a thing", cli.Watch},
		{"subscribe", op, "have a thing send its readings as they come", cli.Subscribe},
		{"plot", op, "draw what the readings of a thing were", cli.Plot},
		{"claim", own, "make a gateway yours by its claim code", pairing.Claim},
		{"things", own, "list what is yours", pairing.Things},
		{"rules", own, "decide who else may do what with it", pairing.Rules},
		{"friends", own, "decide who may be its friend", pairing.Friends},
		{"approve", own, "list and allow what others asked for", pairing.Approve},
		{"deny", own, "list and forbid what others asked for", pairing.Deny},
		{"transfer", own, "hand a thing over to somebody", pairing.Transfer},
		{"disown", own, "give a thing up", pairing.Disown},
		{"search", own, "find things that others made public", pairing.Search},
		{"hub", hub, "an XMPP server for one small site, and its accounts", daemon.Hub},
		{"registry", hub, "a thing registry and provisioning server for a stock XMPP server", daemon.Registry},
		{"terminator", hub, "put EXI in front of a stock XMPP server", daemon.Terminator},
		{"exi", more, "turn XML into EXI and back, show the bits of a stream", exiCommand},
		{"store", more, "check a state file", daemon.Store},
		{"version", more, "print the version", daemon.ShowVersion},
	}
}

func main() {
	// SIGHUP is for the daemons that know it; the others end of it as usual.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, cli.OSEnv(), os.Args[1:])
	stop()
	os.Exit(code)
}

// run dispatches to a sub-command and returns the exit code.
func run(ctx context.Context, env cli.Env, args []string) int {
	if len(args) == 0 {
		help(&env)
		return cli.ExitUsage
	}
	switch args[0] {
	case "help", "--help", "-h", "-help":
		if len(args) > 1 {
			return run(ctx, env, []string{args[1], "--help"})
		}
		help(&env)
		return cli.ExitOK
	case "--version", "-v":
		return daemon.ShowVersion(ctx, env, nil)
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, env, args[1:])
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(env.Stderr, "postern: there is no command %q", args[0])
	if n := config.Nearest(args[0], names); n != "" {
		fmt.Fprintf(env.Stderr, "; did you mean postern %s?", n)
	}
	fmt.Fprintf(env.Stderr, "\n  postern help lists the commands\n")
	return cli.ExitUsage
}

func help(env *cli.Env) {
	var b strings.Builder
	b.WriteString("Postern reads sensors and drives actuators, and offers them as XMPP nodes.\n\nUsage: postern COMMAND [options]\n")
	group := ""
	for _, c := range commands() {
		if c.group != group {
			group = c.group
			b.WriteString("\n" + group + ":\n")
		}
		fmt.Fprintf(&b, "  %-12s %s\n", c.name, c.summary)
	}
	b.WriteString("\npostern COMMAND --help explains a command.\n")
	fmt.Fprint(env.Stdout, b.String())
}

// exiCommand fits exicmd into the table: it needs no session and no signals.
func exiCommand(_ context.Context, env cli.Env, args []string) int {
	if len(args) > 0 && args[0] == "session" {
		return exisession.Run(args[1:], env.Stdin, env.Stdout, env.Stderr)
	}
	return exicmd.Run(args, env.Stdin, env.Stdout, env.Stderr)
}
