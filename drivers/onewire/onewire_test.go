package onewire

import (
	"errors"
	"testing"
	"testing/fstest"

	"postern/drivers"
)

func TestKernel(t *testing.T) {
	root := fstest.MapFS{
		devices + "/28-0316a2795aff/w1_slave":   {Data: []byte("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n")},
		devices + "/28-00000bad0000/w1_slave":   {Data: []byte("72 01 4b 46 7f ff 0e 10 00 : crc=57 NO\n")},
		devices + "/28-0000000000aa/w1_slave":   {Data: []byte("")},
		devices + "/w1_bus_master1/w1_master":   {Data: []byte("x")},
		devices + "/3a-0000001b2f3c/rw":         {Data: []byte("x")},
		devices + "/28-00000000ffff/other-file": {Data: []byte("x")},
	}
	k := Kernel{root}
	ids, err := k.List()
	if err != nil || len(ids) != 5 {
		t.Errorf("%v, %v", ids, err)
	}
	pad, err := k.Measure("28-0316a2795aff")
	if err != nil || len(pad) != 9 || pad[0] != 0x72 {
		t.Errorf("% x, %v", pad, err)
	}
	if CRC8(pad) != 0 {
		t.Errorf("the kernel's example has checksum %x", CRC8(pad))
	}
	for id, want := range map[string]error{
		"28-00000bad0000": drivers.ErrProtocol, "28-0000000000aa": drivers.ErrProtocol,
		"28-00000000ffff": drivers.ErrGone, "28-000000000001": drivers.ErrGone,
	} {
		if pad, err := k.Measure(id); !errors.Is(err, want) {
			t.Errorf("%s: % x, %v; want %v", id, pad, err, want)
		}
	}
	if _, err := k.Measure("../../etc/passwd"); err == nil {
		t.Error("a path was taken for an id")
	}
	if _, err := (Kernel{fstest.MapFS{}}).List(); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("without a bus: %v", err)
	}
}

// Maxim application note 27: the ROM code a2 00 00 00 01 b8 1c 02, lowest octet
// first, has this checksum.
func TestCRC8(t *testing.T) {
	if c := CRC8([]byte{0x02, 0x1c, 0xb8, 0x01, 0, 0, 0}); c != 0xa2 {
		t.Errorf("0x%02x, the note says 0xa2", c)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pad, err := parse("x", b); err == nil && len(pad) != 9 {
			t.Errorf("%d octets", len(pad))
		}
	})
}
