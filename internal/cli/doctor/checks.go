package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"postern/board"
)

// Board names the machine, and what the power supply and the processor's heat
// say.
func (m *Machine) Board() []Finding {
	l := &list{check: "board"}
	b := board.Detect(m.Root)
	l.add(OK, b.String(), "")
	h := board.ReadHealth(m.Root)
	if h.UnderVoltage != nil && *h.UnderVoltage {
		l.add(Todo, "the supply voltage was too low since the start", "use the supply of the board's maker and a short cable: an SD card is damaged by brown-outs")
	}
	if h.Celsius != nil && *h.Celsius >= 80 {
		l.add(Todo, fmt.Sprintf("the processor has %d °C and slows down", *h.Celsius), "give it a heat sink or more air")
	}
	switch h.ResetReason {
	case "watchdog":
		l.add(Note, "the hardware watchdog started this machine", "journalctl -b -1 shows the last minutes before, if the journal is kept (Storage=persistent)")
	case "under-voltage", "over-voltage":
		l.add(Todo, "the board was reset for its supply: "+h.ResetReason, "use the supply of the board's maker and a short cable: an SD card is damaged by brown-outs")
	case "overheat":
		l.add(Todo, "the board was reset because it was too hot", "give it a heat sink or more air")
	}
	return l.findings
}

// Buses names the buses of the header that are not enabled. They are remarks,
// because nobody may need them; what a configuration needs is told by Open.
func (m *Machine) Buses() []Finding {
	l := &list{check: "buses"}
	have := 0
	for _, b := range board.Detect(m.Root).Buses(m.Root) {
		if b.Present {
			have++
			continue
		}
		l.add(Note, fmt.Sprintf("%s (%s) is not enabled", b.Name, b.Where), "if you need it: "+b.Advice)
	}
	if chips := m.glob("/dev/gpiochip*"); len(chips) > 0 {
		have += len(chips)
	}
	if have == 0 && len(l.findings) == 0 {
		l.add(Note, "this machine offers no I2C, SPI, 1-Wire bus and no GPIO chip", "USB adapters and Modbus TCP work on any machine")
	}
	return l.findings
}

