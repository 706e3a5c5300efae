package pwm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
)

var config = Config{Chip: "fe20c000.pwm", Period: 40 * time.Microsecond, Safe: "30", Smallest: "20", Largest: "100"}

// tree makes files as the kernel's of a chip whose channel 0 is exported.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	chip := filepath.Join(root, "sys/devices/platform/fe20c000.pwm/pwm/pwmchip0")
	for _, dir := range []string{chip + "/pwm0", filepath.Join(root, "sys/class/pwm")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for f, s := range map[string]string{"duty_cycle": "0", "period": "0", "polarity": "normal", "enable": "0"} {
		if err := os.WriteFile(filepath.Join(chip, "pwm0", f), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		chip + "/device": filepath.Join(root, "sys/devices/platform/fe20c000.pwm"),
		filepath.Join(root, "sys/class/pwm/pwmchip0"): chip,
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// file reads a file of the channel.
func file(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "sys/class/pwm/pwmchip0/pwm0", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDevice(t *testing.T) {
	var root string
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		root = tree(t)
		d, err := open(&sysfs{root: root}, config)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, drivertest.Options{
		Settable: map[string]drivers.Value{"duty": drivers.Decimal(drivers.Num(455, -1))},
		Break: func(broken bool) {
			dir := filepath.Join(root, "sys/class/pwm")
			if broken {
				_ = os.Rename(dir, dir+".away")
			} else {
				_ = os.Rename(dir+".away", dir)
			}
		},
	})
}

func TestSafeDuty(t *testing.T) {
	root := tree(t)
	d, err := open(&sysfs{root: root}, config)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, duty string) {
		t.Helper()
		if got := file(t, root, "duty_cycle"); got != duty {
			t.Errorf("%s: %s ns on, want %s", what, got, duty)
		}
	}
	check("after open", "12000")
	if file(t, root, "period") != "40000" || file(t, root, "enable") != "1" {
		t.Errorf("period %s, enable %s", file(t, root, "period"), file(t, root, "enable"))
	}
	if err := d.Set(t.Context(), "duty", drivers.Int(75)); err != nil {
		t.Fatal(err)
	}
	check("at 75 %", "30000")
	for _, n := range []drivers.Number{drivers.Num(10, 0), drivers.Num(101, 0), drivers.Num(-1, 0), drivers.Num(50001, -3)} {
		if err := d.Set(t.Context(), "duty", drivers.Decimal(n)); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s %%: %v", n, err)
		}
	}
	if err := d.Set(t.Context(), "duty", drivers.Int(0)); err != nil {
		t.Errorf("off: %v", err)
	}
	check("off", "0")
	if err := write(filepath.Join(root, "sys/class/pwm/pwmchip0/pwm0/duty_cycle"), "40000"); err != nil {
		t.Fatal(err)
	}
	got, err := d.Read(t.Context(), nil)
	if err != nil || !errors.Is(got[0].Err, drivers.ErrProtocol) {
		t.Errorf("another program moved it: %v, %v", got, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check("after close", "12000")
}

func TestOpenFailures(t *testing.T) {
	root := tree(t)
	cfg := config
	cfg.Chip = "other.pwm"
	if _, err := open(&sysfs{root: root}, cfg); !errors.Is(err, drivers.ErrGone) || !strings.Contains(err.Error(), "fe20c000.pwm") {
		t.Errorf("another chip: %v", err)
	}
	if _, err := open(&sysfs{root: t.TempDir()}, config); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("no chip: %v", err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Safe = "10" }, func(c *Config) { c.Largest = "101" }, func(c *Config) { c.Chip = "../x" },
		func(c *Config) { c.Period = 0 }, func(c *Config) { c.Smallest = "x" }, func(c *Config) { c.Largest = "10" },
	} {
		cfg := config
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// A simulated channel holds its duty, and is safe when it is opened again.
func TestSimulatedChannel(t *testing.T) {
	s := new(Sim)
	if got := s.Duty(); got != "0.00" {
		t.Error(got)
	}
	for range 2 {
		d, err := OpenSim(s, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Duty(); got != "30.00" {
			t.Errorf("after open %s", got)
		}
		if err := d.Set(t.Context(), "duty", drivers.Int(75)); err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(t.Context(), nil)
		if err != nil || got[0].Value.String() != "75.00" || s.Duty() != "75.00" {
			t.Errorf("%v, %v, %s", got, err, s.Duty())
		}
	}
}
