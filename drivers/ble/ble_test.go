package ble

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"postern/drivers"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func line(r Reading) string {
	var s []string
	for _, x := range r.Samples {
		s = append(s, strings.TrimSpace(x.Channel+" "+x.Value.String()+" "+x.Unit))
	}
	return strings.Join(s, ", ")
}

// The examples of bthome.io/format and of the reference decoder's tests.
func TestBTHome(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"40 02c409 03bf13", "temperature 25.00 °C, humidity 50.55 %RH"},
		{"40 02ca09 03bf13", "temperature 25.06 °C, humidity 50.55 %RH"},
		{"40 0161", "battery 97 %"},
		{"40 04138a01", "pressure 1008.83 hPa"},
		{"40 05138a14", "illuminance 13460.67 lx"},
		{"40 08ca06", "dew-point 17.38 °C"},
		{"40 0a138a14", "energy 1346.067 kWh"},
		{"40 0b021b00", "power 69.14 W"},
		{"40 0c020c", "voltage 3.074 V"},
		{"40 12e204", "co2 1250 ppm"},
		{"40 0f01", "state true"},
		{"40 2d00", "window false"},
		{"40 3f020c", "rotation 307.4 °"},
		{"40 451101", "temperature 27.3 °C"},
		{"40 4632", "uv-index 5.0"},
		{"40 57ea", "temperature -22 °C"},
		{"40 58ea", "temperature -7.70 °C"},
		{"40 5c02fbffff", "power -12.78 W"},
		{"40 505d396164", "timestamp 2023-05-14T19:41:17Z"},
		{"40 530c48656c6c6f20576f726c6421", "text Hello World!"},
		{"40 5406 48656c6c6f20", "raw 48656c6c6f20"},
		{"40 02ca09 02cf09", "temperature 25.06 °C, temperature-2 25.11 °C"},
		{"40 0961 0962 0963", "count 97, count-2 98, count-3 99"},
		{"40 0161 ee12", "battery 97 %"}, // what comes after an unknown object is not known
		{"44 3a01", "button 1"},
		{"40 f204030201", "firmware 2.3.4, " /* the last octet is an unknown object 01 without value */},
	} {
		r, err := BTHome(Address{}, octets(t, c.data), nil)
		if strings.HasSuffix(c.want, ", ") {
			if !errors.Is(err, drivers.ErrProtocol) {
				t.Errorf("%s: %v, want ErrProtocol", c.data, err)
			}
			continue
		}
		if err != nil || line(r) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.data, line(r), err, c.want)
		}
	}
	if r, err := BTHome(Address{}, octets(t, "40 0009 0161"), nil); err != nil || r.Packet != 9 {
		t.Errorf("packet %d, %v", r.Packet, err)
	}
	for _, bad := range []string{"", "20 0161", "40 02c4", "40 5305 4865", "40 53"} {
		if r, err := BTHome(Address{}, octets(t, bad), nil); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%q: %v, %v", bad, line(r), err)
		}
	}
}

// The example of bthome.io/encryption, and one of the reference encoder's.
func TestBTHomeEncrypted(t *testing.T) {
	from, err := ParseAddress("54:48:E6:8F:80:A5")
	if err != nil {
		t.Fatal(err)
	}
	key := octets(t, "231d39c1d7cc1ab1aee224cd096db932")
	for data, want := range map[string]string{
		"41 a47266c95f73 00112233 78237214": "temperature 25.06 °C, humidity 50.55 %RH",
		"41 87b9 00112233 72b0231f":         "motion true",
	} {
		b := octets(t, data)
		r, err := BTHome(from, b, key)
		if err != nil || line(r) != want || r.Packet != 0x33221100 {
			t.Errorf("%s: %s, packet %x, %v; want %s", data, line(r), r.Packet, err, want)
		}
		for i := range b {
			b[i] ^= 1
			if i > 0 {
				if r, err := BTHome(from, b, key); !errors.Is(err, ErrKey) {
					t.Errorf("octet %d changed: %s, %v", i, line(r), err)
				}
			}
			b[i] ^= 1
		}
		if _, err := BTHome(from, b, nil); !errors.Is(err, ErrKey) {
			t.Errorf("without a key: %v", err)
		}
		from[0]++
		if _, err := BTHome(from, b, key); !errors.Is(err, ErrKey) {
			t.Errorf("from another address: %v", err)
		}
		from[0]--
	}
	if _, err := BTHome(from, octets(t, "41 00112233 782372"), key); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("cut short: %v", err)
	}
}

// The test vectors of docs.ruuvi.com, "Data format 5".
func TestRuuvi(t *testing.T) {
	for data, want := range map[string]string{
		"0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F": "temperature 24.300 °C, humidity 53.4900 %RH, pressure 1000.44 hPa, acceleration-x 0.004 g, acceleration-y -0.004 g, acceleration-z 1.036 g, battery-voltage 2.977 V, tx-power 4 dBm, movements 66",
		"057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F": "temperature 163.835 °C, humidity 163.8350 %RH, pressure 1155.34 hPa, acceleration-x 32.767 g, acceleration-y 32.767 g, acceleration-z 32.767 g, battery-voltage 3.646 V, tx-power 20 dBm, movements 254",
		"058001000000008001800180010000000000CBB8334C884F": "temperature -163.835 °C, humidity 0.0000 %RH, pressure 500.00 hPa, acceleration-x -32.767 g, acceleration-y -32.767 g, acceleration-z -32.767 g, battery-voltage 1.600 V, tx-power -40 dBm, movements 0",
		"058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF": "",
	} {
		r, err := Ruuvi(octets(t, data))
		if err != nil || line(r) != want {
			t.Errorf("%s:\n%s, %v\nwant\n%s", data, line(r), err, want)
		}
	}
	if r, _ := Ruuvi(octets(t, "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")); r.Packet != 205 {
		t.Errorf("packet %d, want 205", r.Packet)
	}
	if _, err := Ruuvi([]byte{3, 0}); !errors.Is(err, ErrNotOurs) {
		t.Errorf("format 3: %v", err)
	}
	if _, err := Ruuvi([]byte{5, 0}); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("cut short: %v", err)
	}
}

