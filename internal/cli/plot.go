package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/sensors"
)

const plotHelp = `Usage: postern plot JID [NODE…] [flags]

Draws what fields of a thing were, one picture for each field: numbers as
lines, booleans as steps between 0 and 1. Where a value is missing the line
ends.

  postern plot gateway@site.example climate --field temperature
  postern plot gateway@site.example --from 7d --type historicalHour
  postern plot gateway@site.example climate --csv climate.csv

  --from T, --to T   the time to show, as in postern read (the last 24 h)
  --node, --source, --field, --type    as in postern read
  --csv FILE         write the values as CSV instead, - for standard output
  --svg FILE         write the picture of one field as SVG instead
  --png FILE         the same as PNG
` + commonHelp

// Plot draws the past of fields.
func Plot(ctx context.Context, e Env, args []string) int {
	return e.finish("plot", e.plot(ctx, args))
}

func (e *Env) plot(ctx context.Context, args []string) error {
	var opt common
	sel := selection{}
	fs := newFlags("plot", plotHelp)
	var to files
	fs.StringVar(&to.csv, "csv", "", "")
	fs.StringVar(&to.svg, "svg", "", "")
	fs.StringVar(&to.png, "png", "", "")
	t, err := e.readArgs(fs, &opt, &sel, args)
	if err == errHelp {
		return nil
	}
	if err == nil && sel.from == "" {
		sel.from = "24h"
		t.req, err = sel.request()
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
	full, err := c.find(c.alive, t.account, t.jid)
	if err != nil {
		return err
	}
	res, err := c.read(c.alive, full, t.req, patience.progress)
	patience.end()
	if err != nil {
		return c.refusal(t.account, t.jid, err)
	}
	if err := writeFailures(e.Stderr, res.Faults); err != nil {
		return err
	}
	if len(res.Items) == 0 && len(t.req.Fields) > 0 {
		return &failure{code: ExitFailure, msg: t.jid.String() + ": no field of that name has a value in that time", hint: "postern read shows the fields there are"}
	}
	return e.showCurves(res.Items, to)
}

// files are where the values go instead of the terminal; empty for nowhere.
type files struct{ csv, svg, png string }

// showCurves writes the values in the form that was asked for.
func (e *Env) showCurves(fields []sensors.Item, to files) error {
	if to.csv != "" {
		return e.toFile(to.csv, func(w io.Writer) error { return writeCSV(w, fields) })
	}
	curves := curvesOf(fields)
	if len(curves) == 0 {
		fmt.Fprintln(e.Stderr, "There is nothing to draw in that time.")
		return nil
	}
	for _, file := range []struct {
		flag, path string
		write      func(io.Writer, *curve) error
	}{{"--svg", to.svg, writeSVG}, {"--png", to.png, writePNG}} {
		if file.path == "" {
			continue
		}
		if len(curves) > 1 {
			return usagef("%s draws one field, and this is %d; choose it with --node and --field", file.flag, len(curves))
		}
		return e.toFile(file.path, func(w io.Writer) error { return file.write(w, &curves[0]) })
	}
	columns := 80
	if e.OutTerminal != nil {
		if _, w, ok := e.OutTerminal(); ok && w >= 40 {
			columns = w
		}
	}
	for i := range curves {
		if i > 0 {
			fmt.Fprintln(e.Stdout)
		}
		if err := drawCurve(e.Stdout, &curves[i], columns, 12); err != nil {
			return err
		}
	}
	return nil
}

// toFile writes a file, or standard output for -.
func (e *Env) toFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(e.Stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		fmt.Fprintf(e.Stderr, "Wrote %s.\n", path)
	}
	return err
}

// curve is the past of one field.
type curve struct {
	node, field, unit string
	steps             bool // between two values nothing lies
	points            []dot
}

// dot is a value; gap says that none is known from here on.
type dot struct {
	at   time.Time
	v    float64
	text string
	gap  bool
}

// curvesOf sorts values into curves; texts cannot be drawn and are left out.
func curvesOf(fields []sensors.Item) []curve {
	var all []curve
	index := map[[4]string]int{}
	for i := range fields {
		f := &fields[i]
		v, ok := plotValue(f.Value)
		if !ok {
			continue
		}
		key := [4]string{f.Ref.Source, f.Ref.ID, f.Name, f.Unit}
		n, known := index[key]
		if !known {
			n = len(all)
			index[key] = n
			all = append(all, curve{node: f.Ref.ID, field: f.Name, unit: f.Unit, steps: f.Value.Kind() == drivers.KindBool})
		}
		bad := f.Quality&(live.Missing|live.Error) != 0
		all[n].points = append(all[n].points, dot{f.Time, v, f.Value.String(), bad})
	}
	for i := range all {
		points := all[i].points
		sort.SliceStable(points, func(i, j int) bool { return points[i].at.Before(points[j].at) })
		if all[i].steps {
			all[i].points = stepped(points)
		}
	}
	return slices.DeleteFunc(all, func(c curve) bool {
		return !slices.ContainsFunc(c.points, func(d dot) bool { return !d.gap })
	})
}

// stepped keeps each value until the next one.
func stepped(points []dot) []dot {
	var all []dot
	for i, d := range points {
		if i > 0 && !d.gap && !points[i-1].gap && points[i-1].v != d.v {
			until := points[i-1]
			until.at = d.at
			all = append(all, until)
		}
		all = append(all, d)
	}
	return all
}

func plotValue(v drivers.Value) (float64, bool) {
	if b, ok := v.Bool(); ok {
		if b {
			return 1, true
		}
		return 0, true
	}
	n, ok := v.Number()
	return n.Float64(), ok
}

func writeCSV(w io.Writer, fields []sensors.Item) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"time", "node", "field", "value", "unit", "quality"}); err != nil {
		return err
	}
	for i := range fields {
		f := &fields[i]
		value := f.Value.String()
		if f.Quality&live.Missing != 0 {
			value = "" // the last one known is no value of that time
		}
		if err := c.Write([]string{stampText(f.Time, f.NoZone), f.Ref.ID, f.Name, value, f.Unit, f.Quality.String()}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}
