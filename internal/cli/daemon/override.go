package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
)

const overrideHelp = `Usage: postern override NODE [PARAMETER=VALUE] [--for TIME] [--reason TEXT]
       postern override NODE [PARAMETER] --release

Takes an output over for somebody who works at the machine: commands from afar
and schedules are refused, and are told who holds it and until when. With a
value the output gets it, and is made safe when it is given back; without one
it stays as it is. Interlocks, groups and the longest time still hold. After a
restart of the gateway the output is still held, in its safe state.

  postern override pump                             keep it as it is for an hour
  postern override pump state=off --for 4h --reason "changing the seal"
  postern override pump --release

Options:
  --for TIME      how long, for example 30m, 4h (default 1h, at most 168h)
  --reason TEXT   told to whoever is refused, and recorded
  --release       give it back
  --json          for programs
  --socket PATH   the local door of the gateway (default: that of postern run)

Exit codes: 0 done, 1 failure, 2 usage, 3 no gateway runs, 4 not permitted.
`

// Override is the command postern override.
func Override(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("override", overrideHelp)
	long := f.Duration("for", time.Hour, "")
	reason := f.String("reason", "", "")
	release := f.Bool("release", false, "")
	asJSON := f.Bool("json", false, "")
	socket := f.String("socket", "", "")
	rest, err := f.parse(&env, args)
	r := local.OverrideRequest{Reason: *reason, Release: *release, Seconds: long.Seconds()}
	switch {
	case err != nil:
	case len(rest) == 0 || len(rest) > 2:
		err = usagef("name a node, and at most one PARAMETER=VALUE")
	case len(*reason) > 200:
		err = usagef("--reason is at most 200 octets long")
	default:
		r.Node = rest[0]
		if len(rest) == 2 {
			var ok bool
			r.Parameter, r.Value, ok = strings.Cut(rest[1], "=")
			if ok && r.Value == "" || ok && r.Release || r.Parameter == "" {
				err = usagef("%q is not PARAMETER=VALUE; to give it back name the parameter alone", rest[1])
			}
		}
	}
	if err != nil {
		return finish(&env, "override", err)
	}
	o, err := askOverride(ctx, sockets(*socket, "postern"), r)
	switch {
	case err != nil:
	case *asJSON:
		err = printJSON(env.Stdout, o)
	case o.Released:
		_, err = fmt.Fprintf(env.Stdout, "%s %s is given back.\n", printable(o.Node), printable(o.Parameter))
	default:
		what := "stays as it is"
		if o.Value != "" {
			what = "is set to " + o.Value
		}
		_, err = fmt.Fprintf(env.Stdout, "%s %s %s; commands from afar are refused until %s.\n",
			printable(o.Node), printable(o.Parameter), printable(what), o.Until.Local().Format("2006-01-02 15:04"))
	}
	return finish(&env, "override", err)
}

func askOverride(ctx context.Context, paths []string, r local.OverrideRequest) (local.Override, error) {
	for _, p := range paths {
		o, err := local.NewClient(p).Override(ctx, r)
		if !errors.Is(err, local.ErrNobody) {
			return o, err
		}
	}
	return local.Override{}, nobody(paths)
}
