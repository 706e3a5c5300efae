package ble

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/ble/hci"
	"postern/drivers/ble/virtual"
	"postern/drivers/drivertest"
)

// bench is an adapter on simulated air.
type bench struct {
	air   *virtual.Air
	radio *Radio

	mu    sync.Mutex
	ctl   *virtual.Controller
	opens int
	gone  bool
}

func newBench(t *testing.T, cfg AdapterConfig) *bench {
	t.Helper()
	b := &bench{air: &virtual.Air{}}
	if cfg.Silence == 0 {
		cfg = AdapterConfig{Adapter: "hci0", Scan: "passive", Silence: time.Minute}
	}
	b.radio = NewRadio(cfg, b.open, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = b.radio.Close() })
	return b
}

func (b *bench) open() (io.ReadWriteCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opens++
	if b.gone {
		return nil, drivers.ErrGone
	}
	b.ctl = virtual.NewController(b.air, [6]byte{0xc0, 5, 4, 3, 2, 1})
	return b.ctl, nil
}

// unplug takes the adapter away, or lets it be found again.
func (b *bench) unplug(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
	if gone && b.ctl != nil {
		_ = b.ctl.Close()
	}
}

func (b *bench) opened() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opens
}

const room = "A4:C1:38:00:11:22"

// until repeats a reading until it is good.
func until(t *testing.T, d drivers.Device, good func([]drivers.Sample, error) bool) []drivers.Sample {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		got, err := d.Read(t.Context(), nil)
		if good(got, err) {
			return got
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("read: %v, %v", got, err)
		}
	}
}

func heardIt(got []drivers.Sample, err error) bool { return err == nil && len(got) > 0 }

func TestSensors(t *testing.T) {
	for _, format := range []string{"bthome", "ruuvi", "atc", "eddystone-tlm", "ibeacon"} {
		t.Run(format, func(t *testing.T) {
			cfg := Config{Address: room, Format: format, MaxAge: time.Minute}
			b := newBench(t, AdapterConfig{})
			b.air.Add(Simulate(cfg))
			s, err := Open(t.Context(), b.radio, cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := until(t, s, heardIt)
			if len(got) != len(s.Channels()) {
				t.Fatalf("%d samples, %d channels", len(got), len(s.Channels()))
			}
			for i, c := range s.Channels() {
				if g := got[i]; g.Channel != c.Name || g.Err != nil || g.Value.Kind() != c.Kind || g.Unit != c.Unit {
					t.Errorf("channel %+v reads %+v", c, g)
				}
			}
			if rssi := got[len(got)-1]; rssi.Value.String() != "-60" {
				t.Errorf("rssi %v", rssi)
			}
		})
	}
}

func TestSensorDevice(t *testing.T) {
	cfg := Config{Address: room, Format: "bthome", Values: []string{"temperature", "humidity", "door"}, MaxAge: 300 * time.Millisecond}
	var last *virtual.Device
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		b := newBench(t, AdapterConfig{})
		last = Simulate(cfg)
		b.air.Add(last)
		s, err := Open(t.Context(), b.radio, cfg)
		if err != nil {
			t.Fatal(err)
		}
		until(t, s, heardIt)
		return s
	}, drivertest.Options{Break: func(broken bool) {
		last.Silence(broken)
		if broken {
			time.Sleep(2 * cfg.MaxAge) // what was heard has to grow old
		}
	}})
}

