package config

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Schema writes a JSON Schema (draft 7, which editors know best) of the file.
func Schema(kinds *Kinds) ([]byte, error) {
	s := schemer{kinds}
	root := s.object(reflect.TypeFor[Config]())
	props := root["properties"].(object)
	props["buses"] = object{
		"type": "object", "description": "buses and serial lines by name",
		"additionalProperties": s.union("type", kinds.busNames(), s.busSchema),
	}
	props["nodes"] = object{
		"type": "array", "description": "the devices",
		"items": s.union("kind", kinds.deviceNames(), s.nodeSchema),
	}
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Postern gateway configuration"
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

// object is a JSON object; keys come out sorted.
type object = map[string]any

type schemer struct{ kinds *Kinds }

func (s schemer) busSchema(name string) object {
	return s.object(reflect.TypeFor[busKeys](), reflect.TypeOf(s.kinds.bus(name).New()).Elem())
}

func (s schemer) nodeSchema(name string) object {
	return s.object(reflect.TypeFor[NodeKeys](), reflect.TypeOf(s.kinds.device(name).New()).Elem())
}

// union describes objects whose other keys depend on the value of one key: an
// editor then complains about the keys of the kind that was named only.
func (s schemer) union(key string, names []string, of func(string) object) object {
	var cases []any
	for _, name := range names {
		o := of(name)
		o["properties"].(object)[key] = object{"const": name}
		cases = append(cases, object{
			"if":   object{"required": []string{key}, "properties": object{key: object{"const": name}}},
			"then": o,
		})
	}
	return object{
		"type": "object", "required": []string{key},
		"properties": object{key: object{"enum": names, "description": "what it is"}},
		"allOf":      cases,
	}
}

// object describes structs whose keys stand beside each other.
func (s schemer) object(types ...reflect.Type) object {
	props, required := object{}, []string{}
	for _, t := range types {
		for _, f := range fieldsOf(t) {
			props[f.key] = s.field(f)
			if f.required {
				required = append(required, f.key)
			}
		}
	}
	o := object{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (s schemer) field(f field) object {
	o := s.value(f.typ, f)
	if isSection(f.typ) && f.typ != secretType && len(requiredKeys(f.typ)) == 0 {
		o["type"] = []string{"object", "null"}
	}
	if f.doc != "" {
		o["description"] = f.doc
	}
	if f.hasDef {
		if d, ok := literal(f.typ, f.def); ok {
			o["default"] = d
		}
	}
	return o
}

func (s schemer) value(t reflect.Type, f field) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == secretType:
		o := s.object(t)
		o["minProperties"], o["maxProperties"] = 1, 1
		return o
	case t == durationType:
		return object{"type": "string", "pattern": `^([0-9.]+ *(ns|us|µs|ms|s|m|h|d) *)+$`}
	case isText(t):
		return object{"type": []string{"string", "number"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.object(t)
	case reflect.Slice:
		o := object{"type": "array", "items": s.value(t.Elem(), field{oneof: f.oneof, typ: t.Elem()})}
		setNumber(o, "minItems", f.min)
		setNumber(o, "maxItems", f.max)
		return o
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.value(t.Elem(), field{oneof: f.oneof, typ: t.Elem()})}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		// A plain 1 or true is taken as its text.
		o := object{"type": []string{"string", "number", "boolean"}}
		if len(f.oneof) > 0 {
			return object{"enum": oneofValues(f.oneof)}
		}
		setNumber(o, "minLength", f.min)
		setNumber(o, "maxLength", f.max)
		return o
	case reflect.Float32, reflect.Float64:
		o := object{"type": "number"}
		setNumber(o, "minimum", f.min)
		setNumber(o, "maximum", f.max)
		return o
	}
	o := object{"type": "integer"}
	setNumber(o, "minimum", f.min)
	setNumber(o, "maximum", f.max)
	return o
}

// oneofValues lists the texts, and beside those that YAML reads as a number
// the number too, because nobody quotes them.
func oneofValues(words []string) []any {
	var out []any
	for _, w := range words {
		out = append(out, w)
		if n, err := strconv.ParseFloat(w, 64); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func setNumber(o object, key, text string) {
	if text == "" {
		return
	}
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		o[key] = n
	} else if f, err := strconv.ParseFloat(text, 64); err == nil {
		o[key] = f
	}
}

// literal turns the text of a default into a JSON value of the type.
func literal(t reflect.Type, text string) (any, bool) {
	switch {
	case t == durationType, isText(t), t.Kind() == reflect.String:
		return text, text != ""
	case t.Kind() == reflect.Bool:
		return text == "true", true
	case t.Kind() == reflect.Slice:
		list := []any{}
		for _, s := range strings.Split(text, ",") {
			if v, ok := literal(t.Elem(), strings.TrimSpace(s)); ok {
				list = append(list, v)
			}
		}
		return list, true
	}
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}
