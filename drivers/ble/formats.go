package ble

import (
	"encoding/binary"
	"fmt"
	"strings"

	"postern/drivers"
)

// Ruuvi decodes the manufacturer data of RuuviTags in format 5, RAWv2
// (docs.ruuvi.com, "Data format 5"). Values that the tag marks as missing are
// left out.
func Ruuvi(b []byte) (Reading, error) {
	if len(b) < 1 || b[0] != 5 {
		return Reading{}, fmt.Errorf("ble: Ruuvi data format % x: %w", head(b), ErrNotOurs)
	}
	if len(b) != 24 {
		return Reading{}, malformed("Ruuvi data of %d octets, format 5 has 24", len(b))
	}
	r := Reading{Format: "ruuvi", Packet: -1}
	u := func(at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }
	if t := int16(u(1)); t != -32768 {
		r.Samples = append(r.Samples, decimal("temperature", "°C", int64(t)*5, -3))
	}
	if h := u(3); h != 0xffff {
		r.Samples = append(r.Samples, decimal("humidity", "%RH", int64(h)*25, -4))
	}
	if p := u(5); p != 0xffff {
		r.Samples = append(r.Samples, decimal("pressure", "hPa", int64(p)+50000, -2))
	}
	for i, axis := range []string{"x", "y", "z"} {
		if a := int16(u(7 + 2*i)); a != -32768 {
			r.Samples = append(r.Samples, decimal("acceleration-"+axis, "g", int64(a), -3))
		}
	}
	if v := u(13) >> 5; v != 0x7ff {
		r.Samples = append(r.Samples, decimal("battery-voltage", "V", int64(v)+1600, -3))
	}
	if p := u(13) & 0x1f; p != 0x1f {
		r.Samples = append(r.Samples, decimal("tx-power", "dBm", int64(p)*2-40, 0))
	}
	if m := b[15]; m != 0xff {
		r.Samples = append(r.Samples, drivers.Sample{Channel: "movements", Value: drivers.Long(int64(m))})
	}
	if s := u(16); s != 0xffff {
		r.Packet = int(s)
	}
	return r, nil
}

func head(b []byte) []byte { return b[:min(len(b), 4)] }

// ATC decodes the service data of two firmwares for Xiaomi's LYWSD03MMC and its
// kin: atc1441's, high octet first with 0.1 °C, and pvvx's, low octet first
// with 0.01 °C and 0.01 %RH (the length tells which).
//
//	13: address 6 | temperature i16 | humidity u8 | battery u8 | mV u16 | packet u8
//	15: address 6 reversed | temperature i16 | humidity u16 | mV u16 | battery u8 | packet u8 | flags u8
func ATC(b []byte) (Reading, error) {
	switch len(b) {
	case 13:
		be := binary.BigEndian
		return Reading{Format: "atc", Packet: int(b[12]), Samples: []drivers.Sample{
			decimal("temperature", "°C", int64(int16(be.Uint16(b[6:]))), -1),
			decimal("humidity", "%RH", int64(b[8]), 0),
			decimal("battery", "%", int64(b[9]), 0),
			decimal("battery-voltage", "V", int64(be.Uint16(b[10:])), -3),
		}}, nil
	case 15:
		le := binary.LittleEndian
		return Reading{Format: "pvvx", Packet: int(b[13]), Samples: []drivers.Sample{
			decimal("temperature", "°C", int64(int16(le.Uint16(b[6:]))), -2),
			decimal("humidity", "%RH", int64(le.Uint16(b[8:])), -2),
			decimal("battery", "%", int64(b[12]), 0),
			decimal("battery-voltage", "V", int64(le.Uint16(b[10:])), -3),
		}}, nil
	}
	return Reading{}, fmt.Errorf("ble: environment data of %d octets: %w", len(b), ErrNotOurs)
}

// Frames of Eddystone.
const (
	frameUID = 0x00
	frameURL = 0x10
	frameTLM = 0x20
)

