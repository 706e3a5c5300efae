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

// TestHIL runs the drivers' tests on a real kernel's buses, and lets its
// watchdog bite at the end.
func TestHIL(t *testing.T) {
	g := Boot(t, Options{
		Modules: []string{"gpio-sim", "i2c-dev", "i2c-virtio", "i6300esb", "dummy_hcd", "usb_f_acm", "cdc-acm", "bluetooth", "hci_vhci"},
		Packages: map[string]string{
			"/bin/feeder":  "postern/board/hil/feeder",
			"/t/gpio.test": "test:postern/drivers/gpio", "/t/i2c.test": "test:postern/drivers/i2c",
			"/t/serial.test": "test:postern/drivers/serial", "/t/ble.test": "test:postern/drivers/ble",
		},
		Chips:   chips(),
		Devices: []string{"-device", "i6300esb", "-action", "watchdog=reset"},
	})
	for _, name := range []string{"gpio", "i2c", "serial", "ble"} {
		t.Run(name, func(t *testing.T) { runTests(t, g, name) })
	}
	t.Run("watchdog", func(t *testing.T) { bite(t, g) })
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

// bite lets the hardware watchdog be fed for longer than it waits, and then
// starved: the guest has to live through the first and be reset by the second,
// which ends QEMU.
func bite(t *testing.T, g *Guest) {
	g.Start("/bin/feeder")
	eventually(t, g, 20*time.Second, "feeder: starving it now")
	if g.Ended() || g.Saw("WATCHDOG") {
		t.Fatal("the watchdog bit while it was fed")
	}
	begin := time.Now()
	select {
	case <-g.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the guest lives on although nobody feeds its watchdog")
	}
	if !g.Saw("WATCHDOG") {
		t.Errorf("the guest ended, but not by its watchdog:\n%s", g.log.tail(20))
	}
	t.Logf("reset %.1f s after the last feeding", time.Since(begin).Seconds())
}

// eventually waits for a text on the guest's console.
func eventually(t *testing.T, g *Guest, limit time.Duration, text string) {
	t.Helper()
	for begin := time.Now(); !strings.Contains(g.Console(), text); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > limit || g.Ended() {
			t.Fatalf("no %q on the console:\n%s", text, g.log.tail(30))
		}
	}
}
