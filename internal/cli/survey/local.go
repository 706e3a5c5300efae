package survey

import (
	"io/fs"
	"strings"

	"postern/board"
	"postern/drivers/gpio"
	"postern/drivers/onewire"
	"postern/drivers/serial"
)

// families are the 1-Wire chips by the first octet of their ROM code (Maxim's
// list of family codes).
var families = map[string]Guess{
	"28": {"ds18b20", "DS18B20 or MAX31820 thermometer", 95},
	"10": {"", "DS18S20 thermometer", 95},
	"22": {"", "DS1822 thermometer", 95},
	"3b": {"", "DS1825 or MAX31850 thermometer", 90},
	"42": {"", "DS28EA00 thermometer", 95},
	"26": {"", "DS2438 battery monitor", 95},
	"29": {"", "DS2408 eight switches", 95},
	"3a": {"", "DS2413 two switches", 95},
	"12": {"", "DS2406 two switches", 95},
	"1d": {"", "DS2423 counter", 95},
	"2d": {"", "DS2431 memory", 95},
	"01": {"", "DS2401 serial number", 95},
}

// OneWire lists the chips that the kernel's w1 bus has found.
func OneWire(root fs.FS) (*Report, error) {
	ids, err := onewire.Kernel{Root: root}.List()
	if err != nil {
		return nil, err
	}
	r := &Report{}
	for _, id := range ids {
		f := Finding{Where: id, On: "1-Wire", Guesses: []Guess{}}
		if g, ok := families[id[:2]]; ok {
			f.Guesses = append(f.Guesses, g)
			f.sure = g.Kind != ""
			f.node = []string{"  rom: " + id}
		} else if strings.HasPrefix(id, "00-") {
			f.Detail = "no chip: a bus that floats or is short shows such names; check the pull-up of 4.7 kΩ"
		}
		r.Findings = append(r.Findings, f)
	}
	if len(ids) == 0 {
		r.Notes = append(r.Notes, "the bus is there and has no chip: check wiring and the pull-up of 4.7 kΩ; the kernel looks every 10 s")
	}
	return r, nil
}

// Serial lists the serial ports. What is at their other end does not show, so
// that guesses come from the names of adapters.
func Serial(root fs.FS) *Report {
	r := &Report{}
	for _, p := range serial.List(root) {
		f := Finding{Where: p.Name, Guesses: []Guess{}}
		if p.Name != p.Device {
			f.Detail = "now " + p.Device
		} else if strings.HasPrefix(p.Name, "/dev/ttyUSB") || strings.HasPrefix(p.Name, "/dev/ttyACM") {
			f.Detail = "the number can change when it is plugged in again; udev gave it no name below /dev/serial/by-id"
		} else {
			f.Detail = "a port of the board"
		}
		name := strings.ToLower(p.Name)
		has := func(words ...string) bool {
			for _, w := range words {
				if strings.Contains(name, w) {
					return true
				}
			}
			return false
		}
		switch {
		case has("u-blox", "ublox", "gps", "gnss"):
			f.Guesses = []Guess{{"nmea", "satellite receiver", 70}}
			f.node = []string{"  serial: {port: " + quoted(p.Name) + "}"}
			f.sure = true
		case has("rs485", "rs-485"):
			f.Guesses = []Guess{{"", "RS-485 adapter: postern scan modbus --port " + p.Name, 70}}
		case has("ftdi", "ch340", "1a86", "cp210", "silicon_labs", "prolific", "pl2303"):
			f.Guesses = []Guess{{"", "USB serial adapter; for RS-485: postern scan modbus --port " + p.Name, 50}}
		}
		r.Findings = append(r.Findings, f)
	}
	if len(r.Findings) == 0 {
		r.Notes = append(r.Notes, "there is no serial port with hardware behind it; postern doctor tells what to enable")
	}
	return r
}

// GPIO lists the lines that lines names, with the header's pins where the board
// is known. None is requested from the kernel. Nodes are written for the first
// free line of the header, or of all, as inputs: an output would have to be
// chosen by a person.
func GPIO(b board.Board, lines []gpio.Listed) *Report {
	r := &Report{}
	pins := b.LinePins()
	offered := false
	for _, l := range lines {
		where := l.Ref.String()
		f := Finding{Where: where, Guesses: []Guess{}}
		var detail []string
		pin := pins[board.LineOffset{Chip: l.Ref.Chip, Offset: l.Offset}]
		if pin != "" {
			detail = append(detail, pin)
		}
		if l.Output {
			detail = append(detail, "output")
		}
		if l.Consumer != "" {
			detail = append(detail, "used by "+printable(l.Consumer))
		}
		f.Detail = strings.Join(detail, ", ")
		if free := l.Consumer == "" && !l.Output; free && !offered && (pin != "" || len(pins) == 0) {
			offered = true
			f.Guesses = []Guess{{"contact", "free line", sureFrom}}
			f.node = []string{"  line: " + quoted(where) + "   # for an output: kind: relay"}
			f.sure = true
		}
		r.Findings = append(r.Findings, f)
	}
	if len(lines) == 0 {
		r.Notes = append(r.Notes, "this machine offers no GPIO chip")
	}
	return r
}
