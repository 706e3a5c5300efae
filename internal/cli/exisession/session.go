// Package exisession is `postern exi session`: what a recorded session costs on
// the wire in each representation.
package exisession

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/compress"
)

const usage = `Usage: postern exi session [--json] FILE

Shows how many octets a recorded session takes in each representation. FILE has
one stanza on a line, as XML in the namespace jabber:client; "-" is standard
input. Every representation is decoded again and compared before it counts.

`

// Row is the size of a session in one representation.
type Row struct {
	Mode   string  `json:"mode"`
	Octets int     `json:"octets"`
	Ratio  float64 `json:"ratio"` // of raw
}

// Run measures a session. It returns the exit code: 0 ok, 1 failure, 2 usage.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("exi session", flag.ContinueOnError)
	fs.SetOutput(stderr)
	asJSON := fs.Bool("json", false, "print JSON")
	fs.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		fs.PrintDefaults()
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() != 1:
		fs.Usage()
		return 2
	}
	rows, err := measureFile(fs.Arg(0), stdin)
	if err == nil && *asJSON {
		err = json.NewEncoder(stdout).Encode(rows)
	} else if err == nil {
		err = print(stdout, rows)
	}
	if err != nil {
		fmt.Fprintln(stderr, "postern exi session:", err)
		return 1
	}
	return 0
}

func print(w io.Writer, rows []Row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "octets\tof raw\t  representation")
	for _, r := range rows {
		fmt.Fprintf(tw, "%d\t%.1f %%\t  %s\n", r.Octets, 100*r.Ratio, r.Mode)
	}
	return tw.Flush()
}

func measureFile(name string, stdin io.Reader) ([]Row, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	lines, err := readLines(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return Measure(lines)
}

// maxSession bounds a recorded session in octets.
const maxSession = 256 << 20

func readLines(r io.Reader) ([]string, error) {
	var lines []string
	sc := bufio.NewScanner(io.LimitReader(r, maxSession))
	sc.Buffer(make([]byte, 64<<10), 8<<20)
	for sc.Scan() {
		if line := strings.TrimSpace(sc.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, sc.Err()
}

// Modes are the EXI representations that Measure shows, in their order.
func modes() []mode {
	bytes := exi.ByteAligned
	return []mode{
		{"EXI, tables for each stanza", compress.Params{}},
		{"EXI, tables for each stanza, strict", compress.Params{Strict: true}},
		{"EXI, sessionWideBuffers", compress.Params{SessionWide: true}},
		{"EXI, sessionWideBuffers, strict", compress.Params{SessionWide: true, Strict: true}},
		{"EXI, kept window", compress.Params{Alignment: bytes, Window: true}},
		{"EXI, kept window and sessionWideBuffers", compress.Params{Alignment: bytes, Window: true, SessionWide: true}},
	}
}

type mode struct {
	name   string
	params compress.Params
}

// Measure returns the octets that the stanzas take in each representation. The
// stanzas are what one side sends, one after the other.
func Measure(lines []string) ([]Row, error) {
	docs, raw, err := parse(lines)
	if err != nil {
		return nil, err
	}
	rows := []Row{{Mode: "XML as recorded", Octets: raw}}
	z, err := zlibSize(lines)
	if err != nil {
		return nil, err
	}
	rows = append(rows, Row{Mode: "zlib, one stream, flushed for each stanza (XEP-0138)", Octets: z})
	lib, err := compress.NewLibrary()
	if err != nil {
		return nil, err
	}
	for _, m := range modes() {
		schema, err := lib.Grammars(lib.Proposal(m.params))
		if err != nil {
			return nil, err
		}
		n, err := exiSize(docs, m.params, schema)
		if err != nil {
			rows = append(rows, Row{Mode: m.name + ": " + err.Error(), Octets: 0})
			continue
		}
		rows = append(rows, Row{Mode: m.name, Octets: n})
	}
	for i := range rows {
		rows[i].Ratio = float64(rows[i].Octets) / float64(max(raw, 1))
	}
	return rows, nil
}

func parse(lines []string) (docs []*exi.Doc, raw int, err error) {
	r := bufio.NewReader(io.MultiReader(
		strings.NewReader("<stream:stream xmlns='"+xmpp.NSClient+"' xmlns:stream='"+xmpp.NSStream+"'>"),
		strings.NewReader(strings.Join(lines, "\n"))))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	var root exi.Doc
	if err := x.ReadOpen(r, &root); err != nil {
		return nil, 0, err
	}
	for i, line := range lines {
		d := new(exi.Doc)
		if err := x.ReadElement(r, d); err != nil {
			return nil, 0, fmt.Errorf("stanza %d: %w", i+1, err)
		}
		docs = append(docs, d)
		raw += len(line)
	}
	return docs, raw, nil
}

// zlibHeader is the length of what a zlib stream has in front of DEFLATE. The
// checksum at its end never comes: the stream goes on.
const zlibHeader = 2

func zlibSize(lines []string) (int, error) {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		if _, err := io.WriteString(w, line); err != nil {
			return 0, err
		}
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	return zlibHeader + buf.Len(), nil
}

// exiSize encodes the stanzas and reads them back.
func exiSize(docs []*exi.Doc, p compress.Params, s *exi.Schema) (int, error) {
	enc, err := compress.NewCodec(p, s, compress.DefaultLimits())
	if err != nil {
		return 0, err
	}
	var wire []byte
	for i, d := range docs {
		if wire, err = enc.AppendElement(wire, d); err != nil {
			return 0, fmt.Errorf("stanza %d cannot be carried", i+1)
		}
	}
	dec, err := compress.NewCodec(p, s, compress.DefaultLimits())
	if err != nil {
		return 0, err
	}
	r := bufio.NewReader(bytes.NewReader(wire))
	var got exi.Doc
	for i, d := range docs {
		if err := dec.ReadElement(r, &got); err != nil {
			return 0, fmt.Errorf("stanza %d: %w", i+1, err)
		}
		if !slices.Equal(content(&got), content(d)) {
			return 0, fmt.Errorf("stanza %d came back as another", i+1)
		}
	}
	return len(wire), nil
}

// content lists what is in d. The order of attributes is not.
func content(d *exi.Doc) []string {
	all := make([]string, d.Len())
	attrs := 0 // where those of the element start
	for i := range d.Len() {
		ev := d.Event(i)
		if ev.Kind != exi.AT {
			slices.Sort(all[attrs:i])
			attrs = i + 1
		}
		all[i] = ev.Kind.String()
		if ev.Name != (exi.Name{}) {
			all[i] += " {" + ev.Name.Value().Space + "}" + ev.Name.Value().Local
		}
		if ev.Kind == exi.AT || ev.Kind == exi.CH {
			all[i] += " " + plain(ev.Value.String())
		}
	}
	return all
}

// plain is the form that a truth value has behind EXI.
func plain(s string) string {
	switch s {
	case "0":
		return "false"
	case "1":
		return "true"
	}
	return s
}
