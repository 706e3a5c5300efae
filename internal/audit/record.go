// Package audit keeps the record of who wanted which output moved, and what
// became of it, as two hash chains in the program's store: one of commands and
// one of refusals, so that strangers who are refused cannot push out what was
// done. Both are bounded; what is dropped leaves its hash behind, so that the
// rest can still be verified.
package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Outcomes of a Record.
const (
	Begun    = "begun"    // recorded before the first output moved
	Done     = "done"     // and then: everything was written
	Failed   = "failed"   // and then: something was not
	Refused  = "refused"  // nothing was done
	Moved    = "moved"    // the gateway itself moved an output, into its safe state for example
	Override = "override" // somebody at the machine took an output over
	Released = "released" // and gave it back
	Lost     = "lost"     // records that there was no room for
)

// Record says who wanted what, why, and what became of it. Its octets in the
// store are its JSON; what has no value is left out.
type Record struct {
	At time.Time `json:"at"` // wall clock, UTC
	// ClockUnset tells that the wall clock could not be believed; the order of
	// the numbers still can.
	ClockUnset bool   `json:"clock_unset,omitempty"`
	Outcome    string `json:"outcome"`
	// Of is the number of the record of the same command's beginning.
	Of     uint64   `json:"of,omitempty"`
	Origin string   `json:"origin,omitempty"`
	From   string   `json:"from,omitempty"`   // full JID, or who at the machine
	For    string   `json:"for,omitempty"`    // bare JID of who asked first, where another confirmed
	ID     string   `json:"id,omitempty"`     // of the stanza
	Tokens []string `json:"tokens,omitempty"` // kind and fingerprint, see Fingerprint
	Nodes  []string `json:"nodes,omitempty"`
	Set    []string `json:"set,omitempty"` // name=value
	Reason string   `json:"reason,omitempty"`
	Error  string   `json:"error,omitempty"`

	Written  int  `json:"written,omitempty"` // writes done
	Verified bool `json:"verified,omitempty"`

	// Count and Until are set where one record stands for several refusals of
	// one sender: their number and when the last was. The rest of the record is
	// about the first of them, Error about the last.
	Count int       `json:"count,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Bounds of a record: whoever sends a command decides on much of it.
const (
	maxList = 16
	maxText = 200 // octets
)

// bounded returns the record with long texts and lists cut.
func (r Record) bounded() Record {
	r.At, r.Until = r.At.UTC().Round(0), r.Until.UTC().Round(0)
	for _, s := range []*string{&r.From, &r.For, &r.ID, &r.Reason} {
		*s = short(*s, maxText)
	}
	r.Error = short(r.Error, 3*maxText)
	r.Tokens, r.Nodes, r.Set = shortList(r.Tokens), shortList(r.Nodes), shortList(r.Set)
	return r
}

func shortList(l []string) []string {
	out := make([]string, 0, min(len(l), maxList+1))
	for i, s := range l {
		if i == maxList {
			out = append(out, fmt.Sprintf("… and %d more", len(l)-i))
			break
		}
		out = append(out, short(s, maxText))
	}
	return out
}

// short cuts a text at the border of a character.
func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// Entry is a record with its place.
type Entry struct {
	Chain  string `json:"chain"`
	Number uint64 `json:"number"`
	Record
}

// Name is how people call the entry: its number, with an r before that of a
// refusal.
func (e *Entry) Name() string { return nameOf(e.Chain, e.Number) }

func nameOf(chain string, n uint64) string {
	if chain == Refusals {
		return "r" + strconv.FormatUint(n, 10)
	}
	return strconv.FormatUint(n, 10)
}

// About reports whether the record is about the node with the given id, or
// with the given source/id.
func (r *Record) About(node string) bool {
	for _, n := range r.Nodes {
		id, _, _ := strings.Cut(n, "#")
		if n == node || id == node || id[strings.LastIndexByte(id, '/')+1:] == node {
			return true
		}
	}
	return false
}

// Text writes the record in one line, without its time.
func (r *Record) Text() string {
	var b strings.Builder
	b.WriteString(r.Outcome)
	add := func(label, text string) {
		if text != "" {
			b.WriteString(" " + label + text)
		}
	}
	if r.Of > 0 {
		add("", strconv.FormatUint(r.Of, 10))
	}
	add("", strings.Join(r.Nodes, " "))
	add("", strings.Join(r.Set, " "))
	add("by ", r.From)
	add("for ", r.For)
	add("via ", r.Origin)
	add("because: ", r.Reason)
	if r.Count > 1 { // of the last one, while node and value are of the first
		add("last error: ", r.Error)
	} else {
		add("error: ", r.Error)
	}
	if r.Count > 1 {
		fmt.Fprintf(&b, " (%d times)", r.Count)
	}
	return b.String()
}
