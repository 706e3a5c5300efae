// Package drivertest holds the suite that every driver passes.
package drivertest

import (
	"context"
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"postern/drivers"
)

// Options tell TestDevice about a driver. The zero value is fine for a device
// that cannot fail and cannot be written.
type Options struct {
	// Break makes the hardware of the device opened last fail (true) or work
	// again (false), for example by taking the chip off the bus.
	Break func(broken bool)
	// Slow makes the hardware take at least a second for an answer, to see
	// that Read ends with its context.
	Slow func()
	// Recovery is how long a device may take to work again; default 5 s.
	Recovery time.Duration
	// Settable holds acceptable values by writable channel; by default true,
	// or the upper bound of a number, and the lower one where there is none.
	Settable map[string]drivers.Value
	// MayBeMissing lists channels that may lack a value on a healthy device.
	MayBeMissing func(channel string) bool
}

// TestDevice runs the suite. open returns a new device on working hardware;
// what it sits on is closed by t.Cleanup.
func TestDevice(t *testing.T, open func(t *testing.T) drivers.Device, o Options) {
	if o.Recovery == 0 {
		o.Recovery = 5 * time.Second
	}
	s := suite{open, o}
	t.Run("describes", s.describes)
	t.Run("reads", s.reads)
	t.Run("appends", s.appends)
	t.Run("cancelled", s.cancelled)
	t.Run("slow", s.slow)
	t.Run("close", s.close)
	t.Run("concurrent", s.concurrent)
	t.Run("sets", s.sets)
	t.Run("setRefuses", s.setRefuses)
	t.Run("recovers", s.recovers)
}

type suite struct {
	open func(t *testing.T) drivers.Device
	o    Options
}

func (s suite) device(t *testing.T) drivers.Device {
	d := s.open(t)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func channels(t *testing.T, d drivers.Device) []drivers.Channel {
	t.Helper()
	c, ok := d.(drivers.Describer)
	if !ok {
		t.Fatal("the device does not describe its channels")
	}
	return c.Channels()
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

var channelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (s suite) describes(t *testing.T) {
	d := s.device(t)
	cs := channels(t, d)
	if len(cs) == 0 {
		t.Fatal("no channels")
	}
	seen := map[string]bool{}
	for _, c := range cs {
		if !channelName.MatchString(c.Name) || seen[c.Name] {
			t.Errorf("channel name %q is not lower case letters, digits and hyphens, or not unique", c.Name)
		}
		seen[c.Name] = true
		if c.Kind == drivers.KindNone {
			t.Errorf("%s: no kind", c.Name)
		}
		if c.Doc == "" {
			t.Errorf("%s: no documentation", c.Name)
		}
		if c.Kind == drivers.KindEnum && len(c.Options) == 0 {
			t.Errorf("%s: enumeration without options", c.Name)
		}
		if _, ok := d.(drivers.Setter); c.Writable && !ok {
			t.Errorf("%s: writable, but the device is no Setter", c.Name)
		}
	}
}

func (s suite) reads(t *testing.T) {
	d := s.device(t)
	before := time.Now()
	got, err := d.Read(within(t, 10*time.Second), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, d, got)
	for _, g := range got {
		if g.Time.After(time.Now()) || g.Time.Before(before.Add(-time.Minute)) {
			t.Errorf("%s: time %v is not that of the measurement", g.Channel, g.Time)
		}
	}
}

// check compares samples with the description.
func (s suite) check(t *testing.T, d drivers.Device, got []drivers.Sample) {
	t.Helper()
	cs := channels(t, d)
	if len(got) != len(cs) {
		t.Fatalf("%d samples for %d channels", len(got), len(cs))
	}
	for i, g := range got {
		c := cs[i]
		if g.Channel != c.Name {
			t.Errorf("sample %d is of %q, the description says %q", i, g.Channel, c.Name)
		}
		if g.Err != nil {
			if s.o.MayBeMissing == nil || !s.o.MayBeMissing(c.Name) {
				t.Errorf("%s: %v", g.Channel, g.Err)
			}
			if g.Value.Kind() != drivers.KindNone {
				t.Errorf("%s: a value beside an error", g.Channel)
			}
			continue
		}
		if g.Value.Kind() != c.Kind {
			t.Errorf("%s: kind %v, described as %v", g.Channel, g.Value.Kind(), c.Kind)
		}
		if g.Unit != c.Unit {
			t.Errorf("%s: unit %q, described as %q", g.Channel, g.Unit, c.Unit)
		}
		if g.Time.IsZero() {
			t.Errorf("%s: no time", g.Channel)
		}
	}
}

func (s suite) appends(t *testing.T) {
	d := s.device(t)
	first := drivers.Sample{Channel: "from before"}
	got, err := d.Read(within(t, 10*time.Second), []drivers.Sample{first})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < 1 || got[0] != first {
		t.Fatal("Read did not append")
	}
	s.check(t, d, got[1:])
}

func (s suite) cancelled(t *testing.T) {
	d := s.device(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	got, err := d.Read(ctx, nil)
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("a cancelled Read took %v", took)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if len(got) != 0 {
		t.Errorf("%d samples beside an error", len(got))
	}
	if got, err = d.Read(within(t, 10*time.Second), nil); err != nil {
		t.Errorf("Read after a cancelled one: %v", err)
	} else {
		s.check(t, d, got)
	}
}

func (s suite) slow(t *testing.T) {
	if s.o.Slow == nil {
		t.Skip("the hardware has no slow mode")
	}
	d := s.device(t)
	s.o.Slow()
	start := time.Now()
	_, err := d.Read(within(t, 100*time.Millisecond), nil)
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("Read took %v with 100 ms left", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
}

func (s suite) close(t *testing.T) {
	d := s.open(t)
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if got, err := d.Read(within(t, time.Second), nil); !errors.Is(err, drivers.ErrClosed) || len(got) != 0 {
		t.Errorf("Read after Close: %d samples, error %v, want ErrClosed", len(got), err)
	}
	w, ok := d.(drivers.Setter)
	if !ok {
		return
	}
	for _, c := range channels(t, d) {
		if c.Writable {
			if err := w.Set(within(t, time.Second), c.Name, s.acceptable(c)); !errors.Is(err, drivers.ErrClosed) {
				t.Errorf("Set %s after Close: %v, want ErrClosed", c.Name, err)
			}
		}
	}
}

func (s suite) concurrent(t *testing.T) {
	d := s.device(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				got, err := d.Read(within(t, 20*time.Second), nil)
				if err != nil {
					t.Errorf("Read: %v", err)
					return
				}
				s.check(t, d, got)
			}
		})
	}
	wg.Wait()
	wg.Go(func() {
		if _, err := d.Read(within(t, 20*time.Second), nil); err != nil && !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("Read beside Close: %v", err)
		}
	})
	if err := d.Close(); err != nil {
		t.Errorf("Close beside Read: %v", err)
	}
	wg.Wait()
}

