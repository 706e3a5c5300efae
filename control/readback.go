package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// publish tells the rest of the gateway about the outputs: what reading them
// back gives, else the value written as an estimate. attempted may hold one
// write more than written: one that failed and left the output in a state
// that only reading can tell. It reports whether everything written was read
// back equal, and what is in another state than was written.
func (s *Service) publish(ctx context.Context, st *state, written, attempted []write) (verified bool, other []write) {
	verified = len(written) > 0
	now := s.cfg.Now()
	var names []string
	for _, w := range attempted {
		if !slices.Contains(names, w.node.Device) {
			names = append(names, w.node.Device)
		}
	}
	for _, name := range names {
		samples := s.readBack(ctx, st, name)
		for i := range attempted {
			w := &attempted[i]
			if w.node.Device != name {
				continue
			}
			got, ok := sampleOf(samples, w.param.TargetChannel())
			switch {
			case i >= len(written):
				if !ok {
					s.unknown(w, now)
				}
			case writtenBy(written[i+1:], w.output()): // the later write is the one that shows
			case !ok:
				verified = false
				s.estimate(w, now)
			case !s.readsBack(w, got):
				verified = false
				if contradicts(got.Value, w.value) {
					other = append(other, *w)
				}
			}
		}
	}
	return verified, other
}

// writtenBy reports whether one of the writes is to an output.
func writtenBy(writes []write, o Output) bool {
	return slices.ContainsFunc(writes, func(w write) bool { return w.output() == o })
}

// readsBack publishes what was read of an output and reports whether it is
// what was written.
func (s *Service) readsBack(w *write, got drivers.Sample) bool {
	s.show(w, live.Reading{Value: got.Value, Unit: got.Unit, Time: got.Time, Quality: live.AutomaticReadout | s.clockFlag()})
	if same(got.Value, w.value) {
		return true
	}
	s.cfg.Logger.Warn("an output reads back another value than was written", slog.String("node", w.node.Ref.String()),
		slog.String("parameter", w.param.Name), slog.String("written", w.value.String()), slog.String("read", got.Value.String()))
	return false
}

// contradicts reports whether an output reads back a state that was not
// written. Numbers do not count: a device may round them.
func contradicts(read, written drivers.Value) bool {
	k := written.Kind()
	return (k == drivers.KindBool || k == drivers.KindEnum) && !same(read, written)
}

// readBack reads a device after it was written and publishes all that it says;
// nothing where it cannot be read.
func (s *Service) readBack(ctx context.Context, st *state, name string) []drivers.Sample {
	d, ok := st.devices[name]
	if !ok || d.NoReadBack {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timeout())
	defer cancel()
	samples, err := d.Device.Read(ctx, nil)
	if err == nil {
		for _, n := range st.serves[name] {
			s.cfg.Live.PutSamples(n, samples, s.clockFlag(), live.SameAge)
		}
	}
	return samples
}

func sampleOf(samples []drivers.Sample, channel string) (drivers.Sample, bool) {
	for _, sm := range samples {
		if sm.Channel == channel {
			return sm, sm.Err == nil && sm.Value.Kind() != drivers.KindNone
		}
	}
	return drivers.Sample{}, false
}

// estimate publishes a written value that cannot be read back.
func (s *Service) estimate(w *write, now time.Time) {
	rd := live.Reading{Value: w.value, Time: now, Quality: live.AutomaticEstimate | s.clockFlag()}
	for i := range w.node.Fields {
		if f := &w.node.Fields[i]; f.SourceChannel() == w.param.TargetChannel() && f.Measured() {
			rd.Unit = f.Unit
			s.cfg.Live.Put(w.node.Ref, f.Name, rd)
		}
	}
	s.show(w, rd)
}

// unknown publishes that the state of an output is not known any more.
func (s *Service) unknown(w *write, now time.Time) {
	err := errors.New("writing it failed")
	for i := range w.node.Fields {
		if f := &w.node.Fields[i]; f.SourceChannel() == w.param.TargetChannel() && f.Measured() {
			s.cfg.Live.Fail(w.node.Ref, f.Name, now, err)
		}
	}
	if w.node.Field(w.param.Name) == nil {
		s.cfg.Live.Fail(w.node.Ref, w.param.Name, now, err)
	}
}

// show publishes the value under the parameter's own name where no field has
// it: forms and interlocks look there.
func (s *Service) show(w *write, rd live.Reading) {
	if w.node.Field(w.param.Name) == nil {
		s.cfg.Live.Put(w.node.Ref, w.param.Name, rd)
	}
}

func (s *Service) clockFlag() live.Quality {
	if s.cfg.ClockSane() {
		return 0
	}
	return live.TimeOffset
}
