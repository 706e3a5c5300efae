package pairing

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/cli"
	"postern/internal/cli/pairing/qr"
	"postern/internal/local"
	"postern/provisioning"
)

const pairHelp = `Usage: postern pair [--node NODE] [options]

Shows, on the gateway itself, the code that claims it: as text and as a QR code
to scan with postern claim, or with any app that knows XEP-0347. Whoever has the
code can make the gateway theirs. Once it is claimed there is no code to show.

  postern pair
  postern pair --sheet labels.pdf --copies 3
  postern pair --csv >> batch.csv          and later, from many gateways:
  postern pair --from batch.csv --sheet labels.pdf

What to show:
  --node NODE     the code of a node that is claimed by itself
  --uri           put the iotdisco: URI into the QR code, which names the
                  registry too, instead of XEP-0347's form
  --from FILE     codes of a file of --csv instead of this gateway's (- for
                  standard input)

Where, each "-" for standard output:
  --png FILE      the QR code as PNG; --scale N pixels a module (8)
  --svg FILE      the QR code as SVG
  --label FILE    a label with serial number as SVG, 63.5 by 38.1 mm
  --sheet FILE    labels on A4 sheets of 21 (3 by 7, as L7160) as PDF;
                  --copies N of each (1), --skip N places that are used (0)
  --csv           a line for each code: serial number, address, node, code, URI;
                  --header before it
  --code          the code alone; with --uri the URI
  --json          all there is to know, for programs
  --light         plain blocks for a terminal with dark text on light ground,
  --dark          or the other way round; else colours are set

  --socket PATH   the local door of the gateway (default: that of postern run)

Exit codes: 0 shown, 1 there is no code, for example because it is claimed,
2 usage, 3 no gateway runs, 4 not permitted.
`

// pairOptions are the options of postern pair.
type pairOptions struct {
	node, from, socket      string
	png, svg, label, sheet  string
	scale, copies, skip     int
	csv, header, code, json bool
	uri, light, dark        bool
}

// Pair is the command postern pair.
func Pair(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("pair", pair(ctx, &env, args))
}

func pair(ctx context.Context, env *cli.Env, args []string) error {
	var o pairOptions
	f := cli.NewFlags("pair", pairHelp)
	for name, p := range map[string]*string{"node": &o.node, "from": &o.from, "socket": &o.socket,
		"png": &o.png, "svg": &o.svg, "label": &o.label, "sheet": &o.sheet} {
		f.StringVar(p, name, "", "")
	}
	for name, p := range map[string]*bool{"csv": &o.csv, "header": &o.header, "code": &o.code, "json": &o.json,
		"uri": &o.uri, "light": &o.light, "dark": &o.dark} {
		f.BoolVar(p, name, false, "")
	}
	f.IntVar(&o.scale, "scale", 8, "")
	f.IntVar(&o.copies, "copies", 1, "")
	f.IntVar(&o.skip, "skip", 0, "")
	rest, err := f.Arguments(env, args)
	if err != nil {
		return err
	}
	if err := o.check(rest); err != nil {
		return err
	}
	if o.from != "" {
		all, err := readCSV(env, o.from)
		if err != nil {
			return err
		}
		return o.write(env, all)
	}
	p, err := askPairing(ctx, o.socket)
	if err != nil {
		return err
	}
	if o.json {
		return cli.WriteJSON(env.Stdout, p)
	}
	all, err := o.choose(env, p)
	if err != nil {
		return err
	}
	return o.write(env, all)
}

func (o *pairOptions) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return cli.Usagef("there are no arguments; --node %s chooses a node", rest[0])
	case o.light && o.dark:
		return cli.Usagef("--light and --dark exclude each other")
	case o.copies < 1 || o.copies > 1000:
		return cli.Usagef("--copies is 1 to 1000")
	case o.header && !o.csv:
		return cli.Usagef("--header goes with --csv")
	case o.from != "" && (o.json || o.csv || o.node != ""):
		return cli.Usagef("--from takes codes that were written before; it goes with --png, --svg, --label, --sheet and --code")
	}
	return nil
}

