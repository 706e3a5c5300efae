package provisioning

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/exi"
	"postern/xmpp"
)

// Limits of tags in characters (XEP-0347 §3.2, 0347-R54, D14).
const (
	MaxTagName  = 32
	MaxTagValue = 128
)

// Tag is one piece of meta information about a thing (XEP-0347 §3.2).
type Tag struct {
	Name    string
	Numeric bool
	// Value is a string, or a number as it was written: the digits of a claim
	// code are kept (0347-D10).
	Value string
}

// KeyTag is the secret between a thing and its owner.
const KeyTag = "KEY"

// predefined tells which kind the tags of XEP-0347 §3.2 have; true is numeric.
var predefined = map[string]bool{
	"APT": false, "AREA": false, "BLD": false, "CITY": false, "CLASS": false, "COUNTRY": false, "KEY": false,
	"MAN": false, "MLOC": false, "MNR": false, "MODEL": false, "NAME": false, "PURL": false, "REGION": false,
	"ROOM": false, "SN": false, "STREET": false, "STREETNR": false,
	"ALT": true, "LAT": true, "LON": true, "V": true,
}

// Predefined reports whether XEP-0347 lists a tag, and its kind.
func Predefined(name string) (numeric, ok bool) {
	numeric, ok = predefined[FoldTag(name)]
	return numeric, ok
}

// FoldTag is the form in which tag names are compared: upper case (0347-R14).
// Going through lower case first folds letters such as the Kelvin sign, so that
// nothing looks like KEY and is not.
func FoldTag(name string) string { return strings.ToUpper(strings.ToLower(name)) }

// Float is the number of a numeric tag; comparisons are made with it (0347-D7).
func (t Tag) Float() float64 {
	f, _ := exi.Str(t.Value).Float64()
	return f
}

// Same reports whether two tags say the same: names without regard to case,
// strings by code point, numbers by value (0347-D7, D8).
func (t Tag) Same(o Tag) bool {
	if t.Numeric != o.Numeric || FoldTag(t.Name) != FoldTag(o.Name) {
		return false
	}
	if t.Numeric {
		return t.Float() == o.Float()
	}
	return t.Value == o.Value
}

// Check says what is wrong with a tag: a *xmpp.Error with bad-request.
func (t Tag) Check() error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	if utf8.RuneCountInString(t.Value) > MaxTagValue || !utf8.ValidString(t.Value) {
		return bad("the value of tag " + t.Name + " has more than 128 characters")
	}
	if !t.Numeric {
		return nil
	}
	f, ok := exi.Str(t.Value).Float64()
	if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
		return bad("the value of tag " + t.Name + " is no number")
	}
	return nil
}

// checkName refuses what a claim code cannot carry (0347-D15).
func checkName(name string) error {
	n := 0
	for _, r := range name {
		if n++; n > MaxTagName || strings.ContainsRune(":#;\\", r) || unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError {
			return bad("a tag's name has at most 32 characters without colon, semicolon, hash, backslash and white space")
		}
	}
	if n == 0 {
		return bad("a tag without a name")
	}
	return nil
}

func bad(text string) error { return xmpp.NewError(xmpp.BadRequest, text) }

// CheckTags checks each tag, and that no name stands twice (0347-D12).
func CheckTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return bad("more than 64 tags")
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		if err := t.Check(); err != nil {
			return err
		}
		name := FoldTag(t.Name)
		if seen[name] {
			return bad("tag " + t.Name + " stands twice")
		}
		seen[name] = true
	}
	return nil
}

// FindTag returns the tag with a name.
func FindTag(tags []Tag, name string) (Tag, bool) {
	name = FoldTag(name)
	for _, t := range tags {
		if FoldTag(t.Name) == name {
			return t, true
		}
	}
	return Tag{}, false
}

var (
	nameStr = nd("str")
	nameNum = nd("num")
)

// parseTags reads the str and num children; other elements are left alone.
func parseTags(c exi.Cursor) ([]Tag, error) {
	var tags []Tag
	for k := range c.Children() {
		if n := k.Name(); n != nameStr && n != nameNum {
			continue
		}
		if len(tags) == MaxTags {
			return nil, bad("more than 64 tags")
		}
		v, ok := k.Attr(attrValue)
		if !ok {
			return nil, bad("a tag without a value")
		}
		t := Tag{Name: text(k, attrName), Numeric: k.Name() == nameNum, Value: v.String()}
		if t.Numeric {
			t.Value = strings.TrimSpace(t.Value)
		}
		tags = append(tags, t)
	}
	return tags, CheckTags(tags)
}

func appendTags(d *exi.Doc, tags []Tag) {
	for _, t := range tags {
		name, v := nameStr, exi.Str(t.Value)
		if t.Numeric {
			name = nameNum
			if m, e, ok := exi.ParseDec(t.Value); ok {
				v = exi.FloatValue(m, e)
			}
		}
		d.Start(name)
		d.Attr(attrName, exi.Str(t.Name))
		d.Attr(attrValue, v)
		d.End()
	}
}
