package gateway

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"postern/board"
	"postern/drivers"
	"postern/drivers/serial"
	"postern/internal/config"
)

func pi4() fstest.MapFS {
	const base = "sys/firmware/devicetree/base/"
	return fstest.MapFS{
		base + "model":           {Data: []byte("Raspberry Pi 4 Model B Rev 1.4\x00")},
		base + "compatible":      {Data: []byte("raspberrypi,4-model-b\x00brcm,bcm2711\x00")},
		base + "aliases/serial0": {Data: []byte("/soc/serial@7e215040\x00")},
		"sys/class/tty/ttyS0/device/of_node": {
			Mode: fs.ModeSymlink, Data: []byte("../../../../../firmware/devicetree/base/soc/serial@7e215040"),
		},
		"sys/class/i2c-dev/i2c-20/name": {Data: []byte("fef04500.i2c\n")},
	}
}

func placeAt(root fs.FS) place { return place{root, board.Detect(root)} }

func TestPlaceTranslatesNames(t *testing.T) {
	p := placeAt(pi4())
	for in, want := range map[string]string{
		"pin 11": "pinctrl-bcm2711:17", " GPIO17": "pinctrl-bcm2711:17", "PIN13": "pinctrl-bcm2711:27",
		"pinctrl-bcm2711:GPIO4": "pinctrl-bcm2711:GPIO4", "gpio-sim.0-node0:3": "gpio-sim.0-node0:3",
	} {
		if got, err := p.line(in); err != nil || got != want {
			t.Errorf("line %q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, hint := range map[string]string{"pin 1": "no GPIO line", "GPIO99": "not on the header"} {
		if got, err := p.line(in); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("line %q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{"i2c20": "20", "20": "20", "/dev/i2c-20": "20", "fef04500.i2c": "fef04500.i2c"} {
		if got, err := p.i2cBusName(in); err != nil || got != want {
			t.Errorf("bus %q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{"serial0": "/dev/ttyS0", "/dev/serial0": "/dev/ttyS0", "/dev/ttyUSB0": "/dev/ttyUSB0", "/dev/serial/by-id/x": "/dev/serial/by-id/x"} {
		if got, err := p.serial(in); err != nil || got != want {
			t.Errorf("port %q: %q, %v", in, got, err)
		}
	}
}

func TestPlaceSaysWhatToEnable(t *testing.T) {
	root := pi4()
	delete(root, "sys/class/tty/ttyS0/device/of_node")
	p := placeAt(root)
	_, i2cErr := p.i2cBusName("1")
	_, serialErr := p.serial("serial0")
	for want, err := range map[string]error{"dtparam=i2c_arm=on": i2cErr, "dtparam=spi=on": p.spi("/dev/spidev0.0"), "enable_uart=1": serialErr} {
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%v, want advice with %s", err, want)
		}
	}
	pc := placeAt(fstest.MapFS{})
	if _, err := pc.line("pin 11"); err == nil {
		t.Error("pin 11 of an unknown machine is a line")
	}
	if _, err := pc.line("GPIO17"); err == nil || !strings.Contains(err.Error(), "postern scan gpio") {
		t.Errorf("GPIO17 of an unknown machine: %v", err)
	}
	if got, err := pc.i2cBusName("i2c3"); err != nil || got != "3" {
		t.Errorf("i2c3 of an unknown machine: %s, %v", got, err)
	}
}

// A device that names the header is opened by the board's name for it, and
// where there is no such chip the error is that of the chip.
func TestPlantUsesTheBoardsNames(t *testing.T) {
	pl := newPlant(slog.New(slog.DiscardHandler))
	pl.place = placeAt(pi4())
	if _, err := pl.gpioLine("pin 11"); err == nil || !strings.Contains(err.Error(), `"pinctrl-bcm2711"`) {
		t.Errorf("%v", err)
	}
	if _, err := pl.i2cBus("1", 0x76, nil); err == nil || !strings.Contains(err.Error(), "i2c_arm") {
		t.Errorf("%v", err)
	}
	if _, err := pl.spiPort("0.0", nil); err == nil || !strings.Contains(err.Error(), "dtparam=spi=on") {
		t.Errorf("%v", err)
	}
	delete(pl.root.(fstest.MapFS), "sys/class/tty/ttyS0/device/of_node")
	if _, err := pl.serialPort(serial.Config{Port: "serial0"}, nil); err == nil || !strings.Contains(err.Error(), "enable_uart") {
		t.Errorf("%v", err)
	}
}

func TestHeaderNamesInConfigurations(t *testing.T) {
	const head = "account: {jid: g@example.org, password: {env: P}}\n"
	parse := func(nodes string) (*config.Config, error) {
		cfg, ps := config.Parse("x.yaml", []byte(head+nodes), Kinds())
		return cfg, ps.Err()
	}
	if _, err := parse("nodes:\n- {id: a, kind: contact, line: pin 11}\n- {id: b, kind: relay, line: GPIO27}\n- {id: c, kind: bme280, bus: i2c1}\n"); err != nil {
		t.Errorf("%v", err)
	}
	for nodes, hint := range map[string]string{
		"nodes:\n- {id: a, kind: contact, line: pin 11}\n- {id: b, kind: relay, line: PIN11}\n":    "taken",
		"nodes:\n- {id: a, kind: bme280, bus: i2c1}\n- {id: b, kind: bmp280, bus: \"1\"}\n":        "taken",
		"nodes:\n- {id: a, kind: contact, line: \"17\"}\n":                                         "global GPIO number",
		"nodes:\n- {id: a, kind: contact, line: pin x}\n":                                          "CHIPLABEL",
		"nodes:\n- {id: a, kind: contact, line: \"gpiochip0:3\"}\n":                                "can change at each boot",
		"nodes:\n- {id: a, kind: bme280, bus: i2cc}\n":                                             "no bus",
		"nodes:\n- {id: a, kind: contact, line: pinctrl:pin 11}\n- {id: a, kind: host, disks: []}": "id is taken",
	} {
		if _, err := parse(nodes); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v, want %q", nodes, err, hint)
		}
	}
	cfg, err := parse("buses: {l: {type: modbus, serial: {port: /dev/ttyUSB0}}}\nnodes:\n- {id: gps, kind: nmea, serial: {port: /dev/ttyACM3}}\n- {id: ok, kind: nmea, serial: {port: /dev/ttyAMA0}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if w := Warnings(cfg); len(w) != 2 || !strings.Contains(w[0], "bus l: /dev/ttyUSB0") || !strings.Contains(w[1], "node gps") {
		t.Errorf("warnings %q", w)
	}
}
