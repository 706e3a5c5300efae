package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one key of a section, read from a tagged struct field.
type field struct {
	key      string
	doc      string
	def      string // default as text
	hasDef   bool
	required bool
	oneof    []string
	min, max string
	example  string
	format   string
	typ      reflect.Type
	index    []int
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText tells whether t reads itself from text.
func isText(t reflect.Type) bool {
	return t.Implements(textType) || reflect.PointerTo(t).Implements(textType)
}

// isSection tells whether t is a struct whose fields are keys of the file.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t)
}

// fieldsOf lists the keys of a struct type. Fields without a yaml tag, or with
// "-", are none. A mistake in a tag is a mistake in the program: it panics.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, opt, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if opt == "inline" {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				out = append(out, f)
			}
			continue
		}
		if key == "" || key == "-" {
			continue
		}
		if !sf.IsExported() {
			panic(fmt.Sprintf("config: %s.%s has a yaml tag but is not exported", t, sf.Name))
		}
		f := field{
			key: key, typ: sf.Type, index: []int{i},
			doc: sf.Tag.Get("doc"), min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			example: sf.Tag.Get("example"), format: sf.Tag.Get("format"),
		}
		f.def, f.hasDef = sf.Tag.Lookup("default")
		f.required = !f.hasDef && opt != "omitempty"
		if o := sf.Tag.Get("oneof"); o != "" {
			f.oneof = strings.Split(o, "|")
		}
		out = append(out, f)
	}
	return out
}

// keysOf returns the names of fields.
func keysOf(fs []field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.key
	}
	return out
}

// requiredKeys returns the keys of a struct that have to be there.
func requiredKeys(t reflect.Type) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		if f.required {
			out = append(out, f.key)
		}
	}
	return out
}

// setDefaults fills v, a struct, with the defaults of its fields.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		switch {
		case f.hasDef:
			if err := setDefault(fv, f); err != nil {
				panic(fmt.Sprintf("config: default of %s.%s: %v", v.Type(), f.key, err))
			}
		case isSection(fv.Type()):
			setDefaults(fv)
		}
	}
}

func setDefault(v reflect.Value, f field) error {
	if v.Kind() == reflect.Slice {
		if f.def == "" {
			return nil
		}
		for _, s := range strings.Split(f.def, ",") {
			e := reflect.New(v.Type().Elem()).Elem()
			if err := setScalar(e, strings.TrimSpace(s)); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
		return nil
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		v.Set(p)
		v = p.Elem()
	}
	if f.def == "" {
		return nil
	}
	return setScalar(v, f.def)
}
