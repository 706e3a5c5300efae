package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/config"
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
			return nil, usagef("%s", OptionFault(fs.FlagSet, err))
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

// OptionFault says what is wrong with an option, and what was probably meant:
// package flag knows options with one dash and tells of parse errors.
func OptionFault(fs *flag.FlagSet, err error) string {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimPrefix(name, "-")
		var names []string
		fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		if n := config.Nearest(name, names); n != "" {
			return fmt.Sprintf("there is no option --%s; did you mean --%s?", name, n)
		}
		return fmt.Sprintf("there is no option --%s", name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Sprintf("--%s needs a value behind it", strings.TrimPrefix(name, "-"))
	}
	// invalid value "5" for flag -timeout: parse error
	value, rest, ok := strings.Cut(text, " for flag -")
	name, why, more := strings.Cut(rest, ": ")
	f := fs.Lookup(name)
	if !ok || !more || f == nil {
		return text
	}
	value = strings.TrimPrefix(value, "invalid value ")
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case time.Duration:
			return fmt.Sprintf("--%s %s is no length of time; write for example 15s, 10m or 2h", name, value)
		case int, int64, uint, uint64:
			return fmt.Sprintf("--%s %s is no number that fits", name, value)
		}
	}
	return fmt.Sprintf("--%s %s: %s", name, value, why)
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
