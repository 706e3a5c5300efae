package provisioning

import (
	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
)

// NSValues is the namespace of what XEP-0324 has no words for: which values a
// parameter may be set to.
//
// A device that obeys such answers says so by an empty values element in its
// canControl. The server then adds, to canControlResponse, a values element for
// each parameter that may be set to some values only; one without a name is
// about all others. Other devices would take a parameter without its range for
// one that may be set to anything, so they are told nothing of it, and may not
// set it at all.
//
//	<canControl xmlns='urn:xmpp:iot:provisioning' jid='bob@example.org'>
//	  <parameter name='Setpoint'/><values xmlns='urn:postern:values:1'/>
//	</canControl>
//	<canControlResponse xmlns='urn:xmpp:iot:provisioning' jid='bob@example.org' result='true'>
//	  <values xmlns='urn:postern:values:1' name='Setpoint'><range min='15' max='25'/></values>
//	</canControlResponse>
const NSValues = "urn:postern:values:1"

var (
	nameValues = exi.N(NSValues, "values")
	nameRange  = exi.N(NSValues, "range")

	attrMinOpen = at("minOpen")
	attrMaxOpen = at("maxOpen")
	attrOther   = at("other")
)

// MaxRanges bounds the parameters with ranges, and the ranges of all of them,
// in one answer.
const MaxRanges = 1024

func appendValues(d *exi.Doc, list []ParameterValues) {
	for _, v := range list {
		if !v.Values.Limited {
			v.Values.Other, v.Values.Ranges = true, []ValueRange{{}}
		}
		d.Start(nameValues)
		optional(d, attrName, v.Name)
		if v.Values.Other {
			d.Attr(attrOther, exi.BoolValue(true))
		}
		for _, r := range v.Values.Ranges {
			d.Start(nameRange)
			appendRange(d, r)
			d.End()
		}
		d.End()
	}
}

// appendRange writes the attributes of a range.
func appendRange(d *exi.Doc, r ValueRange) {
	for _, e := range [...]struct {
		has, open bool
		n         drivers.Number
		at, not   exi.Name
	}{{r.HasMin, r.MinOpen, r.Min, attrMin, attrMinOpen}, {r.HasMax, r.MaxOpen, r.Max, attrMax, attrMaxOpen}} {
		if !e.has {
			continue
		}
		d.Attr(e.at, exi.Str(e.n.String()))
		if e.open {
			d.Attr(e.not, exi.BoolValue(true))
		}
	}
}

// parseValues reads the values elements of an answer. What cannot be read is
// an error and not left out: the rest would allow too much.
func parseValues(c exi.Cursor) (list []ParameterValues, err error) {
	left := MaxRanges
	seen := make(map[string]bool)
	for k := range c.Children() {
		if k.Name() != nameValues {
			continue
		}
		if left--; left < 0 {
			return nil, bad("too many ranges of values")
		}
		name := text(k, attrName)
		other, ok := flag(k, attrOther, false)
		if !ok || len(name) > MaxText || seen[name] {
			return nil, bad("values of a parameter cannot be read, or are there twice")
		}
		seen[name] = true
		var ranges []ValueRange
		for e := range k.Children() {
			if e.Name() != nameRange {
				return nil, bad("values of a parameter that are no range")
			}
			if left--; left < 0 {
				return nil, bad("too many ranges of values")
			}
			r, err := parseRange(e)
			if err != nil {
				return nil, err
			}
			ranges = append(ranges, r)
		}
		v := node.Numbers(ranges...).Union(Values{Limited: true, Other: other})
		list = append(list, ParameterValues{Name: name, Values: v})
	}
	return list, nil
}

// parseRange reads the attributes of a range that holds something.
func parseRange(c exi.Cursor) (r ValueRange, err error) {
	var ok [4]bool
	r.Min, r.HasMin, ok[0] = decimal(c, attrMin)
	r.Max, r.HasMax, ok[1] = decimal(c, attrMax)
	r.MinOpen, ok[2] = flag(c, attrMinOpen, false)
	r.MaxOpen, ok[3] = flag(c, attrMaxOpen, false)
	r.MinOpen, r.MaxOpen = r.MinOpen && r.HasMin, r.MaxOpen && r.HasMax
	for _, good := range ok {
		if !good {
			return r, bad("min and max of a range are decimal numbers of at most 18 digits")
		}
	}
	if err := r.Check(); err != nil {
		return r, bad(err.Error())
	}
	return r, nil
}

// decimal reads a decimal number of at most 18 digits.
func decimal(c exi.Cursor, name exi.Name) (n drivers.Number, present, ok bool) {
	v, present := c.Attr(name)
	if !present {
		return n, false, true
	}
	n, err := drivers.ParseNumber(v.String())
	return n, true, err == nil
}
