package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Formats are the named checks of format tags. The error says what is wanted.
type Formats map[string]func(text string) error

// decoder reads nodes into tagged structs and reports what does not fit.
type decoder struct {
	*report
	formats Formats
}

// structs reads a mapping whose keys belong to several structs at once. The
// defaults have to be set already. It returns false when n is no mapping.
func (d *decoder) structs(n *node, path string, what string, parts ...reflect.Value) bool {
	if n.shape != mapping {
		d.add(n, path, "keys with values are wanted here, not "+n.shape.String(), "")
		return false
	}
	var fields []field
	var owners []reflect.Value
	for _, p := range parts {
		for _, f := range fieldsOf(p.Type()) {
			fields, owners = append(fields, f), append(owners, p)
		}
	}
	keys := keysOf(fields)
	for i, k := range n.keys {
		j := slices.Index(keys, k.text)
		if j < 0 {
			d.add(k, join(path, k.text), "there is no such key"+what, suggest(k.text, keys))
			continue
		}
		d.field(n.items[i], k, join(path, k.text), owners[j].FieldByIndex(fields[j].index), fields[j])
	}
	for _, f := range fields {
		if f.required && n.get(f.key) == nil {
			d.missing(n, path, f)
		}
	}
	return true
}

// missing reports an absent required key.
func (d *decoder) missing(n *node, path string, f field) {
	fix := "add it"
	switch {
	case f.example != "":
		fix = "add " + f.key + ": " + f.example
	case len(f.oneof) > 0:
		fix = "add " + f.key + ": one of " + listing(f.oneof)
	}
	what := "the key " + f.key + " is missing"
	if f.doc != "" {
		what += " (" + f.doc + ")"
	}
	d.add(n, path, what, fix)
}

// field reads one value and checks it against the tags.
func (d *decoder) field(n, key *node, path string, v reflect.Value, f field) {
	if v.Type() == secretType {
		d.secret(n, key, path, v)
		return
	}
	if n.shape == null && isSection(v.Type()) && len(requiredKeys(v.Type())) == 0 {
		return // a section of which every key is commented out
	}
	if n.shape == null {
		d.add(key, path, "the value is missing", "write one, or leave the key out")
		return
	}
	if !d.value(n, path, v, f) {
		return
	}
	d.limits(n, path, v, f)
}

// limits checks oneof, min, max and format.
func (d *decoder) limits(n *node, path string, v reflect.Value, f field) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
		f.typ = v.Type()
	}
	if v.Kind() != reflect.Slice && len(f.oneof) > 0 && !slices.Contains(f.oneof, n.text) {
		d.add(n, path, quote(n.text)+" is not one of the values", suggest(n.text, f.oneof))
		return
	}
	if x, ok := measure(v); ok {
		lo, hasLo := bound(f.min, v.Type())
		hi, hasHi := bound(f.max, v.Type())
		if hasLo && x < lo || hasHi && x > hi {
			shown := quote(n.text)
			if n.shape != scalar {
				shown = fmt.Sprintf("this list of %d", len(n.items))
			}
			d.add(n, path, shown+" is out of range", "allowed: "+rangeText(f))
			return
		}
	}
	if check := d.formats[f.format]; check != nil && n.shape == scalar {
		if err := check(n.text); err != nil {
			d.add(n, path, quote(n.text)+" does not fit", err.Error())
		}
	}
}

// value reads n into v by v's type and reports whether it could.
func (d *decoder) value(n *node, path string, v reflect.Value, f field) bool {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		if isSection(t.Elem()) {
			setDefaults(p.Elem())
		}
		if !d.value(n, path, p.Elem(), f) {
			return false
		}
		v.Set(p)
		return true
	case isText(t) || t == durationType:
		return d.scalar(n, path, v)
	case t.Kind() == reflect.Struct:
		return d.structs(n, path, "", v)
	case t.Kind() == reflect.Slice:
		return d.entries(n, path, v, f)
	case t.Kind() == reflect.Map:
		return d.table(n, path, v, f)
	}
	return d.scalar(n, path, v)
}