// askPairing asks the gateway of this machine.
func askPairing(ctx context.Context, socket string) (local.Pairing, error) {
	paths := local.Candidates("postern")
	if socket != "" {
		paths = []string{socket}
	}
	var denied error
	for _, path := range paths {
		p, err := local.NewClient(path).Pairing(ctx)
		switch {
		case errors.Is(err, local.ErrNobody):
		case errors.Is(err, local.ErrDenied):
			denied = err
		case err != nil:
			return p, cli.Fail(cli.ExitFailure, "", err)
		default:
			return p, nil
		}
	}
	if denied != nil {
		return local.Pairing{}, cli.Fail(cli.ExitDenied, "", denied)
	}
	return local.Pairing{}, cli.Fail(cli.ExitUnreachable, "start it with postern run --config FILE, or name its socket with --socket",
		fmt.Errorf("no gateway is running here: %w on %s", local.ErrNobody, strings.Join(paths, " or ")))
}

// entry is one code with what stands beside it.
type entry struct {
	serial, account, node string
	code, uri             string
	words                 []string // for a label
	registered            bool
}

// text is what the QR code holds.
func (e *entry) text(uri bool) string {
	if uri {
		return e.uri
	}
	return e.code
}

// choose returns the codes to show, or says why there are none.
func (o *pairOptions) choose(env *cli.Env, p local.Pairing) ([]entry, error) {
	if p.Error != "" {
		fmt.Fprintf(env.Stderr, "! %s\n", cli.Clean(p.Error))
	}
	var all []entry
	var taken []string
	known := o.node == ""
	for i := range p.Things {
		t := &p.Things[i]
		if o.node != "" && t.Node != o.node {
			continue
		}
		known = true
		switch {
		case t.Code != "":
			all = append(all, entryOf(p.Account, t))
		case t.SelfOwned:
			taken = append(taken, what(p.Account, t.Node)+" owns itself, as its configuration says")
		case t.Owner != "":
			taken = append(taken, fmt.Sprintf("%s was claimed by %s; its code is no longer shown", what(p.Account, t.Node), t.Owner))
		}
	}
	switch {
	case !known:
		return nil, cli.Fail(cli.ExitFailure, "postern pair --json lists what is claimed by itself", fmt.Errorf("no node %q is claimed by itself", o.node))
	case len(all) > 0:
		return all, nil
	case len(taken) > 0:
		return nil, cli.Fail(cli.ExitFailure, "its owner gives it up with postern disown; postern decommission makes it a new one", errors.New(strings.Join(taken, "; ")))
	}
	return nil, cli.Fail(cli.ExitFailure, "switch provisioning on in the configuration; docs/pairing.md shows how", errors.New("this gateway cannot be claimed"))
}

func what(account, node string) string {
	if node == "" {
		return account
	}
	return "node " + node + " of " + account
}

func entryOf(account string, t *local.Claiming) entry {
	e := entry{account: account, node: t.Node, code: t.Code, uri: t.URI, registered: t.Registered}
	for _, g := range t.Tags {
		switch provisioning.FoldTag(g.Name) {
		case "SN":
			e.serial = g.Value
		case "NAME", "MODEL", "MAN", "ROOM":
			e.words = append(e.words, g.Value)
		}
	}
	return e
}

// write shows the codes in every form that was asked for.
func (o *pairOptions) write(env *cli.Env, all []entry) error {
	done := false
	for _, w := range []struct {
		file string
		one  bool
		draw func([]entry) ([]byte, error)
	}{
		{o.png, true, o.drawPNG}, {o.svg, true, o.drawSVG}, {o.label, true, o.drawLabel}, {o.sheet, false, o.drawSheet},
	} {
		if w.file == "" {
			continue
		}
		if w.one && len(all) > 1 {
			return cli.Usagef("these are %d codes; choose one with --node, or draw all with --sheet", len(all))
		}
		data, err := w.draw(all)
		if err != nil {
			return cli.Fail(cli.ExitFailure, "", err)
		}
		if err := writeFile(env, w.file, data); err != nil {
			return err
		}
		done = true
	}
	switch {
	case o.csv:
		return o.writeCSV(env, all)
	case o.code:
		for i := range all {
			if _, err := fmt.Fprintln(env.Stdout, all[i].text(o.uri)); err != nil {
				return err
			}
		}
		return nil
	case done:
		return nil
	}
	return o.show(env, all)
}

// writeFile writes a file that only its owner can read: it holds a secret.
func writeFile(env *cli.Env, path string, data []byte) error {
	if path == "-" {
		_, err := env.Stdout.Write(data)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		fmt.Fprintf(env.Stderr, "Wrote %s; who has it can claim the gateway.\n", path)
	}
	return err
}

func (o *pairOptions) drawPNG(all []entry) ([]byte, error) {
	s, err := qr.Encode(all[0].text(o.uri))
	if err != nil {
		return nil, err
	}
	return s.PNG(o.scale)
}

