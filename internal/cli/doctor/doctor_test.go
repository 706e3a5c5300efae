package doctor

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

const mountinfo = `22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/mmcblk0p2 rw
30 27 0:30 / /var rw,relatime - tmpfs tmpfs rw
31 27 0:31 / /variant rw - nfs4 host:/x rw
`

func machine() *Machine {
	return &Machine{
		Root:    fstest.MapFS{"proc/self/mountinfo": {Data: []byte(mountinfo)}, "sys/class/rtc/rtc0/name": {}, "srv/x": {}, "var/lib/x": {}, "variant/x": {}},
		User:    User{Name: "postern", UID: 990, Groups: map[uint32]string{20: "dialout"}, GroupName: func(g uint32) string { return map[uint32]string{0: "root", 20: "dialout", 993: "gpio"}[g] }},
		Release: "6.1.0-rpi7", Now: func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) },
		Synchronised: func() (bool, error) { return true, nil },
		Space:        func(string) (Space, error) { return Space{Free: 1 << 30, All: 1 << 31}, nil },
		FastCommit:   func(string) (bool, bool) { return false, true },
	}
}

func (m *Machine) put(name, data string) {
	m.Root.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(data)}
}

// want fails unless there is a finding of that state whose text and next step
// hold the words; empty words want no finding that is not OK.
func want(t *testing.T, what string, found []Finding, state State, words string) {
	t.Helper()
	for _, f := range found {
		if f.State == Todo && f.Next == "" {
			t.Errorf("%s: %q has no next step", what, f.Text)
		}
		if words == "" && f.State != OK {
			t.Errorf("%s: %+v, want nothing", what, f)
		}
		if words != "" && f.State == state && strings.Contains(f.Text+" → "+f.Next, words) {
			return
		}
	}
	if words != "" {
		t.Errorf("%s: no %s with %q in %+v", what, state, words, found)
	}
}

func TestPermissions(t *testing.T) {
	m := machine()
	dev := func(name string, gid uint32, mode fs.FileMode) {
		m.Root.(fstest.MapFS)["dev/"+name] = &fstest.MapFile{Mode: mode | fs.ModeDevice | fs.ModeCharDevice,
			Sys: &syscall.Stat_t{Mode: uint32(mode), Gid: gid}}
	}
	dev("ttyS0", 20, 0o660)
	dev("gpiochip0", 993, 0o660)
	dev("i2c-1", 0, 0o600)
	dev("random", 0, 0o666)
	open := func(name string) []Finding { return m.Open("node x", "thing", "/dev/"+name) }
	want(t, "in the group", open("ttyS0"), OK, "")
	want(t, "not in the group", open("gpiochip0"), Todo, "usermod -aG gpio postern")
	want(t, "root's alone", open("i2c-1"), Todo, "udev rules")
	want(t, "everybody's", open("random"), OK, "")
	want(t, "not there", open("nothing"), Todo, "plugged in")
	want(t, "unused ones", m.Devices(), Note, "usermod -aG gpio postern")
	m.User.UID = 0
	want(t, "root", open("i2c-1"), OK, "")
}

func TestClock(t *testing.T) {
	m := machine()
	want(t, "all well", m.Clock(), OK, "")
	m.Synchronised = func() (bool, error) { return false, nil }
	want(t, "free-running", m.Clock(), Todo, "timedatectl set-ntp true")
	m.Synchronised = func() (bool, error) { return false, errors.New("not permitted") }
	want(t, "unknown", m.Clock(), Note, "not permitted")
	m.Now = func() time.Time { return time.Unix(0, 0) }
	want(t, "1970", m.Clock(), Todo, "cannot be")
	delete(m.Root.(fstest.MapFS), "sys/class/rtc/rtc0/name")
	want(t, "no RTC", m.Clock(), Note, "DS3231")
}

