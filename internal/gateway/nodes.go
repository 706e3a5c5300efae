package gateway

import (
	"fmt"
	"slices"

	"postern/control"
	"postern/drivers"
	"postern/internal/config"
	"postern/internal/node"
	"postern/sensors"
)

// tree makes the nodes of a configuration out of its open devices.
func tree(cfg *config.Config, h *hardware) (*node.Tree, error) {
	var nodes []node.Node
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		out := node.Node{Ref: node.Ref{ID: n.ID}, Label: n.Label, Self: len(cfg.Nodes) == 1}
		if n.Parent != "" {
			out.Parent = node.Ref{ID: n.Parent}
		}
		// A branch has no device.
		if d := h.devices[n.ID]; d != nil {
			out.Device = n.ID
			out.Fields, out.Parameters = shown(n, d.Device.(described).Channels())
		}
		out.Fields = append(out.Fields, computedFields(n)...)
		if d := h.devices[n.ID]; d != nil {
			out.Fields = append(out.Fields, ownFields(n, d, h.machine, out.Fields)...)
		}
		nodes = append(nodes, out)
	}
	if len(nodes) > 0 { // a gateway without nodes has nothing to record
		nodes = append(nodes, auditNodes())
	}
	t, err := node.NewTree(nodes)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return t, nil
}

// shown applies names, types and rights of the configuration to the channels
// of a device.
func shown(n *config.Node, chs []drivers.Channel) ([]node.Field, []node.Parameter) {
	visible := slices.DeleteFunc(slices.Clone(chs), func(c drivers.Channel) bool { return n.Fields[c.Name].Hide })
	fields, params := node.FromChannels(visible)
	params = slices.DeleteFunc(params, func(p node.Parameter) bool { return !n.MayWrite(p.Name) })
	rename := func(name, channel *string) {
		if to := n.Fields[*name].Name; to != "" {
			*name, *channel = to, *name
		}
	}
	for i := range fields {
		f := &fields[i]
		if t, ok := node.ParseType(n.Fields[f.Name].Type); ok {
			f.Types = t
		}
		f.Calibration = calibration(n.Fields[f.Name].Calibration)
		f.Module, f.StringIDs = n.Fields[f.Name].Module, n.Fields[f.Name].StringIDs
		rename(&f.Name, &f.Channel)
	}
	for i := range params {
		p := &params[i]
		p.Group = n.Fields[p.Name].Together
		if f := n.Fields[p.Name]; f.Label != "" || f.Labels != nil {
			p.Label, p.Labels = f.Label, f.Labels
		}
		rename(&p.Name, &p.Channel)
		fields = append(fields, node.Field{
			Name: control.OverrideField(p.Name), Kind: drivers.KindString, Types: node.Status, Computed: true,
			Label: "who at the machine holds it",
		})
	}
	return fields, params
}

// sensorDevices says how the devices are read.
func sensorDevices(cfg *config.Config, h *hardware) map[string]sensors.Device {
	out := make(map[string]sensors.Device, len(cfg.Nodes))
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		d := h.devices[n.ID]
		if d == nil {
			continue
		}
		// Between two polls requests get the latest reading, also while the next
		// poll is under way.
		out[n.ID] = sensors.Device{Device: d.Device, Bus: d.bus, Interval: n.Interval, Timeout: n.Timeout, Fresh: n.Interval + n.Timeout}
	}
	return out
}

// controlDevices says how the devices are set.
func controlDevices(cfg *config.Config, h *hardware, t *node.Tree) map[string]control.Device {
	out := map[string]control.Device{}
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		if nd := t.Node(node.Ref{ID: n.ID}); nd != nil && len(nd.Parameters) > 0 {
			out[n.ID] = control.Device{Device: h.devices[n.ID].Device, Instance: h.devices[n.ID], Timeout: n.Timeout}
		}
	}
	return out
}

// accessOf makes the access list of a configuration.
func accessOf(cfg *config.Config) (*node.AllowList, error) {
	var grants []node.Grant
	for _, g := range cfg.Access.Allow {
		ng := node.Grant{JID: g.JID, Read: slices.Contains(g.Rights, "read"), Control: slices.Contains(g.Rights, "control")}
		for _, id := range g.Nodes {
			ng.Scope.Nodes = append(ng.Scope.Nodes, node.Ref{ID: id})
		}
		grants = append(grants, ng)
	}
	return node.NewAllowList([]string{cfg.Access.Owner}, grants)
}
