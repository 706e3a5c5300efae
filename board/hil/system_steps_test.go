package hil

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// starts: Type=notify, the credential, and a lamp that tells that it starts.
// The server is not there yet.
func (b *bench) starts() {
	b.hub()
	b.do("cp", "/var/lib/postern-hub/ca/ca.pem", "/etc/postern/ca.pem")
	b.do("chmod", "644", "/etc/postern/ca.pem")
	b.hubOff()
	b.configure("60s")
	b.do("postern", "check", "/etc/postern/postern.yaml")
	begin := time.Now()
	b.do("systemctl", "enable", "--now", "postern")
	b.t.Logf("systemctl start returned after %.1f s", time.Since(begin).Seconds())
	for property, want := range map[string]string{"Type": "notify", "ActiveState": "active", "SubState": "running", "NRestarts": "0", "FileDescriptorStoreMax": "64"} {
		if got := b.show(property); got != want {
			b.t.Errorf("%s is %s, want %s", property, got, want)
		}
	}
	b.blinks(10*time.Second, "booting")
	b.hub()
	b.blinks(60*time.Second, "claimable") // logged in by the credential, registered
	if got := b.fan.State(); got != "out 0" {
		b.t.Errorf("the fan's line: %s", got)
	}
}

// hub starts the server, which has a registry inside.
func (b *bench) hub() {
	b.t.Helper()
	b.do("systemd-run", "--quiet", "--unit=hub", "--setenv=HOME=/root", "/usr/bin/postern", "hub", "--domain", "site.example", "--no-announce")
	b.await(20*time.Second, func() string { return refused(b.try("postern", "hub", "list")) })
}

func (b *bench) hubOff() {
	b.t.Helper()
	b.do("systemctl", "stop", "hub")
}

func refused(out string) string {
	if strings.Contains(out, "exit status") {
		return out
	}
	return ""
}

