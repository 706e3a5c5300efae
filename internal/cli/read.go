package cli

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/node"
	"postern/sensors"
)

const readHelp = `Usage: postern read JID [NODE…] [flags]

Reads fields of a thing and prints them with unit and quality.

  postern read gateway@site.example
  postern read gateway@site.example boiler --field temperature --json
  postern read gateway@site.example --field temperature --from 24h

  --node N           only this node and those below it, as NODE behind the address
  --source S         the data source of the nodes, where it is needed
  --field F          only fields of this name; several times for several
  --type T           momentary (default), peak, status, computed, identity,
                     historical, historicalHour …, all; several with commas
  --from T, --to T   values of the past, both ends included: 2026-03-01,
                     2026-03-01T12:30, with a zone or in that of this machine,
                     12:30 of today, or 24h for so long ago. The readings,
                     unless --type says otherwise
  --json             one JSON document instead of a table
` + commonHelp

// Read reads out a thing.
func Read(ctx context.Context, e Env, args []string) int {
	return e.finish("read", e.read(ctx, args))
}

// selection are the flags that say what to read.
type selection struct {
	nodes, fields list
	source, types string
	from, to      string
	json          bool
}

func (s *selection) add(fs *flagSet) {
	fs.Var(&s.nodes, "node", "")
	fs.Var(&s.fields, "field", "")
	fs.StringVar(&s.source, "source", "", "")
	fs.StringVar(&s.types, "type", "", "")
	fs.StringVar(&s.from, "from", "", "")
	fs.StringVar(&s.to, "to", "", "")
	fs.BoolVar(&s.json, "json", false, "")
}

func (s *selection) request() (sensors.Request, error) {
	req := sensors.Request{Nodes: refs(s.nodes, s.source), Fields: s.fields}
	if err := s.past(&req); err != nil {
		return req, err
	}
	types := s.types
	switch {
	case types != "":
	case s.from+s.to != "":
		types = "historicalOther"
	default:
		types = "momentary"
	}
	var err error
	req.Types, err = parseTypes(types)
	return req, err
}

func refs(ids []string, source string) []node.Ref {
	var all []node.Ref
	for _, id := range ids {
		all = append(all, node.Ref{ID: id, Source: source})
	}
	return all
}

// readArgs parses what read, watch and plot have in common. It does not look at the
// account yet, so that all faults of usage are told first.
func (e *Env) readArgs(fs *flagSet, opt *common, sel *selection, args []string) (target, error) {
	var t target
	opt.add(fs)
	sel.add(fs)
	rest, err := fs.parse(e, args)
	switch {
	case err != nil:
		return t, err
	case len(rest) == 0:
		return t, usagef("give the address of a thing, like gateway@site.example")
	}
	sel.nodes = append(sel.nodes, rest[1:]...)
	if err := opt.check(); err != nil {
		return t, err
	}
	t.address = rest[0]
	t.req, err = sel.request()
	return t, err
}

func (e *Env) read(ctx context.Context, args []string) error {
	var opt common
	var sel selection
	t, err := e.readArgs(newFlags("read", readHelp), &opt, &sel, args)
	if err == errHelp {
		return nil
	}
	if err == nil {
		err = e.target(&t, opt)
	}
	if err != nil {
		return err
	}
	ctx, patience, cancel := e.wait(ctx, opt.timeout)
	defer cancel()
	c, err := e.dial(ctx, link{account: t.account, verbose: opt.verbose})
	if err != nil {
		return err
	}
	defer c.close()
	ctx = c.alive
	full, err := c.find(ctx, t.account, t.jid)
	if err != nil {
		return err
	}
	res, err := c.read(ctx, full, t.req, patience.progress)
	patience.end()
	if err != nil {
		err = c.refusal(t.account, t.jid, err)
	}
	if err == nil || len(res.Items)+len(res.Faults) > 0 {
		if perr := e.printReadout(full.String(), res, err == nil, sel.json); perr != nil {
			return perr
		}
	}
	if err == nil && len(res.Faults) > 0 {
		return &failure{code: ExitFailure, msg: fmt.Sprintf("%d of the nodes could not be read", len(res.Faults))}
	}
	if err == nil && len(res.Items) == 0 && len(t.req.Fields) == 0 {
		fmt.Fprintln(e.Stderr, "There are no fields of that type.")
	} else if err == nil && len(res.Items) == 0 {
		return &failure{code: ExitFailure, msg: t.jid.String(), err: errors.New("the thing has no such fields"), hint: "without --field it shows those that there are"}
	}
	return err
}

func (e *Env) printReadout(full string, res sensors.Result, complete, asJSON bool) error {
	if asJSON {
		return writeJSON(e.Stdout, readoutJSON(full, res, complete))
	}
	t := readoutTable(res, e.color())
	if len(res.Items) == 0 {
		return writeFailures(e.Stdout, res.Faults)
	}
	if _, err := t.WriteTo(e.Stdout); err != nil {
		return err
	}
	return writeFailures(e.Stdout, res.Faults)
}
