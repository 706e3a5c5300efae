package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// serialLine is a cable between two serial ports: what is written to one end
// arrives at the other.
type serialLine struct {
	a, b string
}

func newSerialLine(t *testing.T) serialLine {
	t.Helper()
	var wg sync.WaitGroup
	var masters, slaves [2]*os.File
	for i := range masters {
		m, s, err := pty.Open()
		if err != nil {
			t.Skipf("no pseudo terminals here: %v", err)
		}
		if _, err := term.MakeRaw(int(s.Fd())); err != nil {
			t.Fatal(err)
		}
		masters[i], slaves[i] = m, s // the open slave keeps the line up
	}
	for i := range masters {
		wg.Go(func() { io.Copy(masters[i], masters[1-i]) })
	}
	t.Cleanup(func() {
		for i := range masters {
			slaves[i].Close()
			masters[i].Close()
		}
		wg.Wait()
	})
	return serialLine{slaves[0].Name(), slaves[1].Name()}
}

// written is what the slave got.
type written struct {
	Table   string
	Address int
	Values  []int
}

// slave is pymodbus on one end of a serial line.
type slave struct {
	t   *testing.T
	got chan written
}

func startSlave(t *testing.T, port string) *slave {
	t.Helper()
	needPython(t, "pymodbus", "python3-pymodbus")
	needPython(t, "serial_asyncio", "python3-serial-asyncio")
	r := startScript(t, "testdata/slave.py", port, "7")
	s := &slave{t, make(chan written, 64)}
	go func(r *bufio.Reader) {
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				close(s.got)
				return
			}
			var w written
			if json.Unmarshal(line, &w) == nil {
				s.got <- w
			}
		}
	}(r)
	return s
}

// expect waits for one write.
func (s *slave) expect(table string, address int, values ...int) {
	s.t.Helper()
	select {
	case w := <-s.got:
		if w.Table != table || w.Address != address || fmt.Sprint(w.Values) != fmt.Sprint(values) {
			s.t.Errorf("the slave got %+v, want %s %d %v", w, table, address, values)
		}
	case <-time.After(10 * time.Second):
		s.t.Errorf("the slave got nothing, want %s %d %v", table, address, values)
	}
}

// quiet fails when the slave gets a write within a while.
func (s *slave) quiet() {
	s.t.Helper()
	select {
	case w := <-s.got:
		s.t.Errorf("the slave got %+v", w)
	case <-time.After(300 * time.Millisecond):
	}
}

const meterNodes = `
  - id: meter
    kind: modbus
    bus: field
    unit: 7
    interval: 500ms
    registers:
      - {name: voltage, address: 0, scale: "0.1", unit: V}
      - {name: power, address: 1, type: float32, decimals: 2, unit: kW}
      - {name: energy, address: 3, type: uint32, unit: Wh}
      - {name: temperature, table: input, address: 5, type: int16, scale: "0.1", unit: °C}
      - {name: alarm, table: discrete, address: 0, type: bool}
      - {name: serial, address: 17, type: string, length: 4}
      - {name: relay, table: coil, address: 3, type: bool, writable: true}
      - {name: level, address: 10, writable: true, max: "100"}
      - {name: budget, address: 11, type: int64, writable: true}
      - {name: setpoint, address: 15, scale: "0.1", unit: °C, writable: true, min: "5", max: "30"}
      - name: mode
        address: 16
        writable: true
        values: [{raw: 0, name: "off"}, {raw: 1, name: eco}, {raw: 2, name: comfort}]
`

func meterGateway(t *testing.T, s *peertest.Server) *slave {
	t.Helper()
	line := newSerialLine(t)
	m := startSlave(t, line.b)
	startGateway(t, s, gatewayOptions{
		nodes: meterNodes,
		buses: fmt.Sprintf("\n  field: {type: modbus, transport: rtu, serial: {port: %s, baud: 19200}}\n", line.a),
	})
	return m
}

