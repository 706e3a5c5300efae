// Package live holds the latest value of every field and output: what it is,
// when it was measured and how good it is. The sensor room writes what it
// read, the control room what it set; both, and interlocks, read it.
package live

import (
	"math/bits"
	"strings"
)

// Quality is a set of XEP-0323's quality-of-service flags. No reading goes
// without at least one.
type Quality uint16

// The flags in the order of the schema, which is their order of importance.
const (
	Missing Quality = 1 << iota
	InProgress
	AutomaticEstimate
	ManualEstimate
	ManualReadout
	AutomaticReadout
	TimeOffset
	Warning
	Error
	Signed
	Invoiced
	EndOfSeries
	PowerFailure
	InvoiceConfirmed
)

// NumFlags is the number of flags.
const NumFlags = 14

var flagNames = [NumFlags]string{
	"missing", "inProgress", "automaticEstimate", "manualEstimate", "manualReadout", "automaticReadout",
	"timeOffset", "warning", "error", "signed", "invoiced", "endOfSeries", "powerFailure", "invoiceConfirmed",
}

// FlagName returns the XEP's name of the flag at bit position i (0..13).
func FlagName(i int) string { return flagNames[i] }

// ParseFlag returns the flag with the XEP's name.
func ParseFlag(name string) (Quality, bool) {
	for i, s := range flagNames {
		if s == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// String lists the flags, separated by a space.
func (q Quality) String() string {
	var b strings.Builder
	for i, s := range flagNames {
		if q&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	return b.String()
}

// chain are the flags that tell how reliable a value is; the other five
// describe its period (0323-D24).
const chain = Missing | InProgress | AutomaticEstimate | ManualEstimate | ManualReadout | AutomaticReadout |
	Signed | Invoiced | InvoiceConfirmed

// Compare orders by reliability: −1 when q is less reliable than o, 1 when it
// is more, 0 when the newer of the two values should win. The highest flag of
// the chain decides, then the number of its flags; a missing value is below
// everything, one in progress below all but that (0323-D24). No flag at all
// reads as an automatic read-out (0323-R31).
func (q Quality) Compare(o Quality) int {
	a, b := q.rank(), o.rank()
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (q Quality) rank() int {
	c := q & chain
	if c == 0 {
		c = AutomaticReadout
	}
	switch {
	case c&Missing != 0:
		return 0
	case c&InProgress != 0:
		return 1
	}
	return bits.Len16(uint16(c))<<4 | bits.OnesCount16(uint16(c))
}

// Usable reports whether a value of this quality may stand for the present
// state: it is neither missing nor faulty nor still being measured.
func (q Quality) Usable() bool { return q&(Missing|InProgress|Error) == 0 }

// Combine returns the quality of what is computed from values of quality a and
// b; 0 stands for no value yet. The less reliable of the two decides, so that
// an estimate stays an estimate (0323-R49); what one of them says about its
// period or its clock holds for the result. Nobody signed or invoiced the
// result, so those flags end here.
func Combine(a, b Quality) Quality {
	const reading = InProgress | AutomaticEstimate | ManualEstimate | ManualReadout | AutomaticReadout
	simple := func(q Quality) Quality {
		if q == 0 {
			return 0
		}
		r := q & reading
		if r == 0 {
			r = AutomaticReadout // 0323-R31, and what was signed was read
		}
		return r & -r // the least reliable
	}
	periods := (a | b) &^ chain
	ra, rb := simple(a), simple(b)
	switch {
	case ra == 0:
		ra = rb
	case rb != 0:
		ra = min(ra, rb)
	}
	return ra | periods
}