func TestATC(t *testing.T) {
	for data, want := range map[string]string{
		"a4c138001122 00d7 2d 5c 0b9a 07":      "temperature 21.5 °C, humidity 45 %RH, battery 92 %, battery-voltage 2.970 V",
		"a4c138001122 ffce 2d 5c 0b9a 07":      "temperature -5.0 °C, humidity 45 %RH, battery 92 %, battery-voltage 2.970 V",
		"22110038c1a4 6608 ad11 9a0b 5c 07 04": "temperature 21.50 °C, humidity 45.25 %RH, battery 92 %, battery-voltage 2.970 V",
	} {
		r, err := ATC(octets(t, data))
		if err != nil || line(r) != want || r.Packet != 7 {
			t.Errorf("%s: %s, %d, %v; want %s", data, line(r), r.Packet, err, want)
		}
	}
	if _, err := ATC(make([]byte, 14)); !errors.Is(err, ErrNotOurs) {
		t.Errorf("14 octets: %v", err)
	}
}

func TestEddystoneAndIBeacon(t *testing.T) {
	for data, want := range map[string]string{
		"20 00 0bb8 1580 00000064 000003e8":            "battery-voltage 3.000 V, temperature 21.50 °C, advertisements 100, uptime 100.0 s",
		"20 00 0000 8000 00000064 000003e8":            "advertisements 100, uptime 100.0 s",
		"20 00 0bb8 fe80 00000001 0000000a":            "battery-voltage 3.000 V, temperature -1.50 °C, advertisements 1, uptime 1.0 s",
		"00 e7 00112233445566778899 aabbccddeeff 0000": "namespace 00112233445566778899, instance aabbccddeeff, tx-power -25 dBm",
		"10 e7 03 6578616d706c65 01 78":                "url https://example.org/x, tx-power -25 dBm",
		"10 e7 00 6578616d706c65 08":                   "url http://www.example.org, tx-power -25 dBm",
	} {
		r, err := Eddystone(octets(t, data))
		if err != nil || line(r) != want {
			t.Errorf("%s: %s, %v; want %s", data, line(r), err, want)
		}
	}
	for _, bad := range []string{"20", "20 00 0bb8", "00 e7 00", "10 e7 09 41", "10 e7 00 ff"} {
		if r, err := Eddystone(octets(t, bad)); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%s: %s, %v", bad, line(r), err)
		}
	}
	r, err := IBeacon(octets(t, "0215 f7826da64fa24e988024bc5b71e0893e 0001 0002 c5"))
	if err != nil || line(r) != "uuid f7826da6-4fa2-4e98-8024-bc5b71e0893e, major 1, minor 2, power-at-1m -59 dBm" {
		t.Errorf("%s, %v", line(r), err)
	}
}

func TestDecodeAdvert(t *testing.T) {
	a, err := ParseAdvert(octets(t, "020106 0b094449592d73656e736f72 0a16d2fc4002c40903bf13"))
	if err != nil || a.Name != "DIY-sensor" {
		t.Fatalf("%+v, %v", a, err)
	}
	r, err := Decode(Address{}, a, nil)
	if err != nil || line(r) != "temperature 25.00 °C, humidity 50.55 %RH" {
		t.Errorf("%s, %v", line(r), err)
	}
	a, err = ParseAdvert(octets(t, "020106 1bff9904 0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F 0000"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Decode(Address{}, a, nil); err != nil || r.Format != "ruuvi" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ParseAdvert(octets(t, "0201")); !errors.Is(err, ErrAdvert) {
		t.Errorf("cut short: %v", err)
	}
	if _, err := Decode(Address{}, Advert{}, nil); !errors.Is(err, ErrNotOurs) {
		t.Errorf("nothing: %v", err)
	}
}

func TestAddress(t *testing.T) {
	for _, s := range []string{"A4:C1:38:00:11:22", "a4-c1-38-00-11-22", "a4c138001122"} {
		if a, err := ParseAddress(s); err != nil || a.String() != "A4:C1:38:00:11:22" {
			t.Errorf("%s: %s, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "A4:C1:38:00:11", "A4:C1:38:00:11:2G"} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%s: %s", s, a)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"020106 0a16d2fc4002c40903bf13", "1bff9904 0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F", "11161a18 a4c138001122 00d7 2d 5c 0b9a 07",
		"1116aafe 20000bb8158000000064000003e8", "1aff4c00 0215f7826da64fa24e988024bc5b71e0893e00010002c5", "1216d2fc41a47266c95f730011223378237214",
	} {
		f.Add(octets(f, s))
	}
	key := octets(f, "231d39c1d7cc1ab1aee224cd096db932")
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAdvert(b)
		if err != nil {
			return
		}
		r, err := Decode(Address{0x54, 0x48, 0xe6, 0x8f, 0x80, 0xa5}, a, key)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range r.Samples {
			if s.Channel == "" || seen[s.Channel] || s.Value.Kind() == drivers.KindNone {
				t.Errorf("%x: sample %+v", b, s)
			}
			seen[s.Channel] = true
		}
	})
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
