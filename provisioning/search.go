package provisioning

import (
	"cmp"
	"math"
	"strings"

	"postern/exi"
)

// Compare is how an operator of a search compares.
type Compare uint8

// The comparisons; each but Mask exists for strings and for numbers
// (XEP-0347 §3.14).
const (
	Eq Compare = iota
	NEq
	Gt
	GtEq
	Lt
	LtEq
	Range
	NRange
	Mask
)

// Op is one operator of a search. Operators see only tags of their own kind
// (0347-R47).
type Op struct {
	Tag     string
	Numeric bool
	Compare Compare
	Value   string // all but Range and NRange
	// Range and NRange: each endpoint on its own (0347-R64).
	Min, Max         string
	OpenMin, OpenMax bool   // minIncluded='false', maxIncluded='false'
	Wildcard         string // Mask: stands for zero or more characters
}

// Search asks a registry for things; all operators must hold (0347-R40).
type Search struct {
	Offset   int
	MaxCount int // 0: as many as the registry gives
	Ops      []Op
}

var (
	attrOffset      = at("offset")
	attrMaxCount    = at("maxCount")
	attrMin         = at("min")
	attrMax         = at("max")
	attrMinIncluded = at("minIncluded")
	attrMaxIncluded = at("maxIncluded")
	attrWildcard    = at("wildcard")
)

var compareNames = [...]string{"Eq", "NEq", "Gt", "GtEq", "Lt", "LtEq", "Range", "NRange", "Mask"}

// opName is the element of an operator.
func opName(o Op) exi.Name {
	if o.Numeric {
		return nd("num" + compareNames[o.Compare])
	}
	return nd("str" + compareNames[o.Compare])
}

// opOf is the operator of an element.
func opOf(name exi.Name) (o Op, ok bool) {
	q := name.Value()
	if q.Space != NSDiscovery {
		return o, false
	}
	rest, str := strings.CutPrefix(q.Local, "str")
	if !str {
		if rest, o.Numeric = strings.CutPrefix(q.Local, "num"); !o.Numeric {
			return o, false
		}
	}
	for i, s := range compareNames {
		if s == rest {
			o.Compare = Compare(i)
			return o, o.Compare != Mask || !o.Numeric
		}
	}
	return o, false
}

// AppendEvents writes the search element.
func (s Search) AppendEvents(d *exi.Doc) {
	d.Start(NameSearch)
	if s.Offset > 0 {
		d.Attr(attrOffset, exi.IntValue(int64(s.Offset)))
	}
	if s.MaxCount > 0 {
		d.Attr(attrMaxCount, exi.IntValue(int64(s.MaxCount)))
	}
	for _, o := range s.Ops {
		d.Start(opName(o))
		d.Attr(attrName, exi.Str(o.Tag))
		switch o.Compare {
		case Range, NRange:
			d.Attr(attrMin, o.value(o.Min))
			d.Attr(attrMax, o.value(o.Max))
			if o.OpenMin {
				d.Attr(attrMinIncluded, exi.BoolValue(false))
			}
			if o.OpenMax {
				d.Attr(attrMaxIncluded, exi.BoolValue(false))
			}
		case Mask:
			d.Attr(attrValue, exi.Str(o.Value))
			d.Attr(attrWildcard, exi.Str(o.Wildcard))
		default:
			d.Attr(attrValue, o.value(o.Value))
		}
		d.End()
	}
	d.End()
}

func (o *Op) value(s string) exi.Value {
	if m, e, ok := exi.ParseDec(s); ok && o.Numeric {
		return exi.FloatValue(m, e)
	}
	return exi.Str(s)
}

// ParseSearch reads the element at c. No operator, no number where one must
// be, and an empty wildcard are bad requests (0347-D26).
func ParseSearch(c exi.Cursor) (s Search, err error) {
	if s.Offset, err = count(c, attrOffset, 0); err != nil {
		return s, err
	}
	if s.MaxCount, err = count(c, attrMaxCount, 1); err != nil {
		return s, err
	}
	for k := range c.Children() {
		o, ok := opOf(k.Name())
		if !ok {
			return s, bad("unknown operator " + k.Name().Value().Local)
		}
		if len(s.Ops) == MaxOps {
			return s, bad("more than 32 operators")
		}
		if err := o.parse(k); err != nil {
			return s, err
		}
		s.Ops = append(s.Ops, o)
	}
	if len(s.Ops) == 0 {
		return s, bad("a search needs at least one operator")
	}
	return s, nil
}

// count reads a whole number that is at least min; absent is 0. Numbers beyond
// any list count as its end.
func count(c exi.Cursor, name exi.Name, min int64) (int, error) {
	v, ok := c.Attr(name)
	if !ok {
		return 0, nil
	}
	n, ok := v.Int()
	if !ok || n < min {
		return 0, bad(name.Value().Local + " is out of range")
	}
	return int(n), nil
}

