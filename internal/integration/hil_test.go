package integration

import (
	"fmt"
	"net"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/board/hil"
	"postern/drivers"
	"postern/drivers/bme280"
	"postern/drivers/i2c"
	"postern/drivers/mcp9808"
	"postern/drivers/sht3x"
	"postern/internal/peertest"
)

// panel makes a chip of the guest's gpio-sim with the lines DOOR and FAN, and
// returns the directory where the outside of line n is sim_gpioN.
func panel(g *hil.Guest) string {
	const dir = "/sys/kernel/config/gpio-sim/panel"
	for n, name := range []string{"DOOR", "FAN"} {
		line := fmt.Sprintf("%s/bank0/line%d", dir, n)
		g.Mkdir(line)
		g.Write(line+"/name", name)
	}
	g.Write(dir+"/bank0/num_lines", "2")
	g.Write(dir+"/bank0/label", "panel")
	g.Write(dir+"/live", "1")
	return path.Join("/sys/devices/platform", g.Read(dir+"/dev_name"), g.Read(dir+"/bank0/chip_name"))
}

// roomChips are the chips on the guest's I2C bus.
func roomChips() map[uint16]i2c.Slave {
	bme := bme280.Simulate(bme280.Config{}).(*bme280.Slave)
	bme.Temperature, bme.Pressure = drivers.Drift{Base: 25.0825}, drivers.Drift{Base: 1006.5327}
	mcp := mcp9808.Simulate(mcp9808.Config{}).(*mcp9808.Slave)
	mcp.Temperature = drivers.Drift{Base: 21.5}
	sht := sht3x.Simulate(sht3x.Config{}).(*sht3x.Slave)
	sht.Temperature, sht.Humidity = drivers.Drift{Base: 22.25}, drivers.Drift{Base: 45.5}
	return map[uint16]i2c.Slave{0x76: bme, 0x18: mcp, 0x44: sht}
}

const guestConfig = `account:
  jid: %s
  password: {file: /run/password}
server: {address: "10.0.2.2:%s", ca_file: /run/ca.pem}
access: {owner: %s}
state: {directory: /run/state}
local: {socket: /run/postern.sock}
board: {watchdog: /dev/watchdog0, watchdog_time: 5s}
buses:
  air: {type: ble, adapter: hci0}
  field: {type: modbus, transport: rtu, serial: {port: "usb:0403:6001:METER1", baud: 19200}}
nodes:
  - {id: board, kind: host, interval: 1s}
  - {id: climate, kind: bme280, bus: "0", address: 0x76, interval: 1s}
  - {id: cabinet, kind: mcp9808, bus: "0", address: 0x18, interval: 1s}
  - {id: room, kind: sht3x, bus: "0", address: 0x44, interval: 1s}
  - {id: door, kind: contact, line: "panel:DOOR"}
  - {id: fan, kind: relay, line: "panel:FAN"}
  - {id: garden, kind: ble, bus: air, address: "A4:C1:38:00:11:22", interval: 1s}
%s`

// guestAdapter is a USB serial adapter whose far end is a pseudo terminal.
var guestAdapter = []string{"-device", "qemu-xhci,id=usb", "-chardev", "pty,id=line", "-device", "usb-serial,id=adapter,chardev=line,serial=METER1"}

// farEnd returns the path of the pseudo terminal.
func farEnd(t *testing.T, g *hil.Guest) string {
	t.Helper()
	var devs []struct {
		Label    string `json:"label"`
		Filename string `json:"filename"`
	}
	g.QMP("query-chardev", nil, &devs)
	for _, d := range devs {
		if tty, ok := strings.CutPrefix(d.Filename, "pty:"); ok && d.Label == "line" {
			return tty
		}
	}
	t.Fatalf("QEMU has no pty: %v", devs)
	return ""
}

