package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/cli"
	"postern/internal/local"
)

const explainHelp = `Usage: postern explain NODE [--json] [--socket PATH]

Tells why a node of the gateway on this machine reads as it does: when its
device was read, what came of it and when it is tried again, and the last octets
that went over its bus; for each field how it is computed or its value as
measured, its calibration, how old it is, and whether the history kept it. It
asks the running gateway and reads no hardware.

Options:
  --socket PATH   the local door of the gateway (default: that of postern run)
  --json          for programs

Exit codes: 0 told, 1 there is no such node, 2 usage, 3 no gateway runs,
4 not permitted.
`

// Explain is the command postern explain.
func Explain(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("explain", explainHelp)
	asJSON := f.Bool("json", false, "")
	socket := f.String("socket", "", "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) != 1 {
		err = usagef("name one node; postern status lists them")
	}
	if err != nil {
		return finish(&env, "explain", err)
	}
	e, err := askExplain(ctx, sockets(*socket, "postern"), rest[0])
	if err != nil {
		return finish(&env, "explain", err)
	}
	if *asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(e)
	} else {
		err = writeExplanation(env.Stdout, e)
	}
	return finish(&env, "explain", err)
}

func askExplain(ctx context.Context, paths []string, node string) (local.Explanation, error) {
	for _, p := range paths {
		e, err := local.NewClient(p).Explain(ctx, node)
		if !errors.Is(err, local.ErrNobody) {
			return e, err
		}
	}
	return local.Explanation{}, nobody(paths)
}

// writeExplanation shows an explanation to a person.
func writeExplanation(w io.Writer, e local.Explanation) error {
	var b strings.Builder
	name := e.Node
	if e.Label != "" {
		name += " (" + e.Label + ")"
	}
	kind := e.Kind
	if e.Simulated {
		kind += ", simulated"
	}
	fmt.Fprintf(&b, "%s  %s\n", printable(name), printable(kind))
	if e.Error != "" {
		fmt.Fprintf(&b, "! it could not be opened: %s\n", printable(e.Error))
	}
	if d := e.Device; d != nil {
		explainDevice(&b, d, e.Now)
	}
	explainOctets(&b, e.Octets, e.Now)
	for i := range e.Fields {
		explainField(&b, &e.Fields[i], e.Now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func explainDevice(b *strings.Builder, d *local.Device, now time.Time) {
	seconds := func(s float64) string {
		return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
	line := "  read on request"
	if d.Interval > 0 {
		line = "  read every " + seconds(d.Interval)
	}
	if d.Bus != "" {
		line += ", in turn with others on " + printable(d.Bus)
	}
	fmt.Fprintf(b, "%s; %d times, %d of them failed\n", line, d.Reads, d.Failures)
	if d.LastTry != nil {
		fmt.Fprintf(b, "  last tried %s ago, which took %s", ago(now.Sub(*d.LastTry)), seconds(d.Took))
		if d.LastOK != nil && !d.LastOK.Equal(*d.LastTry) {
			fmt.Fprintf(b, "; last good %s ago", ago(now.Sub(*d.LastOK)))
		}
		b.WriteString("\n")
	}
	if d.Error != "" {
		fmt.Fprintf(b, "! %s", printable(d.Error))
		if d.InARow > 1 {
			fmt.Fprintf(b, " (%d times in a row)", d.InARow)
		}
		b.WriteString("\n")
	}
	if d.NextTry != nil {
		fmt.Fprintf(b, "  next try in %s\n", ago(max(0, d.NextTry.Sub(now))))
	}
}

// explainOctets shows what went over the bus, the newest last.
func explainOctets(b *strings.Builder, list []local.Exchange, now time.Time) {
	if len(list) == 0 {
		return
	}
	b.WriteString("  last octets, to the device (>) and from it (<):\n")
	for i := range list {
		x := &list[i]
		fmt.Fprintf(b, "    %s ago", ago(now.Sub(x.At)))
		for _, dir := range []struct{ mark, octets string }{{">", x.Out}, {"<", x.In}} {
			if dir.octets != "" {
				fmt.Fprintf(b, "  %s %s", dir.mark, printable(dir.octets))
			}
		}
		if x.More {
			b.WriteString(" …")
		}
		if x.Error != "" {
			fmt.Fprintf(b, "  ! %s", printable(x.Error))
		}
		b.WriteString("\n")
	}
}

func explainField(b *strings.Builder, f *local.Why, now time.Time) {
	row := fieldRow("", f.Field, now)
	value := strings.TrimSpace(row[2] + " " + row[3])
	if f.Channel == "" && f.Computed == "" {
		fmt.Fprintf(b, "\n%s  %s\n  from the configuration\n", printable(row[1]), printable(value))
		return
	}
	fmt.Fprintf(b, "\n%s  %s  %s\n", printable(row[1]), printable(value), printable(row[5]))
	if f.Computed != "" {
		fmt.Fprintf(b, "  computed: %s\n", printable(f.Computed))
	} else if f.Channel != f.Name {
		fmt.Fprintf(b, "  channel %s\n", printable(f.Channel))
	}
	verb := "measured"
	if f.Computed != "" {
		verb = "its newest source was measured"
	}
	if f.Time != nil {
		fmt.Fprintf(b, "  %s %s ago", verb, ago(now.Sub(*f.Time)))
		if f.MaxAge > 0 {
			fmt.Fprintf(b, "; stands for %s", ago(time.Duration(f.MaxAge*float64(time.Second))))
		}
		b.WriteString("\n")
	}
	if f.Calibration != "" {
		fmt.Fprintf(b, "  measured as %s; calibration: %s\n", printable(f.Raw), printable(f.Calibration))
	}
	if f.History != "" {
		fmt.Fprintf(b, "  history: %s", printable(f.History))
		if f.Kept != nil {
			fmt.Fprintf(b, "; last kept %s, %s ago", printable(f.KeptAs), ago(now.Sub(*f.Kept)))
		}
		if f.Skipped {
			b.WriteString("; the last reading was too like it, or too soon")
		}
		b.WriteString("\n")
	}
}
