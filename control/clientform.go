package control

import (
	"strings"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
)

// parseForm reads a form leniently: unknown field types are text-single,
// unknown data types strings, unknown methods basic (R53, R54); references of
// the layout to fields that do not exist are ignored (R57).
func parseForm(x exi.Cursor) *Form {
	f := new(Form)
	pages := make(map[string]place)
	for k := range x.Children() {
		switch k.Name() {
		case nameTitle:
			f.Title = k.Text().String()
		case nameInstructions:
			f.Instructions = append(f.Instructions, k.Text().String())
		case nameField:
			if fld, ok := parseFormField(k); ok {
				f.Fields = append(f.Fields, fld)
			}
		case namePage:
			label, _ := k.Attr(attrLabel)
			collectRefs(k, place{page: label.String()}, pages, 0)
		}
	}
	for i := range f.Fields {
		at := pages[f.Fields[i].Var]
		f.Fields[i].Page, f.Fields[i].Section = at.page, at.section
	}
	return f
}

// place is where the layout puts a field.
type place struct{ page, section string }

// collectRefs notes the page of every referenced field, sections included.
func collectRefs(c exi.Cursor, at place, pages map[string]place, depth int) {
	const deepest = 20
	if depth > deepest {
		return
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameFieldref:
			v, _ := k.Attr(attrVar)
			if _, ok := pages[v.String()]; !ok {
				pages[v.String()] = at
			}
		case nameSection:
			label, _ := k.Attr(attrLabel)
			in := at
			if in.section != "" && !label.IsZero() {
				in.section += ", "
			}
			in.section += label.String()
			collectRefs(k, in, pages, depth+1)
		}
	}
}

func parseFormField(c exi.Cursor) (f Field, ok bool) {
	name, has := c.Attr(attrVar)
	typ, _ := c.Attr(attrType)
	if !has || typ.Is("fixed") {
		return f, false
	}
	label, _ := c.Attr(attrLabel)
	f = Field{Var: name.String(), Label: label.String(), Hidden: typ.Is("hidden"), Writable: true, Kind: drivers.KindString}
	if typ.Is("boolean") {
		f.Kind = drivers.KindBool // also without validate (D5)
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameDesc:
			f.Doc = k.Text().String()
		case nameValue:
			f.Values = append(f.Values, k.Text().String())
		case nameOption:
			l, _ := k.Attr(attrLabel)
			f.Options = append(f.Options, node.Option{Value: k.Child(nameValue).Text().String(), Label: l.String()})
		case nameValidate:
			f.validate(k)
		case nameReadOnly:
			f.Writable = false
		case nameNotSame:
			f.NotSame = true
		case namePostBack:
			f.PostBack = true
		case nameDynError:
			f.Error = k.Text().String()
		case nameParameterGroup:
			g, _ := k.Attr(attrName)
			f.Group = g.String()
		}
	}
	if f.Hidden {
		f.Kind, f.Writable = drivers.KindNone, false
		return f, true
	}
	if len(f.Values) > 0 {
		f.Value, f.Known = strings.Join(f.Values, "\n"), true
	}
	if strings.HasPrefix(typ.String(), "list-") && f.Kind == drivers.KindString {
		f.Kind = drivers.KindEnum
	}
	return f, true
}

func (f *Field) validate(c exi.Cursor) {
	if dt, ok := c.Attr(attrDatatype); ok {
		if k, ok := kindByDatatype[dt.String()]; ok {
			f.Kind = k
		}
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameRange:
			lo, _ := k.Attr(attrMin)
			hi, _ := k.Attr(attrMax)
			f.Min, f.Max, f.Open = lo.String(), hi.String(), true
		case nameRegex:
			f.Regex, f.Open = k.Text().String(), true
		case nameOpen:
			f.Open = true
		}
	}
}

var kindByDatatype = map[string]drivers.Kind{
	"xs:boolean": drivers.KindBool, "xs:int": drivers.KindInt, "xs:long": drivers.KindLong, "xs:double": drivers.KindNumber,
	"xs:date": drivers.KindDate, "xs:dateTime": drivers.KindTime, "xs:time": drivers.KindClock, "xs:duration": drivers.KindDuration,
	"xdc:Color": drivers.KindColor, "xdc:ColorAlpha": drivers.KindColor, "xs:string": drivers.KindString,
}

// ParseValue reads text that a person typed as a value of kind k, the way a
// thing reads it. Times without a zone are in the local one.
func ParseValue(k drivers.Kind, text string) (drivers.Value, error) {
	return parseText(k, text, time.Local)
}
