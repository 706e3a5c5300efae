package board

import (
	"encoding/binary"
	"io/fs"
	"path"
	"strconv"
)

// ResetReason is what started the machine, as far as its hardware noted it and
// the kernel tells: "watchdog", "overheat", "under-voltage", "over-voltage",
// "fan fault", "power button", "power-on", "restart", or the words of a driver.
// It is empty when nobody knows. The first source that knows wins:
//
//	bootstatus of a hardware watchdog (Documentation/watchdog/watchdog-api.rst)
//	the power chip of a Raspberry Pi 5, and the SoC's status of any Raspberry
//	Pi with a bootloader in EEPROM, both in the device tree's /chosen
//	(Raspberry Pi documentation, "Device Trees", firmware parameters)
//	power_on_reason of a reset controller
//	(Documentation/ABI/testing/sysfs-platform-power-on-reason)
//
// On a Raspberry Pi a restart asked for is made by the watchdog, so that the
// SoC cannot tell the two apart: both are "restart".
func ResetReason(root fs.FS) string {
	for _, source := range []func(fs.FS) string{fromWatchdog, fromPowerChip, fromSoC, fromResetDriver} {
		if s := source(root); s != "" {
			return s
		}
	}
	return ""
}

// cause is a bit of a status and what it means.
type cause struct {
	bit  uint32
	name string
}

// first is the first cause of a list whose bit is set.
func first(status uint32, list []cause) string {
	for _, c := range list {
		if status&c.bit != 0 {
			return c.name
		}
	}
	return ""
}

// fromWatchdog: the bits are those of linux/watchdog.h. The reset by the
// watchdog itself comes first; the others are what it was told of.
func fromWatchdog(root fs.FS) string {
	for _, w := range list(root, "sys/class/watchdog") {
		n, err := strconv.ParseUint(text(root, path.Join("sys/class/watchdog", w, "bootstatus")), 10, 32)
		if err != nil {
			continue
		}
		if s := first(uint32(n), []cause{{0x20, "watchdog"}, {0x01, "overheat"}, {0x10, "under-voltage"}, {0x40, "over-voltage"}, {0x02, "fan fault"}}); s != "" {
			return s
		}
	}
	return ""
}

func fromPowerChip(root fs.FS) string {
	n, _ := cell(root, deviceTree+"/chosen/power/power_reset")
	return first(n, []cause{{1 << 4, "watchdog"}, {1 << 0, "over-voltage"}, {1 << 1, "under-voltage"}, {1 << 2, "overheat"}, {1 << 3, "power button"}})
}

// fromSoC reads the register PM_RSTS. Only full resets count: the bits of the
// others also hold the number of the partition to start from.
func fromSoC(root fs.FS) string {
	for _, name := range []string{"rsts", "pm_rsts"} {
		if n, ok := cell(root, deviceTree+"/chosen/bootloader/"+name); ok {
			const software, watchdog, power = 0x200, 0x020, 0x1000
			return first(n, []cause{{software | watchdog, "restart"}, {power, "power-on"}})
		}
	}
	return ""
}

func fromResetDriver(root fs.FS) string {
	for _, d := range list(root, "sys/bus/platform/devices") {
		if s := text(root, path.Join("sys/bus/platform/devices", d, "power_on_reason")); s != "" && len(s) < 100 {
			return s
		}
	}
	return ""
}

// cell is a number of the device tree: 32 bits, the high octet first.
func cell(root fs.FS, name string) (uint32, bool) {
	b := read(root, name)
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32([]byte(b)), true
}
