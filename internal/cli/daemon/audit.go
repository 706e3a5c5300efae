package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/audit"
	"postern/internal/cli"
	"postern/internal/gateway"
	"postern/internal/local"
	"postern/internal/store"
)

const auditHelp = `Usage: postern audit [options]
       postern audit --verify [--json] [--state FILE]

Lists who wanted which output moved, why, and what became of it: commands from
afar and from the machine, schedules, moves into the safe state, overrides, and
what was refused. It asks the running gateway; when none runs it reads the
state file. --verify checks that no record was changed, cut out or put in, and
names the first one that is wrong.

  postern audit --since 24h
  postern audit --node pump --json
  postern audit --verify --state /var/lib/postern/postern.db

Options:
  --since TIME    not before: 2026-03-01, 2026-03-01T12:30, 12:30, 24h, 7d
  --node NODE     only records about this node
  --limit N       at most so many, the newest (100)
  --verify        check the hash chains
  --json          for programs
  --state FILE    read this state file instead of asking
  --socket PATH   the local door of the gateway (default: that of postern run)

Refusals have an r before their number. Those of one sender within a minute are
one record with their count.

Exit codes: 0 ok, 1 failure or a broken chain, 2 usage, 3 neither a gateway nor
a state file, 4 not permitted.
`

// auditOrder is what postern audit is asked for.
type auditOrder struct {
	local.AuditRequest
	asJSON        bool
	state, socket string
}

func auditArgs(env *cli.Env, args []string) (o auditOrder, err error) {
	f := newFlags("audit", auditHelp)
	since := f.String("since", "", "")
	f.StringVar(&o.Node, "node", "", "")
	f.IntVar(&o.Limit, "limit", 100, "")
	f.BoolVar(&o.Verify, "verify", false, "")
	f.BoolVar(&o.asJSON, "json", false, "")
	f.StringVar(&o.state, "state", "", "")
	f.StringVar(&o.socket, "socket", "", "")
	rest, err := f.parse(env, args)
	switch {
	case err != nil:
		return o, err
	case len(rest) > 0:
		return o, usagef("there are no arguments; --node %s lists the records about a node", rest[0])
	case o.Limit < 1 || o.Limit > 10_000:
		return o, usagef("--limit is from 1 to 10000")
	case o.state != "" && o.socket != "":
		return o, usagef("either --state or --socket")
	}
	t, err := cli.When("--since", *since)
	if err != nil {
		return o, usagef("%v", err)
	}
	if !t.IsZero() {
		o.Since = t.UTC().Format(time.RFC3339Nano)
	}
	return o, nil
}

// Audit is the command postern audit.
func Audit(ctx context.Context, env cli.Env, args []string) int {
	o, err := auditArgs(&env, args)
	if err != nil {
		return finish(&env, "audit", err)
	}
	if o.Verify {
		var found []audit.Finding
		if err := o.ask(ctx, &env, &found); err != nil {
			return finish(&env, "audit", err)
		}
		return finish(&env, "audit", o.reportVerify(env.Stdout, found))
	}
	var page audit.Page
	if err := o.ask(ctx, &env, &page); err != nil {
		return finish(&env, "audit", err)
	}
	if o.asJSON {
		return finish(&env, "audit", printJSON(env.Stdout, page))
	}
	return finish(&env, "audit", writeAudit(env.Stdout, page))
}

// ask gets an answer from the gateway, or from the state file when none runs.
func (o *auditOrder) ask(ctx context.Context, env *cli.Env, out any) error {
	path := o.state
	if path == "" {
		paths := sockets(o.socket, "postern")
		for _, p := range paths {
			err := local.NewClient(p).Audit(ctx, o.AuditRequest, out)
			if !errors.Is(err, local.ErrNobody) {
				return err
			}
		}
		if o.socket != "" {
			return nobody(paths)
		}
		dir, err := gateway.StateDirectory("", "postern")
		if err != nil {
			return err
		}
		path = filepath.Join(dir, "postern.db")
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("no gateway runs here (%w on %s) and there is no state file %s; name one with --state", local.ErrNobody, strings.Join(paths, " or "), path)
		}
		fmt.Fprintf(env.Stderr, "No gateway runs here: reading %s.\n", path)
	}
	return o.read(path, out)
}

// read answers from a state file.
func (o *auditOrder) read(path string, out any) error {
	return store.ViewFile(path, func(tx *store.Tx) error {
		if found, ok := out.(*[]audit.Finding); ok {
			*found = audit.Verify(tx)
			return nil
		}
		q := audit.Query{Node: o.Node, Limit: o.Limit}
		if o.Since != "" {
			t, err := time.Parse(time.RFC3339Nano, o.Since)
			if err != nil {
				return err
			}
			q.Since = t
		}
		p := out.(*audit.Page)
		p.Records, p.More = audit.List(tx, q)
		return nil
	})
}

// errBroken: the answer was shown already.
var errBroken = errors.New("the record is not what was written; keep a copy of the state file for whoever looks into it")

func (o *auditOrder) reportVerify(w io.Writer, found []audit.Finding) error {
	broken := false
	for i := range found {
		broken = broken || found[i].Broken != nil
	}
	if o.asJSON {
		if err := printJSON(w, found); err != nil {
			return err
		}
	} else {
		var b strings.Builder
		for i := range found {
			f := &found[i]
			fmt.Fprintf(&b, "%-9s %d records", f.Chain, f.Records)
			if f.Records > 0 {
				fmt.Fprintf(&b, ", %d to %d, head %s", f.First, f.Last, f.Head)
			}
			if f.Broken != nil {
				fmt.Fprintf(&b, "\n! record %s: %s", printable(f.Broken.Record), printable(f.Broken.Why))
			} else {
				b.WriteString(": sound")
			}
			b.WriteByte('\n')
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	if broken {
		return errBroken
	}
	return nil
}

// writeAudit shows records to a person.
func writeAudit(w io.Writer, p audit.Page) error {
	var b strings.Builder
	if len(p.Records) == 0 {
		b.WriteString("There are no such records.\n")
	}
	if p.More {
		b.WriteString("There are older ones; --limit shows more.\n")
	}
	for i := range p.Records {
		e := &p.Records[i]
		at := e.At.Local().Format("2006-01-02 15:04:05")
		if e.ClockUnset {
			at = "(clock not set)    "
		}
		fmt.Fprintf(&b, "%5s  %s  %s\n", e.Name(), at, printable(e.Text()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
