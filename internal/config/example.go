package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Example writes a commented configuration that shows every key there is and
// loads as it stands: one bus of each type and one node of each kind. Keys
// that may be left out are commented out with their defaults.
func Example(kinds *Kinds) []byte {
	e := &exampler{kinds: kinds, taken: map[string]bool{}}
	e.comment(0, "Configuration of a Postern gateway. Check it with: postern check FILE")
	e.comment(0, "Keys that are commented out show their default, or what they could be.")
	e.comment(0, "yaml-language-server: $schema=postern.schema.json")
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		e.top(f)
	}
	e.blank()
	e.comment(0, "Buses and serial lines by name. I2C buses of the machine need no entry.")
	e.line(0, "buses:", "")
	for _, b := range kinds.Buses {
		e.comment(2, b.Doc)
		e.line(2, "example-"+b.Type+":", "")
		e.line(4, "type: "+b.Type, "")
		e.fields(4, reflect.TypeOf(b.New()).Elem(), nil)
		e.fields(4, reflect.TypeFor[busKeys](), map[string]string{"type": skip})
	}
	e.blank()
	e.comment(0, "The devices: each becomes a node that is read and switched by its id.")
	e.line(0, "nodes:", "")
	for i, k := range kinds.Devices {
		if i > 0 {
			e.blank()
		}
		e.device(k, i == 0)
	}
	return e.Bytes()
}

// ExampleOf writes a commented file of another kind, for Decode.
func ExampleOf[T any](title string) []byte {
	e := &exampler{kinds: &Kinds{}, taken: map[string]bool{}}
	e.comment(0, title)
	e.comment(0, "Keys that are commented out show their default, or what they could be.")
	for _, f := range fieldsOf(reflect.TypeFor[T]()) {
		if isSection(f.typ) && f.typ != secretType {
			e.top(f)
			continue
		}
		if f.example != "" {
			f.required = true
		}
		e.field(0, f, "")
	}
	return e.Bytes()
}

// skip in the overrides of fields leaves a key out.
const skip = "\x00"

type exampler struct {
	bytes.Buffer
	kinds *Kinds
	taken map[string]bool
}