// Eddystone decodes the service data of Eddystone beacons: telemetry, names and
// addresses (github.com/google/eddystone). Encrypted telemetry is not known.
func Eddystone(b []byte) (Reading, error) {
	if len(b) < 2 {
		return Reading{}, malformed("Eddystone frame of %d octets", len(b))
	}
	switch b[0] {
	case frameTLM:
		return telemetry(b)
	case frameUID:
		if len(b) < 18 {
			return Reading{}, malformed("Eddystone UID of %d octets, 18 are needed", len(b))
		}
		return Reading{Format: "eddystone-uid", Packet: -1, Samples: []drivers.Sample{
			text("namespace", fmt.Sprintf("%x", b[2:12])),
			text("instance", fmt.Sprintf("%x", b[12:18])),
			decimal("tx-power", "dBm", int64(int8(b[1])), 0),
		}}, nil
	case frameURL:
		u, err := url(b[2:])
		if err != nil {
			return Reading{}, err
		}
		return Reading{Format: "eddystone-url", Packet: -1, Samples: []drivers.Sample{
			text("url", u),
			decimal("tx-power", "dBm", int64(int8(b[1])), 0),
		}}, nil
	}
	return Reading{}, fmt.Errorf("ble: Eddystone frame 0x%02x: %w", b[0], ErrNotOurs)
}

// telemetry is version 0: voltage in mV (0: none), temperature in 1/256 °C
// (−128: none), advertisements and tenths of seconds since power-on.
func telemetry(b []byte) (Reading, error) {
	if b[1] != 0 {
		return Reading{}, fmt.Errorf("ble: Eddystone telemetry of version %d: %w", b[1], ErrNotOurs)
	}
	if len(b) < 14 {
		return Reading{}, malformed("Eddystone telemetry of %d octets, 14 are needed", len(b))
	}
	be := binary.BigEndian
	r := Reading{Format: "eddystone-tlm", Packet: int(be.Uint32(b[6:]) & 0x7fffffff)}
	if v := be.Uint16(b[2:]); v != 0 {
		r.Samples = append(r.Samples, decimal("battery-voltage", "V", int64(v), -3))
	}
	if t := int16(be.Uint16(b[4:])); t != -32768 {
		n, err := drivers.Num(int64(t)*390625, -8).Rescale(-2) // 1/256 is 0.00390625
		if err != nil {
			return Reading{}, err
		}
		r.Samples = append(r.Samples, drivers.Sample{Channel: "temperature", Unit: "°C", Value: drivers.Decimal(n)})
	}
	r.Samples = append(r.Samples,
		drivers.Sample{Channel: "advertisements", Value: drivers.Long(int64(be.Uint32(b[6:])))},
		decimal("uptime", "s", int64(be.Uint32(b[10:])), -1))
	return r, nil
}

// url expands the scheme and the endings that Eddystone abbreviates.
func url(b []byte) (string, error) {
	schemes := []string{"http://www.", "https://www.", "http://", "https://"}
	endings := []string{".com", ".org", ".edu", ".net", ".info", ".biz", ".gov"}
	if len(b) < 1 || int(b[0]) >= len(schemes) {
		return "", malformed("Eddystone URL % x", head(b))
	}
	var s strings.Builder
	s.WriteString(schemes[b[0]])
	for _, c := range b[1:] {
		switch {
		case int(c) < len(endings):
			s.WriteString(endings[c] + "/")
		case int(c) < 2*len(endings):
			s.WriteString(endings[int(c)-len(endings)])
		case c > ' ' && c < 0x7f:
			s.WriteByte(c)
		default:
			return "", malformed("Eddystone URL with octet 0x%02x", c)
		}
	}
	return s.String(), nil
}

// IBeacon decodes Apple's manufacturer data of an iBeacon:
//
//	02 15 | identity 16 | major u16 | minor u16 | power at 1 m i8
func IBeacon(b []byte) (Reading, error) {
	if len(b) != 23 || b[0] != 0x02 || b[1] != 0x15 {
		return Reading{}, malformed("iBeacon of %d octets, 23 are needed", len(b))
	}
	id := b[2:18]
	be := binary.BigEndian
	return Reading{Format: "ibeacon", Packet: -1, Samples: []drivers.Sample{
		text("uuid", fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])),
		{Channel: "major", Value: drivers.Long(int64(be.Uint16(b[18:])))},
		{Channel: "minor", Value: drivers.Long(int64(be.Uint16(b[20:])))},
		decimal("power-at-1m", "dBm", int64(int8(b[22])), 0),
	}}, nil
}
