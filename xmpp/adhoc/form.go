package adhoc

import (
	"fmt"
	"strings"

	"postern/exi"
	"postern/xmpp"
)

// Form is a data form (XEP-0004): one to fill in, or a result.
type Form struct {
	Title        string
	Instructions string
	Fields       []Field
	// Columns and Rows make a table of a result; Fields are not used then.
	Columns []Field
	Rows    [][]string
}

// Field is one field of a form, or a column of a table.
type Field struct {
	Var   string
	Label string
	Desc  string
	// Type is one of XEP-0004's; empty for text-single.
	Type     string
	Required bool
	Values   []string // shown at first
	Options  []Option // of list-single and list-multi
}

// Option is a choice of a list.
type Option struct{ Label, Value string }

// multi reports whether the field may have several values (0004-R05).
func (f *Field) multi() bool {
	return f.Type == "list-multi" || f.Type == "text-multi" || f.Type == "jid-multi" || f.Type == "hidden"
}

func (f *Form) append(d *exi.Doc, typ string, values Values) {
	d.Start(nameX)
	d.Attr(attrType, exi.Str(typ))
	if f.Title != "" {
		d.Element(nameTitle, exi.Str(oneLine(f.Title)))
	}
	for line := range strings.SplitSeq(f.Instructions, "\n") { // 0004-R13
		if line != "" {
			d.Element(nameInstructions, exi.Str(line))
		}
	}
	if f.Columns != nil {
		f.appendTable(d)
	} else {
		for i := range f.Fields {
			f.Fields[i].append(d, values)
		}
	}
	d.End()
}

// appendTable writes reported once, before the items (0004-R15).
func (f *Form) appendTable(d *exi.Doc) {
	d.Start(nameReported)
	for i := range f.Columns {
		c := &f.Columns[i]
		d.Start(nameField)
		d.Attr(attrVar, exi.Str(c.Var))
		if c.Type != "" {
			d.Attr(attrType, exi.Str(c.Type))
		}
		if c.Label != "" {
			d.Attr(attrLabel, exi.Str(c.Label))
		}
		d.End()
	}
	d.End()
	for _, row := range f.Rows {
		d.Start(nameItem)
		for i := range f.Columns {
			d.Start(nameField)
			d.Attr(attrVar, exi.Str(f.Columns[i].Var))
			text := ""
			if i < len(row) {
				text = row[i]
			}
			d.Element(nameValue, exi.Str(text))
			d.End()
		}
		d.End()
	}
}

func (f *Field) append(d *exi.Doc, given Values) {
	d.Start(nameField)
	if f.Var != "" {
		d.Attr(attrVar, exi.Str(f.Var))
	}
	typ := f.Type
	if typ == "" {
		typ = "text-single"
	}
	d.Attr(attrType, exi.Str(typ))
	if f.Label != "" {
		d.Attr(attrLabel, exi.Str(f.Label))
	}
	if f.Desc != "" {
		d.Element(nameDesc, exi.Str(f.Desc))
	}
	if f.Required {
		d.Start(nameRequired)
		d.End()
	}
	values, ok := given[f.Var]
	if !ok {
		values = f.Values
	}
	for _, v := range values {
		d.Element(nameValue, exi.Str(v))
	}
	for _, o := range f.Options {
		d.Start(nameOption)
		if o.Label != "" {
			d.Attr(attrLabel, exi.Str(o.Label))
		}
		d.Element(nameValue, exi.Str(o.Value))
		d.End()
	}
	d.End()
}

// Values are what somebody filled in, by var.
type Values map[string][]string

// Get returns the first value; empty where there is none.
func (v Values) Get(name string) string {
	if len(v[name]) == 0 {
		return ""
	}
	return v[name][0]
}

// Bool reads a boolean in all its forms (0004-R12); absent is false.
func (v Values) Bool(name string) bool { return v.Get(name) == "true" || v.Get(name) == "1" }

// Bounds of a submitted form, in all.
const (
	maxFields = 100
	maxValues = 1000
	maxText   = 32 << 10
)

// submitted reads the values of a form; ok is false where there is no form.
func submitted(c exi.Cursor) (v Values, ok bool, fault *xmpp.Error) {
	x := c.Child(nameX)
	if !x.Valid() {
		return nil, false, nil
	}
	// "cancel" is treated as submit (0050-R12).
	if typ, _ := x.Attr(attrType); !typ.Is("submit") && !typ.Is("cancel") {
		return nil, true, badPayload("a form to fill in comes back with the type submit")
	}
	v = make(Values)
	values, octets := 0, 0
	for f := range x.Children() {
		if f.Name() != nameField {
			continue
		}
		name, has := f.Attr(attrVar)
		if typ, _ := f.Attr(attrType); !has && typ.Is("fixed") {
			continue
		}
		n := name.String()
		if _, twice := v[n]; !has || twice || len(v) >= maxFields {
			return nil, true, badPayload("a field has no var, is there twice, or there are too many")
		}
		list := []string{}
		for k := range f.Children() {
			if k.Name() == nameValue {
				t := k.Text().String()
				values, octets = values+1, octets+len(t)
				list = append(list, t)
			}
		}
		if values > maxValues || octets > maxText {
			return nil, true, badPayload("the form is too large")
		}
		v[n] = list
	}
	return v, true, nil
}

// fill checks submitted values against the form that was shown, whatever they
// say of themselves (0004-R06, R07), and returns those it knows (R03). What a
// required field lacks, and what is no option, is refused.
func (f *Form) fill(in Values) (Values, *xmpp.Error) {
	out := make(Values)
	for i := range f.Fields {
		fd := &f.Fields[i]
		if fd.Type == "fixed" || fd.Var == "" {
			continue
		}
		values, ok := in[fd.Var]
		if !ok {
			values = fd.Values
		}
		if len(values) == 1 && values[0] == "" && !fd.multi() { // 0004-R17
			values = nil
		}
		if fault := fd.check(values); fault != "" {
			return nil, badPayload(fmt.Sprintf("%s %s", fd.Var, fault))
		}
		out[fd.Var] = values
	}
	return out, nil
}

func (f *Field) check(values []string) string {
	switch {
	case f.Required && len(values) == 0:
		return "is missing"
	case len(values) > 1 && !f.multi():
		return "has several values"
	}
	for _, v := range values {
		switch {
		case f.Type == "boolean" && v != "true" && v != "false" && v != "1" && v != "0":
			return "is neither true nor false"
		case strings.HasPrefix(f.Type, "list-") && !f.offers(v):
			return fmt.Sprintf("is not one of the options: %q", v)
		}
	}
	return ""
}

func (f *Field) offers(v string) bool {
	for _, o := range f.Options {
		if o.Value == v {
			return true
		}
	}
	return false
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
