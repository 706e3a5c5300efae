package main

import (
	"slices"
	"strings"
	"testing"
)

const helpList = `Postern does things.

Usage: postern COMMAND [options]

Gateway:
  run        run the gateway
  hub        a server

postern COMMAND --help explains a command.
`

const helpRun = `Usage: postern run [--config FILE] [options]

Runs the gateway. It's one
paragraph.

  postern run --config postern.yaml

Options:
  --config FILE   configuration
                  ($POSTERN_CONFIG)
  --from T, --to T  a time
  --simulate      simulate all

Exit codes: 0 ended as asked,
78 configuration.

Examples:
  postern run --simulate
`

const helpHub = `Usage: postern hub [run] [options]
       postern hub adduser NAME | list

A server.

Accounts, asked of the running hub:
  adduser NAME   make one
  --state DIR    where
`

func ask(args ...string) (string, error) {
	switch strings.Join(args, " ") {
	case "help run":
		return helpRun, nil
	case "help hub":
		return helpHub, nil
	}
	return helpList, nil
}

func parsed(t *testing.T) []command {
	t.Helper()
	cmds, err := commands(ask)
	if err != nil || len(cmds) != 2 {
		t.Fatalf("%d commands, %v", len(cmds), err)
	}
	return cmds
}

func TestHelpIsUnderstood(t *testing.T) {
	cmds := parsed(t)
	run, hub := cmds[0], cmds[1]
	if run.summary != "run the gateway" || len(run.words) != 0 || !slices.Equal(hub.words, []string{"adduser", "list", "run"}) {
		t.Errorf("%q, words %q and %q", run.summary, run.words, hub.words)
	}
	var terms []string
	for _, o := range run.options {
		terms = append(terms, o.term+" / "+strings.Join(o.names, " ")+" / "+o.arg+" / "+o.text)
	}
	want := []string{
		"--config FILE / --config / FILE / configuration ($POSTERN_CONFIG)",
		"--from T, --to T / --from --to / T / a time",
		"--simulate / --simulate /  / simulate all",
	}
	if !slices.Equal(terms, want) {
		t.Errorf("options:\n%s\nwant\n%s", strings.Join(terms, "\n"), strings.Join(want, "\n"))
	}
	var heads []string
	for _, p := range run.parts {
		heads = append(heads, p.heading)
	}
	if got := strings.Join(heads, "|"); got != "||Options|Exit codes|Examples" {
		t.Errorf("parts %s", got)
	}
	if _, err := parse("x", "no usage"); err == nil {
		t.Error("a help without usage is taken")
	}
}

func TestManPage(t *testing.T) {
	cmds := parsed(t)
	page := page(cmds[0], "0.1.0", "2026-03-01")
	for _, want := range []string{
		".TH POSTERN\\-RUN 1 2026-03-01 \"Postern 0.1.0\"", "postern\\-run \\- run the gateway\n", ".TP\n.B \\-\\-config FILE\nconfiguration ($POSTERN_CONFIG)\n",
		".SH EXIT CODES\n0 ended as asked,\n78 configuration.\n", ".SH EXAMPLES\n.nf\n  postern run \\-\\-simulate\n.fi\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(line("'quoted"), "\n'") || !strings.HasPrefix(line(".dot"), `\&.`) {
		t.Error("text at the begin of a line is taken for a request")
	}
}

func TestCompletionsNameEverything(t *testing.T) {
	cmds := parsed(t)
	for name, text := range map[string]string{"bash": bash(cmds), "zsh": zsh(cmds), "fish": fish(cmds)} {
		for _, want := range []string{"adduser", "simulate", "state", "hub", "help"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not complete %s", name, want)
			}
		}
	}
}
