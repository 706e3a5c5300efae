package modbus_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
	"postern/drivers/serial"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func busConfig(port string, baud int) modbus.BusConfig {
	return modbus.BusConfig{
		Transport: "rtu", Timeout: 100 * time.Millisecond, Retries: 1,
		Serial: serial.Config{Port: port, Baud: baud, DataBits: 8, Parity: "even", StopBits: "1"},
	}
}

// meter is a three-phase meter with something of everything.
var meter = modbus.Config{Bus: "field", Unit: 1, MaxHole: 4, Registers: []modbus.Register{
	{Name: "voltage-l1", Table: "input", Address: 0, Scale: "0.1", Unit: "V"},
	{Name: "voltage-l2", Table: "input", Address: 1, Scale: "0.1", Unit: "V"},
	{Name: "current-l1", Table: "input", Address: 4, Type: "int32", Order: "cdab", Scale: "0.001", Unit: "A"},
	{Name: "power", Table: "input", Address: 12, Type: "float32", Decimals: 1, Unit: "W"},
	{Name: "energy", Table: "input", Address: 14, Type: "uint32", Scale: "0.01", Unit: "kWh"},
	{Name: "model", Address: 100, Type: "string", Length: 4, Decimals: -1},
	{Name: "limit", Address: 10, Scale: "0.5", Unit: "A", Writable: true, Min: "0", Max: "63"},
	{Name: "mode", Address: 11, Values: []modbus.EnumValue{{Raw: 0, Name: "off"}, {Raw: 1, Name: "auto"}, {Raw: 2, Name: "manual"}}, Writable: true},
	{Name: "tariff", Address: 12, Bits: "4-7", Writable: true},
	{Name: "setpoint", Address: 13, Type: "float32", Order: "cdab", Decimals: 2, Unit: "°C", Writable: true, Min: "5", Max: "30"},
	{Name: "alarm", Table: "discrete", Address: 3},
	{Name: "contactor", Table: "coil", Address: 0, Writable: true},
}}

// onPTY starts a server on a pty and a client that opens it.
func onPTY(t testing.TB, s *slave.Server, change func(*modbus.BusConfig)) *modbus.Client {
	t.Helper()
	path, err := s.PTY()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("slave: %v", err)
		}
	})
	cfg := busConfig(path, 115200)
	if change != nil {
		change(&cfg)
	}
	c, err := modbus.Dial(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func open(t testing.TB, c *modbus.Client, cfg modbus.Config) *modbus.Device {
	t.Helper()
	d, err := modbus.Open(context.Background(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMeterOnPTY(t *testing.T) {
	var s *slave.Server
	open := func(t *testing.T) drivers.Device {
		s = slave.New(map[byte]*modbus.Image{1: modbus.Simulate(meter)})
		return open(t, onPTY(t, s, nil), meter)
	}
	for name, fault := range map[string]slave.Fault{"silent": slave.Silent, "bad checksum": slave.BadCRC, "cut short": slave.CutShort} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestDevice(t, open, drivertest.Options{
				Break: func(broken bool) {
					s.SetFault(1, slave.Healthy)
					if broken {
						s.SetFault(1, fault)
					}
				},
				Slow: func() { s.SetFault(1, slave.Silent) },
				Settable: map[string]drivers.Value{
					"limit": drivers.Decimal(drivers.Num(165, -1)), "tariff": drivers.Int(9),
					"setpoint": drivers.Decimal(drivers.Num(2150, -2)), "mode": drivers.Enum("manual"),
				},
			})
		})
	}
}

func values(t testing.TB, d drivers.Device) map[string]drivers.Sample {
	t.Helper()
	got, err := d.Read(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]drivers.Sample{}
	for _, s := range got {
		m[s.Channel] = s
	}
	return m
}

func TestNoiseAndStrangersDoNotHurt(t *testing.T) {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 2301)
	s := slave.New(map[byte]*modbus.Image{1: m})
	d := open(t, onPTY(t, s, nil), modbus.Config{Unit: 1, Registers: []modbus.Register{{Name: "v", Scale: "0.1"}}})
	for _, f := range []slave.Fault{slave.Noisy, slave.Stranger} {
		s.SetFault(1, f)
		for range 3 {
			if got := values(t, d)["v"]; got.Value.String() != "230.1" {
				t.Errorf("fault %d: %v, %v", f, got.Value, got.Err)
			}
		}
	}
}

