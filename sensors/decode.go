package sensors

import (
	"math"
	"strconv"
	"strings"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
)

// ParseFields appends the items of a fields element to dst. It is lenient:
// peers leave out node ids, zones and units, and say the type of a field or
// nothing about it. What cannot be read as a value is left out. Times without
// a zone are taken in loc (0323-R35).
func ParseFields(dst []Item, c exi.Cursor, loc *time.Location) []Item {
	for nd := range c.Children() {
		if nd.Name() != nameNode {
			continue
		}
		ref, _ := refOf(nd) // Smack's things send none
		for ts := range nd.Children() {
			if ts.Name() != nameTimestamp {
				continue
			}
			v, _ := ts.Attr(attrValue)
			at, zone, ok := v.Time(loc)
			if !ok {
				continue
			}
			for f := range ts.Children() {
				if it, ok := parseItem(f, loc); ok {
					it.Ref, it.Time, it.NoZone = ref, at, !zone
					dst = append(dst, it)
				}
			}
		}
	}
	return dst
}

func parseItem(c exi.Cursor, loc *time.Location) (it Item, ok bool) {
	var raw exi.Value
	for name, v := range c.Attrs() {
		switch name {
		case attrName:
			it.Name = v.String()
		case attrValue:
			raw, ok = v, true
		case attrUnit:
			it.Unit = v.String()
		case attrDataType:
			it.DataType = v.String()
		case attrModule:
			it.Module = v.String()
		case attrStringIDs:
			it.StringIDs = v.String()
		case attrWritable:
			if b, ok := v.Bool(); ok {
				it.Writable = No
				if b {
					it.Writable = Yes
				}
			}
		default:
			it.mark(name, v)
		}
	}
	if !ok || it.Name == "" {
		return it, false
	}
	it.Value, ok = parseValue(c.Name(), raw, loc)
	if it.Quality == 0 {
		it.Quality = live.AutomaticReadout // 0323-R31
	}
	return it, ok
}

// mark takes an attribute that is a type or a flag; all and historical mean
// nothing on a field (0323-D31).
func (it *Item) mark(name exi.Name, v exi.Value) {
	t, isType := typeByAttr[name]
	q, isFlag := flagByAttr[name]
	if !isType && !isFlag || t == node.All || t == node.Historical {
		return
	}
	if b, ok := v.Bool(); ok && b {
		it.Types |= t
		it.Quality |= q
	}
}

// parseValue reads the value of a field element.
func parseValue(name exi.Name, v exi.Value, loc *time.Location) (drivers.Value, bool) {
	switch name {
	case nameBoolean:
		b, ok := v.Bool()
		return drivers.Bool(b), ok
	case nameInt:
		i, ok := v.Int()
		return drivers.Int(int32(i)), ok && i >= math.MinInt32 && i <= math.MaxInt32
	case nameLong:
		i, ok := v.Int()
		return drivers.Long(i), ok
	case nameNumeric:
		return parseNumeric(v)
	case nameString:
		return drivers.String(v.String()), true
	case nameEnum:
		return drivers.Enum(v.String()), true
	case nameDateTime:
		t, _, ok := v.Time(loc)
		return drivers.Time(t), ok
	case nameDate:
		_, ok := exi.ParseDate(strings.TrimSpace(v.String()))
		return drivers.Text(drivers.KindDate, strings.TrimSpace(v.String())), ok
	case nameTime:
		_, ok := exi.ParseTime(strings.TrimSpace(v.String()))
		return drivers.Text(drivers.KindClock, strings.TrimSpace(v.String())), ok
	case nameDuration, nameTimeSpan:
		return drivers.Text(drivers.KindDuration, strings.TrimSpace(v.String())), true
	}
	return drivers.Value{}, false
}

// parseNumeric keeps the digits where they fit (0323-R33, D6). INF, -INF and
// NaN are values of xs:double that no drivers.Number holds: they come as text.
func parseNumeric(v exi.Value) (drivers.Value, bool) {
	if m, e, ok := v.Dec(); ok && e >= -18 && e <= 18 {
		return drivers.Decimal(drivers.Num(m, e)), true
	}
	// More digits than fit: the nearest that do.
	text := strings.TrimSpace(v.String())
	switch text {
	case "INF", "-INF", "NaN":
		return drivers.String(text), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789+-.eE") != "" {
		return drivers.Value{}, false
	}
	for digits := 15; digits >= 0; digits-- {
		if n, err := drivers.FromFloat(f, digits); err == nil {
			return drivers.Decimal(n), true
		}
	}
	return drivers.Value{}, false
}

// ParseFailure appends the faults of a failure element to dst.
func ParseFailure(dst []Fault, c exi.Cursor, loc *time.Location) []Fault {
	for e := range c.Children() {
		if e.Name() != nameError {
			continue
		}
		ref, _ := refOf(e)
		f := Fault{Ref: ref, Text: e.Text().String()}
		if v, ok := e.Attr(attrTimestamp); ok {
			f.Time, _, _ = v.Time(loc) // any string is allowed (0323-D8)
		}
		dst = append(dst, f)
	}
	return dst
}

// doneOf reads the done attribute.
func doneOf(c exi.Cursor) bool {
	v, ok := c.Attr(attrDone)
	b, _ := v.Bool()
	return ok && b
}