// limits: systemd's own judgement, and what the service may open.
func (b *bench) limits() {
	out := b.do("systemd-analyze", "security", "--no-pager", "postern")
	m := regexp.MustCompile(`Overall exposure level for postern.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		b.t.Fatalf("systemd-analyze says\n%s", out)
	}
	if n, err := strconv.ParseFloat(m[1], 64); err != nil || n > 2 {
		b.t.Errorf("exposure %s, at most 2.0 is wanted\n%s", m[1], out)
	}
	b.t.Log(m[0])
	// The buses go through: their values are there.
	b.says(20*time.Second, "25.08")
	status := b.do("postern", "status")
	for _, node := range []string{"climate", "door", "meter", "fan"} {
		if regexp.MustCompile(`(?m)^! node ` + node).MatchString(status) {
			b.t.Errorf("%s cannot be read:\n%s", node, status)
		}
	}
	b.probe(map[string]bool{
		": </dev/gpiochip0": true, ": </dev/i2c-0": true, ": </dev/null": true,
		"test -r /run/credentials/probe.service/postern_password": true,
		": </dev/vda": false, ": </dev/rtc0": false, ": </dev/input/event0": false, ": </etc/postern/credentials/password": false,
		": >>/etc/postern/postern.yaml": false, ": >/var/lib/x": false, "mount -t tmpfs x /mnt": false, "kill -0 1": false,
	})
}

// probe tries commands within the limits of the service, in a service of their
// own that runs a shell.
func (b *bench) probe(commands map[string]bool) {
	b.t.Helper()
	text := b.Read("/usr/lib/systemd/system/postern.service")
	for from, to := range map[string]string{
		`(?m)^Type=.*`: "Type=oneshot\nStandardOutput=truncate:/run/probe.out", `(?m)^ExecStart=.*`: "ExecStart=/bin/sh /run/probe.sh",
		`(?m)^(Condition|Restart|Watchdog|Runtime|State|FileDesc).*\n`: "",
	} {
		text = regexp.MustCompile(from).ReplaceAllString(text, to)
	}
	script := ""
	for c := range commands {
		script += fmt.Sprintf("if ( %s ); then echo 'yes %s'; else echo 'no %s'; fi\n", c, c, c)
	}
	b.Write("/run/probe.sh", script)
	b.do("chmod", "644", "/run/probe.sh")
	b.Write(probe, text)
	b.do("systemctl", "daemon-reload")
	b.do("systemctl", "start", "probe")
	out := b.Read("/run/probe.out") + "\n"
	for c, allowed := range commands {
		if want := map[bool]string{true: "yes ", false: "no "}[allowed] + c + "\n"; !strings.Contains(out, want) {
			b.t.Errorf("no %q in\n%s%s", want, out, b.try("journalctl", "-u", "probe", "-n", "30", "--no-pager"))
		}
	}
}

// lamp goes through what a person sees: claimed, online, without a server, with
// a fault, the button.
func (b *bench) lamp() {
	b.do("postern", "login", "owner@site.example", "--server", "127.0.0.1:5222", "--ca", "/etc/postern/ca.pem", "--password-file", "/run/password")
	code := strings.TrimSpace(b.do("postern", "pair", "--code"))
	b.do("postern", "claim", code)
	b.blinks(30*time.Second, "online")
	b.hubOff()
	b.blinks(30*time.Second, "buffering")
	b.hub()
	b.blinks(60*time.Second, "online")
	b.QMP("device_del", map[string]any{"id": "adapter"}, nil)
	b.blinks(40*time.Second, "fault")
	b.await(10*time.Second, func() string {
		if !b.Saw("DEVICE_DELETED") {
			return "QEMU still has the adapter"
		}
		return ""
	})
	b.QMP("device_add", map[string]any{"driver": "usb-serial", "id": "adapter", "chardev": "line", "serial": "METER1"}, nil)
	b.blinks(60*time.Second, "online")
	b.Write(b.panel+"/sim_gpio1/pull", "pull-down")
	time.Sleep(300 * time.Millisecond)
	b.Write(b.panel+"/sim_gpio1/pull", "pull-up")
	b.blinks(15*time.Second, "identify")
}

// on switches the fan on, by a command over the network.
func (b *bench) on() {
	b.t.Helper()
	b.await(60*time.Second, func() string { return refused(b.try("postern", "set", "gateway@site.example", "fan", "state=true")) })
	if got := b.fan.State(); got != "out 1" {
		b.t.Fatalf("the fan's line after it was switched on: %s", got)
	}
	b.fan.Mark()
}

// restarts: systemd keeps the line while there is no process.
func (b *bench) restarts() {
	b.on()
	if n := b.show("NFileDescriptorStore"); n == "0" {
		b.t.Errorf("systemd keeps %s descriptors", n)
	}
	before := b.show("MainPID")
	b.do("systemctl", "restart", "postern")
	if after := b.show("MainPID"); after == before {
		b.t.Errorf("the process is still %s", after)
	}
	b.says(30*time.Second, "online for")
	if got := b.fan.States(); got != "out 1" {
		b.t.Errorf("the line over the restart: %s", b.fan)
	}
	if out := b.do("postern", "read", "gateway@site.example", "--node", "fan"); !strings.Contains(out, "true") {
		b.t.Errorf("the gateway says\n%s", out)
	}
}

// hangs: a gateway that does not run any more is ended by WatchdogSec and
// started again. The line waits for that, and is made safe then.
func (b *bench) hangs() {
	b.Mkdir("/run/systemd/system/postern.service.d")
	b.Write("/run/systemd/system/postern.service.d/soon.conf", "[Service]\nWatchdogSec=8\n")
	b.do("systemctl", "daemon-reload")
	b.do("systemctl", "restart", "postern")
	b.on()
	time.Sleep(12 * time.Second) // longer than the watchdog: it is fed
	if n := b.show("NRestarts"); n != "0" {
		b.t.Fatalf("restarted %s times while it runs", n)
	}
	b.fan.Mark()
	b.stop()
	b.await(60*time.Second, func() string {
		if n := b.show("NRestarts"); n != "1" {
			return "restarted " + n + " times"
		}
		return ""
	})
	b.says(30*time.Second, "online for")
	if out := b.do("journalctl", "-u", "postern", "--no-pager"); !strings.Contains(out, "Watchdog timeout") {
		b.t.Errorf("no word of the watchdog in\n%s", out)
	}
	if got := b.fan.States(); got != "out 1, out 0" {
		b.t.Errorf("the line: %s", b.fan)
	}
	b.t.Logf("the line, from the moment that the gateway hung: %s", b.fan)
	b.do("rm", "/run/systemd/system/postern.service.d/soon.conf")
	b.do("systemctl", "daemon-reload")
}

// stop makes the gateway hang, as a whole.
func (b *bench) stop() {
	b.t.Helper()
	pid, err := strconv.Atoi(b.show("MainPID"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Signal(pid, int(syscall.SIGSTOP))
}

// resets: with a hardware watchdog that is faster than systemd's, a gateway
// that hangs resets the machine, which comes up, makes the output safe, and
// knows why it was started.
func (b *bench) resets() {
	b.configure("5s")
	b.do("systemctl", "restart", "postern")
	b.on()
	time.Sleep(12 * time.Second) // longer than it waits: it is fed
	if b.Saw("WATCHDOG") {
		b.t.Fatal("the watchdog bit while the gateway runs")
	}
	if got := b.fan.States(); got != "out 1" {
		b.t.Errorf("the line: %s", b.fan)
	}
	boot := b.Read("/proc/sys/kernel/random/boot_id")
	b.do("sync")
	b.fan.Mark()
	b.stop()
	b.await(60*time.Second, func() string {
		if !b.Saw("WATCHDOG") {
			return "the watchdog does not bite"
		}
		return ""
	})
	b.await(120*time.Second, func() string {
		out, err := b.Run(10*time.Second, nil, "postern", "status")
		if !strings.Contains(out, "started by watchdog") {
			return fmt.Sprint("the gateway does not come up again: ", out, err)
		}
		return ""
	})
	if again := b.Read("/proc/sys/kernel/random/boot_id"); again == boot {
		b.t.Error("the machine was not started again")
	}
	b.await(30*time.Second, func() string {
		if got := b.fan.States(); got != "out 1, in, out 0" {
			return "the line: " + b.fan.String()
		}
		return ""
	})
	b.t.Logf("the line, from the moment that the gateway hung: %s", b.fan)
	if out := b.try("postern", "status"); !regexp.MustCompile(`reset-reason +watchdog`).MatchString(out) {
		b.t.Errorf("the field of the board:\n%s", out)
	}
}