// A late answer must not be taken for the answer to the next request, which
// has the same unit, function and length.
func TestLateAnswerIsNotTheNextOne(t *testing.T) {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 111)
	m.SetRegisters(modbus.Holdings, 500, 222)
	s := slave.New(map[byte]*modbus.Image{1: m})
	s.Lateness = 150 * time.Millisecond
	c := onPTY(t, s, func(b *modbus.BusConfig) { b.Retries = 0 })
	s.SetFault(1, slave.Late)
	ctx := context.Background()
	if regs, err := c.ReadRegisters(ctx, 1, modbus.Holdings, 0, 1); !errors.Is(err, drivers.ErrTimeout) {
		t.Fatalf("%v, %v; want a time-out", regs, err)
	}
	s.SetFault(1, slave.Healthy)
	if regs, err := c.ReadRegisters(ctx, 1, modbus.Holdings, 500, 1); err != nil || regs[0] != 222 {
		t.Errorf("%v, %v; want 222", regs, err)
	}
}

func TestUnusedRegistersThatCannotBeRead(t *testing.T) {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 1)
	m.SetRegisters(modbus.Holdings, 3, 4)
	s := slave.New(map[byte]*modbus.Image{1: m})
	d := open(t, onPTY(t, s, nil), modbus.Config{Unit: 1, MaxHole: 8, Registers: []modbus.Register{
		{Name: "a"}, {Name: "b", Address: 3}, {Name: "missing", Address: 7},
	}})
	if n := len(d.Plan()); n != 1 {
		t.Fatalf("%d requests planned, want 1", n)
	}
	got := values(t, d)
	if got["a"].Value != drivers.Int(1) || got["b"].Value != drivers.Int(4) {
		t.Errorf("a %v, b %v", got["a"], got["b"])
	}
	if !errors.Is(got["missing"].Err, modbus.IllegalAddress) {
		t.Errorf("missing: %v", got["missing"].Err)
	}
	if n := len(d.Plan()); n != 3 {
		t.Errorf("%d requests planned after the refusal, want 3", n)
	}
	before := s.Requests()
	values(t, d)
	if n := s.Requests() - before; n != 3 {
		t.Errorf("%d requests, want 3: the plan was not kept", n)
	}
}

func TestBitFieldLeavesTheRestAlone(t *testing.T) {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 0xa5f0)
	s := slave.New(map[byte]*modbus.Image{1: m})
	d := open(t, onPTY(t, s, nil), modbus.Config{Unit: 1, Registers: []modbus.Register{
		{Name: "flag", Bits: "0", Writable: true}, {Name: "field", Bits: "4-7", Writable: true},
	}})
	for _, step := range []struct {
		channel string
		v       drivers.Value
		want    uint16
	}{
		{"flag", drivers.Bool(true), 0xa5f1}, {"field", drivers.Int(3), 0xa531}, {"flag", drivers.Bool(false), 0xa530},
	} {
		if err := d.Set(context.Background(), step.channel, step.v); err != nil {
			t.Fatal(err)
		}
		if regs, _ := m.Registers(modbus.Holdings, 0, 1); regs[0] != step.want {
			t.Errorf("%s %v: 0x%04x, want 0x%04x", step.channel, step.v, regs[0], step.want)
		}
	}
}