// TestModbusMeter reads and sets registers of an independent slave through
// driver, node and stanza, on each server, with each client.
func TestModbusMeter(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		s.Befriend("gateway", "owner")
		m := meterGateway(t, s)
		o := newOperator(t).login(t, s, "owner")
		gw := s.JID("gateway")

		d := parseDocument(t, o.postern(t, "read", gw, "--json"))
		for field, want := range map[string]string{
			"voltage": "230.1", "power": "12.50", "energy": "4000000000", "temperature": "-12.5", "alarm": "true",
			"serial": `"ABC123"`, "relay": "false", "level": "7", "budget": "5000000000", "setpoint": "21.5", "mode": `"eco"`,
		} {
			if got := d.value("meter", field); got != want {
				t.Errorf("%s is %s, want %s", field, got, want)
			}
		}
		// The types of the parameters come from the fields of the same names.
		for _, step := range []struct {
			set     string
			table   string
			address int
			values  []int
		}{
			{"relay=on", "coil", 3, []int{1}},
			{"level=42", "holding", 10, []int{42}},
			{"budget=-2", "holding", 11, []int{0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE}},
			{"setpoint=19.5", "holding", 15, []int{195}},
			{"mode=comfort", "holding", 16, []int{2}},
		} {
			if r := o.postern(t, "set", gw, "meter", step.set); r.code != cli.ExitOK {
				t.Errorf("set %s: exit code %d: %s", step.set, r.code, r.err)
				continue
			}
			m.expect(step.table, step.address, step.values...)
		}
		for _, bad := range []string{"level=101", "setpoint=4.9", "setpoint=30.1", "mode=turbo", "level:string=5", "voltage:double=1"} {
			if r := o.postern(t, "set", gw, "meter", bad); r.code == cli.ExitOK {
				t.Errorf("set %s succeeded: %s", bad, r.out)
			}
		}
		m.quiet()

		p := startPeer(t, s, "owner")
		full := p.waitOnline(gw)
		eventually(t, 5*time.Second, func() error {
			// slixmpp knows no int and long fields: it leaves them out.
			all := p.do("read", map[string]any{"to": full, "nodes": []string{"meter"}})
			for name, want := range map[string]string{"setpoint": "19.5", "mode": "comfort", "relay": "true"} {
				if f := slixField(t, all, "meter", name); f["value"] != want {
					return fmt.Errorf("slixmpp reads %s as %v, want %s", name, f["value"], want)
				}
			}
			return nil
		})
		for _, step := range []struct {
			name, kind, value string
			table             string
			address           int
			values            []int
		}{
			{"relay", "boolean", "false", "coil", 3, []int{0}},
			{"level", "int", "5", "holding", 10, []int{5}},
			{"budget", "long", "6000000000", "holding", 11, []int{0, 1, 0x65A0, 0xBC00}},
			{"setpoint", "double", "22.0", "holding", 15, []int{220}},
			{"mode", "string", "off", "holding", 16, []int{0}},
		} {
			got := p.do("set", map[string]any{"to": full, "nodes": []string{"meter"}, "fields": [][3]string{{step.name, step.kind, step.value}}})
			if got["error"] != nil || got["timeout"] != nil {
				t.Errorf("slixmpp sets %s: %v", step.name, got)
				continue
			}
			m.expect(step.table, step.address, step.values...)
		}
		got := p.do("set", map[string]any{"to": full, "nodes": []string{"meter"}, "fields": [][3]string{{"level", "int", "6"}, {"setpoint", "double", "99"}}})
		if got["error"] != "bad-request" {
			t.Errorf("one good, one out of range: %v", got)
		}
		m.quiet()
		eventually(t, 5*time.Second, func() error {
			d := parseDocument(t, o.postern(t, "read", gw, "--json", "--node", "meter"))
			for field, want := range map[string]string{"level": "5", "budget": "6000000000", "setpoint": "22.0", "mode": `"off"`, "relay": "false"} {
				if got := d.value("meter", field); got != want {
					return fmt.Errorf("%s is %s, want %s", field, got, want)
				}
			}
			return nil
		})
	})
}

// TestModbusSlaveFails: a meter that falls silent is a failure with its reason
// and never a number; the other nodes are read.
func TestModbusSlaveFails(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	line := newSerialLine(t)
	g := startGateway(t, s, gatewayOptions{
		nodes: meterNodes + "  - {id: climate, kind: bme280, simulate: true}\n",
		buses: fmt.Sprintf("\n  field: {type: modbus, transport: rtu, timeout: 100ms, serial: {port: %s, baud: 19200}}\n", line.a),
	})
	o := newOperator(t).login(t, s, "owner")
	r := o.postern(t, "read", s.JID("gateway"), "--json")
	d := parseDocument(t, r)
	if r.code != cli.ExitFailure || !d.Complete || len(d.Failures) == 0 || d.Failures[0].Node != "meter" {
		t.Errorf("exit code %d, %s", r.code, r.out)
	}
	for _, f := range d.Fields {
		if f.Node == "meter" && string(f.Value) != "null" {
			t.Errorf("a dead meter has the value %s for %s", f.Value, f.Field)
		}
	}
	if d.value("climate", "temperature") == "absent" {
		t.Error("the other node was not read")
	}
	if !strings.Contains(g.log.String(), "meter") {
		t.Error("the log says nothing about the meter")
	}
}
