// Package ble decodes what sensors broadcast over Bluetooth Low Energy: BTHome
// v2 (also encrypted), Ruuvi, the ATC firmwares of Xiaomi's thermometers,
// Eddystone and iBeacon. The decoders are pure functions on the octets of an
// advertisement; receiving them is up to a radio.
package ble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"postern/drivers"
)

// Address is a device's address as it is printed, the first octet first.
type Address [6]byte

// String prints the address with colons.
func (a Address) String() string {
	return fmt.Sprintf("%02X:%02X:%02X:%02X:%02X:%02X", a[0], a[1], a[2], a[3], a[4], a[5])
}

// ParseAddress reads six octets in hexadecimal, with colons, hyphens or
// nothing between them.
func ParseAddress(s string) (Address, error) {
	var a Address
	t := strings.NewReplacer(":", "", "-", "").Replace(s)
	if !unhex(a[:], t) {
		return Address{}, fmt.Errorf("%q is no Bluetooth address such as A4:C1:38:00:11:22", s)
	}
	return a, nil
}

// unhex fills dst from exactly as many pairs of hexadecimal digits.
func unhex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		h, okH := nibble(s[2*i])
		l, okL := nibble(s[2*i+1])
		if !okH || !okL {
			return false
		}
		dst[i] = h<<4 | l
	}
	return true
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Types of advertising data (Bluetooth Assigned Numbers, 2.3).
const (
	adShortName    = 0x08
	adName         = 0x09
	adServiceData  = 0x16
	adManufacturer = 0xff
)

// Services and companies (Assigned Numbers, 3.10 and 7.1).
const (
	uuidBTHome      = 0xfcd2
	uuidEnvironment = 0x181a // what ATC firmwares broadcast under
	uuidEddystone   = 0xfeaa
	companyRuuvi    = 0x0499
	companyApple    = 0x004c
)

// Advert is what one advertisement says, its scan response included.
type Advert struct {
	Name         string
	ServiceData  map[uint16][]byte
	Manufacturer map[uint16][]byte
}

// ErrAdvert: the octets are no advertising data.
var ErrAdvert = errors.New("malformed advertising data")

// ParseAdvert splits advertising data into its structures of length, type and
// data (Bluetooth Core 5.4, volume 3, part C, 11). Structures of other types
// are passed over; a structure that is cut short is an error.
func ParseAdvert(b []byte) (Advert, error) {
	var a Advert
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 {
			break // early termination: the rest is padding
		}
		if n+1 > len(b) {
			return a, fmt.Errorf("%w: a structure of %d octets, %d are left", ErrAdvert, n, len(b)-1)
		}
		a.add(b[1], b[2:n+1])
		b = b[n+1:]
	}
	return a, nil
}

func (a *Advert) add(kind byte, data []byte) {
	switch kind {
	case adName:
		a.Name = printable(data)
	case adShortName:
		if a.Name == "" {
			a.Name = printable(data)
		}
	case adServiceData:
		if len(data) >= 2 {
			put(&a.ServiceData, data)
		}
	case adManufacturer:
		if len(data) >= 2 {
			put(&a.Manufacturer, data)
		}
	}
}

func put(m *map[uint16][]byte, data []byte) {
	if *m == nil {
		*m = map[uint16][]byte{}
	}
	(*m)[binary.LittleEndian.Uint16(data)] = data[2:]
}

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, string(b))
}

// Reading is what one advertisement measured.
type Reading struct {
	Format  string           // "bthome", "ruuvi", "atc", "pvvx", "eddystone-tlm", "eddystone-uid", "eddystone-url", "ibeacon"
	Samples []drivers.Sample // without times
	// Packet numbers advertisements, so that repetitions can be told; −1 where
	// the format has no number.
	Packet int
}

// Errors of Decode.
var (
	// ErrNotOurs: no format that is known.
	ErrNotOurs = errors.New("advertisement in no format that is known")
	// ErrKey: it is encrypted, and there is no key or the wrong one.
	ErrKey = errors.New("advertisement is encrypted with another key")
)

// Decode decodes the first known format of an advertisement. key is the BTHome
// key of the device or nil. Malformed data is drivers.ErrProtocol.
func Decode(from Address, a Advert, key []byte) (Reading, error) {
	if d, ok := a.ServiceData[uuidBTHome]; ok {
		return BTHome(from, d, key)
	}
	if d, ok := a.Manufacturer[companyRuuvi]; ok {
		return Ruuvi(d)
	}
	if d, ok := a.ServiceData[uuidEnvironment]; ok {
		return ATC(d)
	}
	if d, ok := a.ServiceData[uuidEddystone]; ok {
		return Eddystone(d)
	}
	if d, ok := a.Manufacturer[companyApple]; ok && len(d) >= 2 && d[0] == 0x02 && d[1] == 0x15 {
		return IBeacon(d)
	}
	return Reading{}, ErrNotOurs
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("ble: "+format+": %w", append(args, drivers.ErrProtocol)...)
}

func decimal(channel, unit string, mant int64, exp int) drivers.Sample {
	return drivers.Sample{Channel: channel, Unit: unit, Value: drivers.Decimal(drivers.Num(mant, exp))}
}

func text(channel, s string) drivers.Sample {
	return drivers.Sample{Channel: channel, Value: drivers.String(s)}
}
