package nmea

import (
	"errors"
	"testing"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
	"postern/drivers/serial/serialtest"
)

var config = Config{
	Serial:  serial.Config{Port: "/dev/ttyS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"},
	Timeout: 300 * time.Millisecond,
}

// The sentences that manuals of receivers use as their example.
const (
	gga = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
	rmc = "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"
)

func TestDevice(t *testing.T) {
	serialtest.TestInstrument(t, Open, Simulate, config, serial.Silent, serial.Noise, serial.Torn, serial.Late, serial.Unplugged)
}

// A sentence of another kind and one with a wrong checksum are passed over, and
// what was sent before the reading is old.
func TestOtherSentences(t *testing.T) {
	says := serial.NMEA("GPGSV,1,1,00") + "\r\n$GPGGA,123519,4807.038*00\r\n" + serial.NMEA(rmc) + "\r\n" + serial.NMEA(gga) + "\r\n"
	s := serial.NewSim(func(time.Time) []byte { return []byte(says) })
	s.Period = 10 * time.Millisecond
	d, err := Open(t.Context(), s, config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Read(t.Context(), nil)
	if err != nil || got[0].Value.String() != "48.1173000" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFix(t *testing.T) {
	var f Fix
	for _, s := range []string{gga, rmc} {
		if kind, err := f.Parse(s); err != nil || kind != s[2:5] {
			t.Fatalf("%s: %q, %v", s, kind, err)
		}
	}
	got := ""
	for _, s := range f.append(nil, time.Now()) {
		got += s.Channel + " " + s.Value.String() + " " + s.Unit + "\n"
	}
	want := "latitude 48.1173000 °\nlongitude 11.5166667 °\naltitude 545.4 m\nspeed 22.4 kn\ncourse 84.4 °\nsatellites 8 \ntime 1994-03-23T12:35:19Z \n"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestSouthWestAndNoFix(t *testing.T) {
	var f Fix
	if _, err := f.Parse("GNGGA,000000,3351.6500,S,15112.4800,W,2,12,0.5,-3.0,M,,M,,"); err != nil {
		t.Fatal(err)
	}
	if f.Lat.String() != "-33.8608333" || f.Lon.String() != "-151.2080000" || f.Altitude.String() != "-3.0" {
		t.Errorf("%s %s %s", f.Lat, f.Lon, f.Altitude)
	}
	for _, s := range []string{"GPGGA,,,,,,0,,,,M,,M,,", "GPRMC,,V,,,,,,,,,", "GPRMC,000012.00,V,,,,,,,060180,,,N"} {
		if _, err := f.Parse(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range f.append(nil, time.Now()) {
		if s.Channel != "satellites" && !errors.Is(s.Err, ErrNoFix) {
			t.Errorf("%s: %v, %v", s.Channel, s.Value, s.Err)
		}
	}
}

func TestBadSentences(t *testing.T) {
	for _, s := range []string{
		"GPGGA", "GPGGA,1,2,3", "GPGGA,123519,9107.038,N,01131.000,E,1,08,0.9,545.4,M,,,,", "GPGGA,123519,4867.038,N,01131.000,E,1,08,0.9,545.4,M,,,,",
		"GPGGA,123519,4807.038,X,01131.000,E,1,08,0.9,545.4,M,,,,", "GPGGA,123519,-4807.038,N,01131.000,E,1,08,0.9,545.4,M,,,,",
		"GPGGA,123519,4807.038,N,01131.000,E,-1,08,0.9,545.4,M,,,,", "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,high,M,,,,",
		"GPRMC,993519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,", "GPRMC,123519,A,4807.038,N,01131.000,E,fast,084.4,230394,,",
	} {
		var f Fix
		if _, err := f.Parse(s); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("%s: %v", s, err)
		}
	}
	var f Fix
	for _, s := range []string{"", "GPGSV,1,1,00", "PUBX,00"} {
		if kind, err := f.Parse(s); kind != "" || err != nil {
			t.Errorf("%q: %q, %v", s, kind, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(gga)
	f.Add(rmc)
	f.Fuzz(func(t *testing.T, s string) {
		var x Fix
		if _, err := x.Parse(s); err != nil {
			return
		}
		if x.Lat.Cmp(drivers.Num(90, 0)) > 0 || x.Lon.Cmp(drivers.Num(-180, 0)) < 0 {
			t.Errorf("%q: %s %s", s, x.Lat, x.Lon)
		}
		_ = x.append(nil, time.Time{})
	})
}
