package gateway

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"postern/internal/config"
)

func TestNeeds(t *testing.T) {
	const text = `account: {jid: g@example.org, password: {env: P}}
buses:
  field: {type: modbus, serial: {port: serial0}}
  desk: {type: modbus, simulate: true, serial: {port: /dev/none}}
  far: {type: modbus, transport: tcp, host: "192.0.2.1:502"}
nodes:
- {id: a, kind: bme280, bus: "20"}
- {id: b, kind: bme280, bus: "1"}
- {id: c, kind: bme280, bus: "7"}
- {id: d, kind: contact, line: pin 1}
- {id: e, kind: ds18b20, rom: 28-0316a2795aff}
- {id: f, kind: ds18b20, rom: 28-0316a2795a00}
- {id: g, kind: mcp3008, port: "0.0"}
- {id: h, kind: nmea, serial: {port: /dev/ttyUSB9}}
- {id: m1, kind: modbus, bus: field, unit: 1, registers: [{name: r, address: 0}]}
- {id: m2, kind: modbus, bus: field, unit: 2, registers: [{name: r, address: 0}]}
- {id: m3, kind: modbus, bus: desk, unit: 2, registers: [{name: r, address: 0}]}
- {id: m4, kind: modbus, bus: far, unit: 2, registers: [{name: r, address: 0}]}
- {id: n, kind: bme280, bus: "3", simulate: true}
- {id: o, kind: host}
- {id: p, kind: group}
`
	cfg, ps := config.Parse("x.yaml", []byte(text), Kinds())
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	root := pi4()
	for _, name := range []string{"dev/i2c-20", "dev/ttyS0", "sys/bus/w1/devices/28-0316a2795aff/name"} {
		root[name] = &fstest.MapFile{Mode: fs.ModePerm}
	}
	got := map[string]Need{}
	for _, n := range Needs(cfg, root) {
		if _, twice := got[n.Who]; twice {
			t.Errorf("%s is there twice", n.Who)
		}
		got[n.Who] = n
	}
	for who, want := range map[string]string{
		"node a": "/dev/i2c-20", "bus field": "/dev/ttyS0", "node e": "",
		"node b": "! dtparam=i2c_arm=on", "node c": "! i2c-dev", "node d": "! no GPIO line", "node f": "! pull-up",
		"node g": "! dtparam=spi=on", "node h": "! postern scan serial",
	} {
		n, ok := got[who]
		hint, wrong := strings.CutPrefix(want, "! ")
		switch {
		case !ok:
			t.Errorf("%s needs nothing", who)
		case wrong && (n.Err == nil || n.Path != "" || !strings.Contains(n.Err.Error(), hint)):
			t.Errorf("%s: %+v, want an error with %q", who, n, hint)
		case !wrong && (n.Err != nil || n.Path != want):
			t.Errorf("%s: %+v, want %q", who, n, want)
		}
	}
	if len(got) != 9 {
		t.Errorf("%d needs: %v", len(got), got)
	}
}
