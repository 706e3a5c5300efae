package serial

import (
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestList(t *testing.T) {
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte(to)} }
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	got := List(fstest.MapFS{
		"dev/serial/by-id/usb-FTDI_A5-if00-port0": link("../../ttyUSB0"),
		"dev/ttyUSB0":                    text(""),
		"sys/class/tty/ttyUSB0/device/x": text(""),
		"sys/class/tty/ttyAMA0/device/x": text(""),
		"sys/class/tty/ttyAMA0/type":     text("32\n"),
		"sys/class/tty/ttyS3/device/x":   text(""),
		"sys/class/tty/ttyS3/type":       text("0\n"),
		"sys/class/tty/tty1/dev":         text("4:1\n"),
		"sys/class/tty/ttyACM0/device/x": text(""),
	})
	want := []Listed{{"/dev/serial/by-id/usb-FTDI_A5-if00-port0", "/dev/ttyUSB0"}, {"/dev/ttyACM0", "/dev/ttyACM0"}, {"/dev/ttyAMA0", "/dev/ttyAMA0"}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%v, want %v", got, want)
	}
	if got := List(fstest.MapFS{}); got != nil {
		t.Errorf("%v of nothing", got)
	}
}
