package gateway

import (
	"context"
	"time"

	"postern/internal/local"
)

// outputsDoor tells the state of every output.
func (g *Gateway) outputsDoor(context.Context, *local.Request) (any, error) {
	all := local.Outputs{Now: time.Now(), Outputs: []local.Output{}}
	for _, o := range g.control.Outputs() {
		out := local.Output{
			Node: o.Node.ID, Source: o.Node.Source, Cache: o.Node.Cache, Parameter: o.Parameter,
			Active: o.Active, HeldBy: string(o.By), From: o.From, Since: o.Since,
			Override: o.Override, OverrideWaits: o.OverrideWaits, Due: o.Due, Locked: o.Locked, Interlock: o.Interlock,
			MaxOnLeft: o.Left.Seconds(), HoldLeft: o.Hold.Seconds(), ChangeLeft: o.Change.Seconds(), ConfirmLeft: o.Confirm.Seconds(),
			Restart: "safe",
		}
		if o.Known {
			out.Value = &o.Value
		}
		if o.Override != "" {
			out.HeldBy = "override"
		}
		if g.stays(o.Output) {
			out.Restart = "hold"
		}
		all.Outputs = append(all.Outputs, out)
	}
	return all, nil
}