func (s suite) acceptable(c drivers.Channel) drivers.Value {
	if v, ok := s.o.Settable[c.Name]; ok {
		return v
	}
	bound := c.Min
	if c.HasMax {
		bound = c.Max
	}
	switch c.Kind {
	case drivers.KindBool:
		return drivers.Bool(true)
	case drivers.KindInt:
		return drivers.Int(int32(bound.Mant))
	case drivers.KindLong:
		return drivers.Long(bound.Mant)
	case drivers.KindEnum:
		return drivers.Enum(c.Options[0])
	}
	return drivers.Decimal(bound)
}

func (s suite) sets(t *testing.T) {
	d := s.device(t)
	w, ok := d.(drivers.Setter)
	if !ok {
		t.Skip("nothing to set")
	}
	for i, c := range channels(t, d) {
		if !c.Writable {
			continue
		}
		want := s.acceptable(c)
		if err := w.Set(within(t, 10*time.Second), c.Name, want); err != nil {
			t.Errorf("Set %s: %v", c.Name, err)
			continue
		}
		got, err := d.Read(within(t, 10*time.Second), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got[i].Value, want) {
			t.Errorf("%s reads %v after it was set to %v (%v)", c.Name, got[i].Value, want, got[i].Err)
		}
	}
}

func equal(a, b drivers.Value) bool {
	x, okX := a.Number()
	y, okY := b.Number()
	if okX && okY {
		return x.Cmp(y) == 0
	}
	return a == b
}

func (s suite) setRefuses(t *testing.T) {
	d := s.device(t)
	w, ok := d.(drivers.Setter)
	if !ok {
		t.Skip("nothing to set")
	}
	ctx := within(t, 10*time.Second)
	if err := w.Set(ctx, "no-such-channel", drivers.Bool(true)); !errors.Is(err, drivers.ErrChannel) {
		t.Errorf("Set of an unknown channel: %v, want ErrChannel", err)
	}
	for _, c := range channels(t, d) {
		if !c.Writable {
			if err := w.Set(ctx, c.Name, drivers.Bool(true)); !errors.Is(err, drivers.ErrChannel) {
				t.Errorf("Set of read-only %s: %v, want ErrChannel", c.Name, err)
			}
			continue
		}
		wrong := drivers.Time(time.Now())
		if err := w.Set(ctx, c.Name, wrong); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("Set of %s to an instant: %v, want ErrValue", c.Name, err)
		}
		if c.HasMax {
			above, err := c.Max.Add(drivers.Num(1, int(c.Max.Exp)))
			if err != nil {
				continue
			}
			if err := w.Set(ctx, c.Name, numeric(c.Kind, above)); !errors.Is(err, drivers.ErrValue) {
				t.Errorf("Set of %s above its maximum: %v, want ErrValue", c.Name, err)
			}
		}
	}
}

func numeric(k drivers.Kind, n drivers.Number) drivers.Value {
	switch k {
	case drivers.KindInt:
		return drivers.Int(int32(n.Mant))
	case drivers.KindLong:
		return drivers.Long(n.Mant)
	}
	return drivers.Decimal(n)
}

func (s suite) recovers(t *testing.T) {
	if s.o.Break == nil {
		t.Skip("the hardware cannot fail")
	}
	d := s.device(t)
	if _, err := d.Read(within(t, 10*time.Second), nil); err != nil {
		t.Fatal(err)
	}
	s.o.Break(true)
	for range 3 {
		got, err := d.Read(within(t, 10*time.Second), nil)
		if err != nil {
			if len(got) != 0 {
				t.Errorf("%d samples beside an error", len(got))
			}
			continue
		}
		for _, g := range got {
			if g.Err == nil {
				t.Errorf("%s reads %v from broken hardware", g.Channel, g.Value)
			}
		}
	}
	s.o.Break(false)
	var err error
	var got []drivers.Sample
	for start := time.Now(); time.Since(start) < s.o.Recovery; time.Sleep(20 * time.Millisecond) {
		if got, err = d.Read(within(t, 10*time.Second), nil); err == nil && healthy(got) {
			s.check(t, d, got)
			return
		}
	}
	t.Errorf("no recovery within %v: %v", s.o.Recovery, err)
}

func healthy(got []drivers.Sample) bool {
	for _, g := range got {
		if g.Err != nil {
			return false
		}
	}
	return true
}
