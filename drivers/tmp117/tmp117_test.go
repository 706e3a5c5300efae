package tmp117

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config = Config{Bus: "sim", Address: 0x48}

func TestDevice(t *testing.T) {
	i2ctest.TestChip(t, 0x48, Open, Simulate, config, i2c.Dead, i2c.Stuck)
}

// 0x0c80 is 25 °C and 0xf380 -25 °C; one step is 7.8125 m°C.
func TestCelsius(t *testing.T) {
	for raw, want := range map[uint16]string{0: "0.0000", 1: "0.0078", 0x0c80: "25.0000", 0x3200: "100.0000", 0xffff: "-0.0078", 0xf380: "-25.0000"} {
		if n, err := celsius(raw); err != nil || n.String() != want {
			t.Errorf("0x%04x: %s, %v; want %s", raw, n, err, want)
		}
	}
	for raw, want := range map[uint16]error{0x8000: drivers.ErrTimeout, 0x8001: drivers.ErrProtocol, 0x7fff: drivers.ErrProtocol} {
		if n, err := celsius(raw); !errors.Is(err, want) {
			t.Errorf("0x%04x: %s, %v; want %v", raw, n, err, want)
		}
	}
}

// A chip that lost its power says so once, and works again.
func TestBrownOut(t *testing.T) {
	d, sim := i2ctest.Open(t, 0x48, Open, config, Simulate(config))
	for i, want := range []error{nil, drivers.ErrTimeout, nil} {
		if i == 1 {
			sim.SetFault(0x48, i2c.BrownOut)
		}
		if got, err := d.Read(t.Context(), nil); !errors.Is(err, want) {
			t.Errorf("reading %d: %v, %v; want %v", i, got, err, want)
		}
	}
}

// A chip that another program has stopped is started, and does not give the
// temperature that it had then.
func TestStoppedChip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Simulate(config).(*Slave)
		s.Temperature = drivers.Drift{Base: 20}
		sim := i2c.NewSim("sim")
		sim.Attach(0x48, s)
		time.Sleep(time.Second)
		for _, w := range [][]byte{{regTemperature}, {regConfig, 0x06, 0x20}} {
			if err := sim.Tx(0x48, w, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
		s.Temperature = drivers.Drift{Base: 30}
		d, err := Open(t.Context(), sim, config)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Read(t.Context(), nil); err != nil || got[0].Value.String() != "30.0000" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestOtherChipIsRefused(t *testing.T) { i2ctest.TestOther(t, 0x48, Open, config) }

// What docs/drivers.md shows of this driver is what it is.
func TestGuideShowsThisDriver(t *testing.T) {
	guide, err := os.ReadFile("../../docs/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	var code string
	for _, f := range []string{"tmp117.go", "simulate.go", "tmp117_test.go", "../i2c/scan.go", "../../internal/gateway/kinds.go"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code += string(b)
	}
	blocks := strings.Split(string(guide), "```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("%d pieces of code", len(blocks))
	}
	for _, b := range blocks {
		text, _, ok := strings.Cut(b, "```")
		if !ok || !strings.Contains(code, text) {
			t.Errorf("no file has\n%s", text)
		}
	}
}
