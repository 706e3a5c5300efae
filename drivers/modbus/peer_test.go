package modbus_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/modbus"
	"postern/drivers/modbus/peer"
	"postern/drivers/modbus/slave"
)

// sevens is the setting of the independent slaves: words that tell their
// addresses, bits of which each third is set, and values of every type.
func sevens() peer.Setting {
	run := func(n int, f func(i int) int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	return peer.Setting{Unit: 7, Size: 200, Tables: map[string]map[int][]int{
		"h": {0: run(100, func(i int) int { return 1000 + i }), 100: {
			0xfff6, 0x1234, // -10, BCD 1234
			0x5858, 0x4c20, 0x3100, // "XXL 1"
			0x3ff8, 0, 0, 0, // 1.5
			0xffff, 0xffff, 0xffff, 0xfffe, // -2
			0x8000,
		}},
		"i": {0: run(200, func(i int) int { return 64000 + i })},
		"d": {0: run(200, func(i int) int { return map[bool]int{true: 1}[i%3 == 0] })},
	}}
}

// names are what an independent slave says of itself; libmodbus 3.1.6 has no
// identification.
var names = map[string]map[byte]string{"pymodbus": {modbus.VendorName: "Pymodbus", modbus.ProductCode: "PM", modbus.Revision: "3.0"}}

func TestIndependentSlaveRTU(t *testing.T) {
	for name, start := range peer.Slaves() {
		t.Run(name, func(t *testing.T) {
			a, b := peer.Wire(t)
			start(t, sevens(), "rtu", a, "19200")
			cfg := busConfig(b, 19200)
			cfg.Timeout = time.Second
			c, err := modbus.Dial(cfg, quiet())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			converse(t, c, names[name])
			cfg.Timeout = 200 * time.Millisecond
			_ = c.Close()
			if c, err = modbus.Dial(cfg, quiet()); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.ReadRegisters(t.Context(), 8, modbus.Holdings, 0, 1); !errors.Is(err, drivers.ErrTimeout) {
				t.Errorf("a unit that is not there: %v", err)
			}
		})
	}
}

func TestIndependentSlaveTCP(t *testing.T) {
	for name, start := range peer.Slaves() {
		t.Run(name, func(t *testing.T) {
			port := peer.Port(t)
			start(t, sevens(), "tcp", port)
			c, err := modbus.Dial(modbus.BusConfig{Transport: "tcp", Host: "127.0.0.1:" + port, Timeout: 2 * time.Second}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			converse(t, c, names[name])
		})
	}
}

// converse uses every function of the client with an independent slave.
func converse(t *testing.T, c *modbus.Client, name map[byte]string) {
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
	if name == nil {
		// libmodbus refuses it over TCP, and gives no answer in RTU.
		if !errors.Is(err, modbus.IllegalFunction) && !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("identify: %v, %v; want an illegal function", id, err)
		}
	} else {
		check("identify", err)
		for k, want := range name {
			if id[k] != want {
				t.Errorf("identification %d is %q, want %q", k, id[k], want)
			}
		}
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
		{Name: "input", Table: "input", Address: 7, Type: "int16"},
		{Name: "badc", Address: 9, Type: "uint32", Order: "badc"},
		{Name: "cdab", Address: 9, Type: "uint32", Order: "cdab"},
		{Name: "dcba", Address: 9, Type: "uint32", Order: "dcba"},
		{Name: "negative", Address: 100, Type: "int16", Scale: "0.1"},
		{Name: "bcd", Address: 101, Type: "bcd16"},
		{Name: "text", Address: 102, Type: "string", Length: 3},
		{Name: "double", Address: 105, Type: "float64", Decimals: 3},
		{Name: "long", Address: 109, Type: "int64"},
		{Name: "none", Address: 113, Type: "int16", Invalid: "0x8000"},
		{Name: "output", Table: "coil", Address: 90, Writable: true},
		{Name: "pair", Address: 84, Type: "int32", Order: "dcba", Writable: true},
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
	if err := d.Set(t.Context(), "output", drivers.Bool(true)); err != nil {
		t.Error(err)
	}
	if err := d.Set(t.Context(), "pair", drivers.Int(-70000)); err != nil {
		t.Error(err)
	}
	got := values(t, d)
	for name, want := range map[string]string{
		"a": "100.5", "b": "66126.834", "set": "21.5", "flag": "true", "contact": "true", "input": "-1529",
		"badc": "4043567619", "cdab": "66192369", "dcba": "4060344579", "negative": "-1.0", "bcd": "1234",
		"text": "XXL 1", "double": "1.500", "long": "-2", "output": "true", "pair": "-70000",
	} {
		if s := got[name]; s.Err != nil || s.Value.String() != want {
			t.Errorf("%s: %v, %v; want %s", name, s.Value, s.Err, want)
		}
	}
	if s := got["none"]; s.Err == nil {
		t.Errorf("a raw value that means none reads %v", s.Value)
	}
	if regs, err := c.ReadRegisters(t.Context(), 7, modbus.Holdings, 84, 2); err != nil || regs[0] != 0x90ee || regs[1] != 0xfeff {
		t.Errorf("-70000 as dcba stands as %x, %v", regs, err)
	}
	if !errors.Is(got["missing"].Err, modbus.IllegalAddress) {
		t.Errorf("missing: %v", got["missing"].Err)
	}
}

// An independent master reads and writes our simulated units.
func TestIndependentMaster(t *testing.T) {
	for _, transport := range []string{"rtu", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			m := modbus.NewImage()
			m.SetRegisters(modbus.Holdings, 0, 10, 11, 12, 13)
			m.SetRegisters(modbus.Inputs, 100, 0xffff, 5)
			m.SetBits(modbus.Coils, 0, false, true, false, false)
			m.SetBits(modbus.Discretes, 0, true, false, true)
			s := slave.New(map[byte]*modbus.Image{7: m})
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			t.Cleanup(func() { cancel(); wg.Wait() })
			var master *peer.Master
			if transport == "rtu" {
				path, err := s.PTY()
				if err != nil {
					t.Skip(err)
				}
				wg.Go(func() { _ = s.Run(ctx) }) // ends with ctx
				master = peer.NewMaster(t, 7, "rtu", path, "19200")
			} else {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				wg.Go(func() {
					if c, err := l.Accept(); err == nil {
						_ = s.ServeTCP(ctx, c) // ends with ctx
					}
				})
				_, port, _ := net.SplitHostPort(l.Addr().String())
				master = peer.NewMaster(t, 7, "tcp", port)
			}
			for _, c := range []struct{ request, want string }{
				{"rh 0 4", "ok 10 11 12 13"}, {"ri 100 2", "ok 65535 5"}, {"rc 0 4", "ok 0 1 0 0"}, {"rd 0 3", "ok 1 0 1"},
				{"wr 1 4711", "ok"}, {"wrs 2 1 65535", "ok"}, {"rh 0 4", "ok 10 4711 1 65535"},
				{"wc 3 1", "ok"}, {"wcs 0 1 0 1", "ok"}, {"rc 0 4", "ok 1 0 1 1"},
				{"mask 1 0xf2 0x25", "ok"}, {"rh 1 1", "ok 103"}, // 4711 is 0x1267
				{"rw 0 0 2 21 22", "ok 21 22"},
				{"rh 3 2", "error Illegal data address"}, {"wr 9 1", "error Illegal data address"}, {"ri 0 1", "error Illegal data address"},
			} {
				if got := master.Ask(c.request); got != c.want {
					t.Errorf("%s: %q, want %q", c.request, got, c.want)
				}
			}
		})
	}
}
