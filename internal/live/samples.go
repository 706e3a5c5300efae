package live

import (
	"errors"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// ErrNoSample: the device gave no sample for the channel of a field.
var ErrNoSample = errors.New("the device gave no reading of this channel")

// PutSamples stores what a device gave for the fields of node n that it
// serves. Quality gets extra flags, for example TimeOffset while the clock is
// not sane; maxAge is that of Reading. Fields whose channel is not among the
// samples stay as they are.
func (s *Store) PutSamples(n *node.Node, samples []drivers.Sample, extra Quality, maxAge time.Duration) {
	for i := range n.Fields {
		f := &n.Fields[i]
		if !f.Measured() {
			continue
		}
		for j := range samples {
			if samples[j].Channel == f.SourceChannel() {
				s.putSample(n, f, &samples[j], extra, maxAge)
				break
			}
		}
	}
}

func (s *Store) putSample(n *node.Node, f *node.Field, sm *drivers.Sample, extra Quality, maxAge time.Duration) {
	if sm.Err != nil || sm.Value.Kind() == drivers.KindNone {
		err := sm.Err
		if err == nil {
			err = ErrNoSample
		}
		s.Fail(n.Ref, f.Name, sm.Time, err)
		return
	}
	unit := sm.Unit
	if f.Unit != "" {
		unit = f.Unit
	}
	rd := Reading{Value: sm.Value, Unit: unit, Time: sm.Time, Quality: AutomaticReadout | extra, MaxAge: maxAge}
	if num, ok := sm.Value.Number(); ok && f.Calibration != nil {
		value, err := f.Calibration.Apply(num)
		if err != nil {
			s.Fail(n.Ref, f.Name, sm.Time, err)
			return
		}
		rd.Value, rd.Raw = drivers.Decimal(value), sm.Value
		if f.Calibration.Expired(sm.Time) {
			rd.Quality |= Warning
		}
	}
	s.Put(n.Ref, f.Name, rd)
}

// FailAll marks every measured field of n as failed: its device gave nothing.
func (s *Store) FailAll(n *node.Node, at time.Time, err error) {
	for i := range n.Fields {
		if n.Fields[i].Measured() {
			s.Fail(n.Ref, n.Fields[i].Name, at, err)
		}
	}
}
