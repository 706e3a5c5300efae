package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
)

const checkHelp = `Usage: postern check [--json] FILE...

Checks configuration files of gateways without touching any hardware. All
problems of a file are shown at once, each with its place, what is wrong and
what to write instead.

Options:
  --json     one JSON array of problems, for programs

Exit codes: 0 all files are fine, 2 usage, 78 there are problems.

Examples:
  postern check /etc/postern/postern.yaml
  postern schema --example > postern.yaml      a file to start from
`

// Check is the command postern check.
func Check(_ context.Context, env cli.Env, args []string) int {
	f := newFlags("check", checkHelp)
	asJSON := f.Bool("json", false, "")
	files, err := f.parse(&env, args)
	if err == nil && len(files) == 0 {
		err = usagef("which file? Name at least one")
	}
	if err != nil {
		return finish(&env, "check", err)
	}
	kinds := gateway.Kinds()
	code, all := cli.ExitOK, []problemJSON{}
	for _, file := range files {
		cfg, ps := config.Load(file, kinds)
		if len(ps) > 0 {
			code = cli.ExitConfig
		}
		if *asJSON {
			for _, p := range ps {
				all = append(all, problemJSON{p.File, p.Line, p.Col, p.Key, p.What, p.Fix})
			}
			continue
		}
		if len(ps) > 0 {
			showProblems(&env, file, ps)
			continue
		}
		showFine(&env, cfg)
	}
	if *asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return finish(&env, "check", err)
		}
	}
	return code
}

type problemJSON struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	What   string `json:"what"`
	Fix    string `json:"fix,omitempty"`
}

// showProblems prints each problem with the line it is in.
func showProblems(env *cli.Env, file string, ps config.Problems) {
	var lines []string
	if data, err := os.ReadFile(file); err == nil {
		lines = strings.Split(string(data), "\n")
	}
	private := map[int]bool{}
	for _, p := range ps {
		private[p.Line] = private[p.Line] || p.Private && p.File == file
	}
	for _, p := range ps {
		head := p
		head.Fix = ""
		fmt.Fprintln(env.Stdout, printable(head.String()))
		if p.File == file && p.Line > 0 && p.Line <= len(lines) && !private[p.Line] {
			excerpt(env, p, lines[p.Line-1])
		}
		if p.Fix != "" {
			fmt.Fprintf(env.Stdout, "      → %s\n", printable(p.Fix))
		}
	}
	fmt.Fprintf(env.Stdout, "%s: %s\n", file, count(len(ps), "problem"))
}

func excerpt(env *cli.Env, p config.Problem, line string) {
	const most = 100
	line = printable(strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", " "))
	r := []rune(line)
	if strings.TrimSpace(line) == "" || p.Col > most || p.Col > len(r)+1 {
		return
	}
	if len(r) > most {
		line = string(r[:most]) + "…"
	}
	fmt.Fprintf(env.Stdout, "%5d | %s\n      | %s^\n", p.Line, line, strings.Repeat(" ", p.Col-1))
}

// printable replaces what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// showFine sums up what the file says, and what could not work on this machine
// although the file is right.
func showFine(env *cli.Env, cfg *config.Config) {
	var names []string
	for _, n := range cfg.Nodes {
		names = append(names, n.ID)
	}
	list := strings.Join(names[:min(len(names), 8)], ", ")
	if len(names) > 8 {
		list += ", …"
	}
	if list != "" {
		list = " (" + list + ")"
	}
	fmt.Fprintf(env.Stdout, "%s: fine: account %s, %s%s\n", cfg.File, cfg.Account.JID, count(len(cfg.Nodes), "node"), list)
	for _, note := range slices.Concat(filesAway(cfg), remarks(cfg), gateway.Warnings(cfg)) {
		fmt.Fprintf(env.Stdout, "  note: %s\n", note)
	}
}

// filesAway names the files without which the gateway cannot log in. The
// configuration may be that of another machine.
func filesAway(cfg *config.Config) []string {
	var out []string
	for _, f := range [...][2]string{
		{"the password file", cfg.Account.Password.File}, {"the file of authorities", cfg.Server.CAFile},
		{"the account's certificate", cfg.Account.Certificate}, {"the account's key", cfg.Account.Key},
	} {
		if _, err := os.Stat(f[1]); f[1] != "" && err != nil {
			out = append(out, f[0]+" cannot be read here: "+err.Error())
		}
	}
	return out
}

// remarks make no file wrong.
func remarks(cfg *config.Config) []string {
	var out []string
	switch {
	case cfg.Access.Owner != "" || len(cfg.Access.Allow) > 0:
	case cfg.Provisioning.Use:
		out = append(out, "access has neither owner nor allow: nobody may read or switch anything until somebody has claimed it; see postern pair")
	default:
		out = append(out, "nobody may read or switch anything: access has neither owner nor allow")
	}
	if len(cfg.Nodes) == 0 {
		out = append(out, "there are no nodes")
	}
	if f := cfg.Account.Password.File; f != "" {
		if fi, err := os.Stat(f); err == nil && fi.Mode().Perm()&0o077 != 0 {
			out = append(out, fmt.Sprintf("the password file %s may be read by others (mode %04o); chmod 600 it", f, fi.Mode().Perm()))
		}
	}
	simulated, real := gateway.Simulated(cfg)
	if len(simulated) > 0 {
		out = append(out, "simulated, and not read from hardware: "+strings.Join(simulated, ", "))
	}
	if len(real) > 0 {
		out = append(out, "real in spite of simulate: "+strings.Join(real, ", "))
	}
	return out
}
