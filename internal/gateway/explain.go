package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/local"
	"postern/internal/node"
	"postern/sensors"
	"postern/sensors/history"
)

// explain answers the local door's question why a node reads as it does.
func (g *Gateway) explain(_ context.Context, r *local.Request) (any, error) {
	var req local.ExplainRequest
	if err := r.Body(&req); err != nil {
		return nil, err
	}
	g.mu.Lock()
	t := g.tree
	g.mu.Unlock()
	n := t.Node(node.Ref{ID: req.Node})
	if n == nil {
		return nil, &local.Error{Status: local.StatusConflict, Text: fmt.Sprintf("there is no node %q; postern status lists them", req.Node)}
	}
	now := time.Now()
	status := g.nodeStatus(n, now)
	out := local.Explanation{
		Node: n.ID, Label: n.Label, Kind: status.Kind, Simulated: status.Simulated, Error: status.Error, Now: now,
		Device: g.deviceOf(n), Fields: []local.Why{},
	}
	if d := g.hw.get(n.Device); d != nil {
		out.Octets = exchanges(d.tape.Last())
	}
	for i := range n.Fields {
		if f := &n.Fields[i]; !static(f) {
			out.Fields = append(out.Fields, g.why(n, f, status.Fields[len(out.Fields)]))
		}
	}
	return out, nil
}

// exchanges shows the last octets of a device.
func exchanges(list []drivers.Exchange) []local.Exchange {
	var out []local.Exchange
	for i := range list {
		e := &list[i]
		x := local.Exchange{At: e.At, Out: fmt.Sprintf("% x", e.Out), In: fmt.Sprintf("% x", e.In), More: e.More}
		if e.Err != nil {
			x.Error = e.Err.Error()
		}
		out = append(out, x)
	}
	return out
}

// deviceOf tells how the device of a node is read; nil where none is.
func (g *Gateway) deviceOf(n *node.Node) *local.Device {
	for _, d := range g.sensors.Devices() {
		if d.Name == n.Device {
			return deviceStatus(&d)
		}
	}
	return nil
}

func deviceStatus(d *sensors.DeviceStatus) *local.Device {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	out := &local.Device{
		Bus: d.Bus, Interval: d.Interval.Seconds(), Reads: d.Reads, Failures: d.Failures, InARow: d.Fails,
		Took: d.Took.Seconds(), LastTry: at(d.LastTry), LastOK: at(d.LastOK), NextTry: at(d.NextTry),
	}
	if d.LastErr != nil {
		out.Error = d.LastErr.Error()
	}
	return out
}

func (g *Gateway) why(n *node.Node, f *node.Field, shown local.Field) local.Why {
	w := local.Why{Field: shown, Channel: f.SourceChannel()}
	if f.Const.Kind() != drivers.KindNone {
		w.Channel = ""
		return w
	}
	if f.Computed {
		w.Channel = ""
		var ok bool
		if w.Computed, w.Sources, ok = g.computed.Explain(n.Ref, f.Name); !ok {
			w.Computed = "told by the gateway itself"
		}
	}
	if rd, ok := g.live.Get(n.Ref, f.Name); ok {
		w.MaxAge = rd.MaxAge.Seconds()
		w.Raw = rawText(&rd)
	}
	if f.Calibration != nil {
		w.Calibration = calibrationText(f.Calibration)
	}
	if g.history != nil {
		d := g.history.Decision(n.Ref, f.Name)
		w.History, w.Skipped = policyText(&d.Policy), d.Skipped
		if !d.Kept.IsZero() {
			w.Kept, w.KeptAs = &d.Kept, d.Value.String()
		}
	}
	return w
}

func rawText(rd *live.Reading) string {
	if rd.Raw.Kind() == drivers.KindNone {
		return ""
	}
	return rd.Raw.String()
}

// calibrationText tells how a value was corrected.
func calibrationText(c *node.Calibration) string {
	var parts []string
	switch {
	case len(c.Table) > 0:
		parts = append(parts, fmt.Sprintf("table of %d points", len(c.Table)))
	case len(c.Polynomial) > 0:
		parts = append(parts, fmt.Sprintf("polynomial of degree %d", len(c.Polynomial)-1))
	default:
		scale := "1"
		if c.Scale.Mant != 0 {
			scale = c.Scale.String()
		}
		parts = append(parts, "× "+scale+" + "+c.Offset.String())
	}
	if c.By != "" {
		parts = append(parts, "by "+c.By)
	}
	if !c.Date.IsZero() {
		parts = append(parts, "on "+c.Date.Format(time.DateOnly))
	}
	if !c.Expires.IsZero() {
		parts = append(parts, "until "+c.Expires.Format(time.DateOnly))
	}
	return strings.Join(parts, ", ")
}

// policyText tells what the history keeps of a field.
func policyText(p *history.Policy) string {
	var parts []string
	if p.Off {
		return "nothing is kept"
	}
	if p.Absolute.Mant > 0 {
		parts = append(parts, "deadband "+p.Absolute.String())
	}
	if p.Percent > 0 {
		parts = append(parts, fmt.Sprintf("deadband %g %%", p.Percent))
	}
	if p.Min > 0 {
		parts = append(parts, "at most every "+p.Min.String())
	}
	if p.Max > 0 {
		parts = append(parts, "at least every "+p.Max.String())
	}
	if parts == nil {
		return "every reading is kept"
	}
	return strings.Join(parts, ", ")
}