func (d *decoder) scalar(n *node, path string, v reflect.Value) bool {
	if n.shape != scalar {
		d.add(n, path, "a single value is wanted here, not "+n.shape.String(), wanted(v.Type()))
		return false
	}
	if n.quoted && v.Kind() != reflect.String && !isText(v.Type()) && v.Type() != durationType {
		d.add(n, path, quote(n.text)+" is a text because of its quotes", "leave the quotes out")
		return false
	}
	if err := setScalar(v, n.text); err != nil {
		d.add(n, path, quote(n.text)+" does not fit", err.Error())
		return false
	}
	return true
}

func (d *decoder) entries(n *node, path string, v reflect.Value, f field) bool {
	if n.shape != sequence {
		fix := "write [a, b], or one entry a line with - in front"
		if n.shape == scalar {
			fix = "write [" + n.text + "]"
		}
		d.add(n, path, "a list is wanted here, not "+n.shape.String(), fix)
		return false
	}
	ok := true
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.items)))
	elem := field{key: f.key, oneof: f.oneof, format: f.format, typ: v.Type().Elem()}
	for i, item := range n.items {
		e := reflect.New(v.Type().Elem()).Elem()
		p := fmt.Sprintf("%s[%d]", path, i)
		if item.shape == null {
			d.add(item, p, "the entry is empty", "write a value, or leave the entry out")
			ok = false
			continue
		}
		if isSection(e.Type()) {
			setDefaults(e)
		}
		if !d.value(item, p, e, elem) {
			ok = false
			continue
		}
		d.limits(item, p, e, elem)
		v.Set(reflect.Append(v, e))
	}
	return ok
}

func (d *decoder) table(n *node, path string, v reflect.Value, f field) bool {
	if n.shape != mapping {
		d.add(n, path, "names with values are wanted here, not "+n.shape.String(), "write name: value")
		return false
	}
	ok := true
	v.Set(reflect.MakeMap(v.Type()))
	elem := field{key: f.key, oneof: f.oneof, format: f.format, typ: v.Type().Elem()}
	for i, k := range n.keys {
		key := reflect.New(v.Type().Key()).Elem()
		e := reflect.New(v.Type().Elem()).Elem()
		p := join(path, k.text)
		if isSection(e.Type()) {
			setDefaults(e)
		}
		if n.items[i].shape == null {
			d.add(k, p, "the value is missing", "write one, or leave the key out")
			ok = false
			continue
		}
		if !d.scalar(k, p, key) || !d.value(n.items[i], p, e, elem) {
			ok = false
			continue
		}
		d.limits(n.items[i], p, e, elem)
		v.SetMapIndex(key, e)
	}
	return ok
}

// secret reads a reference to a secret, and refuses the secret itself without
// repeating it.
func (d *decoder) secret(n, key *node, path string, v reflect.Value) {
	const fix = "write {file: /path}, {env: NAME} or {credential: name}"
	if n.shape != mapping {
		if n.shape == null {
			d.add(key, path, "it is not said where the secret is kept", fix)
			return
		}
		d.addPrivate(n, path, "a secret must not stand in this file", "put it into a file of mode 0600 and "+fix)
		return
	}
	before := len(d.list)
	d.structs(n, path, "", v)
	for i := before; i < len(d.list); i++ {
		d.list[i].Private = true
	}
	s := v.Interface().(Secret)
	set := 0
	for _, x := range []string{s.File, s.Env, s.Credential} {
		if x != "" {
			set++
		}
	}
	if set != 1 && len(d.list) == before {
		d.add(n, path, fmt.Sprintf("%d places are named for the secret", set), "name exactly one: "+fix)
	}
}

// wanted words the type of a value.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "write a time, for example 10s"
	case isText(t):
		return "write a value"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "write true or false"
	case reflect.String:
		return "write a text"
	}
	return "write a number"
}

// quote shows a value of the file, cut to a bearable length.
func quote(text string) string {
	const most = 60
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i] + "…"
	}
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
