package hil

import (
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/bme280"
	"postern/drivers/i2c"
	"postern/drivers/mcp9808"
	"postern/drivers/sht3x"
	"postern/drivers/tmp102"
)

// chips are at the quantities that the tests in the guest expect.
func chips() map[uint16]i2c.Slave {
	bme := bme280.Simulate(bme280.Config{}).(*bme280.Slave)
	bme.Temperature, bme.Pressure = drivers.Drift{Base: 25.0825}, drivers.Drift{Base: 1006.5327}
	mcp := mcp9808.Simulate(mcp9808.Config{}).(*mcp9808.Slave)
	mcp.Temperature = drivers.Drift{Base: 21.5}
	tmp := tmp102.Simulate(tmp102.Config{}).(*tmp102.Slave)
	tmp.Temperature = drivers.Drift{Base: 23.25}
	sht := sht3x.Simulate(sht3x.Config{}).(*sht3x.Slave)
	sht.Temperature, sht.Humidity = drivers.Drift{Base: 22.25}, drivers.Drift{Base: 45.5}
	return map[uint16]i2c.Slave{0x76: bme, 0x18: mcp, 0x48: tmp, 0x44: sht}
}

// TestHIL runs the drivers' tests on a real kernel's buses.
func TestHIL(t *testing.T) {
	g := Boot(t, Options{
		Modules: []string{"gpio-sim", "i2c-dev", "i2c-virtio", "dummy_hcd", "usb_f_acm", "cdc-acm", "bluetooth", "hci_vhci"},
		Packages: map[string]string{
			"/t/gpio.test": "test:postern/drivers/gpio", "/t/i2c.test": "test:postern/drivers/i2c",
			"/t/serial.test": "test:postern/drivers/serial", "/t/ble.test": "test:postern/drivers/ble",
		},
		Chips: chips(),
	})
	for _, name := range []string{"gpio", "i2c", "serial", "ble"} {
		t.Run(name, func(t *testing.T) { runTests(t, g, name) })
	}
}

// runTests runs the tests of a package whose names begin with TestKernel. In
// the guest none of them may be skipped.
func runTests(t *testing.T, g *Guest, name string) {
	env := map[string]string{"POSTERN_I2C_BUS": g.Read("/sys/class/i2c-dev/i2c-0/name")}
	out, err := g.Run(100*time.Second, env, "/t/"+name+".test", "-test.v", "-test.timeout=90s", "-test.run=^TestKernel")
	var lines []string
	passed := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, "--- PASS") {
			passed++
		}
		if !strings.HasPrefix(line, "===") {
			lines = append(lines, line)
		}
	}
	t.Logf("in the guest:\n%s", strings.Join(lines, ""))
	if err != nil || passed == 0 || strings.Contains("\n"+out, "\n--- SKIP") {
		t.Errorf("%d tests passed, %v", passed, err)
	}
}
