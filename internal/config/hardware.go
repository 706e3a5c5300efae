package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// Hardware writes the table of kinds for the documentation (Markdown), with
// the keys of each.
func Hardware(kinds *Kinds) []byte {
	var b strings.Builder
	b.WriteString("# Supported hardware\n\n")
	b.WriteString("Made from the table of kinds in internal/gateway/kinds.go by `go generate ./internal/gateway`; do not edit.\n")
	b.WriteString("[wiring.md](wiring.md) shows how the usual ones are connected.\n\n")
	b.WriteString("| kind | what it is | bus | keys |\n|---|---|---|---|\n")
	for _, k := range kinds.Devices {
		bus := k.Bus
		if bus == "" {
			bus = "–"
		}
		var keys []string
		for _, f := range fieldsOf(reflect.TypeOf(k.New()).Elem()) {
			keys = append(keys, "`"+f.key+"`")
		}
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", k.Name, k.Name, k.Doc, bus, strings.Join(keys, " "))
	}
	for _, k := range kinds.Devices {
		section(&b, "## "+k.Name, k.Doc, reflect.TypeOf(k.New()).Elem())
		channels(&b, k)
	}
	models(&b, kinds)
	b.WriteString("\n# Buses\n\nEntries of the section `buses`.\n")
	for _, k := range kinds.Buses {
		section(&b, "## "+k.Type, k.Doc, reflect.TypeOf(k.New()).Elem())
	}
	return []byte(b.String())
}

// models lists the descriptions that a node can name.
func models(b *strings.Builder, kinds *Kinds) {
	if kinds.Models == nil {
		return
	}
	b.WriteString("\n# Models\n\n" +
		"A node of kind `modbus` or `ascii` names one by `model: NAME` and has its channels then. Each was read from the document that it cites, not measured on the device: compare the first readings with its display.\n" +
		"A file `models/NAME.yaml` beside the configuration, or one that `description: FILE` names, adds a model; `postern schema --model NAME` prints one to start from.\n\n" +
		"| model | what it is | kind | channels | source |\n|---|---|---|---|---|\n")
	for _, m := range kinds.Models() {
		var names []string
		for _, c := range m.Channels {
			names = append(names, "`"+c.Name+"`")
		}
		what := m.Vendor + " " + m.Device
		if m.Factory != "" {
			what += "; from the factory " + m.Factory
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", m.Name, what, m.Kind, strings.Join(names, " "), m.Source)
	}
	section(b, "## Description", "the keys of a file that describes a model", reflect.TypeOf(kinds.Description()).Elem())
}

func section(b *strings.Builder, title, doc string, t reflect.Type) {
	fmt.Fprintf(b, "\n%s\n\n%s.\n\n| key | default | meaning |\n|---|---|---|\n", title, upper(doc))
	rows(b, "", t)
}

func rows(b *strings.Builder, prefix string, t reflect.Type) {
	for _, f := range fieldsOf(t) {
		key, def, doc := prefix+f.key, f.def, f.doc
		switch {
		case f.required:
			def = "*required*"
		case strings.ContainsFunc(def, unicode.IsControl):
			def = "`" + strconv.Quote(def) + "`"
		case def != "":
			def = "`" + def + "`"
		}
		if len(f.oneof) > 0 {
			doc += ": `" + strings.Join(f.oneof, "` `") + "`"
		} else if r := rangeText(f); r != "" {
			doc += " (" + r + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, def, strings.ReplaceAll(doc, "|", `\|`))
		switch {
		case f.typ == secretType:
		case isSection(f.typ):
			rows(b, key+".", f.typ)
		case f.typ.Kind() == reflect.Slice && isSection(f.typ.Elem()):
			rows(b, key+"[].", f.typ.Elem())
		}
	}
}

// channels lists the channels of a device with the kind's example settings.
func channels(b *strings.Builder, k Kind) {
	if k.Channels == nil {
		return
	}
	cfg := k.New()
	v := reflect.ValueOf(cfg).Elem()
	setDefaults(v)
	for _, f := range fieldsOf(v.Type()) {
		if f.required && f.typ.Kind() == reflect.String {
			v.FieldByIndex(f.index).SetString(f.example)
		}
	}
	list, known := k.Channels(cfg)
	if !known || len(list) == 0 {
		return
	}
	b.WriteString("\n| channel | type | unit | meaning |\n|---|---|---|---|\n")
	for _, c := range list {
		typ := c.Type
		if c.Writable {
			typ += ", can be switched"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", c.Name, typ, c.Unit, c.Doc)
	}
}
