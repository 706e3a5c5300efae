// Package daemon holds the sub-commands that run a daemon or ask one: run,
// hub, demo, status, and check and schema, which need what the gateway knows.
// Each is a function of its environment and arguments and returns the exit
// code.
package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/local"
)

// flags parses the options of one command.
type flags struct {
	*flag.FlagSet
	help string
}

var errHelp = errors.New("help was shown")

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

func newFlags(name, help string) *flags {
	f := &flags{flag.NewFlagSet(name, flag.ContinueOnError), help}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// parse returns the arguments that are no options. Options may follow them; what
// comes after -- is none.
func (f *flags) parse(env *cli.Env, args []string) ([]string, error) {
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprint(env.Stdout, f.help)
				return nil, errHelp
			}
			return nil, usagef("%s", cli.OptionFault(f.FlagSet, err))
		}
		left := f.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if n := len(args) - len(left); n > 0 && args[n-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// finish prints err and returns the exit code that it means.
func finish(env *cli.Env, cmd string, err error) int {
	var ue usageError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return cli.ExitOK
	case errors.As(err, &ue):
		fmt.Fprintf(env.Stderr, "postern %s: %s\n  postern %s --help explains the command\n", cmd, ue.text, cmd)
		return cli.ExitUsage
	}
	fmt.Fprintf(env.Stderr, "postern %s: %v\n", cmd, err)
	var ps config.Problems
	switch {
	case errors.Is(err, local.ErrNobody), databaseAway(err):
		return cli.ExitUnreachable
	case errors.Is(err, local.ErrDenied):
		return cli.ExitDenied
	case errors.As(err, &ps), errors.Is(err, errConfig), errors.Is(err, gateway.ErrConfig):
		return cli.ExitConfig
	}
	return cli.ExitFailure
}

// errConfig marks errors that the operator mends in a file.
var errConfig = errors.New("configuration")
