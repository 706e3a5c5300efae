package modbus_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"postern/drivers"
	"postern/drivers/modbus"
)

// python is Debian's, which has python3-pymodbus; another one in PATH may not.
const python = "/usr/bin/python3"

// pymodbus starts the independent slave. Without it the test is skipped, or
// fails when REQUIRE_PEERS is 1.
func pymodbus(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import pymodbus, serial_asyncio").CombinedOutput(); err != nil {
		if os.Getenv("REQUIRE_PEERS") == "1" {
			t.Fatalf("python3-pymodbus is missing: %v\n%s", err, out)
		}
		t.Skip("python3-pymodbus is missing; install python3-pymodbus and python3-serial-asyncio")
	}
	cmd := exec.Command(python, append([]string{"testdata/pymodbus_slave.py"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		stop := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		stop.Stop()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("pymodbus said %q, %v", line, err)
	}
}

// wire connects two pseudo terminals and returns their paths.
func wire(t *testing.T) (a, b string) {
	t.Helper()
	var far [2]*os.File
	var name [2]string
	for i := range far {
		m, s, err := pty.Open()
		if err != nil {
			t.Skipf("no pty on this machine: %v", err)
		}
		if _, err := term.MakeRaw(int(s.Fd())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		far[i], name[i] = m, s.Name()
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far[0], far[1]) })
	wg.Go(func() { _, _ = io.Copy(far[1], far[0]) })
	t.Cleanup(func() {
		// The copies end when the near ends are closed; both are opened here
		// and by their users, which are gone by now.
		for _, f := range far {
			_ = f.Close()
		}
	})
	return name[0], name[1]
}

func TestPymodbusRTU(t *testing.T) {
	a, b := wire(t)
	pymodbus(t, "rtu", a, "19200")
	cfg := busConfig(b, 19200)
	cfg.Timeout = 2 * time.Second
	c, err := modbus.Dial(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	converse(t, c)
	cfg.Timeout = 200 * time.Millisecond
	c.Close()
	if c, err = modbus.Dial(cfg, quiet()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ReadRegisters(t.Context(), 8, modbus.Holdings, 0, 1); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("a unit that is not there: %v", err)
	}
}

func TestPymodbusTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	pymodbus(t, "tcp", strconv.Itoa(port))
	c, err := modbus.Dial(modbus.BusConfig{Transport: "tcp", Host: "127.0.0.1:" + strconv.Itoa(port), Timeout: 2 * time.Second}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	converse(t, c)
}

// converse uses every function of the client with an independent slave.
func converse(t *testing.T, c *modbus.Client) {
	const unit = 7
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	regs, err := c.ReadRegisters(ctx, unit, modbus.Holdings, 10, 3)
	check("read holdings", err)
	if len(regs) == 3 && (regs[0] != 1010 || regs[2] != 1012) {
		t.Errorf("holdings %v", regs)
	}
	regs, err = c.ReadRegisters(ctx, unit, modbus.Inputs, 0, 125)
	check("read 125 inputs", err)
	if len(regs) == 125 && regs[124] != 64124 {
		t.Errorf("inputs end with %d", regs[124])
	}
	bits, err := c.ReadBits(ctx, unit, modbus.Discretes, 0, 11)
	check("read discretes", err)
	for i, b := range bits {
		if b != (i%3 == 0) {
			t.Errorf("discrete %d reads %v", i, b)
		}
	}
	check("write coil", c.WriteCoil(ctx, unit, 3, true))
	check("write coils", c.WriteCoils(ctx, unit, 10, []bool{true, false, true, true, false, false, true, false, true, true}))
	bits, err = c.ReadBits(ctx, unit, modbus.Coils, 3, 17)
	check("read coils", err)
	want := "10000001011001011"
	got := ""
	for _, b := range bits {
		got += map[bool]string{true: "1", false: "0"}[b]
	}
	if got != want {
		t.Errorf("coils %s, want %s", got, want)
	}
	check("write register", c.WriteRegister(ctx, unit, 50, 0xbeef))
	check("write registers", c.WriteRegisters(ctx, unit, 51, []uint16{1, 2, 0xffff}))
	regs, err = c.ReadRegisters(ctx, unit, modbus.Holdings, 50, 4)
	check("read back", err)
	if len(regs) == 4 && (regs[0] != 0xbeef || regs[1] != 1 || regs[3] != 0xffff) {
		t.Errorf("read back %x", regs)
	}
	check("write register", c.WriteRegister(ctx, unit, 60, 0x0012))
	check("mask write", c.MaskWrite(ctx, unit, 60, 0x00f2, 0x0025)) // the standard's example, 6.16
	regs, err = c.ReadRegisters(ctx, unit, modbus.Holdings, 60, 1)
	check("read masked", err)
	if len(regs) == 1 && regs[0] != 0x0017 {
		t.Errorf("masked register reads 0x%04x, the standard says 0x0017", regs[0])
	}
	regs, err = c.ReadWriteRegisters(ctx, unit, 70, 2, 71, []uint16{42})
	check("read and write", err)
	if len(regs) == 2 && (regs[0] != 1070 || regs[1] != 42) {
		t.Errorf("read and write gives %v", regs)
	}
	id, err := c.Identify(ctx, unit)
	check("identify", err)
	if id[modbus.VendorName] != "Pymodbus" || id[modbus.ProductCode] != "PM" || id[modbus.Revision] != "3.0" {
		t.Errorf("identification %v", id)
	}
	if _, err := c.ReadRegisters(ctx, unit, modbus.Holdings, 500, 1); !errors.Is(err, modbus.IllegalAddress) {
		t.Errorf("an address that is not there: %v", err)
	}
	device(t, c)
}

// device reads and sets the unit by a register list.
func device(t *testing.T, c *modbus.Client) {
	d := open(t, c, modbus.Config{Unit: 7, MaxHole: 10, Registers: []modbus.Register{
		{Name: "a", Address: 5, Scale: "0.1", Unit: "V"},
		{Name: "b", Address: 9, Type: "uint32", Scale: "0.001"},
		{Name: "set", Address: 80, Type: "float32", Order: "cdab", Decimals: -1, Writable: true, Min: "0", Max: "100"},
		{Name: "flag", Address: 82, Bits: "4", Writable: true},
		{Name: "contact", Table: "discrete", Address: 3},
		{Name: "missing", Address: 900},
	}})
	if err := d.Set(t.Context(), "set", drivers.Decimal(drivers.Num(215, -1))); err != nil {
		t.Error(err)
	}
	if err := d.Set(t.Context(), "flag", drivers.Bool(false)); err != nil {
		t.Error(err)
	}
	if err := d.Set(t.Context(), "flag", drivers.Bool(true)); err != nil {
		t.Error(err)
	}
	got := values(t, d)
	for name, want := range map[string]string{"a": "100.5", "b": "66126.834", "set": "21.5", "flag": "true", "contact": "true"} {
		if s := got[name]; s.Err != nil || s.Value.String() != want {
			t.Errorf("%s: %v, %v; want %s", name, s.Value, s.Err, want)
		}
	}
	if !errors.Is(got["missing"].Err, modbus.IllegalAddress) {
		t.Errorf("missing: %v", got["missing"].Err)
	}
}
