package survey

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/drivers"
	"postern/drivers/ble"
	"postern/drivers/ble/virtual"
)

// sends is a device that broadcasts always the same.
func sends(t *testing.T, address, advert string) *virtual.Device {
	t.Helper()
	a, err := ble.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(advert, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return &virtual.Device{Address: a, Advert: func(time.Time) []byte { return b }}
}

func listening(air *virtual.Air) BLEOptions {
	return BLEOptions{Adapter: "hci0", Time: 300 * time.Millisecond, Open: func(int) (io.ReadWriteCloser, error) {
		return virtual.NewController(air, [6]byte{2, 0, 0, 0, 0, 1}), nil
	}}
}

// Every format that is simulated is named, and what is written down reads the
// sensor that it was made of.
func TestBLEFindsAndWritesDown(t *testing.T) {
	air := &virtual.Air{}
	for i, c := range []ble.Config{
		{Format: "bthome", Values: []string{"temperature", "door"}}, {Format: "ruuvi"}, {Format: "atc"}, {Format: "eddystone-tlm"}, {Format: "ibeacon"},
	} {
		c.Address = fmt.Sprintf("A4:C1:38:00:11:%02X", i)
		air.Add(ble.Simulate(c))
	}
	air.Add(sends(t, "54:48:E6:8F:80:A5", "020106 1216d2fc 41a47266c95f73 00112233 78237214"))
	air.Add(sends(t, "A4:C1:38:00:11:99", "020106 12161a18 22110038c1a4 6608 ad11 9a0b 5c 07 04")) // of another address
	air.Add(sends(t, "A4:C1:38:11:22:98", "020106 0516 95fe 3058 09095f41 1b5b314d0a42"))
	air.Add(sends(t, "A4:C1:38:11:22:97", "020106 0516 aafe 00 00"))
	phone := sends(t, "5A:00:00:00:00:01", "020106 0a16d2fc4002c40903bf13") // resolvable: it passes
	phone.Random = true
	air.Add(phone)
	own := sends(t, "C5:00:00:00:00:02", "020106 0a16d2fc4002c40903bf13") // static: it stays
	own.Random = true
	air.Add(own)
	o := listening(air)
	told := 0
	o.Progress = func(n int, left time.Duration) { told = max(told, n) }
	r, err := BLE(t.Context(), fstest.MapFS{}, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		sure := 0
		if len(f.Guesses) > 0 {
			sure = f.Guesses[0].Confidence
		}
		got = append(got, fmt.Sprintf("%s %s %d", f.Where, f.Kind(), sure))
		if !strings.HasPrefix(f.Detail, "-60 dBm") {
			t.Errorf("%s: %s", f.Where, f.Detail)
		}
	}
	if s := strings.Join(got, "\n"); s != `54:48:E6:8F:80:A5 ble 95
5A:00:00:00:00:01  95
A4:C1:38:00:11:00 ble 95
A4:C1:38:00:11:01 ble 99
A4:C1:38:00:11:02 ble 99
A4:C1:38:00:11:03 ble 95
A4:C1:38:00:11:04 ble 95
A4:C1:38:00:11:99 ble 60
C5:00:00:00:00:02 ble 95
A4:C1:38:11:22:98  90
A4:C1:38:11:22:97  0` {
		t.Errorf("found\n%s", s)
	}
	if told != 11 {
		t.Errorf("the progress told %d devices", told)
	}
	nodes := checked(t, r)
	if len(nodes) != 8 || nodes[1].ID != "ble-001100" || nodes[0].Label != "" {
		t.Fatalf("nodes %+v", nodes)
	}
	for i, want := range []ble.Config{
		{Address: "54:48:E6:8F:80:A5", Format: "bthome"},
		{Address: "A4:C1:38:00:11:00", Format: "bthome", Values: []string{"temperature", "door"}},
		{Address: "A4:C1:38:00:11:01", Format: "ruuvi"}, {Address: "A4:C1:38:00:11:02", Format: "atc"},
		{Address: "A4:C1:38:00:11:03", Format: "eddystone-tlm"}, {Address: "A4:C1:38:00:11:04", Format: "ibeacon"},
	} {
		c := nodes[i].Config.(*ble.Config)
		if c.Address != want.Address || c.Format != want.Format || fmt.Sprint(c.Values) != fmt.Sprint(want.Values) || c.Bus != "air" {
			t.Errorf("node %d: %+v, want %+v", i, c, want)
		}
	}
}

// What strangers broadcast does not break the configuration, nor the terminal.
func TestBLEIsHostile(t *testing.T) {
	air := &virtual.Air{}
	name := "\x1b[2J\": \n- id: x #"
	air.Add(sends(t, "C5:00:00:00:00:02", fmt.Sprintf("020106 %02x09%x 0616d2fc 40 0161", len(name)+1, name)))
	air.Add(sends(t, "C5:00:00:00:00:03", "ff"))
	air.Add(sends(t, "C5:00:00:00:00:04", "0416d2fc41"))
	air.Add(sends(t, "C5:00:00:00:00:05", "03ff9904 04ff99040500"))
	r, err := BLE(t.Context(), fstest.MapFS{}, listening(air))
	if err != nil || len(r.Findings) != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	nodes := checked(t, r)
	if len(nodes) != 1 || nodes[0].Label != `[2J": - id: x #` || strings.ContainsRune(r.Snippet(), '\x1b') {
		t.Errorf("%+v\n%s", nodes, r.Snippet())
	}
}

func TestBLEWithoutAnAdapter(t *testing.T) {
	if r, err := BLE(t.Context(), fstest.MapFS{}, BLEOptions{}); err != nil || len(r.Notes) != 1 {
		t.Errorf("no adapter: %+v, %v", r, err)
	}
	root := fstest.MapFS{}
	for _, name := range []string{"hci10", "hci2", "hci2:64"} {
		root["sys/class/bluetooth/"+name+"/address"] = &fstest.MapFile{}
	}
	asked := 0
	denied := func(n int) (io.ReadWriteCloser, error) {
		asked = n
		return nil, fmt.Errorf("%w: %w", drivers.ErrGone, fs.ErrPermission)
	}
	if r, err := BLE(t.Context(), root, BLEOptions{Open: denied}); r != nil || !errors.Is(err, fs.ErrPermission) || asked != 2 {
		t.Errorf("hci%d: %+v, %v", asked, r, err)
	}
	air := &virtual.Air{}
	if r, err := BLE(t.Context(), root, listening(air)); err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "nobody") {
		t.Errorf("nobody: %+v, %v", r, err)
	}
	// Ended by the person, it shows what there is.
	air.Add(sends(t, "C5:00:00:00:00:02", "0616d2fc 40 0161"))
	o := listening(air)
	o.Time = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(n int, _ time.Duration) {
		if n > 0 {
			cancel()
		}
	}
	if r, err := BLE(ctx, root, o); err != nil || len(r.Findings) != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "stopped after") {
		t.Errorf("%+v, %v", r, err)
	}
	// Unplugged meanwhile.
	var ctl *virtual.Controller
	o.Open = func(int) (io.ReadWriteCloser, error) {
		ctl = virtual.NewController(air, [6]byte{2, 0, 0, 0, 0, 1})
		return ctl, nil
	}
	o.Progress = func(n int, _ time.Duration) {
		if n > 0 {
			_ = ctl.Close()
		}
	}
	if r, err := BLE(t.Context(), root, o); !errors.Is(err, drivers.ErrGone) || r == nil || len(r.Findings) != 1 {
		t.Errorf("unplugged: %+v, %v", r, err)
	}
}