// Three of ten units are dead; the others keep their interval within 10 % of
// what they have when the dead ones are not asked at all. A busy machine
// disturbs both runs, so that one good comparison of three counts.
func TestDeadUnitsDoNotHoldUpTheOthers(t *testing.T) {
	dead := map[byte]bool{3: true, 6: true, 9: true}
	units := map[byte]*modbus.Image{}
	reg := modbus.Config{Registers: []modbus.Register{{Name: "v"}}}
	for u := byte(1); u <= 10; u++ {
		units[u] = modbus.Simulate(reg)
	}
	s := slave.New(units)
	s.Baud = 19200
	c := onPTY(t, s, func(b *modbus.BusConfig) { b.Serial.Baud = 19200 })
	healthy, everybody := map[byte]*modbus.Device{}, map[byte]*modbus.Device{}
	for u := range units {
		cfg := reg
		cfg.Unit = int(u)
		everybody[u] = open(t, c, cfg)
		if dead[u] {
			s.SetFault(u, slave.Silent)
			for range 3 { // until its breaker is open
				_, _ = everybody[u].Read(t.Context(), nil)
			}
		} else {
			healthy[u] = everybody[u]
		}
	}
	for try := range 3 {
		without, with := poll(t, healthy), poll(t, everybody)
		good := true
		for u := range units {
			good = good && (dead[u] && with[u] == 0 || !dead[u] && 10*with[u] >= 9*without[u])
		}
		t.Logf("readings without the dead units %v, with them %v", without, with)
		if good {
			return
		}
		if try == 2 {
			t.Error("dead units take more than 10 % from the others")
		}
	}
}

