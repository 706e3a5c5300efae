package cli

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

// Faults of options are told as people write them, with two dashes, and say
// what to write instead.
func TestOptionFaults(t *testing.T) {
	for args, want := range map[string]string{
		"--tpye momentary": "there is no option --tpye; did you mean --type?",
		"-tpye momentary":  "there is no option --tpye; did you mean --type?",
		"--quaint":         "there is no option --quaint",
		"--timeout 5":      `--timeout "5" is no length of time; write for example 15s, 10m or 2h`,
		"--count x":        `--count "x" is no number that fits`,
		"--verbose=maybe":  "", // anything, but no package's words
		"--type":           "--type needs a value behind it",
	} {
		fs := newFlags("read", "")
		var c common
		c.add(fs)
		fs.String("type", "", "")
		fs.Int("count", 0, "")
		_, err := fs.parse(&Env{}, strings.Fields(args))
		var f *failure
		if !errors.As(err, &f) || f.code != ExitUsage {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if want != "" && f.msg != want || strings.Contains(f.msg, "flag ") {
			t.Errorf("%s: %q, want %q", args, f.msg, want)
		}
	}
	if got := OptionFault(flag.NewFlagSet("x", flag.ContinueOnError), errors.New("something else")); got != "something else" {
		t.Errorf("%q", got)
	}
}

func TestSetTakesALanguage(t *testing.T) {
	dir := t.TempDir()
	e := &Env{Getenv: func(name string) string {
		return map[string]string{"LANG": "de_AT.UTF-8", "XDG_CONFIG_HOME": dir}[name]
	}}
	for args, want := range map[string]string{
		"gw@site.example fan state=on":           "de-AT",
		"gw@site.example fan state=on --lang fr": "fr",
	} {
		o, err := e.setArgs(&common{timeout: time.Second}, strings.Fields(args))
		if o.lang != want || o.address == "" {
			t.Errorf("%s: %q, %v", args, o.lang, err)
		}
	}
}