// An encrypted sensor is understood with its key, and says what is wrong
// without.
func TestSensorEncrypted(t *testing.T) {
	b := newBench(t, AdapterConfig{})
	a, _ := ParseAddress("54:48:E6:8F:80:A5")
	b.air.Add(&virtual.Device{Address: a, Advert: func(time.Time) []byte {
		return structure(adServiceData, octets(t, "d2fc 41 a47266c95f73 00112233 78237214"))
	}})
	key := t.TempDir() + "/key"
	writeFile(t, key, "231d39c1d7cc1ab1aee224cd096db932\n")
	cfg := Config{Address: a.String(), Format: "bthome", Values: []string{"temperature", "humidity"}, KeyFile: key, MaxAge: time.Minute}
	s, err := Open(t.Context(), b.radio, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := until(t, s, heardIt); got[0].Value.String() != "25.06" || got[1].Value.String() != "50.55" {
		t.Errorf("%v", got)
	}
	cfg.KeyFile = ""
	s, err = Open(t.Context(), b.radio, cfg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, s, func(_ []drivers.Sample, err error) bool { return errors.Is(err, ErrKey) })
	writeFile(t, key, "too short")
	cfg.KeyFile = key
	if _, err := Open(t.Context(), b.radio, cfg); err == nil {
		t.Error("a short key was taken")
	}
}

// What only a scan response says is heard by an active scan alone.
func TestActiveScan(t *testing.T) {
	for _, scan := range []string{"passive", "active"} {
		b := newBench(t, AdapterConfig{Adapter: "hci0", Scan: scan, Silence: time.Minute})
		a, _ := ParseAddress(room)
		b.air.Add(&virtual.Device{Address: a, Advert: func(time.Time) []byte { return []byte{2, 1, 6} },
			Response: structure(adServiceData, octets(t, "d2fc 40 02c409"))})
		s, err := Open(t.Context(), b.radio, Config{Address: room, Format: "bthome", Values: []string{"temperature"}, MaxAge: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if scan == "active" {
			if got := until(t, s, heardIt); got[0].Value.String() != "25.00" {
				t.Errorf("%v", got)
			}
			continue
		}
		time.Sleep(10 * virtual.Interval)
		if got, err := s.Read(t.Context(), nil); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("a passive scan heard %v, %v", got, err)
		}
	}
}

// The silence watchdog scans anew, restarts the adapter, and says so when that
// does not help; one restart is what a deaf controller needs.
func TestSilence(t *testing.T) {
	b := newBench(t, AdapterConfig{Adapter: "hci0", Scan: "passive", Silence: 80 * time.Millisecond})
	cfg := Config{Address: room, Format: "bthome", MaxAge: 100 * time.Millisecond}
	dev := Simulate(cfg)
	b.air.Add(dev)
	s, err := Open(t.Context(), b.radio, cfg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, s, heardIt)
	before := b.opened()
	// A new scan is enough for a controller whose scan has stopped.
	b.mu.Lock()
	ctl := b.ctl
	b.mu.Unlock()
	ctl.Stall()
	until(t, s, func([]drivers.Sample, error) bool { return !ctl.Stalled() })
	until(t, s, heardIt)
	if n := b.opened(); n != before {
		t.Errorf("the adapter was opened %d times for a scan that had stopped", n-before)
	}
	b.mu.Lock()
	b.ctl.Deafen()
	b.mu.Unlock()
	until(t, s, func(_ []drivers.Sample, err error) bool { return err != nil })
	until(t, s, heardIt)
	if b.opened() != before+1 {
		t.Errorf("the adapter was opened %d times for a deaf controller, want once", b.opened()-before)
	}
	dev.Silence(true)
	until(t, s, func(_ []drivers.Sample, err error) bool { return errors.Is(err, drivers.ErrGone) })
	if b.radio.Err() == nil {
		t.Error("no flag after all steps")
	}
	dev.Silence(false)
	until(t, s, heardIt)
	if err := b.radio.Err(); err != nil {
		t.Errorf("the flag stays: %v", err)
	}
}

func TestAdapterUnplugged(t *testing.T) {
	b := newBench(t, AdapterConfig{})
	cfg := Config{Address: room, Format: "bthome", MaxAge: 100 * time.Millisecond}
	b.air.Add(Simulate(cfg))
	s, err := Open(t.Context(), b.radio, cfg)
	if err != nil {
		t.Fatal(err)
	}
	until(t, s, heardIt)
	b.unplug(true)
	until(t, s, func(_ []drivers.Sample, err error) bool { return errors.Is(err, drivers.ErrGone) })
	b.unplug(false)
	until(t, s, heardIt)
}

func thermometer(notify bool) ConnectedConfig {
	return ConnectedConfig{Address: room, AddressType: "random", Timeout: 5 * time.Second, Characteristics: []Characteristic{
		{Name: "temperature", UUID: "2a6e", Type: "int16", Scale: "0.01", Unit: "°C", Notify: notify},
		{Name: "name", UUID: "00002a00-0000-1000-8000-00805f9b34fb", Type: "string", Scale: "1"},
		{Name: "custom", UUID: "12345679-0000-1000-8000-00805f9b34fa", Type: "uint8", Scale: "1"},
	}}
}

func TestConnectedDevice(t *testing.T) {
	var last *virtual.Device
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		b := newBench(t, AdapterConfig{})
		cfg := thermometer(false)
		cfg.Timeout = time.Second
		last = SimulateConnected(cfg)
		b.air.Add(last)
		d, err := OpenConnected(t.Context(), b.radio, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, drivertest.Options{Break: func(broken bool) { last.Silence(broken) }})
}

func TestConnectedReads(t *testing.T) {
	b := newBench(t, AdapterConfig{})
	b.air.Add(SimulateConnected(thermometer(false)))
	cfg := thermometer(false)
	cfg.Characteristics = append(cfg.Characteristics, Characteristic{Name: "missing", UUID: "2a19", Type: "uint8", Scale: "1"})
	d, err := OpenConnected(t.Context(), b.radio, cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := until(t, d, heardIt)
	if n, ok := got[0].Value.Number(); !ok || n.Exp != -2 || n.Mant < 1500 || n.Mant > 3000 || got[0].Unit != "°C" {
		t.Errorf("temperature %+v", got[0])
	}
	if got[1].Value.String() != "simulated" || got[2].Err != nil {
		t.Errorf("%+v", got)
	}
	if !errors.Is(got[3].Err, drivers.ErrChannel) {
		t.Errorf("a characteristic that is not there: %+v", got[3])
	}
}

func TestNotifications(t *testing.T) {
	b := newBench(t, AdapterConfig{})
	dev := SimulateConnected(thermometer(true))
	var mu sync.Mutex
	raw := byte(10)
	dev.Services[0].Characteristics[0].Value = func(time.Time) []byte {
		mu.Lock()
		defer mu.Unlock()
		return []byte{raw, 0}
	}
	b.air.Add(dev)
	d, err := OpenConnected(t.Context(), b.radio, thermometer(true))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := until(t, d, heardIt); got[0].Value.String() != "0.10" {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 8)
	done := make(chan error)
	go func() { done <- d.Watch(ctx, func(s drivers.Sample) { seen <- s.Channel + " " + s.Value.String() }) }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		mu.Lock()
		raw = 11
		mu.Unlock()
		dev.Notify()
		select {
		case got := <-seen:
			if got != "temperature 0.11" {
				t.Errorf("told %s", got)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if got := until(t, d, heardIt); got[0].Value.String() != "0.11" {
				t.Errorf("%v", got)
			}
			return
		case <-time.After(20 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("nothing is told")
			}
		}
	}
}

// FuzzController gives the host what a broken or hostile controller could.
func FuzzController(f *testing.F) {
	f.Add([]byte{4, 0x3e, 12, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0xc0})
	f.Add([]byte{2, 0x40, 0x20, 7, 0, 3, 0, 4, 0, 0x0b, 1, 2})
	f.Add([]byte{4, 0x05, 4, 0, 0x40, 0, 0x13})
	f.Add([]byte{4, 0x13, 5, 1, 0x40, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, packet []byte) {
		ctl := virtual.NewController(&virtual.Air{}, [6]byte{1})
		tee := &injector{Controller: ctl, extra: packet}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		h, err := hci.New(ctx, tee, func(r hci.Report) { _, _ = ParseAdvert(r.Data) })
		if err == nil {
			_ = h.Close()
		}
	})
}

// injector puts a packet before each of the controller's.
type injector struct {
	*virtual.Controller
	extra []byte
	turn  bool
}

func (i *injector) Read(b []byte) (int, error) {
	if i.turn = !i.turn; i.turn && len(i.extra) > 0 {
		return copy(b, i.extra), nil
	}
	return i.Controller.Read(b)
}