// TestHILGateway runs the gateway as it ships for arm64 in a guest with real
// kernel interfaces. It logs in to Prosody on the host, and slixmpp reads every
// node and switches an output.
func TestHILGateway(t *testing.T) {
	g := hil.Boot(t, hil.Options{
		Modules:  []string{"gpio-sim", "i2c-dev", "i2c-virtio", "xhci-pci", "ftdi_sio", "bluetooth", "hci_vhci", "i6300esb"},
		Packages: map[string]string{"/bin/postern": "postern/cmd/postern", "/bin/btair": "postern/board/hil/btair"},
		Chips:    roomChips(),
		Devices:  append([]string{"-device", "i6300esb", "-action", "watchdog=reset"}, guestAdapter...),
	})
	startSlave(t, farEnd(t, g))
	lines := panel(g)
	g.Start("/bin/btair", "bthome=A4:C1:38:00:11:22", "ruuvi=C5:00:00:00:11:23", "atc=A4:C1:38:00:11:24")
	scanAir(t, g)
	s := peertest.Prosody(t)
	s.Befriend("gateway", "owner")
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ca := s.CA.PEM()
	g.Write("/run/password", s.Password("gateway")+"\n")
	g.Write("/run/ca.pem", string(ca))
	g.Write("/run/postern.yaml", fmt.Sprintf(guestConfig, s.JID("gateway"), port, s.JID("owner"), strings.TrimPrefix(meterNodes, "\n")))
	if out, err := g.Run(30*time.Second, nil, "/bin/postern", "check", "/run/postern.yaml"); err != nil {
		t.Fatalf("postern check in the guest: %v\n%s", err, out)
	}
	pid := startInGuest(t, g)
	p := startPeer(t, s, "owner")
	gw := p.waitOnline(s.JID("gateway"))
	read := func(nodes ...string) map[string]any { return p.do("read", map[string]any{"to": gw, "nodes": nodes}) }

	t.Run("reads", func(t *testing.T) {
		want := map[[2]string]string{
			{"climate", "temperature"}: "25.08", {"cabinet", "temperature"}: "21.5000", {"room", "temperature"}: "22.25",
			{"door", "state"}: "false", {"fan", "state"}: "false", {"meter", "voltage"}: "230.1", {"meter", "setpoint"}: "21.5",
		}
		eventually(t, 20*time.Second, func() error {
			all := p.do("read", map[string]any{"to": gw})
			for k, v := range want {
				if got := fieldOf(all, k[0], k[1]); got != v {
					return fmt.Errorf("%s of %s is %q, want %q", k[1], k[0], got, v)
				}
			}
			if got := fieldOf(all, "garden", "battery"); got != "92" || fieldOf(all, "garden", "temperature") == "" {
				return fmt.Errorf("the Bluetooth sensor's battery is %q", got)
			}
			if fieldOf(all, "board", "memory-available") == "" {
				return fmt.Errorf("nothing of the board: %v", all)
			}
			return nil
		})
	})
	switchFan := func(state string) {
		t.Helper()
		set := p.do("set", map[string]any{"to": gw, "nodes": []string{"fan"}, "fields": [][3]string{{"state", "boolean", state}}})
		if set["result"] == nil || set["error"] != nil {
			t.Fatalf("set: %v", set)
		}
	}
	t.Run("switches", func(t *testing.T) {
		for _, state := range []string{"true", "false", "true"} {
			switchFan(state)
			level := map[string]string{"true": "1", "false": "0"}[state]
			if got := g.Read(lines + "/sim_gpio1/value"); got != level {
				t.Errorf("the line is at %s after state=%s", got, state)
			}
		}
	})
	t.Run("sees the door", func(t *testing.T) {
		g.Write(lines+"/sim_gpio0/pull", "pull-up")
		eventually(t, 5*time.Second, func() error {
			if got := fieldOf(read("door"), "door", "state"); got != "true" {
				return fmt.Errorf("the door is %q", got)
			}
			return nil
		})
	})
	t.Run("unplugged adapter", func(t *testing.T) {
		replugAdapter(t, g, func() string { return fieldOf(read("meter"), "meter", "voltage") })
	})
	t.Run("ends safely", func(t *testing.T) {
		if out, err := g.Run(30*time.Second, nil, "/bin/postern", "status", "--socket", "/run/postern.sock"); err != nil {
			t.Errorf("postern status in the guest: %v\n%s", err, out)
		}
		if got := g.Read(lines + "/sim_gpio1/value"); got != "1" {
			t.Errorf("the fan's line is at %s while it is on", got)
		}
		g.Signal(pid, int(syscall.SIGTERM))
		eventually(t, 10*time.Second, func() error {
			if !strings.Contains(g.Console(), "init: ended: [/bin/postern run") {
				return fmt.Errorf("the gateway does not end")
			}
			return nil
		})
		if got := g.Read(lines + "/sim_gpio1/value"); got != "0" {
			t.Errorf("the fan's line is at %s after the gateway ended, its safe state is off", got)
		}
	})
	t.Run("watchdog", func(t *testing.T) {
		pid := startInGuest(t, g)
		switchFan("true")
		time.Sleep(8 * time.Second) // longer than the watchdog waits
		if g.Ended() || g.Saw("WATCHDOG") {
			t.Fatal("the watchdog bit while the gateway runs")
		}
		starve(t, g, pid, lines+"/sim_gpio1/value")
	})
}