func (o *Op) parse(k exi.Cursor) (err error) {
	if o.Tag = text(k, attrName); checkName(o.Tag) != nil {
		return bad("an operator without a tag's name")
	}
	if o.Compare != Range && o.Compare != NRange {
		o.Value, err = o.operand(k, attrValue)
		if o.Compare == Mask {
			if o.Wildcard = text(k, attrWildcard); o.Wildcard == "" || len(o.Wildcard) > MaxText {
				return bad("strMask needs a wildcard")
			}
		}
		return err
	}
	if o.Min, err = o.operand(k, attrMin); err != nil {
		return err
	}
	if o.Max, err = o.operand(k, attrMax); err != nil {
		return err
	}
	min, okMin := flag(k, attrMinIncluded, true)
	max, okMax := flag(k, attrMaxIncluded, true)
	o.OpenMin, o.OpenMax = !min, !max
	if !okMin || !okMax {
		return bad("minIncluded and maxIncluded are booleans")
	}
	return nil
}

func (o *Op) operand(k exi.Cursor, name exi.Name) (string, error) {
	v, ok := k.Attr(name)
	if !ok {
		return "", bad("an operator without " + name.Value().Local)
	}
	if o.Numeric {
		if f, ok := v.Float64(); !ok || math.IsNaN(f) {
			return "", bad("no number: " + name.Value().Local)
		}
	}
	s := v.String()
	if len(s) > MaxText {
		return "", bad("operand too long")
	}
	return strings.Clone(s), nil
}

// Index is a thing's tags prepared for searches. KEY is not in it.
type Index []indexed

type indexed struct {
	name    string // folded
	numeric bool
	f       float64
	s       string
}

// IndexTags prepares tags.
func IndexTags(tags []Tag) Index {
	ix := make(Index, 0, len(tags))
	for _, t := range tags {
		e := indexed{name: FoldTag(t.Name), numeric: t.Numeric, s: t.Value}
		if e.name == KeyTag {
			continue
		}
		if t.Numeric {
			e.f = t.Float()
		}
		ix = append(ix, e)
	}
	return ix
}

// Query is a prepared search.
type Query []query

type query struct {
	Op
	name     string // folded
	v        float64
	min, max float64
}

// Compile prepares the operators of a search that was parsed.
func (s *Search) Compile() Query {
	q := make(Query, len(s.Ops))
	for i, o := range s.Ops {
		q[i] = query{Op: o, name: FoldTag(o.Tag), v: number(o.Value), min: number(o.Min), max: number(o.Max)}
	}
	return q
}

func number(s string) float64 {
	f, _ := exi.Str(s).Float64()
	return f
}

// Matches reports whether all operators hold for a thing (0347-R40). A tag
// that is missing, or of the other kind, is no hit, also for NEq and NRange
// (0347-R41, R47, D18); an operator on KEY never holds (0347-R42).
func (q Query) Matches(ix Index) bool {
	for i := range q {
		if !q[i].matches(ix) {
			return false
		}
	}
	return true
}

func (o *query) matches(ix Index) bool {
	for i := range ix {
		if t := &ix[i]; t.numeric == o.Numeric && t.name == o.name {
			if o.Numeric {
				return o.number(t.f)
			}
			return o.str(t.s)
		}
	}
	return false
}

func (o *query) str(s string) bool {
	switch o.Compare {
	case Mask:
		return maskMatches(s, o.Value, o.Wildcard)
	case Range, NRange:
		return o.inRange(strings.Compare(s, o.Min), strings.Compare(s, o.Max))
	}
	// Octets of UTF-8 order as code points do (0347-D8).
	return o.holds(strings.Compare(s, o.Value))
}

func (o *query) number(f float64) bool {
	if o.Compare == Range || o.Compare == NRange {
		return o.inRange(cmp.Compare(f, o.min), cmp.Compare(f, o.max))
	}
	return o.holds(cmp.Compare(f, o.v))
}

func (o *Op) holds(order int) bool {
	switch o.Compare {
	case Eq:
		return order == 0
	case NEq:
		return order != 0
	case Gt:
		return order > 0
	case GtEq:
		return order >= 0
	case Lt:
		return order < 0
	case LtEq:
		return order <= 0
	}
	return false
}

// inRange takes the order of the value against both endpoints; NRange is the
// complement of Range (0347-R64).
func (o *Op) inRange(min, max int) bool {
	in := (min > 0 || min == 0 && !o.OpenMin) && (max < 0 || max == 0 && !o.OpenMax)
	return in == (o.Compare == Range)
}

// maskMatches compares with a pattern whose wildcards stand for zero or more
// characters. Each piece between them is found at its first place, which is
// enough, so the time is bounded by the product of the lengths.
func maskMatches(s, mask, wildcard string) bool {
	pieces := strings.Split(mask, wildcard)
	if len(pieces) == 1 {
		return s == mask
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range pieces[1 : len(pieces)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}
