package live

import (
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

var room = node.Ref{ID: "room"}

func TestPutGetObserve(t *testing.T) {
	s := New()
	if _, ok := s.Get(room, "t"); ok {
		t.Error("there is nothing yet")
	}
	var seen []Change
	cancel := s.Observe(func(c Change) { seen = append(seen, c) })
	now := time.Now()
	s.Put(room, "t", Reading{Value: drivers.Int(1), Time: now})
	s.Put(room, "t", Reading{Value: drivers.Int(2), Time: now, Quality: ManualReadout})
	cancel()
	s.Put(room, "t", Reading{Value: drivers.Int(3), Time: now})
	if len(seen) != 2 || seen[1].Old.Value != drivers.Int(1) || seen[1].New.Value != drivers.Int(2) {
		t.Errorf("%+v", seen)
	}
	if seen[0].New.Quality != AutomaticReadout {
		t.Error("a reading without quality was stored")
	}
}

// A slow poll that began before a write must not undo it; a wall clock set
// back loses nothing.
func TestOlderReadingsAreDropped(t *testing.T) {
	s, now := New(), time.Now()
	s.Put(room, "on", Reading{Value: drivers.Bool(true), Time: now, MaxAge: time.Hour})
	s.Put(room, "on", Reading{Value: drivers.Bool(false), Time: now.Add(-time.Second)})
	if rd, _ := s.Get(room, "on"); rd.Value != drivers.Bool(true) {
		t.Error("an older reading won")
	}
	s.Put(room, "on", Reading{Value: drivers.Bool(false), Time: now.Add(-time.Hour).Round(0), MaxAge: SameAge})
	if rd, _ := s.Get(room, "on"); rd.Value != drivers.Bool(false) || rd.MaxAge != time.Hour {
		t.Errorf("%+v", rd)
	}
}

// A failure keeps the last value, and shows that it is none.
func TestFail(t *testing.T) {
	s, now := New(), time.Now()
	s.Fail(room, "t", now, errors.New("gone"))
	rd, _ := s.Get(room, "t")
	if rd.Value.Kind() != drivers.KindNone || rd.Quality != Missing|Error || rd.Fresh(now) {
		t.Errorf("%+v", rd)
	}
	s.Put(room, "t", Reading{Value: drivers.Int(1), Time: now})
	s.Fail(room, "t", now.Add(time.Minute), errors.New("gone"))
	rd, _ = s.Get(room, "t")
	if rd.Value != drivers.Int(1) || rd.Fresh(now) || rd.Quality.Usable() || rd.Err == nil || !rd.Time.Equal(now) {
		t.Errorf("%+v", rd)
	}
	s.Put(room, "t", Reading{Value: drivers.Int(2), Time: now, MaxAge: time.Second})
	rd, _ = s.Get(room, "t")
	if !rd.Fresh(now.Add(time.Second)) || rd.Fresh(now.Add(1001*time.Millisecond)) {
		t.Errorf("%+v", rd)
	}
}

func TestPutSamples(t *testing.T) {
	s, now := New(), time.Now()
	n := &node.Node{Ref: room, Fields: []node.Field{
		{Name: "temp", Channel: "t", Unit: "K"}, {Name: "t"}, {Name: "hum"}, {Name: "serial", Const: drivers.String("x")}, {Name: "bad"}}}
	s.PutSamples(n, []drivers.Sample{
		{Channel: "t", Value: drivers.Int(5), Unit: "°C", Time: now}, {Channel: "bad", Err: errors.New("short"), Time: now},
		{Channel: "serial", Value: drivers.String("y"), Time: now}}, TimeOffset, time.Minute)
	if rd, _ := s.Get(room, "temp"); rd.Unit != "K" || rd.Quality != AutomaticReadout|TimeOffset || rd.MaxAge != time.Minute {
		t.Errorf("%+v", rd)
	}
	if rd, _ := s.Get(room, "t"); rd.Unit != "°C" {
		t.Errorf("%+v", rd)
	}
	for _, name := range []string{"hum", "serial"} {
		if _, ok := s.Get(room, name); ok {
			t.Errorf("%s was stored", name)
		}
	}
	if rd, ok := s.Get(room, "bad"); !ok || rd.Err == nil {
		t.Errorf("%+v", rd)
	}
	s.FailAll(n, now, errors.New("unplugged"))
	if rd, _ := s.Get(room, "hum"); rd.Err == nil {
		t.Errorf("%+v", rd)
	}
	s.Forget(func(node.Ref) bool { return false })
	if _, ok := s.Get(room, "temp"); ok {
		t.Error("not forgotten")
	}
}

// The order of importance (0323-D24).
func Test0323R32_QualityOrder(t *testing.T) {
	order := []Quality{
		Missing, InProgress | Signed, AutomaticEstimate, ManualEstimate, ManualReadout, AutomaticReadout,
		AutomaticReadout | ManualReadout, Signed, Signed | AutomaticReadout, Invoiced, Signed | Invoiced, InvoiceConfirmed, InvoiceConfirmed | Signed,
	}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v against %v: %d", a, b, got)
			}
		}
	}
	if Quality(0).Compare(AutomaticReadout) != 0 || (AutomaticReadout|Warning|PowerFailure).Compare(AutomaticReadout) != 0 || (Missing|InvoiceConfirmed).Compare(InProgress) != -1 {
		t.Error("flags of the period rank")
	}
	if Usable := (AutomaticReadout | Warning).Usable(); !Usable || (AutomaticReadout | Error).Usable() {
		t.Error("Usable")
	}
}

// A calibrated reading keeps what was measured; an expired calibration warns;
// beyond the table there is no reading.
func TestCalibratedReadings(t *testing.T) {
	s, now := New(), time.Now()
	cal := &node.Calibration{Offset: drivers.Num(-5, -1), Expires: now.Add(time.Hour)}
	n := &node.Node{Ref: room, Fields: []node.Field{{Name: "t", Calibration: cal}}}
	put := func(v int64, at time.Time) Reading {
		s.PutSamples(n, []drivers.Sample{{Channel: "t", Value: drivers.Decimal(drivers.Num(v, -1)), Time: at}}, 0, 0)
		rd, _ := s.Get(room, "t")
		return rd
	}
	if rd := put(215, now); rd.Value.String() != "21.0" || rd.Raw.String() != "21.5" || rd.Quality != AutomaticReadout {
		t.Errorf("%+v", rd)
	}
	if rd := put(215, now.Add(time.Hour)); rd.Quality != AutomaticReadout|Warning || !rd.Fresh(now.Add(time.Hour)) {
		t.Errorf("%+v", rd)
	}
	cal.Table = []node.CalibrationPoint{{Measured: drivers.Num(0, 0), True: drivers.Num(1, 0)}, {Measured: drivers.Num(20, 0), True: drivers.Num(22, 0)}}
	if rd := put(215, now.Add(2*time.Hour)); !errors.Is(rd.Err, node.ErrUncalibrated) || rd.Quality.Usable() {
		t.Errorf("%+v", rd)
	}
}