// poll reads each device every 250 ms for 5 s and returns how often it could.
func poll(t *testing.T, devices map[byte]*modbus.Device) map[byte]int {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[byte]int{}
	for u, d := range devices {
		wg.Go(func() {
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for {
				if _, err := d.Read(ctx, nil); err == nil {
					mu.Lock()
					count[u]++
					mu.Unlock()
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
	return count
}

func TestBreakerClosesAgain(t *testing.T) {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 1)
	s := slave.New(map[byte]*modbus.Image{1: m})
	c := onPTY(t, s, func(b *modbus.BusConfig) { b.Timeout = 20 * time.Millisecond; b.Retries = 0 })
	s.SetFault(1, slave.Silent)
	ctx := t.Context()
	for range 3 {
		_, _ = c.ReadRegisters(ctx, 1, modbus.Holdings, 0, 1)
	}
	n := s.Requests()
	start := time.Now()
	_, err := c.ReadRegisters(ctx, 1, modbus.Holdings, 0, 1)
	if !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(err.Error(), "asked again") {
		t.Errorf("open breaker: %v", err)
	}
	if time.Since(start) > 10*time.Millisecond || s.Requests() != n {
		t.Errorf("an open breaker took %v and %d requests", time.Since(start), s.Requests()-n)
	}
	s.SetFault(1, slave.Healthy)
	for start = time.Now(); time.Since(start) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
		if _, err = c.ReadRegisters(ctx, 1, modbus.Holdings, 0, 1); err == nil {
			return
		}
	}
	t.Errorf("the breaker stays open: %v", err)
}

func TestCloseEndsARunningRequest(t *testing.T) {
	s := slave.New(map[byte]*modbus.Image{1: modbus.NewImage()})
	s.SetFault(1, slave.Silent)
	c := onPTY(t, s, func(b *modbus.BusConfig) { b.Timeout = 20 * time.Second })
	done := make(chan error, 1)
	go func() {
		_, err := c.ReadRegisters(context.Background(), 1, modbus.Holdings, 0, 1)
		done <- err
	}()
	time.Sleep(30 * time.Millisecond)
	start := time.Now()
	_ = c.Close()
	if err := <-done; !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

// A far end that takes nothing fills the kernel's buffer; requests still end.
func TestFarEndTakesNothing(t *testing.T) {
	far, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pty on this machine: %v", err)
	}
	defer far.Close()
	defer tty.Close()
	cfg := busConfig(tty.Name(), 115200)
	cfg.Timeout, cfg.Retries = 2*time.Millisecond, 0
	c, err := modbus.Dial(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for unit := byte(1); unit <= 100; unit++ {
			if err := c.WriteRegisters(t.Context(), unit, 0, make([]uint16, 123)); !errors.Is(err, drivers.ErrTimeout) {
				t.Errorf("unit %d: %v", unit, err)
				return
			}
		}
	}()
	select {
	case <-done:
		_ = c.Close()
	case <-time.After(20 * time.Second):
		t.Fatal("a request does not end")
	}
}

func TestUnitAddressesOfASerialLine(t *testing.T) {
	c := onPTY(t, slave.New(nil), nil)
	for _, u := range []int{0, 248, 255, -1, 256} {
		if _, err := modbus.Open(t.Context(), c, modbus.Config{Unit: u, Registers: []modbus.Register{{Name: "x"}}}); err == nil {
			t.Errorf("unit %d was accepted", u)
		}
	}
}

func TestIdentify(t *testing.T) {
	c := onPTY(t, slave.New(map[byte]*modbus.Image{1: modbus.NewImage()}), nil)
	id, err := c.Identify(t.Context(), 1)
	if err != nil || id[modbus.VendorName] != "Postern" || id[modbus.Revision] != "1" {
		t.Errorf("%v, %v", id, err)
	}
}

func TestTCP(t *testing.T) {
	for _, transport := range []string{"tcp", "rtu-over-tcp"} {
		t.Run(transport, func(t *testing.T) {
			s := slave.New(map[byte]*modbus.Image{1: modbus.Simulate(meter)})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
			drop := make(chan struct{}, 1)
			wg.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					cctx, ccancel := context.WithCancel(ctx)
					wg.Go(func() {
						if transport == "tcp" {
							_ = s.ServeTCP(cctx, conn)
						} else {
							_ = s.ServeRTU(cctx, conn)
						}
					})
					wg.Go(func() {
						select {
						case <-drop:
						case <-ctx.Done():
						}
						ccancel()
					})
				}
			})
			c, err := modbus.Dial(modbus.BusConfig{Transport: transport, Host: l.Addr().String(), Timeout: 100 * time.Millisecond, Retries: 1}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device { return open(t, c, meter) }, drivertest.Options{
				Settable: map[string]drivers.Value{"setpoint": drivers.Decimal(drivers.Num(2150, -2))},
			})
			d := open(t, c, meter)
			values(t, d)
			drop <- struct{}{} // the other end hangs up
			time.Sleep(20 * time.Millisecond)
			var got []drivers.Sample
			for start := time.Now(); time.Since(start) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
				if got, err = d.Read(t.Context(), nil); err == nil {
					break
				}
				if !errors.Is(err, drivers.ErrGone) {
					t.Errorf("after hanging up: %v", err)
				}
			}
			if err != nil || len(got) == 0 {
				t.Errorf("no new connection: %v", err)
			}
			s.Lateness = 150 * time.Millisecond
			s.SetFault(1, slave.Late)
			if _, err := d.Read(t.Context(), nil); transport == "tcp" && !errors.Is(err, drivers.ErrTimeout) {
				t.Errorf("late: %v", err)
			}
			s.SetFault(1, slave.Healthy)
			time.Sleep(100 * time.Millisecond)
			if transport == "tcp" {
				if got := values(t, d); got["voltage-l1"].Err != nil {
					t.Errorf("after late answers: %v", got["voltage-l1"].Err)
				}
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	c, err := modbus.Dial(modbus.BusConfig{Transport: "tcp", Host: addr, Timeout: 50 * time.Millisecond}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.ReadRegisters(t.Context(), 1, modbus.Holdings, 0, 1); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%v, want ErrGone", err)
		}
	}
	_ = c.Close()
	if _, err := c.ReadRegisters(t.Context(), 1, modbus.Holdings, 0, 1); !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestBusConfigRefused(t *testing.T) {
	for _, c := range []modbus.BusConfig{
		{Transport: "ascii", Timeout: 1}, {Transport: "tcp", Timeout: 1}, {Transport: "tcp", Host: "1.2.3.4", Timeout: 1},
		{Transport: "rtu", Timeout: 1}, {Transport: "tcp", Host: "127.0.0.1:502"},
	} {
		if _, err := modbus.Dial(c, quiet()); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
