package control

import (
	"errors"
	"slices"
	"strings"
	"time"

	"postern/drivers"
)

// Read reads what a person wrote as a value of the field; on, off, yes and no
// are understood for switches.
func (f *Field) Read(text string) (drivers.Value, error) {
	if f.Kind == drivers.KindBool {
		switch strings.ToLower(text) {
		case "on", "yes", "true", "1":
			return drivers.Bool(true), nil
		case "off", "no", "false", "0":
			return drivers.Bool(false), nil
		}
		return drivers.Value{}, errors.New("must be true or false")
	}
	return ParseValue(f.Kind, text)
}

// Together lists the parameters that belong to an action of which something was
// edited, and were not edited themselves (XEP-0325 §5.4; R24): a person should
// be asked for them, so that all are written in one set. What nobody confirms
// stays away (R17); the thing then goes by its defaults.
func (f *Form) Together(edited map[string]string) (missing []string) {
	for i := range f.Fields {
		fd := &f.Fields[i]
		if _, is := edited[fd.Var]; is || fd.Group == "" || fd.Hidden || !fd.Writable {
			continue
		}
		if slices.ContainsFunc(f.Fields, func(o Field) bool { _, is := edited[o.Var]; return is && o.Group == fd.Group }) {
			missing = append(missing, fd.Var)
		}
	}
	return missing
}

// Seen is a field that was read from a thing (XEP-0323).
type Seen struct {
	Name              string // unlocalised
	Value             drivers.Value
	Momentary, Status bool
	Missing           bool // by its quality: the value means nothing
}

// Current is the current value of a parameter by the fields of its node
// (XEP-0325 §4): the momentary field of its name, else the status field (R28),
// converted to the parameter's kind; one that is missing never counts (R29). ok
// is false where none fits. Times without a zone are in loc.
func Current(fields []Seen, parameter string, kind drivers.Kind, loc *time.Location) (v drivers.Value, ok bool) {
	for _, fits := range []func(*Seen) bool{func(f *Seen) bool { return f.Momentary }, func(f *Seen) bool { return f.Status }} {
		for i := range fields {
			if f := &fields[i]; f.Name == parameter && !f.Missing && fits(f) {
				if v, ok = Convert(f.Value, kind, loc); ok {
					return v, true
				}
			}
		}
	}
	return drivers.Value{}, false
}
