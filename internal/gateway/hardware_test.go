package gateway

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/gpio"
	"postern/drivers/hwmon"
	"postern/internal/config"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A device that appears later is opened by reading, at most every few seconds.
func TestSlotOpensWhatAppears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := findKind("relay")
		if err != nil {
			t.Fatal(err)
		}
		cfg := &gpio.RelayConfig{Line: "c:1", Drive: "push-pull", Safe: "on"}
		tries, there := 0, false
		sim := gpio.NewSimLine("c:1")
		s := newSlot(k, cfg, func(ctx context.Context) (drivers.Device, error) {
			tries++
			if !there {
				return nil, drivers.ErrGone
			}
			return device(gpio.OpenRelay(ctx, sim, *cfg))
		}, drivers.ErrGone)
		d := s.device()
		set, ok := d.(drivers.Setter)
		if !ok || len(d.(described).Channels()) != 1 {
			t.Fatalf("%T is no setter, or has no channel", d)
		}
		for range 100 { // 10 s
			if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if tries > 2 {
			t.Errorf("%d tries in 10 s", tries)
		}
		there = true
		time.Sleep(reopenEvery)
		if err := set.Set(t.Context(), "state", drivers.Bool(false)); err != nil {
			t.Fatal(err)
		}
		if s.failure() != "" {
			t.Errorf("still failing: %s", s.failure())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if h := sim.History(); h[0].Level != gpio.High || h[len(h)-1].Level != gpio.High {
			t.Errorf("not safe at first and at last: %v", h)
		}
		if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// The channels of some kinds only show when the device is there.
func TestChannelsThatShowLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := fstest.MapFS{}
		k := kind{Kind: config.Kind{Name: "hwmon"}}
		opener := func(ctx context.Context) (drivers.Device, error) {
			return device(hwmon.Open(ctx, fs.FS(root), hwmon.Config{Chip: "x"}))
		}
		_, cause := opener(t.Context())
		h := newHardware(quiet())
		s := newSlot(k, nil, opener, cause)
		h.devices["n"] = &opened{Device: s.device(), slot: s}
		time.Sleep(reopenEvery)
		if h.revealed(t.Context()) || len(s.Channels()) != 0 {
			t.Error("revealed what is not there")
		}
		root["sys/class/hwmon/hwmon0/name"] = &fstest.MapFile{Data: []byte("x\n")}
		root["sys/class/hwmon/hwmon0/temp1_input"] = &fstest.MapFile{Data: []byte("21500\n")}
		time.Sleep(reopenEvery)
		if !h.revealed(t.Context()) || len(s.Channels()) != 1 {
			t.Errorf("not revealed: %v", s.Channels())
		}
		if h.revealed(t.Context()) {
			t.Error("revealed twice")
		}
	})
}

// Every kind that can be simulated is opened and read on the bench.
func TestSimulatedKindsGiveReadings(t *testing.T) {
	cfg, ps := config.Parse("x", append(config.Example(Kinds()), "\nsimulate: true\n"...), Kinds())
	if ps != nil {
		t.Fatal(ps)
	}
	h := newHardware(quiet())
	defer h.closeAll()
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		k, err := findKind(n.Kind)
		if err != nil {
			t.Fatal(err)
		}
		if k.Real != "" {
			continue
		}
		if err := h.open(t.Context(), cfg, n); err != nil {
			t.Fatal(err)
		}
		d := h.get(n.ID)
		if d.slot != nil {
			t.Errorf("%s: %s", n.Kind, d.slot.failure())
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		got, err := d.Read(ctx, nil)
		cancel()
		if err != nil || len(got) != len(d.Device.(described).Channels()) {
			t.Errorf("%s: %v, %v", n.Kind, got, err)
		}
		for _, s := range got {
			if s.Err != nil {
				t.Errorf("%s: %s: %v", n.Kind, s.Channel, s.Err)
			}
		}
	}
	if err := h.closeAll(); err != nil {
		t.Error(err)
	}
}

func TestPlantNamesTheBusThatIsMissing(t *testing.T) {
	p := newPlant(quiet())
	p.use(map[string]config.Bus{"main": {Type: "i2c", Config: &i2cConfig{Device: "97"}}})
	if _, err := p.i2cBus("main", 1, nil); err == nil || !strings.Contains(err.Error(), "bus main") {
		t.Errorf("%v", err)
	}
	if _, _, err := p.modbusLine("none", 1, nil); err == nil || !strings.Contains(err.Error(), `no Modbus line "none"`) {
		t.Errorf("%v", err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
