package main

import (
	"bytes"
	"strings"
	"testing"

	"postern/internal/cli"
)

func try(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	code = run(t.Context(), env, args)
	return code, out.String(), errs.String()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range commands() {
		code, out, errs := try(t, c.name, "--help")
		if code != 0 || !strings.HasPrefix(out, "Usage: postern "+c.name) || errs != "" {
			t.Errorf("%s --help: %d\n%s%s", c.name, code, out, errs)
		}
		if code2, out2, _ := try(t, "help", c.name); code2 != 0 || out2 != out {
			t.Errorf("help %s differs from %s --help", c.name, c.name)
		}
		for i, line := range strings.Split(out, "\n") {
			if len([]rune(line)) > 84 {
				t.Errorf("%s --help: line %d has %d characters", c.name, i+1, len([]rune(line)))
			}
		}
		if code, _, errs := try(t, c.name, "--no-such-option"); code != cli.ExitUsage || !strings.Contains(errs, "no-such-option") {
			t.Errorf("%s --no-such-option: %d %s", c.name, code, errs)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	if code, _, errs := try(t, "stauts"); code != cli.ExitUsage || !strings.Contains(errs, "did you mean postern status?") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ := try(t); code != cli.ExitUsage || !strings.Contains(out, "Usage:") {
		t.Errorf("without arguments: %d %s", code, out)
	}
	if code, out, _ := try(t, "--help"); code != 0 || !strings.Contains(out, "postern COMMAND --help") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := try(t, "--version"); code != 0 || !strings.HasPrefix(out, "postern 0.") {
		t.Errorf("%d %s", code, out)
	}
}