func (o *pairOptions) drawSVG(all []entry) ([]byte, error) {
	s, err := qr.Encode(all[0].text(o.uri))
	if err != nil {
		return nil, err
	}
	return []byte(s.SVG()), nil
}

func (o *pairOptions) drawLabel(all []entry) ([]byte, error) {
	l, err := o.labelOf(&all[0])
	if err != nil {
		return nil, err
	}
	return []byte(l.SVG()), nil
}

func (o *pairOptions) drawSheet(all []entry) ([]byte, error) {
	var labels []qr.Label
	for i := range all {
		l, err := o.labelOf(&all[i])
		if err != nil {
			return nil, err
		}
		for range o.copies {
			labels = append(labels, l)
		}
	}
	return qr.Sheet(labels, o.skip)
}

func (o *pairOptions) labelOf(e *entry) (l qr.Label, err error) {
	l.Symbol, err = qr.Encode(e.text(o.uri))
	if e.serial != "" {
		l.Title = "SN " + e.serial
	}
	l.Lines = append(l.Lines, e.words...)
	if e.node != "" {
		l.Lines = append(l.Lines, "node "+e.node)
	}
	l.Lines = append(l.Lines, e.account)
	return l, err
}

// show draws the codes on the terminal.
func (o *pairOptions) show(env *cli.Env, all []entry) error {
	paper := qr.Coloured
	switch {
	case o.light:
		paper = qr.LightTerminal
	case o.dark, env.OutTerminal == nil, env.Getenv("TERM") == "dumb":
		paper = qr.DarkTerminal
	}
	for i := range all {
		e := &all[i]
		s, err := qr.Encode(e.text(o.uri))
		if err != nil {
			return cli.Fail(cli.ExitFailure, "", err)
		}
		var b strings.Builder
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s can be claimed with this code:\n\n%s\n%s\n", cli.Clean(what(e.account, e.node)), s.Terminal(paper), cli.Clean(e.code))
		if e.uri != "" {
			fmt.Fprintf(&b, "%s\n", cli.Clean(e.uri))
		}
		fmt.Fprintf(&b, "\nThe technician scans it, or types: postern claim %s\n", shellQuote(cli.Clean(e.code)))
		if o.from == "" && !e.registered {
			b.WriteString("The registry does not know it yet; postern status tells whether the gateway is online.\n")
		}
		if _, err := io.WriteString(env.Stdout, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// shellQuote puts text into quotes that every shell leaves alone.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// csvHeader are the columns of --csv.
var csvHeader = []string{"serial", "address", "node", "code", "uri"}

func (o *pairOptions) writeCSV(env *cli.Env, all []entry) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if o.header {
		_ = w.Write(csvHeader) // into memory
	}
	for _, e := range all {
		_ = w.Write([]string{e.serial, e.account, e.node, e.code, e.uri})
	}
	w.Flush()
	_, err := env.Stdout.Write(b.Bytes())
	return err
}

// maxBatch bounds a file of --from.
const maxBatch = 10_000

// readCSV reads what --csv wrote, with or without a header.
func readCSV(env *cli.Env, path string) (all []entry, err error) {
	in := env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	r := csv.NewReader(io.LimitReader(in, 64<<20))
	r.FieldsPerRecord = len(csvHeader)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, cli.Fail(cli.ExitFailure, "it must be what postern pair --csv writes: "+strings.Join(csvHeader, ","), fmt.Errorf("%s: %w", path, err))
		}
		if row[3] == csvHeader[3] {
			continue
		}
		code, err := provisioning.ParseCode(row[3])
		if err != nil {
			line, _ := r.FieldPos(3)
			return nil, cli.Fail(cli.ExitFailure, "", fmt.Errorf("%s, line %d: %w", path, line, err))
		}
		if len(all) == maxBatch {
			return nil, cli.Fail(cli.ExitFailure, "split it", fmt.Errorf("%s holds more than %d codes", path, maxBatch))
		}
		e := entry{serial: row[0], account: row[1], node: row[2], code: row[3], uri: row[4]}
		for _, name := range []string{"NAME", "MODEL", "MAN", "ROOM"} {
			if t, ok := provisioning.FindTag(code.Tags, name); ok {
				e.words = append(e.words, t.Value)
			}
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, cli.Fail(cli.ExitFailure, "", fmt.Errorf("%s holds no codes", path))
	}
	return all, nil
}
