package computed

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/formula"
	"postern/internal/live"
)

// inputs are the present readings of a field's sources.
type inputs struct {
	values  map[formula.Reading]drivers.Value // that can be relied on
	bad     map[formula.Reading]error         // why the others cannot
	units   []string                          // in the order of the sources, of usable numbers
	quality live.Quality                      // what the usable sources leave the result
	time    time.Time                         // of the newest
	until   time.Time                         // when the first gets old; zero for never
	finest  int                               // smallest exponent of a number
}

// Why a source cannot be used.
var (
	errNever = errors.New("has not been read yet")
	errOld   = errors.New("is old")
)

func (e *Engine) gather(f *Field) *inputs {
	in := &inputs{values: map[formula.Reading]drivers.Value{}, bad: map[formula.Reading]error{}}
	now := e.cfg.Now()
	for _, u := range f.uses() {
		if e.cfg.Const != nil {
			if v, unit, ok := e.cfg.Const(u.Node, u.Field); ok {
				in.add(u, v, unit, f)
				in.quality = live.Combine(in.quality, live.AutomaticReadout)
				continue
			}
		}
		rd, ok := e.cfg.Live.Get(u.Node, u.Field)
		switch {
		case !ok || rd.Err == nil && rd.Value.Kind() == drivers.KindNone:
			in.bad[u] = errNever
		case rd.Err != nil:
			in.bad[u] = rd.Err
		case rd.Quality&(live.Missing|live.Error) != 0:
			in.bad[u] = errors.New("is flagged " + rd.Quality.String())
		case rd.MaxAge > 0 && now.Sub(rd.Time) > rd.MaxAge:
			in.bad[u] = errOld
		default:
			in.add(u, rd.Value, rd.Unit, f)
			in.stamp(&rd)
		}
	}
	if in.time.IsZero() {
		in.time = now
	}
	return in
}

func (in *inputs) add(u formula.Reading, v drivers.Value, unit string, f *Field) {
	if want, ok := f.Want[u]; ok && !slices.Contains(want, unit) {
		in.bad[u] = fmt.Errorf("has the unit %q, where %q is needed", unit, want[0])
		return
	}
	in.values[u] = v
	if n, ok := v.Number(); ok {
		in.units = append(in.units, unit)
		in.finest = min(in.finest, int(n.Exp))
	}
}

// stamp takes over time and quality of a source.
func (in *inputs) stamp(rd *live.Reading) {
	in.quality = live.Combine(in.quality, rd.Quality)
	if rd.Time.After(in.time) {
		in.time = rd.Time
	}
	if rd.MaxAge > 0 {
		if end := rd.Time.Add(rd.MaxAge); in.until.IsZero() || end.Before(in.until) {
			in.until = end
		}
	}
}

// result computes the field. An error stands for a result that is not known:
// it becomes a failure of the field, never a number.
func (in *inputs) result(f *Field, t total, flags live.Quality) (live.Reading, error) {
	rd := live.Reading{Time: in.time, Quality: in.quality | flags, Unit: f.Unit}
	if in.quality == 0 {
		rd.Quality |= live.AutomaticReadout
	}
	if !in.until.IsZero() {
		rd.MaxAge = max(in.until.Sub(in.time), time.Millisecond)
	}
	var err error
	if f.Energy != nil {
		rd.Value, rd.Unit, err = in.energy(f, t)
		return rd, err
	}
	if rd.Unit, err = in.unit(f); err != nil {
		return rd, err
	}
	v, ok, because := f.Formula.Value(func(u formula.Reading) (drivers.Value, bool) {
		v, ok := in.values[u]
		return v, ok
	})
	if !ok {
		return rd, in.why(f, because)
	}
	if len(in.bad) > 0 {
		rd.Quality |= live.Warning // known all the same: the rest decided it
	}
	rd.Value, err = in.shape(f, v)
	return rd, err
}

// why words the reason of an unknown result.
func (in *inputs) why(f *Field, because formula.Reading) error {
	if err := in.bad[because]; err != nil {
		return fmt.Errorf("%s: %w", because, err)
	}
	return fmt.Errorf("%s has no value with these readings: a division by zero, a result out of range, or kinds that do not fit", f.Formula)
}

func (in *inputs) unit(f *Field) (string, error) {
	if !f.SameUnit || len(in.units) == 0 {
		return f.Unit, nil
	}
	for _, u := range in.units[1:] {
		if u != in.units[0] {
			return "", fmt.Errorf("the sources have different units, %q and %q: write an expression that converts them", in.units[0], u)
		}
	}
	if f.Unit != "" {
		return f.Unit, nil
	}
	return in.units[0], nil
}

// shape gives a number its digits.
func (in *inputs) shape(f *Field, v drivers.Value) (drivers.Value, error) {
	n, ok := v.Number()
	if !ok {
		return v, nil
	}
	exp := int(n.Exp)
	switch {
	case f.Digits > 0:
		exp = -f.Digits
	case f.Digits < 0:
		exp = 0
	case f.AsSources:
		exp = in.finest
	default:
		exp = max(exp, min(in.finest, -3))
	}
	n, err := n.Rescale(exp)
	return drivers.Decimal(n), err
}
