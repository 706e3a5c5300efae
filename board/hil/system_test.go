package hil

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
)

// systemEnvironment names the disk that system.sh printed.
const systemEnvironment = "POSTERN_HIL_SYSTEM"

const systemConfig = `account: {jid: gateway@site.example, password: {credential: postern_password}}
server: {address: "127.0.0.1:5222", ca_file: /etc/postern/ca.pem}
provisioning: {use: true, tags: {SN: "1"}}
board: {lamp: "input0::capslock", button: "panel:BUTTON", watchdog: /dev/watchdog0, watchdog_time: %s}
buses:
  field: {type: modbus, transport: rtu, serial: {port: "usb:0403:6001:METER1", baud: 19200}}
nodes:
  - {id: board, kind: board, interval: 1s}
  - {id: climate, kind: bme280, bus: "0", address: 0x76, interval: 1s}
  - {id: door, kind: contact, line: "panel:DOOR"}
  - {id: meter, kind: modbus, bus: field, unit: 7, interval: 1s, registers: [{name: v, table: holding, address: 0}]}
  - {id: fan, kind: relay, line: "9030000.pl061:5", safe: "off", rules: {state: {restart: hold}}}
`

// probe is a service with the packaged one's limits that tries what they
// forbid.
const probe = "/run/systemd/system/probe.service"

// bench is a guest with the package under a real systemd.
type bench struct {
	*Guest
	t     *testing.T
	fan   *Scope
	panel string // where the outside of the lines is
}

// TestSystemd installs the package in a guest with a real systemd and lives
// through what happens to a service: starts, restarts, hangs, and a hardware
// watchdog that resets the machine. The relay is a line of the machine's own
// GPIO controller, whose registers are looked at from outside all the time.
func TestSystemd(t *testing.T) {
	disk := os.Getenv(systemEnvironment)
	if disk == "" {
		t.Skip(systemEnvironment + " is not set; make hil-system runs this test")
	}
	g := Boot(t, Options{
		System:  disk,
		Modules: []string{"gpio-sim", "i2c-dev", "i2c-virtio", "i6300esb", "virtio_input", "xhci-pci", "ftdi_sio"},
		Files:   map[string]string{"/postern.deb": pack(t)},
		Chips:   chips(),
		Devices: []string{"-device", "i6300esb", "-device", "virtio-keyboard-pci", "-device", "qemu-xhci,id=usb",
			"-chardev", "pty,id=line", "-device", "usb-serial,id=adapter,chardev=line,serial=METER1"},
	})
	b := &bench{Guest: g, t: t, fan: g.Watch(5)}
	b.meter()
	b.do("systemctl", "is-system-running", "--wait")
	b.linesUp()
	for _, step := range []struct {
		name string
		do   func(*bench)
	}{
		{"installs", (*bench).installs}, {"starts", (*bench).starts}, {"limits", (*bench).limits}, {"lamp", (*bench).lamp},
		{"holds a line across a restart", (*bench).restarts}, {"is restarted when it hangs", (*bench).hangs},
		{"resets the machine when nobody else helps", (*bench).resets},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			b.t, b.tb = t, t
			begin := time.Now()
			step.do(b)
			t.Logf("%.1f s", time.Since(begin).Seconds())
		}) {
			t.Logf("journal:\n%s", b.try("journalctl", "-u", "postern", "-n", "60", "--no-pager"))
			return
		}
	}
}

