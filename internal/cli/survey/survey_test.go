package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/board"
	"postern/drivers"
	"postern/drivers/ads1115"
	"postern/drivers/bme280"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/mcp9808"
	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
	"postern/drivers/sht3x"
	"postern/internal/config"
	"postern/internal/gateway"
)

// checked fails unless postern check accepts the snippet, and returns the
// nodes it has.
func checked(t *testing.T, r *Report) []config.Node {
	t.Helper()
	s := r.Snippet()
	cfg, ps := config.Parse("snippet.yaml", []byte(Account+s), gateway.Kinds())
	if err := ps.Err(); err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return cfg.Nodes
}

type simBus struct{ *i2c.Sim }

// Close leaves the chips for the next scan.
func (simBus) Close() error { return nil }

func TestI2CFindsAndWritesDown(t *testing.T) {
	sim := i2c.NewSim("7")
	sim.Attach(0x18, mcp9808.Simulate(mcp9808.Config{}))
	sim.Attach(0x44, sht3x.Simulate(sht3x.Config{}))
	sim.Attach(0x48, ads1115.Simulate(ads1115.Config{}))
	sim.Attach(0x76, bme280.Simulate(bme280.Config{}))
	root := fstest.MapFS{
		"sys/class/i2c-dev/i2c-7/name":        {Data: []byte("sim\n")},
		"sys/bus/i2c/devices/7-0050/driver":   {Mode: fs.ModeSymlink, Data: []byte("../../drivers/at24")},
		"sys/bus/i2c/devices/7-0018/unrelate": {Data: []byte("x")},
	}
	steps := 0
	o := I2COptions{
		Open:     func(name string) (i2c.BusCloser, error) { return simBus{sim}, nil },
		Progress: func(string, int) { steps++ },
	}
	r, err := I2C(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Where+" "+f.Kind())
	}
	if s := strings.Join(got, ", "); s != "0x18 mcp9808, 0x44 sht3x, 0x48 tmp102, 0x50 , 0x76 bme280" {
		t.Errorf("found %s", s)
	}
	nodes := checked(t, r)
	// What is only guessed by its address is a remark.
	if len(nodes) != 3 || nodes[0].Kind != "mcp9808" || nodes[2].ID != "bme280-76" || nodes[2].Bus != "7" {
		t.Errorf("nodes %+v", nodes)
	}
	if steps != 0x70 {
		t.Errorf("progress was told %d times", steps)
	}
	o.Deep = true
	if r, err = I2C(t.Context(), root, o); err != nil {
		t.Fatal(err)
	}
	if nodes := checked(t, r); len(nodes) != 4 || nodes[2].Kind != "ads1115" {
		t.Errorf("deep: nodes %+v", nodes)
	}
	o.Open = func(string) (i2c.BusCloser, error) { return nil, fmt.Errorf("open: %w", fs.ErrPermission) }
	if _, err := I2C(t.Context(), root, o); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a bus that may not be opened: %v", err)
	}
	if r, err := I2C(t.Context(), fstest.MapFS{}, o); err != nil || len(r.Notes) != 1 {
		t.Errorf("no bus: %+v, %v", r, err)
	}
}

