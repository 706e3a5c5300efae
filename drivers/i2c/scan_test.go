package i2c_test

import (
	"context"
	"errors"
	"testing"

	"postern/drivers"
	"postern/drivers/ads1115"
	"postern/drivers/aht20"
	"postern/drivers/bme280"
	"postern/drivers/bme680"
	"postern/drivers/bmp388"
	"postern/drivers/ds3231"
	"postern/drivers/i2c"
	"postern/drivers/ina219"
	"postern/drivers/mcp9808"
	"postern/drivers/sht3x"
	"postern/drivers/sps30"
	"postern/drivers/tmp102"
	"postern/drivers/tmp117"
)

func TestScanFindsExactlyTheChips(t *testing.T) {
	want := map[int]string{
		0x18: "mcp9808", 0x38: "aht20", 0x40: "ina219", 0x44: "sht3x", 0x46: "sht4x",
		0x48: "tmp102", 0x49: "ads1115", 0x4b: "tmp117", 0x76: "bme280", 0x77: "bmp280",
		0x68: "ds3231", 0x69: "sps30",
	}
	sim := i2c.NewSim("sim")
	for addr, s := range map[uint16]i2c.Slave{
		0x18: mcp9808.Simulate(mcp9808.Config{}), 0x38: aht20.Simulate(aht20.Config{}),
		0x40: ina219.Simulate(ina219.Config{}), 0x44: sht3x.Simulate(sht3x.Config{}),
		0x46: sht3x.SimulateSHT4x(sht3x.SHT4xConfig{}), 0x48: tmp102.Simulate(tmp102.Config{}),
		0x49: ads1115.Simulate(ads1115.Config{}), 0x4b: tmp117.Simulate(tmp117.Config{}), 0x76: bme280.Simulate(bme280.Config{}),
		0x68: ds3231.Simulate(ds3231.Config{}), 0x69: sps30.Simulate(sps30.Config{}),
		0x77: bme280.SimulateBMP280(bme280.BMP280Config{}), 0x50: memory{},
	} {
		sim.Attach(addr, s)
	}
	asked := 0
	found, err := i2c.Scan(t.Context(), sim, i2c.ScanOptions{
		Driven: func(addr int) bool { return addr == 0x50 }, Progress: func(int) { asked++ }, Deep: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Addr == 0x50 {
			if !f.Driven || f.Guess != nil {
				t.Errorf("a chip that the kernel drives: %+v", f)
			}
			continue
		}
		if len(f.Guess) == 0 || f.Guess[0].Kind != want[f.Addr] {
			t.Errorf("0x%02x: %+v, want %s", f.Addr, f.Guess, want[f.Addr])
		}
		delete(want, f.Addr)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	if asked != 0x70 {
		t.Errorf("progress was told %d times", asked)
	}
}

// output is a chip whose output changes with any octet that is written.
type output struct{ state *byte }

func (o output) Tx(w, r []byte) error {
	if len(w) > 0 {
		*o.state = w[len(w)-1]
	}
	for i := range r {
		r[i] = *o.state
	}
	return nil
}

func TestScanMovesNothing(t *testing.T) {
	sim := i2c.NewSim("sim")
	states := map[int]*byte{}
	for _, addr := range []int{0x20, 0x27, 0x38, 0x3f, 0x48, 0x4b, 0x60, 0x61, 0x67, 0x70, 0x77} {
		b := byte(0x5a)
		states[addr] = &b
		sim.Attach(uint16(addr), output{&b})
	}
	found, err := i2c.Scan(t.Context(), sim, i2c.ScanOptions{})
	if err != nil || len(found) != len(states) {
		t.Errorf("%d of %d found, %v", len(found), len(states), err)
	}
	for addr, b := range states {
		if *b != 0x5a {
			t.Errorf("0x%02x was moved to 0x%02x", addr, *b)
		}
	}
	for _, f := range found {
		if f.Addr == 0x77 && (len(f.Guess) == 0 || f.Guess[0].Confidence != 60) {
			t.Errorf("a multiplexer at 0x77: %+v", f.Guess)
		}
	}
}

// memory must not be touched: writing a register number moves nothing, but the
// kernel's driver has it.
type memory struct{}

func (memory) Tx(w, r []byte) error { panic("a chip of the kernel was touched") }

func TestScanOfAStuckBus(t *testing.T) {
	sim := i2c.NewSim("sim")
	sim.Attach(0x18, mcp9808.Simulate(mcp9808.Config{}))
	sim.SetFault(0x18, i2c.Stuck)
	if found, err := i2c.Scan(t.Context(), sim, i2c.ScanOptions{}); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("%v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := i2c.Scan(ctx, sim, i2c.ScanOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", found, err)
	}
}

// The chips that share an address are told apart by their identity.
func TestScanTellsBoschChipsApart(t *testing.T) {
	for want, s := range map[string]i2c.Slave{
		"bmp388": bmp388.Simulate(bmp388.Config{}), "bme680": bme680.Simulate(bme680.Config{}), "bme280": bme280.Simulate(bme280.Config{}),
	} {
		sim := i2c.NewSim("sim")
		sim.Attach(0x76, s)
		found, err := i2c.Scan(t.Context(), sim, i2c.ScanOptions{})
		if err != nil || len(found) != 1 || len(found[0].Guess) == 0 || found[0].Guess[0].Kind != want {
			t.Errorf("%s: %+v, %v", want, found, err)
		}
	}
}
