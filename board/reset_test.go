package board

import (
	"testing"
	"testing/fstest"
)

func TestResetReason(t *testing.T) {
	const (
		dog   = "sys/class/watchdog/watchdog0/bootstatus"
		power = deviceTree + "/chosen/power/power_reset"
		soc   = deviceTree + "/chosen/bootloader/rsts"
		ctl   = "sys/bus/platform/devices/fffffe00.reset-controller/power_on_reason"
	)
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{nil, ""},
		{map[string]string{dog: "0\n"}, ""},
		{map[string]string{dog: "32\n"}, "watchdog"},
		{map[string]string{dog: "33\n"}, "watchdog"},
		{map[string]string{dog: "1\n"}, "overheat"},
		{map[string]string{dog: "16\n"}, "under-voltage"},
		{map[string]string{dog: "none\n"}, ""},
		{map[string]string{dog: "0\n", power: "\x00\x00\x00\x02", soc: "\x00\x00\x00\x20"}, "under-voltage"},
		{map[string]string{power: "\x00\x00\x00\x10"}, "watchdog"},
		{map[string]string{power: "\x00\x00\x00\x00", soc: "\x00\x00\x10\x00"}, "power-on"},
		{map[string]string{soc: "\x00\x00\x00\x20"}, "restart"}, // as on a Raspberry Pi 4 after reboot
		{map[string]string{soc: "\x00\x00\x10\x20"}, "restart"},
		{map[string]string{soc: "\x00\x00\x00\x21"}, "restart"},  // with a partition
		{map[string]string{soc: "\x00\x00\x15\x55"}, "power-on"}, // with partition 63
		{map[string]string{soc: "\x00\x00\x00\x00"}, ""},
		{map[string]string{soc: "\x20"}, ""},
		{map[string]string{ctl: "Watchdog Reset\n"}, "Watchdog Reset"},
		{map[string]string{dog: "32", ctl: "General Reset"}, "watchdog"},
	} {
		root := fstest.MapFS{}
		for name, data := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(data)}
		}
		if got := ResetReason(root); got != c.want {
			t.Errorf("%q: %q, want %q", c.files, got, c.want)
		}
	}
}
