package node

import "strings"

// Types is a set of field types (XEP-0323 §2). In a request it is a union, on
// a field an intersection.
type Types uint16

// The field types in the order of the schema.
const (
	Momentary Types = 1 << iota
	Peak
	Status
	Computed
	Identity
	HistoricalSecond
	HistoricalMinute
	HistoricalHour
	HistoricalDay
	HistoricalWeek
	HistoricalMonth
	HistoricalQuarter
	HistoricalYear
	HistoricalOther

	// Historical are the nine historical types, All every type there is.
	Historical = HistoricalSecond | HistoricalMinute | HistoricalHour | HistoricalDay | HistoricalWeek |
		HistoricalMonth | HistoricalQuarter | HistoricalYear | HistoricalOther
	All = Momentary | Peak | Status | Computed | Identity | Historical
)

// NumTypes is the number of field types.
const NumTypes = 14

// typeNames is indexed by bit position; the names are those of the XEP.
var typeNames = [NumTypes]string{
	"momentary", "peak", "status", "computed", "identity",
	"historicalSecond", "historicalMinute", "historicalHour", "historicalDay", "historicalWeek",
	"historicalMonth", "historicalQuarter", "historicalYear", "historicalOther",
}

// TypeName returns the XEP's name of the type at bit position i (0..13).
func TypeName(i int) string { return typeNames[i] }

// ParseType returns the type with the XEP's name; "all" and "historical" name
// the sets.
func ParseType(name string) (Types, bool) {
	switch name {
	case "all":
		return All, true
	case "historical":
		return Historical, true
	}
	for i, s := range typeNames {
		if s == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// String lists the types, separated by a space.
func (t Types) String() string {
	var b strings.Builder
	for i, s := range typeNames {
		if t&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	return b.String()
}

// Widen adds the finer periods that a coarser historical value counts as
// (0323-R50): a year is also a quarter, a month, a day, an hour, a minute and
// a second; a week is also a day and what is finer.
func (t Types) Widen() Types {
	const (
		minute  = HistoricalMinute | HistoricalSecond
		hour    = HistoricalHour | minute
		day     = HistoricalDay | hour
		month   = HistoricalMonth | day
		quarter = HistoricalQuarter | month
	)
	for _, w := range [...]struct{ coarse, all Types }{
		{HistoricalYear, quarter}, {HistoricalQuarter, month}, {HistoricalMonth, day},
		{HistoricalWeek, day}, {HistoricalDay, hour}, {HistoricalHour, minute}, {HistoricalMinute, HistoricalSecond},
	} {
		if t&w.coarse != 0 {
			t |= w.all
		}
	}
	return t
}
