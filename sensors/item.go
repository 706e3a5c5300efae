package sensors

import (
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
)

// Tri is an attribute that may also be absent.
type Tri uint8

// The values of a Tri.
const (
	Unknown Tri = iota
	No
	Yes
)

// Item is one value of a read-out.
type Item struct {
	Ref     node.Ref
	Time    time.Time
	NoZone  bool // received without a zone; Time is then in the reader's
	Name    string
	Value   drivers.Value
	Unit    string
	Types   node.Types
	Quality live.Quality
	// Writable tells whether a control parameter of this name exists; Unknown
	// allows no conclusion (0323-R38).
	Writable          Tri
	DataType          string // name of the enumeration
	Module, StringIDs string
}

// Fields is the fields element. Items of one node follow each other, and in a
// node those of one instant.
type Fields struct {
	Seq   int32
	Done  bool
	Items []Item
}

// AppendEvents writes the element. Instants are in UTC with milliseconds:
// peers break on a missing zone.
func (f *Fields) AppendEvents(d *exi.Doc) {
	d.Start(nameFields)
	d.Attr(attrSeqnr, exi.IntValue(int64(f.Seq)))
	if f.Done {
		d.Attr(attrDone, exi.BoolValue(true))
	}
	for i := range f.Items {
		it := &f.Items[i]
		newNode := i == 0 || it.Ref != f.Items[i-1].Ref
		if i > 0 && (newNode || !sameInstant(it, &f.Items[i-1])) {
			d.End()
			if newNode {
				d.End()
			}
		}
		if newNode {
			d.Start(nameNode)
			appendRef(d, it.Ref)
		}
		if newNode || !sameInstant(it, &f.Items[i-1]) {
			d.Start(nameTimestamp)
			d.Attr(attrValue, exi.TimeValue(it.Time.UTC(), 3))
		}
		it.appendEvents(d)
	}
	if len(f.Items) > 0 {
		d.End()
		d.End()
	}
	d.End()
}

func sameInstant(a, b *Item) bool { return a.Time.UnixMilli() == b.Time.UnixMilli() }

// appendEvents writes the field element.
func (it *Item) appendEvents(d *exi.Doc) {
	name, v := wireValue(it.Value)
	if it.Unit != "" && it.Writable != Yes && (name == nameInt || name == nameLong) {
		// Whole numbers have no place for a unit; a parameter keeps its type (R55).
		num, _ := it.Value.Number()
		name, v = nameNumeric, exi.FloatValue(num.Mant, int(num.Exp))
	}
	d.Start(name)
	d.Attr(attrName, exi.Str(it.Name))
	appendTypes(d, it.Types)
	for i := range attrFlags {
		if it.Quality&(1<<i) != 0 {
			d.Attr(attrFlags[i], exi.BoolValue(true))
		}
	}
	appendText(d, attrModule, it.Module)
	appendText(d, attrStringIDs, it.StringIDs)
	if it.Writable != Unknown {
		d.Attr(attrWritable, exi.BoolValue(it.Writable == Yes))
	}
	switch name {
	case nameEnum:
		dt := it.DataType
		if dt == "" {
			dt = it.Name
		}
		d.Attr(attrDataType, exi.Str(dt))
	case nameNumeric:
		d.Attr(attrUnit, exi.Str(it.Unit)) // always, possibly empty (0323-D4)
	}
	d.Attr(attrValue, v)
	d.End()
}

// wireValue returns the element and the value that carry v (XEP-0323 §3.3,
// 0323-R34, R55). Numbers keep mantissa and exponent (0323-D6).
func wireValue(v drivers.Value) (exi.Name, exi.Value) {
	num, _ := v.Number()
	text, _ := v.Text()
	switch v.Kind() {
	case drivers.KindBool:
		b, _ := v.Bool()
		return nameBoolean, exi.BoolValue(b)
	case drivers.KindInt:
		return nameInt, exi.IntValue(num.Mant)
	case drivers.KindLong:
		return nameLong, exi.IntValue(num.Mant)
	case drivers.KindNumber:
		return nameNumeric, exi.FloatValue(num.Mant, int(num.Exp))
	case drivers.KindTime:
		t, _ := v.Time()
		return nameDateTime, exi.TimeValue(t, -1)
	case drivers.KindDate:
		return nameDate, exi.Str(text)
	case drivers.KindClock:
		return nameTime, exi.Str(text)
	case drivers.KindDuration:
		return nameDuration, exi.Str(text)
	case drivers.KindEnum:
		return nameEnum, exi.Str(text)
	}
	return nameString, exi.Str(text)
}

// size estimates the octets of the item as XML.
func (it *Item) size() int {
	n := 64 + len(it.Name) + len(it.Unit) + len(it.DataType) + len(it.Module) + len(it.StringIDs)
	for i := range attrTypes {
		if it.Types&(1<<i) != 0 {
			n += len(node.TypeName(i)) + len(` =""true`)
		}
	}
	for i := range attrFlags {
		if it.Quality&(1<<i) != 0 {
			n += len(live.FlagName(i)) + len(` =""true`)
		}
	}
	if s, ok := it.Value.Text(); ok {
		return n + len(s)
	}
	return n + 24
}

// refSize estimates the octets of a node element with one timestamp.
func refSize(r node.Ref) int { return 110 + len(r.ID) + len(r.Source) + len(r.Cache) }

// Fault says that a node, or something of it, could not be read.
type Fault struct {
	Ref  node.Ref
	Time time.Time // zero where a peer gave none that can be read
	Text string
}

// Failure is the failure element.
type Failure struct {
	Seq    int32
	Done   bool
	Faults []Fault
}

// AppendEvents writes the element.
func (f *Failure) AppendEvents(d *exi.Doc) {
	d.Start(nameFailure)
	d.Attr(attrSeqnr, exi.IntValue(int64(f.Seq)))
	if f.Done {
		d.Attr(attrDone, exi.BoolValue(true))
	}
	for i := range f.Faults {
		e := &f.Faults[i]
		d.Start(nameError)
		appendRef(d, e.Ref)
		d.Attr(attrTimestamp, exi.TimeValue(e.Time.UTC(), 3)) // a dateTime though the type is string (0323-D8)
		if e.Text != "" {
			d.Text(exi.Str(e.Text))
		}
		d.End()
	}
	d.End()
}

func (e *Fault) size() int {
	return 80 + len(e.Ref.ID) + len(e.Ref.Source) + len(e.Ref.Cache) + len(e.Text)
}
