// Package node holds what the sensor, control and provisioning rooms know
// together: the nodes behind the gateway's JID, what can be read and set on
// them, and who may do it. Nodes, fields and parameters are data; a node names
// its driver by the name the configuration gave the device.
package node

import (
	"regexp"

	"postern/drivers"
)

// Ref addresses a node: XEP-0323, 0325 and 0326 use the same triple. As a
// pattern (in requests) an empty Source or Cache stands for any; the
// comparison is octet by octet.
type Ref struct {
	ID     string // nodeId, never empty on a node
	Source string // sourceId, empty for none
	Cache  string // cacheType, empty for none
}

// MeteringTopology is the data source of sensors and actuators (XEP-0326 §2.3).
// Nodes without another source belong to it.
const MeteringTopology = "MeteringTopology"

// Matches reports whether a node with reference r is meant by the pattern p.
func (p Ref) Matches(r Ref) bool {
	source := p.Source == "" || p.Source == r.Source || p.Source == MeteringTopology && r.Source == ""
	return p.ID == r.ID && source && (p.Cache == "" || p.Cache == r.Cache)
}

// String writes the reference for logs: id, source/id or source/id#cache.
func (p Ref) String() string {
	s := p.ID
	if p.Source != "" {
		s = p.Source + "/" + s
	}
	if p.Cache != "" {
		s += "#" + p.Cache
	}
	return s
}

// Node is one thing behind the gateway's JID: a device, a part of one, or a
// branch that groups others. It is immutable once it is in a Tree.
type Node struct {
	Ref
	Parent Ref    // zero for a root
	Label  string // for people; empty falls back to the ID
	// Self marks the node that stands for the gateway itself: a control
	// request without a node means it (XEP-0325, D11). At most one node of a
	// Tree has it; a Tree with a single node needs no mark.
	Self bool
	// Device is the name under which the services find the driver; empty for
	// a branch, or where every field is constant.
	Device     string
	Fields     []Field
	Parameters []Parameter // in the order in which setting them works (0325-R15)
}

// Title is what people see: the label, or the ID.
func (n *Node) Title() string {
	if n.Label != "" {
		return n.Label
	}
	return n.ID
}

// Field is one readable value of a node.
type Field struct {
	Name    string // on the wire, unique in the node
	Channel string // of the device; empty stands for Name
	Types   Types  // at least one bit; momentary where the zero value is given
	Kind    drivers.Kind
	Unit    string // overrides the sample's unit where it is not empty
	Label   string // for people
	// DataType names the enumeration of an enum field; empty stands for Name.
	DataType string
	// Module and StringIDs localise the name (XEP-0323 §4, D28); both empty
	// where there is no localisation.
	Module, StringIDs string
	// Calibration corrects the number that the channel gives; nil for none.
	Calibration *Calibration
	// Const is the value of a field that no channel gives, for example a
	// serial number from the configuration; kind none for a measured one.
	Const drivers.Value
	// Computed marks a field that no channel gives because it is calculated
	// from others.
	Computed bool
	// State marks the field that tells how the node's device is: ok, failing, or
	// unread before the first reading.
	State bool
}

// Constant reports whether the field never changes.
func (f *Field) Constant() bool { return f.Const.Kind() != drivers.KindNone }

// Measured reports whether a channel of the device gives the field.
func (f *Field) Measured() bool { return !f.Constant() && !f.Computed && !f.State }

// SourceChannel is the device channel that gives the field.
func (f *Field) SourceChannel() string {
	if f.Channel != "" {
		return f.Channel
	}
	return f.Name
}

// Parameter is one value of a node that can be set (XEP-0325).
type Parameter struct {
	Name    string // on the wire, unique among the node's parameters
	Channel string // of the device; empty stands for Name
	Kind    drivers.Kind
	Label   string
	// Labels are labels by language (RFC 5646, lower case), in place of Label.
	Labels map[string]string
	Doc    string // what it does, shown in forms
	Page   string // form page; empty stands for the node's title
	Group  string // parameterGroup; empty for none

	// Min and Max bound numbers, both inclusive.
	Min, Max       drivers.Number
	HasMin, HasMax bool
	// Step is the grid of allowed numbers, counted from Min or else from 0;
	// zero for none.
	Step drivers.Number
	// Options are the allowed texts of an enumeration, in the order shown.
	// Open admits others as well.
	Options []Option
	Open    bool
	// Regex must match a text as a whole; empty for any text.
	Regex string
	// MaxLen bounds texts in octets; 0 stands for 1024.
	MaxLen int
	// Alpha says that a colour carries transparency (RRGGBBAA).
	Alpha bool

	// Safe is the value that makes the output safe; kind none where it has
	// no safe state. It is set before the network starts and at shutdown.
	Safe drivers.Value

	re *regexp.Regexp // Regex anchored at both ends, set by NewTree
}

// Option is one value of an enumeration.
type Option struct{ Value, Label string }

// TargetChannel is the device channel that the parameter writes.
func (p *Parameter) TargetChannel() string {
	if p.Channel != "" {
		return p.Channel
	}
	return p.Name
}

// Field returns the node's field of that name, or nil.
func (n *Node) Field(name string) *Field {
	for i := range n.Fields {
		if n.Fields[i].Name == name {
			return &n.Fields[i]
		}
	}
	return nil
}

// Parameter returns the node's parameter of that name, or nil.
func (n *Node) Parameter(name string) *Parameter {
	for i := range n.Parameters {
		if n.Parameters[i].Name == name {
			return &n.Parameters[i]
		}
	}
	return nil
}

// FromChannels describes a device by its channels, the default where the
// configuration says nothing else: every channel becomes a momentary field,
// every writable one a parameter of the same name too (0323-R55).
func FromChannels(chs []drivers.Channel) (fields []Field, params []Parameter) {
	for _, c := range chs {
		fields = append(fields, Field{Name: c.Name, Types: Momentary, Kind: c.Kind, Unit: c.Unit, Label: c.Doc})
		if !c.Writable {
			continue
		}
		p := Parameter{
			Name: c.Name, Kind: c.Kind, Doc: c.Doc,
			Min: c.Min, Max: c.Max, HasMin: c.HasMin, HasMax: c.HasMax, Safe: c.Safe,
		}
		for _, o := range c.Options {
			p.Options = append(p.Options, Option{Value: o})
		}
		params = append(params, p)
	}
	return fields, params
}
