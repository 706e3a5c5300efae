package gateway

import (
	"os"
	"slices"

	"postern/board"
	"postern/drivers"
	"postern/internal/config"
	"postern/internal/node"
)

// stateField is the name of the field that tells how a device is.
const stateField = "device-state"

// machineFacts are what the machine and the program say about themselves.
func machineFacts(version string) []drivers.Fact {
	b := board.Detect(os.DirFS("/"))
	return slices.DeleteFunc([]drivers.Fact{
		{Name: "board-model", Value: b.Model, Doc: "model of the board"},
		{Name: "board-vendor", Value: b.Vendor, Doc: "maker of the board"},
		{Name: "board-serial", Value: b.Serial, Doc: "serial number of the board"},
		{Name: "software-version", Value: version, Doc: "version of Postern"},
	}, func(f drivers.Fact) bool { return f.Value == "" })
}

// ownFields are the fields that every node with a device has besides those of
// its channels: what it is (identity) and how it is (status). A channel of the
// same name goes before.
func ownFields(n *config.Node, d *opened, machine []drivers.Fact, taken []node.Field) []node.Field {
	facts := []drivers.Fact{{Name: "device-kind", Value: n.Kind, Doc: "kind of device"}}
	if n.Kind == "host" {
		facts = append(facts, machine...)
	}
	if id, ok := d.Device.(drivers.Identifier); ok {
		facts = append(facts, id.Identity()...)
	}
	var out []node.Field
	add := func(f node.Field) {
		same := func(o node.Field) bool { return o.Name == f.Name }
		if !slices.ContainsFunc(taken, same) && !slices.ContainsFunc(out, same) {
			out = append(out, f)
		}
	}
	for _, f := range facts {
		add(node.Field{Name: f.Name, Types: node.Identity, Kind: drivers.KindString, Label: f.Doc, Const: drivers.String(f.Value)})
	}
	add(node.Field{Name: stateField, Types: node.Status, Kind: drivers.KindEnum, Label: "whether the device can be read", DataType: "DeviceState", State: true})
	return out
}