// Every kind that a scan of I2C can name gives a node that is accepted at each
// address where it may be, as a node and as a remark.
func TestEveryChipsSnippetIsAccepted(t *testing.T) {
	n := 0
	for _, k := range gateway.Kinds().Devices {
		if k.Bus != "i2c" {
			continue
		}
		for addr := 0x08; addr <= 0x77; addr++ {
			sure := i2cFinding("1", i2c.Found{Addr: addr, Guess: []i2c.Guess{{Kind: k.Name, Chip: "x", Confidence: 95}}})
			if _, ps := config.Parse("s", []byte(Account+(&Report{Findings: []Finding{sure}}).Snippet()), gateway.Kinds()); ps.Err() != nil {
				continue // the chip is never there
			}
			n++
			vague := i2cFinding("1", i2c.Found{Addr: addr, Guess: []i2c.Guess{{Kind: k.Name, Chip: "x", Confidence: 30}}})
			checked(t, &Report{Findings: []Finding{vague}})
			if nodes := checked(t, &Report{Findings: []Finding{sure, vague, sure}[:1]}); len(nodes) != 1 || nodes[0].Kind != k.Name {
				t.Errorf("%s at 0x%02x: %+v", k.Name, addr, nodes)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d pairs of chip and address were accepted", n)
	}
}

func TestModbusFindsUnits(t *testing.T) {
	image := func() *modbus.Image {
		return modbus.Simulate(modbus.Config{Registers: []modbus.Register{{Name: "v", Table: "holding"}}})
	}
	srv := slave.New(map[byte]*modbus.Image{3: image(), 5: image()})
	port, err := srv.PTY()
	if err != nil {
		t.Skip(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(t.Context()) }()
	var last int
	r, err := Modbus(t.Context(), ModbusOptions{
		Port: port, Bauds: []int{9600, 19200}, Parities: []string{"none"}, From: 1, To: 6, Timeout: 50 * time.Millisecond,
		Progress: func(asked, all int, speed string) {
			if last = asked; all != 12 || !strings.Contains(speed, "Bd") {
				t.Errorf("progress %d of %d at %s", asked, all, speed)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != 5 { // the second speed is not tried once units answered
		t.Errorf("asked %d", last)
	}
	nodes := checked(t, r)
	if len(nodes) != 2 || nodes[0].ID != "modbus-unit-3" || nodes[1].ID != "modbus-unit-5" || nodes[0].Bus != "line" {
		t.Errorf("nodes %+v\n%s", nodes, r.Snippet())
	}
}

func TestModbusUnitsAreHostile(t *testing.T) {
	u := modbus.FoundUnit{Unit: 1, ID: modbus.Identification{
		modbus.VendorName: "Evil\x1b[2J\": \n- id: x", modbus.ProductCode: "\xff\xfe#{}", modbus.Revision: " ",
	}}
	r := &Report{Findings: []Finding{modbusFinding(modbus.BusConfig{Transport: "tcp", Host: "192.0.2.10:502"}, u)}}
	nodes := checked(t, r)
	if len(nodes) != 1 || strings.ContainsAny(r.Snippet(), "\x1b") {
		t.Errorf("%+v\n%s", nodes, r.Snippet())
	}
}

func TestOneWire(t *testing.T) {
	dir := func(name string) string { return "sys/bus/w1/devices/" + name + "/name" }
	r, err := OneWire(fstest.MapFS{
		dir("28-0316a2795aff"): {}, dir("10-000802b4f1c3"): {}, dir("w1_bus_master1"): {}, dir("00-400000000000"): {},
	})
	if err != nil || len(r.Findings) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if nodes := checked(t, r); len(nodes) != 1 || nodes[0].Kind != "ds18b20" {
		t.Errorf("nodes %+v", nodes)
	}
	if _, err := OneWire(fstest.MapFS{}); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("no bus: %v", err)
	}
}

func TestSerial(t *testing.T) {
	r := Serial(fstest.MapFS{
		"dev/serial/by-id/usb-u-blox_AG_GNSS-if00":             {Mode: fs.ModeSymlink, Data: []byte("../../ttyACM0")},
		"dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0": {Mode: fs.ModeSymlink, Data: []byte("../../ttyUSB0")},
		"sys/class/tty/ttyUSB1/device/x":                       {},
		"sys/class/tty/ttyS0/device/x":                         {}, "sys/class/tty/ttyS0/type": {Data: []byte("4\n")},
	})
	if len(r.Findings) != 4 {
		t.Fatalf("%+v", r.Findings)
	}
	if nodes := checked(t, r); len(nodes) != 1 || nodes[0].Kind != "nmea" {
		t.Errorf("nodes %+v", nodes)
	}
	for _, f := range r.Findings {
		if f.Where == "/dev/ttyUSB1" && !strings.Contains(f.Detail, "can change") {
			t.Errorf("no warning for a number: %+v", f)
		}
	}
}

func TestGPIO(t *testing.T) {
	pi := board.Detect(fstest.MapFS{
		"sys/firmware/devicetree/base/model":      {Data: []byte("Raspberry Pi 4 Model B Rev 1.4\x00")},
		"sys/firmware/devicetree/base/compatible": {Data: []byte("brcm,bcm2711\x00")},
	})
	lines := []gpio.Listed{
		{Ref: gpio.Ref{Chip: "raspberrypi-exp-gpio", Name: "BT_ON"}},
		{Ref: gpio.Ref{Chip: "pinctrl-bcm2711", Name: "GPIO4"}, Offset: 4, Consumer: "onewire@0"},
		{Ref: gpio.Ref{Chip: "pinctrl-bcm2711", Name: "GPIO17"}, Offset: 17},
		{Ref: gpio.Ref{Chip: "pinctrl-bcm2711", Offset: 27}, Offset: 27, Output: true},
	}
	r := GPIO(pi, lines)
	if len(r.Findings) != 4 || r.Findings[1].Detail != "pin 7, used by onewire@0" || r.Findings[3].Detail != "pin 13, output" {
		t.Errorf("%+v", r.Findings)
	}
	nodes := checked(t, r)
	if len(nodes) != 1 || nodes[0].Kind != "contact" || !strings.Contains(r.Snippet(), "pinctrl-bcm2711:GPIO17") {
		t.Errorf("nodes %+v", nodes)
	}
	if r := GPIO(board.Board{}, nil); len(r.Notes) != 1 || r.Snippet() != "" {
		t.Errorf("no line: %+v", r)
	}
}
