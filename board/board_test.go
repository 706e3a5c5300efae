package board

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func raspberry(model, soc string) fstest.MapFS {
	return fstest.MapFS{
		deviceTree + "/model":         {Data: []byte(model + "\x00")},
		deviceTree + "/compatible":    {Data: []byte("raspberrypi,x\x00" + soc + "\x00")},
		deviceTree + "/serial-number": {Data: []byte("10000000abcdef01\x00")},
	}
}

func TestRaspberryPis(t *testing.T) {
	for _, c := range []struct{ model, soc, pin11, pin13, pin3 string }{
		{"Raspberry Pi 5 Model B Rev 1.0", "brcm,bcm2712", "pinctrl-rp1:17", "pinctrl-rp1:27", "pinctrl-rp1:2"},
		{"Raspberry Pi 4 Model B Rev 1.4", "brcm,bcm2711", "pinctrl-bcm2711:17", "pinctrl-bcm2711:27", "pinctrl-bcm2711:2"},
		{"Raspberry Pi Compute Module 4 Rev 1.0", "brcm,bcm2711", "pinctrl-bcm2711:17", "pinctrl-bcm2711:27", "pinctrl-bcm2711:2"},
		{"Raspberry Pi Zero 2 W Rev 1.0", "brcm,bcm2837", "pinctrl-bcm2835:17", "pinctrl-bcm2835:27", "pinctrl-bcm2835:2"},
		{"Raspberry Pi Zero W Rev 1.1", "brcm,bcm2835", "pinctrl-bcm2835:17", "pinctrl-bcm2835:27", "pinctrl-bcm2835:2"},
		{"Raspberry Pi Model B Plus Rev 1.2", "brcm,bcm2835", "pinctrl-bcm2835:17", "pinctrl-bcm2835:27", "pinctrl-bcm2835:2"},
		{"Raspberry Pi Model B Rev 2", "brcm,bcm2835", "pinctrl-bcm2835:17", "pinctrl-bcm2835:27", "pinctrl-bcm2835:2"},
		{"Raspberry Pi Model B Rev 1", "brcm,bcm2835", "pinctrl-bcm2835:17", "pinctrl-bcm2835:21", "pinctrl-bcm2835:0"},
	} {
		b := Detect(raspberry(c.model, c.soc))
		if b.Family != RaspberryPi || b.Model != c.model || b.Serial != "10000000abcdef01" {
			t.Errorf("%s: %+v", c.model, b)
		}
		for name, want := range map[string]string{"pin 11": c.pin11, "GPIO17": c.pin11, "PIN13": c.pin13, "pin3": c.pin3, "x:y": "x:y"} {
			if got, err := b.Line(name); err != nil || got != want {
				t.Errorf("%s: %s: %s, %v; want %s", c.model, name, got, err, want)
			}
		}
	}
}

func TestHeaderIsComplete(t *testing.T) {
	seen := map[int]bool{}
	for _, g := range header40 {
		if seen[g] {
			t.Errorf("GPIO%d is on two pins", g)
		}
		seen[g] = true
	}
	for g := range 28 {
		if !seen[g] {
			t.Errorf("GPIO%d is on no pin", g)
		}
	}
}

func TestPinsThatAreNone(t *testing.T) {
	b := Detect(raspberry("Raspberry Pi Model B Rev 2", "brcm,bcm2835"))
	for _, name := range []string{"pin 1", "pin 40", "pin 99", "GPIO26"} {
		if got, err := b.Line(name); err == nil {
			t.Errorf("%s is %s", name, got)
		}
	}
	if n := len(b.Pins()); n != 17 {
		t.Errorf("%d GPIO pins on the 26-pin header, want 17", n)
	}
	if got, err := Detect(fstest.MapFS{}).Line("pin 11"); err == nil {
		t.Errorf("pin 11 of an unknown machine is %s", got)
	}
}

func TestOtherMachines(t *testing.T) {
	b := Detect(fstest.MapFS{
		deviceTree + "/model":      {Data: []byte("BeagleBone Black\x00")},
		deviceTree + "/compatible": {Data: []byte("ti,am335x-bone-black\x00ti,am33xx\x00")},
	})
	if b.Family != DeviceTree || b.Model != "BeagleBone Black" || len(b.Compatible) != 2 {
		t.Errorf("%+v", b)
	}
	b = Detect(fstest.MapFS{
		"sys/class/dmi/id/product_name": {Data: []byte("NUC\x1b[31m8\n")},
		"sys/class/dmi/id/sys_vendor":   {Data: []byte("Intel\n")},
	})
	if b.Family != PC || b.String() != "Intel NUC[31m8" {
		t.Errorf("%+v", b)
	}
	if b := Detect(fstest.MapFS{}); b.Family != Unknown || b.String() != "unknown machine" {
		t.Errorf("%+v", b)
	}
	if Detect(os.DirFS("/")).Family == "" {
		t.Error("this machine has no family")
	}
}

func TestBuses(t *testing.T) {
	root := raspberry("Raspberry Pi 4 Model B Rev 1.4", "brcm,bcm2711")
	root[deviceTree+"/aliases/serial0"] = &fstest.MapFile{Data: []byte("/soc/serial@7e215040\x00")}
	root[deviceTree+"/aliases/serial1"] = &fstest.MapFile{Data: []byte("/soc/serial@7e201000\x00")}
	root["sys/class/i2c-dev/i2c-20/name"] = &fstest.MapFile{Data: []byte("fef04500.i2c\n")}
	root["sys/class/tty/ttyS0/device/of_node"] = &fstest.MapFile{
		Mode: fs.ModeSymlink, Data: []byte("../../../../../firmware/devicetree/base/soc/serial@7e215040"),
	}
	root["sys/class/tty/tty1/dev"] = &fstest.MapFile{Data: []byte("4:1\n")}
	b := Detect(root)
	if p, err := b.Bus(root, "serial0"); err != nil || p != "/dev/ttyS0" {
		t.Errorf("serial0: %s, %v", p, err)
	}
	if p, err := b.Bus(root, "i2c20"); err != nil || p != "/dev/i2c-20" {
		t.Errorf("i2c20: %s, %v", p, err)
	}
	if p, err := b.Bus(root, "i2c1"); err == nil || !strings.Contains(err.Error(), "dtparam=i2c_arm=on") {
		t.Errorf("i2c1 is not enabled: %s, %v", p, err)
	}
	if p, err := b.Bus(root, "/dev/ttyUSB0"); err != nil || p != "/dev/ttyUSB0" {
		t.Errorf("%s, %v", p, err)
	}
	root["sys/class/i2c-dev/i2c-1/name"] = &fstest.MapFile{Data: []byte("bcm2835 (i2c@7e804000)\n")}
	if p, err := b.Bus(root, "i2c1"); err != nil || p != "/dev/i2c-1" {
		t.Errorf("i2c1: %s, %v", p, err)
	}
}