// comment writes a comment in lines of at most 100 characters.
func (e *exampler) comment(indent int, text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && indent+3+len([]rune(line))+len([]rune(word)) > 100 {
			fmt.Fprintf(e, "%*s# %s\n", indent, "", line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	fmt.Fprintf(e, "%*s# %s\n", indent, "", line)
}

func (e *exampler) blank() { e.WriteByte('\n') }

// line writes one line with its explanation at a common column.
func (e *exampler) line(indent int, text, doc string) {
	s := strings.Repeat(" ", indent) + text
	if len([]rune(s))+len([]rune(doc)) > 116 {
		e.comment(indent, doc)
		doc = ""
	}
	if doc == "" {
		e.WriteString(s + "\n")
		return
	}
	pad := 2
	if n := len([]rune(s)); n < 40 {
		pad = 40 - n
	}
	e.WriteString(s + strings.Repeat(" ", pad) + "# " + doc + "\n")
}

// top writes one key of the top level.
func (e *exampler) top(f field) {
	e.blank()
	if isSection(f.typ) {
		if f.doc != "" {
			e.comment(0, upper(f.doc)+".")
		}
		e.line(0, f.key+":", "")
		e.fields(2, f.typ, nil)
		return
	}
	e.field(0, f, "")
}

// fields writes the keys of a struct. A section in which nothing is required
// would be empty, so its first key is written with its default or example.
func (e *exampler) fields(indent int, t reflect.Type, override map[string]string) {
	fs := fieldsOf(t)
	live := slices.ContainsFunc(fs, func(f field) bool {
		_, over := override[f.key]
		return f.required || over || e.shown(f)
	})
	for i, f := range fs {
		o := override[f.key]
		if o == skip {
			continue
		}
		if !live && i == 0 && override == nil && f.hasDef {
			o = f.def
		}
		e.field(indent, f, o)
	}
}

// shown lists keys that a useful example needs though they may be left out.
func (e *exampler) shown(f field) bool {
	switch f.key {
	case "password", "owner", "level", "socket", "directory", "tls", "transport", "serial", "model":
		return true
	}
	return false
}

func (e *exampler) field(indent int, f field, value string) {
	doc := f.doc
	if len(f.oneof) > 0 {
		doc = strings.TrimSpace(doc + " (" + strings.Join(f.oneof, ", ") + ")")
	} else if r := rangeText(f); r != "" && f.typ.Kind() != reflect.String && f.typ.Kind() != reflect.Slice {
		doc = strings.TrimSpace(doc + " (" + r + ")")
	}
	live := f.required || value != "" || e.shown(f)
	if f.key == "socket" || f.key == "directory" {
		live = false
	}
	switch t := f.typ; {
	case t == secretType:
		e.line(indent, f.key+": {file: /etc/postern/password}", doc+"; or {env: NAME} or {credential: name}")
		return
	case isSection(t):
		e.section(indent, f, live, doc)
		return
	case t.Kind() == reflect.Slice && isSection(t.Elem()):
		e.list(indent, f, live, doc)
		return
	case t.Kind() == reflect.Map:
		e.table(indent, f, doc)
		return
	}
	if value == "" {
		value = exampleValue(f)
	}
	text := f.key + ": " + value
	if !live {
		text = "# " + text
	}
	e.line(indent, text, doc)
}

func (e *exampler) section(indent int, f field, live bool, doc string) {
	if live {
		e.line(indent, f.key+":", doc)
		e.fields(indent+2, f.typ, nil)
		return
	}
	e.line(indent, "# "+f.key+": "+flow(f.typ), doc)
}

// list writes a list of sections with one entry.
func (e *exampler) list(indent int, f field, live bool, doc string) {
	if !live {
		e.line(indent, "# "+f.key+":", doc)
		e.line(indent, "#   - "+flow(f.typ.Elem()), "")
		return
	}
	e.line(indent, f.key+":", doc)
	at := e.Len()
	e.fields(indent+4, f.typ.Elem(), nil)
	// The first key carries the dash of the entry.
	b := e.Bytes()[at:]
	b[indent+2] = '-'
}

func (e *exampler) table(indent int, f field, doc string) {
	e.line(indent, "# "+f.key+":", doc)
	if isSection(f.typ.Elem()) {
		e.line(indent, "#   channel: "+flow(f.typ.Elem()), "")
		return
	}
	e.line(indent, "#   name: value", "")
}

// flow writes a section in one line, with examples or defaults.
func flow(t reflect.Type) string {
	var parts []string
	for _, f := range fieldsOf(t) {
		if isSection(f.typ) || f.typ.Kind() == reflect.Map || f.typ.Kind() == reflect.Pointer || f.typ.Kind() == reflect.Slice && isSection(f.typ.Elem()) {
			continue
		}
		if !f.required && f.example == "" && !f.hasDef && len(f.oneof) == 0 {
			continue // nothing worth showing
		}
		v := exampleValue(f)
		if f.required && v == `""` {
			v = f.key
		}
		if v != `""` {
			parts = append(parts, f.key+": "+v)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// exampleValue is a value of the key as YAML.
func exampleValue(f field) string {
	v := f.example
	if v == "" {
		v = f.def
	}
	if v == "" && len(f.oneof) > 0 {
		v = f.oneof[0]
	}
	switch {
	case f.typ.Kind() == reflect.Slice:
		if strings.HasPrefix(v, "[") {
			return v
		}
		return "[" + v + "]"
	case v == "" && (f.typ.Kind() == reflect.String || isText(f.typ)):
		return `""`
	case v == "":
		if f.min != "" {
			return f.min
		}
		return "0"
	case f.typ.Kind() == reflect.String && needsQuotes(v):
		return fmt.Sprintf("%q", v)
	}
	return v
}

// free returns the key, bus, line or port, and a value for it with which what the
// device claims is free, and takes it; an empty value leaves the default.
func (e *exampler) free(k Kind, bus string) (key, value string) {
	if k.Claims == nil {
		return "", ""
	}
	cfg := k.New()
	v := reflect.ValueOf(cfg).Elem()
	setDefaults(v)
	var varied reflect.Value
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		switch {
		case f.key == "bus" && bus != "":
			fv.SetString(bus)
		case f.key == "bus", f.key == "line", f.key == "port":
			key, varied = f.key, fv
			if f.required {
				fv.SetString(f.example)
			}
		}
	}
	for n := 2; n < 100; n++ {
		what, _ := k.Claims(cfg)
		if !e.taken[what] || !varied.IsValid() {
			e.taken[what] = true
			return key, value
		}
		value = strings.TrimRight(varied.String(), "0123456789") + strconv.Itoa(n)
		varied.SetString(value)
	}
	return key, value
}

// needsQuotes tells whether a text would be something else without quotes, in a
// line of its own or between braces.
func needsQuotes(v string) bool {
	return strings.ContainsAny(v, "{}[],") || strings.ContainsFunc(v, unicode.IsControl) || strings.ContainsAny(v[:1], "#&*!|>'%@`?- ") ||
		strings.Contains(v, ": ") || strings.Contains(v, " #") || strings.HasSuffix(v, ":")
}

// device writes one node. All keys that nodes have in common are shown at the
// first one only.
func (e *exampler) device(k Kind, first bool) {
	at := e.Len()
	e.line(4, "id: example-"+k.Name, "")
	e.Bytes()[at+2] = '-'
	e.line(4, "kind: "+k.Name, k.Doc)
	t := reflect.TypeOf(k.New()).Elem()
	override := map[string]string{}
	if k.Bus != "" {
		if b := e.kinds.bus(k.Bus); b != nil && b.Direct == nil {
			override["bus"] = "example-" + k.Bus
		}
	}
	if key, value := e.free(k, override["bus"]); value != "" {
		override[key] = value
	}
	e.fields(4, t, override)
	if first {
		e.fields(4, reflect.TypeFor[NodeKeys](), map[string]string{"id": skip, "kind": skip, "label": "Example"})
	}
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