// pack makes the package for the guest.
func pack(t *testing.T) string {
	t.Helper()
	c := exec.Command("../packaging/build.sh", "deb")
	c.Env = append(os.Environ(), "ARCHES=arm64:arm64:", "VERSION=0.0.1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the package: %v\n%s", err, out)
	}
	deb := "../../dist/postern_0.0.1-1_arm64.deb"
	kept := filepath.Join(t.TempDir(), "postern.deb")
	if err := os.Rename(deb, kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// meter answers at the far end of the guest's USB adapter.
func (b *bench) meter() {
	var devs []struct{ Label, Filename string }
	b.QMP("query-chardev", nil, &devs)
	for _, d := range devs {
		tty, ok := strings.CutPrefix(d.Filename, "pty:")
		if !ok || d.Label != "line" {
			continue
		}
		f, err := os.OpenFile(tty, os.O_RDWR, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		image := modbus.Simulate(modbus.Config{Registers: []modbus.Register{{Name: "v", Table: "holding"}}})
		ctx, cancel := context.WithCancel(b.t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = slave.New(map[byte]*modbus.Image{7: image}).ServeRTU(ctx, f)
		}()
		b.t.Cleanup(func() { cancel(); _ = f.Close(); <-done })
		return
	}
	b.t.Fatalf("QEMU has no pty: %v", devs)
}

// linesUp makes the lines of the panel: a door and a button, which is up.
func (b *bench) linesUp() {
	const dir = "/sys/kernel/config/gpio-sim/panel"
	for n, name := range []string{"DOOR", "BUTTON"} {
		line := fmt.Sprintf("%s/bank0/line%d", dir, n)
		b.Mkdir(line)
		b.Write(line+"/name", name)
	}
	b.Write(dir+"/bank0/num_lines", "2")
	b.Write(dir+"/bank0/label", "panel")
	b.Write(dir+"/live", "1")
	b.panel = "/sys/devices/platform/" + b.Read(dir+"/dev_name") + "/" + b.Read(dir+"/bank0/chip_name")
	b.Write(b.panel+"/sim_gpio1/pull", "pull-up")
}

// do runs a command in the guest, which has to succeed.
func (b *bench) do(argv ...string) string {
	b.t.Helper()
	out, err := b.Run(60*time.Second, nil, argv...)
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// try runs one that may fail, and returns what it said.
func (b *bench) try(argv ...string) string {
	out, err := b.Run(60*time.Second, nil, argv...)
	if err != nil {
		out += "\n" + err.Error()
	}
	return out
}

// show is a property of the service.
func (b *bench) show(property string) string {
	b.t.Helper()
	return strings.TrimSpace(b.do("systemctl", "show", "--value", "-p", property, "postern"))
}

// await repeats until f returns nothing; what it returns is what is missing.
func (b *bench) await(limit time.Duration, f func() string) {
	b.t.Helper()
	for begin := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		missing := f()
		if missing == "" {
			return
		}
		if time.Since(begin) > limit {
			b.t.Fatalf("after %s: %s", limit, missing)
		}
	}
}

// says waits until postern status shows a text.
func (b *bench) says(limit time.Duration, words string) {
	b.t.Helper()
	b.await(limit, func() string {
		if out := b.try("postern", "status"); !strings.Contains(out, words) {
			return "no " + words + " in\n" + out
		}
		return ""
	})
}

func (b *bench) blinks(limit time.Duration, signal string) {
	b.t.Helper()
	b.await(limit, func() string {
		if got := b.Rhythm("input0::capslock"); got != signal {
			return fmt.Sprintf("the lamp shows %s, not %s; %s", got, signal, b.try("postern", "status"))
		}
		return ""
	})
}

func (b *bench) configure(watchdog string) {
	b.Write("/etc/postern/postern.yaml", fmt.Sprintf(systemConfig, watchdog))
	b.do("chmod", "644", "/etc/postern/postern.yaml")
}

// installs lets dpkg run the package's own scripts.
func (b *bench) installs() {
	b.do("dpkg", "--force-depends", "-i", "/postern.deb")
	b.Write("/etc/postern/credentials/password", "secret\n")
	// The hub and the gateway's owner are on the same machine here.
	b.Write("/run/password", "secret\n")
	for _, name := range []string{"gateway", "owner"} {
		b.do("postern", "hub", "adduser", name, "--domain", "site.example", "--password-file", "/run/password")
	}
}