// startInGuest starts the gateway and waits until it is online.
func startInGuest(t *testing.T, g *hil.Guest) (pid int) {
	t.Helper()
	pid = g.Start("/bin/postern", "run", "--config", "/run/postern.yaml")
	eventually(t, 30*time.Second, func() error {
		out, err := g.Run(10*time.Second, nil, "/bin/postern", "status", "--socket", "/run/postern.sock")
		if err != nil || !strings.Contains(out, "online for") {
			return fmt.Errorf("the gateway does not get online: %v", err)
		}
		return nil
	})
	return pid
}

// starve lets the gateway hang as a whole: the hardware watchdog, which it does
// not feed any more, resets the guest, which ends QEMU here. Until then its
// output stays as it was.
func starve(t *testing.T, g *hil.Guest, pid int, line string) {
	t.Helper()
	g.Signal(pid, int(syscall.SIGSTOP))
	begin := time.Now()
	for level := "1"; !g.Ended(); time.Sleep(50 * time.Millisecond) {
		if now, err := g.TryRead(line); err == nil && now != level {
			level = now
			t.Errorf("%.1f s after the gateway hung the line went to %s", time.Since(begin).Seconds(), now)
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatal("the guest lives on although nobody feeds its watchdog")
		}
	}
	if !g.Saw("WATCHDOG") {
		t.Errorf("the guest ended, but not by its watchdog:\n%s", g.Console())
	}
	t.Logf("reset %.1f s after the gateway hung", time.Since(begin).Seconds())
}

// scanAir lets postern scan ble find the sensors, before the gateway has the
// adapter, and postern check accept what it writes.
func scanAir(t *testing.T, g *hil.Guest) {
	t.Helper()
	const scan = "/bin/postern scan ble hci0 --time 2s --config"
	var out string
	eventually(t, 10*time.Second, func() (err error) {
		if out, err = g.Run(20*time.Second, nil, strings.Fields(scan)...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	for _, want := range []string{"id: ble-001122", "format: ruuvi", "format: atc", "values: [battery, temperature, humidity]"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	g.Write("/run/scanned.yaml", out)
	if text, err := g.Run(20*time.Second, nil, "/bin/postern", "check", "/run/scanned.yaml"); err != nil {
		t.Errorf("postern check of what was found: %v\n%s\n%s", err, text, out)
	}
}

// replugAdapter pulls the USB adapter and plugs it in again: the meter's values
// go away and come back by themselves.
func replugAdapter(t *testing.T, g *hil.Guest, voltage func() string) {
	g.QMP("device_del", map[string]any{"id": "adapter"}, nil)
	eventually(t, 10*time.Second, func() error {
		if v := voltage(); v != "" {
			return fmt.Errorf("the meter still reads %s", v)
		}
		return nil
	})
	eventually(t, 10*time.Second, func() error {
		if !g.Saw("DEVICE_DELETED") {
			return fmt.Errorf("QEMU still has the adapter")
		}
		return nil
	})
	g.QMP("device_add", map[string]any{"driver": "usb-serial", "id": "adapter", "chardev": "line", "serial": "METER1"}, nil)
	eventually(t, 20*time.Second, func() error {
		if v := voltage(); v != "230.1" {
			return fmt.Errorf("the meter reads %q", v)
		}
		return nil
	})
}

// fieldOf returns a value that slixmpp handed to its application, or "".
func fieldOf(answer map[string]any, node, name string) string {
	fields, _ := answer["fields"].([]any)
	for _, f := range fields {
		if m := f.(map[string]any); m["node"] == node && m["name"] == name {
			return fmt.Sprint(m["value"])
		}
	}
	return ""
}
