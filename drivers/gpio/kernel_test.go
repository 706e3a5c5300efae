package gpio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/drivertest"
)

// simChip makes a chip of the kernel's gpio-sim module, the outside of whose
// lines is in sysfs. Without the module, root and configfs the tests on real
// kernel lines are skipped.
type simChip struct {
	t   *testing.T
	dir string // of the chip's lines in sysfs
}

const configfs = "/sys/kernel/config/gpio-sim"

func newSimChip(t *testing.T, label string) *simChip {
	t.Helper()
	if _, err := os.Stat(configfs); err != nil {
		t.Skip("no gpio-sim on this machine; these tests run in a guest that has it")
	}
	dev := filepath.Join(configfs, label)
	bank := filepath.Join(dev, "bank0")
	for _, dir := range []string{dev, bank, bank + "/line0", bank + "/line1"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := &simChip{t: t}
	c.write(bank+"/num_lines", "4")
	c.write(bank+"/label", label)
	c.write(bank+"/line0/name", "DOOR")
	c.write(bank+"/line1/name", "PUMP")
	c.write(dev+"/live", "1")
	t.Cleanup(func() {
		_ = os.WriteFile(dev+"/live", []byte("0"), 0)
		for _, dir := range []string{bank + "/line0", bank + "/line1", bank, dev} {
			_ = os.Remove(dir)
		}
	})
	c.dir = filepath.Join("/sys/devices/platform", c.read(dev+"/dev_name"), c.read(bank+"/chip_name"))
	return c
}

func (c *simChip) write(path, text string) {
	c.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		c.t.Fatal(err)
	}
}

func (c *simChip) read(path string) string {
	c.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (c *simChip) pull(offset int, l Level) {
	c.t.Helper()
	text := "pull-down"
	if l {
		text = "pull-up"
	}
	c.write(fmt.Sprintf("%s/sim_gpio%d/pull", c.dir, offset), text)
}

func (c *simChip) value(offset int) string {
	c.t.Helper()
	return c.read(fmt.Sprintf("%s/sim_gpio%d/value", c.dir, offset))
}

func mustOpen(t *testing.T, line string) Line {
	t.Helper()
	l, err := Open(line)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKernelRelay(t *testing.T) {
	c := newSimChip(t, "bench-relay")
	cfg := RelayConfig{Line: "bench-relay:PUMP", Drive: "push-pull", Safe: "off"}
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
		r, err := OpenRelay(t.Context(), mustOpen(t, cfg.Line), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}, drivertest.Options{})
	for _, activeLow := range []bool{false, true} {
		cfg.ActiveLow = activeLow
		off, on := "0", "1"
		if activeLow {
			off, on = "1", "0"
		}
		r, err := OpenRelay(t.Context(), mustOpen(t, cfg.Line), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if v := c.value(1); v != off {
			t.Errorf("active low %v: at %s after open, want %s", activeLow, v, off)
		}
		if err := r.Set(t.Context(), "state", drivers.Bool(true)); err != nil {
			t.Fatal(err)
		}
		if v := c.value(1); v != on {
			t.Errorf("active low %v: at %s when on, want %s", activeLow, v, on)
		}
		if _, err := OpenRelay(t.Context(), mustOpen(t, cfg.Line), cfg); err == nil || !strings.Contains(err.Error(), consumer) {
			t.Errorf("a line that is in use: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKernelHandover(t *testing.T) {
	c := newSimChip(t, "bench-handover")
	cfg := RelayConfig{Line: "bench-handover:1", Drive: "push-pull", Safe: "off"}
	l := mustOpen(t, cfg.Line)
	r, err := OpenRelay(t.Context(), l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Set(t.Context(), "state", drivers.Bool(true)); err != nil {
		t.Fatal(err)
	}
	f, err := l.(*cdevLine).Handover()
	if err != nil {
		t.Fatal(err)
	}
	if v := c.value(1); v != "1" {
		t.Errorf("at %s while nobody but the descriptor holds it", v)
	}
	l2, err := Adopt(cfg.Line, f)
	if err != nil {
		t.Fatal(err)
	}
	r2, err := ResumeRelay(t.Context(), l2, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, r2); got[0].Value != drivers.Bool(true) || c.value(1) != "1" {
		t.Errorf("reads %v, at %s", got[0].Value, c.value(1))
	}
	if err := r2.Set(t.Context(), "state", drivers.Bool(false)); err != nil || c.value(1) != "0" {
		t.Errorf("%v, at %s", err, c.value(1))
	}
	_ = r2.Close()
}

func TestKernelContact(t *testing.T) {
	c := newSimChip(t, "bench-contact")
	cfg := ContactConfig{Line: "bench-contact:DOOR", Bias: "as-is", Debounce: time.Millisecond}
	open := func(t *testing.T) *Contact {
		d, err := OpenContact(t.Context(), mustOpen(t, cfg.Line), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	drivertest.TestDevice(t, func(t *testing.T) drivers.Device { return open(t) }, drivertest.Options{})

	d := open(t)
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 1000)
	done := make(chan error)
	go func() {
		done <- d.Watch(ctx, func(s drivers.Sample) { seen <- s.Channel + " " + s.Value.String() })
	}()
	time.Sleep(20 * time.Millisecond)
	c.pull(0, High)
	if got := <-seen; got != "state true" {
		t.Errorf("saw %s", got)
	}
	if got := <-seen; got != "count 1" {
		t.Errorf("saw %s", got)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Watch: %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Watch does not end with its context")
	}
}

// More edges than the kernel keeps, without anybody looking, are counted. On a
// busy machine gpio-sim itself joins two edges now and then, so that one exact
// round of five is asked for; more than there were is never right.
func TestKernelCount(t *testing.T) {
	c := newSimChip(t, "bench-count")
	const pulses = 50
	for round := 1; ; round++ {
		d, err := OpenContact(t.Context(), mustOpen(t, "bench-count:DOOR"), ContactConfig{Line: "bench-count:DOOR", Bias: "as-is"})
		if err != nil {
			t.Fatal(err)
		}
		for range pulses {
			c.pull(0, High)
			time.Sleep(5 * time.Millisecond)
			c.pull(0, Low)
			time.Sleep(5 * time.Millisecond)
		}
		got := read(t, d)
		_ = d.Close()
		n, _ := got[1].Value.Int()
		if n == pulses && got[0].Value == drivers.Bool(false) {
			return
		}
		if n > pulses || round == 5 {
			t.Fatalf("round %d: state %v, count %v; want false, %d", round, got[0].Value, got[1].Value, pulses)
		}
	}
}

func TestKernelNames(t *testing.T) {
	newSimChip(t, "bench-names")
	lines, err := List()
	if err != nil {
		t.Error(err)
	}
	found := 0
	for _, l := range lines {
		if l.Ref.String() == "bench-names:DOOR" || l.Ref.String() == "bench-names:3" {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%+v", lines)
	}
	for _, name := range []string{"bench-names:NONE", "bench-names:4", "other:0"} {
		if l, err := Open(name); err == nil {
			t.Errorf("%s: %v", name, l)
		}
	}
	if _, err := Open("other:0"); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a chip that is not there: %v", err)
	}
}
