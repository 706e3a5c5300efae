package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// flagSet is a flag.FlagSet that takes flags behind arguments too.
type flagSet struct {
	*flag.FlagSet
	help string
}

// errHelp: help was asked for and printed.
var errHelp = errors.New("help")

func newFlags(name, help string) *flagSet {
	fs := &flagSet{flag.NewFlagSet(name, flag.ContinueOnError), help}
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// parse returns the arguments that are no flags. What follows "--" is taken
// as it is.
func (fs *flagSet) parse(e *Env, args []string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprint(e.Stdout, fs.help)
				return nil, errHelp
			}
			return nil, usagef("%v", err)
		}
		left := fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if n := len(args) - len(left); n > 0 && args[n-1] == "--" {
			return append(rest, left...), nil
		}
		rest = append(rest, left[0])
		args = left[1:]
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds a value.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// common are the flags that every command has.
type common struct {
	account string
	timeout time.Duration
	verbose bool
}

// defaultTimeout bounds a command: long enough for a slow bus behind a slow
// link, short enough for a person to wait.
const defaultTimeout = 15 * time.Second

func (c *common) add(fs *flagSet) {
	fs.StringVar(&c.account, "account", "", "")
	fs.DurationVar(&c.timeout, "timeout", defaultTimeout, "")
	fs.BoolVar(&c.verbose, "verbose", false, "")
}

func (c *common) check() error {
	if c.timeout <= 0 {
		return usagef("--timeout must be more than 0, for example 15s")
	}
	return nil
}

// commonHelp ends the help of every command.
const commonHelp = `  --account FILE     account to use (default: $POSTERN_ACCOUNT, else
                     $XDG_CONFIG_HOME/postern/account.yaml)
  --timeout TIME     how long to wait for an answer, or for more of it (15s)
  --verbose          tell on standard error what the connection does
Exit codes: 0 ok, 1 failure, 2 usage, 3 unreachable, 4 denied, 5 timed out,
78 account file not usable.
`