func TestDisk(t *testing.T) {
	m := machine()
	disk := func(dir string) []Finding { return m.Disk(dir, 128<<20) }
	want(t, "all well", disk("/srv/postern"), OK, "")
	want(t, "in memory", disk("/var/lib/postern"), Todo, "gone after a restart")
	want(t, "the mount, not its prefix", disk("/variant/postern"), Todo, "network file system")
	m.Space = func(string) (Space, error) { return Space{Free: 1 << 20}, nil }
	want(t, "full", disk("/srv"), Todo, "128 MiB")
	m.Space = func(string) (Space, error) { return Space{Free: 1 << 30, ReadOnly: true}, nil }
	want(t, "read-only", disk("/srv"), Todo, "read-only")
	m.Space = func(string) (Space, error) { return Space{}, errors.New("gone") }
	want(t, "not there", disk("/srv"), Todo, "gone")
}

func TestFastCommit(t *testing.T) {
	m := machine()
	for _, c := range []struct {
		release    string
		has, known bool
		state      State
		words      string
	}{
		{"5.15.84-v8+", true, true, Todo, "tune2fs -O ^fast_commit /dev/mmcblk0p2"},
		{"5.10.0-21-arm64", false, false, Note, "sudo postern doctor"},
		{"5.10.0-21-arm64", false, true, OK, ""},
		{"5.17.0", true, true, OK, ""},
		{"6.1.0", true, true, OK, ""},
		{"4.19.0", true, true, OK, ""},
		{"strange", true, true, OK, ""},
	} {
		m.Release = c.release
		m.FastCommit = func(string) (bool, bool) { return c.has, c.known }
		want(t, c.release, m.Disk("/srv", 1), c.state, c.words)
	}
}

func TestConsoleAndModemManager(t *testing.T) {
	m := machine()
	m.put("proc/cmdline", "console=ttyS0,115200 console=tty1 root=/dev/mmcblk0p2")
	want(t, "console", m.Console("bus x", "/dev/ttyS0"), Todo, "console=ttyS0,115200")
	want(t, "another port", m.Console("bus x", "/dev/ttyAMA0"), OK, "")
	want(t, "no manager", m.Console("bus x", "/dev/ttyUSB0"), OK, "")
	m.put("proc/123/comm", "ModemManager\n")
	want(t, "manager", m.Console("bus x", "/dev/ttyUSB0"), Todo, "ID_MM_DEVICE_IGNORE")
}

func TestBoardAndBuses(t *testing.T) {
	m := machine()
	want(t, "no buses", m.Buses(), Note, "Modbus TCP")
	m.put("sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\x00")
	m.put("sys/firmware/devicetree/base/compatible", "brcm,bcm2711\x00")
	want(t, "overlay", m.Buses(), Note, "dtparam=i2c_arm=on")
	want(t, "well", m.Board(), OK, "")
	m.put("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
	m.put("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
	m.put("sys/class/thermal/thermal_zone0/temp", "84500\n")
	m.put("sys/class/watchdog/watchdog0/bootstatus", "32\n")
	want(t, "under-voltage", m.Board(), Todo, "supply voltage")
	want(t, "hot", m.Board(), Todo, "84 °C")
	want(t, "watchdog", m.Board(), Note, "watchdog started")
}

func TestService(t *testing.T) {
	m := machine()
	if f := m.Service(true); f != nil {
		t.Errorf("without systemd: %+v", f)
	}
	m.put("run/systemd/system/x", "")
	want(t, "not installed", m.Service(true), Note, "install the package")
	m.put("usr/lib/systemd/system/postern.service", "[Unit]\n")
	want(t, "not enabled", m.Service(true), Todo, "systemctl enable")
	want(t, "nothing to run yet", m.Service(false), OK, "")
	m.put("etc/systemd/system/multi-user.target.wants/postern.service", "")
	want(t, "enabled", m.Service(true), OK, "")
}

func TestThisMachine(t *testing.T) {
	m, err := ThisMachine("")
	if err != nil || m.User.Name == "" || m.Release == "" {
		t.Fatalf("%+v, %v", m, err)
	}
	if sp, err := m.Space("/"); err != nil || sp.All == 0 {
		t.Errorf("space %+v, %v", sp, err)
	}
	if _, err := m.Synchronised(); err != nil {
		t.Errorf("clock: %v", err)
	}
	if _, known := m.FastCommit("/dev/null"); known {
		t.Error("/dev/null has a superblock")
	}
	if _, err := ThisMachine("no-such-account"); err == nil {
		t.Error("an account that is not there")
	}
}
