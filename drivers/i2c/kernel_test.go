package i2c_test

import (
	"errors"
	"os"
	"testing"

	"postern/drivers"
	"postern/drivers/bme280"
	"postern/drivers/i2c"
	"postern/drivers/mcp9808"
	"postern/drivers/sht3x"
	"postern/drivers/tmp102"
)

// TestKernelBus runs where POSTERN_I2C_BUS names a bus with a BME280 that holds
// the data sheet's worked example at 0x76, an MCP9808 at 21.5 °C at 0x18, a
// TMP102 at 23.25 °C at 0x48 and an SHT3x at 22.25 °C at 0x44: in the guest of
// board/hil, whose bus ends in simulated chips outside of it.
func TestKernelBus(t *testing.T) {
	name := os.Getenv("POSTERN_I2C_BUS")
	if name == "" {
		t.Skip("POSTERN_I2C_BUS is not set; this test runs in a guest")
	}
	bus, err := i2c.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	value := func(d drivers.Device, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		got, err := d.Read(t.Context(), nil)
		if err != nil {
			t.Error(err)
			return ""
		}
		return got[0].Value.String()
	}
	if v := value(mcp9808.Open(t.Context(), bus, mcp9808.Config{Address: 0x18, Resolution: "0.0625"})); v != "21.5000" {
		t.Errorf("MCP9808 reads %s", v)
	}
	if v := value(tmp102.Open(t.Context(), bus, tmp102.Config{Address: 0x48})); v != "23.2500" {
		t.Errorf("TMP102 reads %s", v)
	}
	if v := value(bme280.Open(t.Context(), bus, bme280.Config{Address: 0x76, Oversampling: "1x"})); v != "25.08" {
		t.Errorf("BME280 reads %s", v)
	}
	if v := value(sht3x.Open(t.Context(), bus, sht3x.Config{Address: 0x44})); v != "22.25" {
		t.Errorf("SHT3x reads %s", v)
	}
	d, err := mcp9808.Open(t.Context(), bus, mcp9808.Config{Address: 0x19, Resolution: "0.0625"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(t.Context(), nil); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("an address without a chip: %v, want ErrGone", err)
	}
	found, err := i2c.Scan(t.Context(), bus, i2c.ScanOptions{Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, f := range found {
		if len(f.Guess) > 0 {
			got[f.Addr] = f.Guess[0].Kind
		}
	}
	if len(found) != 4 || got[0x44] != "sht3x" || got[0x18] != "mcp9808" || got[0x48] != "tmp102" || got[0x76] != "bme280" {
		t.Errorf("found %+v", found)
	}
}