// Open tells whether the user may open a device file that who needs.
func (m *Machine) Open(who, what, file string) []Finding {
	l := &list{check: "permissions"}
	fi, err := fs.Stat(m.Root, strings.TrimPrefix(file, "/"))
	if err != nil {
		l.add(Todo, fmt.Sprintf("%s: %s cannot be looked at: %v", who, file, err), "see that it is plugged in and enabled")
		return l.findings
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if m.User.may(st) {
		l.add(OK, fmt.Sprintf("%s: %s may open %s (%s)", who, m.User.Name, file, what), "")
		return l.findings
	}
	group := m.User.GroupName(st.Gid)
	next := fmt.Sprintf("usermod -aG %s %s, then restart the gateway (systemctl restart postern) or log in again", group, m.User.Name)
	if group == "root" || st.Mode&0o060 != 0o060 {
		next = "install the udev rules of the package (board/packaging/postern.rules) in /etc/udev/rules.d, then: udevadm control --reload && udevadm trigger"
	}
	l.add(Todo, fmt.Sprintf("%s: %s may not open %s (%s of mode %04o, group %s)", who, m.User.Name, file, what, st.Mode&0o777, group), next)
	return l.findings
}

func (u *User) may(st *syscall.Stat_t) bool {
	switch {
	case u.UID == 0:
		return true
	case st.Uid == u.UID:
		return st.Mode&0o600 == 0o600
	}
	if _, in := u.Groups[st.Gid]; in {
		return st.Mode&0o060 == 0o060
	}
	return st.Mode&0o006 == 0o006
}

// Clock: certificates and times of readings need a clock that goes right.
func (m *Machine) Clock() []Finding {
	l := &list{check: "clock"}
	now := m.Now()
	synced, err := m.Synchronised()
	rtc := len(m.glob("/sys/class/rtc/rtc*")) > 0
	switch {
	case now.Year() < 2025:
		l.add(Todo, fmt.Sprintf("the clock says %s, which cannot be", now.Format("2006-01-02 15:04")), "timedatectl set-ntp true, and see that the network lets NTP through (UDP port 123)")
	case err != nil:
		l.add(Note, "whether the clock is kept by a time service cannot be told: "+err.Error(), "")
	case !synced:
		l.add(Todo, "no time service keeps the clock", "timedatectl set-ntp true (systemd-timesyncd), or install chrony")
	default:
		l.add(OK, "the clock is kept by a time service", "")
	}
	if !rtc {
		l.add(Note, "there is no real-time clock: after each start the time is wrong until the network has told it", "a DS3231 on I2C with dtoverlay=i2c-rtc,ds3231 keeps it (on a Raspberry Pi 5: a battery)")
	}
	return l.findings
}

// Disk looks at the file system that keeps the state, which needs so many
// octets free.
func (m *Machine) Disk(dir string, need uint64) []Finding {
	l := &list{check: "disk"}
	at := dir
	for at != "/" && at != "." {
		if _, err := fs.Stat(m.Root, strings.TrimPrefix(at, "/")); err == nil {
			break
		}
		at = path.Dir(at)
	}
	sp, err := m.Space(at)
	switch {
	case err != nil:
		l.add(Todo, fmt.Sprintf("%s cannot be looked at: %v", at, err), "see that the directory is there and mounted")
		return l.findings
	case sp.ReadOnly:
		l.add(Todo, at+" is on a file system that is read-only", "mount it read-write, or name another directory with state.directory; dmesg tells whether the kernel made it so after an error")
	case sp.Free < need:
		l.add(Todo, fmt.Sprintf("%s has %d MiB free", at, sp.Free>>20), fmt.Sprintf("free space until there are %d MiB, or set history.megabytes lower", need>>20))
	default:
		l.add(OK, fmt.Sprintf("%s has %d MiB free", at, sp.Free>>20), "")
	}
	mt, ok := m.mountOf(at)
	if !ok {
		return l.findings
	}
	switch mt.fstype {
	case "tmpfs", "ramfs":
		l.add(Todo, fmt.Sprintf("%s is in memory (%s): claim and history are gone after a restart", at, mt.fstype), "name a directory on a disk with state.directory")
	case "overlay":
		l.add(Note, at+" is on an overlay: what is written may be gone after a restart", "see that the upper layer is on a disk, or name another directory with state.directory")
	case "vfat", "exfat", "msdos":
		l.add(Todo, fmt.Sprintf("%s is on %s, which loses files in a power cut", at, mt.fstype), "use ext4 or another file system with a journal")
	case "nfs", "nfs4", "cifs", "smb3", "9p":
		l.add(Todo, fmt.Sprintf("%s is on a network file system (%s), where the store's lock and order of writes do not hold", at, mt.fstype), "name a directory on a local disk with state.directory")
	case "ext4":
		m.fastCommit(l, at, mt.source)
	}
	return l.findings
}

// fastCommit: with ext4's fast commits a power cut could lose what was written
// before, in Linux 5.10 to 5.16 (bbolt's README, known issues).
func (m *Machine) fastCommit(l *list, at, device string) {
	has, known := m.FastCommit(device)
	major, minor := kernel(m.Release)
	hazard := (major == 5 && minor >= 10 && minor < 17)
	switch {
	case !hazard:
	case has:
		l.add(Todo, fmt.Sprintf("%s is on ext4 with fast_commit, and Linux %s can damage the state with it in a power cut", at, m.Release),
			fmt.Sprintf("use Linux 5.17 or newer, or switch it off while it is not mounted: tune2fs -O ^fast_commit %s", device))
	case !known:
		l.add(Note, fmt.Sprintf("Linux %s has a fault in ext4's fast_commit; whether %s uses it shows to root alone", m.Release, device), "sudo postern doctor, or: tune2fs -l "+device+" | grep fast_commit")
	}
}

func kernel(release string) (major, minor int) {
	_, _ = fmt.Sscanf(release, "%d.%d", &major, &minor) // what is no number stays 0
	return major, minor
}

type mount struct{ dir, fstype, source string }

// mountOf finds the mount that a directory is on, by the longest mount point
// (proc(5), mountinfo).
func (m *Machine) mountOf(dir string) (best mount, ok bool) {
	for _, line := range strings.Split(m.text("/proc/self/mountinfo"), "\n") {
		left, right, _ := strings.Cut(line, " - ")
		f, r := strings.Fields(left), strings.Fields(right)
		if len(f) < 5 || len(r) < 2 {
			continue
		}
		at := f[4]
		if dir == at || at == "/" || strings.HasPrefix(dir, at+"/") {
			if !ok || len(at) >= len(best.dir) {
				best, ok = mount{at, r[0], r[1]}, true
			}
		}
	}
	return best, ok
}

// Console tells whether the kernel or a login uses a serial port.
func (m *Machine) Console(who, file string) []Finding {
	l := &list{check: "serial"}
	tty := path.Base(file)
	for _, w := range strings.Fields(m.text("/proc/cmdline")) {
		if c, ok := strings.CutPrefix(w, "console="); ok {
			if name, _, _ := strings.Cut(c, ","); name == tty {
				l.add(Todo, fmt.Sprintf("%s: the kernel writes its console to %s", who, file), "take "+w+" out of the kernel's command line (on a Raspberry Pi /boot/firmware/cmdline.txt) and restart")
			}
		}
	}
	if strings.HasPrefix(tty, "ttyUSB") || strings.HasPrefix(tty, "ttyACM") {
		if m.runs("ModemManager") {
			l.add(Todo, fmt.Sprintf("%s: ModemManager talks to %s whenever it is plugged in", who, file), "systemctl disable --now ModemManager, or set ENV{ID_MM_DEVICE_IGNORE}=\"1\" for it in a udev rule")
		}
	}
	return l.findings
}

func (m *Machine) runs(name string) bool {
	for _, c := range m.glob("/proc/[0-9]*/comm") {
		if m.text(c) == name {
			return true
		}
	}
	return false
}

// Service looks at the unit.
func (m *Machine) Service(configured bool) []Finding {
	l := &list{check: "service"}
	if _, err := fs.Stat(m.Root, "run/systemd/system"); err != nil {
		return nil // another manager, or none
	}
	unit := ""
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if m.text(dir+"/postern.service") != "" {
			unit = dir + "/postern.service"
			break
		}
	}
	_, err := fs.Lstat(m.Root, "etc/systemd/system/multi-user.target.wants/postern.service")
	switch {
	case unit == "":
		l.add(Note, "the gateway is not installed as a service", "install the package, or copy board/packaging/postern.service to /etc/systemd/system")
	case err != nil && configured:
		l.add(Todo, "the service does not start with the machine", "systemctl enable --now postern")
	case err == nil:
		l.add(OK, "the service starts with the machine", "")
	}
	return l.findings
}

// Devices tells about the device files of buses that the user may not open,
// whether or not a configuration needs them yet.
func (m *Machine) Devices() []Finding {
	var out []Finding
	for _, kind := range []struct{ what, pattern string }{
		{"GPIO", "/dev/gpiochip*"}, {"I2C", "/dev/i2c-[0-9]*"}, {"SPI", "/dev/spidev*"},
		{"hardware watchdog", "/dev/watchdog0"},
	} {
		for _, file := range m.glob(kind.pattern) {
			if fi, err := fs.Lstat(m.Root, strings.TrimPrefix(file, "/")); err != nil || fi.Mode()&fs.ModeSymlink != 0 {
				continue // another name of a chip that comes by its own
			}
			for _, f := range m.Open(kind.what, "device", file) {
				if f.State == Todo {
					f.State = Note
				}
				out = append(out, f)
			}
		}
	}
	return out
}
