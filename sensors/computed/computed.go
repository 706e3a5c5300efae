// Package computed keeps fields that are calculated from other fields: sums,
// means, dew points, any formula, and energy as the integral of power. Results
// stand in internal/live like readings, with the quality that their sources
// leave them.
package computed

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
)

// Field is one computed field. Exactly one of Formula and Energy is set.
type Field struct {
	Ref  node.Ref
	Name string

	Formula *formula.Formula
	// Energy names the power whose integral the field is.
	Energy *formula.Reading

	// Unit of the result; empty takes that of the sources where SameUnit is
	// set. For energy Wh, kWh or MWh, empty for kWh.
	Unit string
	// SameUnit refuses sources with different units.
	SameUnit bool
	// Want names the units that a source may have, where it matters.
	Want map[formula.Reading][]string
	// Digits behind the point; 0 keeps what the calculation gives, within
	// three decimals or those of the sources; negative gives whole numbers.
	Digits int
	// AsSources gives a number as many decimals as the finest source has.
	AsSources bool
}

// key names a field.
type key struct {
	ref  node.Ref
	name string
}

func (k key) String() string { return formula.Reading{Node: k.ref, Field: k.name}.String() }

// uses lists the sources.
func (f *Field) uses() []formula.Reading {
	if f.Energy != nil {
		return []formula.Reading{*f.Energy}
	}
	return f.Formula.Uses()
}

// Config says what an Engine works on.
type Config struct {
	Live *live.Store // required
	// Const gives the value of fields that never change; nil: there are none.
	Const func(node.Ref, string) (v drivers.Value, unit string, ok bool)
	// DB keeps totals of energy; nil: they begin at zero with each start.
	DB *store.DB
	// Save is how often changed totals are committed to DB; nil: every 5 min.
	Save   func() time.Duration
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil for time.Now
}

// ErrCycle: fields are computed from each other in a circle.
var ErrCycle = errors.New("fields are computed from each other in a circle")

// order sorts fields so that each stands behind its sources.
func order(fields []Field) ([]Field, error) {
	at := make(map[key]int, len(fields))
	for i := range fields {
		at[key{fields[i].Ref, fields[i].Name}] = i
	}
	const (
		untouched = iota
		open
		done
	)
	state := make([]uint8, len(fields))
	out := make([]Field, 0, len(fields))
	var visit func(i int) error
	visit = func(i int) error {
		switch state[i] {
		case open:
			return fmt.Errorf("%w: %s", ErrCycle, key{fields[i].Ref, fields[i].Name})
		case done:
			return nil
		}
		state[i] = open
		for _, u := range fields[i].uses() {
			if j, ok := at[key{u.Node, u.Field}]; ok {
				if err := visit(j); err != nil {
					return err
				}
			}
		}
		state[i] = done
		out = append(out, fields[i])
		return nil
	}
	for i := range fields {
		if err := visit(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// set is what Apply replaces as a whole: the fields in order, and who depends
// on what.
type set struct {
	fields  []Field
	meters  []*meter // of the fields that are energy, else nil
	readers map[key][]int
}

func newSet(fields []Field) (*set, error) {
	sorted, err := order(fields)
	if err != nil {
		return nil, err
	}
	s := &set{fields: sorted, meters: make([]*meter, len(sorted)), readers: make(map[key][]int)}
	for i := range sorted {
		for _, u := range sorted[i].uses() {
			k := key{u.Node, u.Field}
			if !slices.Contains(s.readers[k], i) {
				s.readers[k] = append(s.readers[k], i)
			}
		}
	}
	return s, nil
}
