package ble

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"

	"postern/drivers"
)

// object is one row of BTHome's table of measurements (bthome.io/format): how
// long it is, its sign, and mant × 10^exp.
type object struct {
	name   string
	unit   string
	size   int
	signed bool
	mul    int64 // 0 is 1
	exp    int
	flag   bool // boolean
}

// objects is BTHome's table by object id.
func objects(id byte) (object, bool) {
	if o, ok := bthomeNumbers[id]; ok {
		return o, true
	}
	if name, ok := bthomeFlags[id]; ok {
		return object{name: name, size: 1, flag: true}, true
	}
	return object{}, false
}

var bthomeNumbers = map[byte]object{
	0x00: {name: "packet", size: 1},
	0x01: {name: "battery", unit: "%", size: 1},
	0x02: {name: "temperature", unit: "°C", size: 2, signed: true, exp: -2},
	0x03: {name: "humidity", unit: "%RH", size: 2, exp: -2},
	0x04: {name: "pressure", unit: "hPa", size: 3, exp: -2},
	0x05: {name: "illuminance", unit: "lx", size: 3, exp: -2},
	0x06: {name: "mass", unit: "kg", size: 2, exp: -2},
	0x07: {name: "mass", unit: "lb", size: 2, exp: -2},
	0x08: {name: "dew-point", unit: "°C", size: 2, signed: true, exp: -2},
	0x09: {name: "count", size: 1},
	0x0a: {name: "energy", unit: "kWh", size: 3, exp: -3},
	0x0b: {name: "power", unit: "W", size: 3, exp: -2},
	0x0c: {name: "voltage", unit: "V", size: 2, exp: -3},
	0x0d: {name: "pm2-5", unit: "µg/m³", size: 2},
	0x0e: {name: "pm10", unit: "µg/m³", size: 2},
	0x12: {name: "co2", unit: "ppm", size: 2},
	0x13: {name: "tvoc", unit: "µg/m³", size: 2},
	0x14: {name: "moisture", unit: "%", size: 2, exp: -2},
	0x2e: {name: "humidity", unit: "%RH", size: 1},
	0x2f: {name: "moisture", unit: "%", size: 1},
	0x3a: {name: "button", size: 1},
	0x3c: {name: "dimmer", size: 2},
	0x3d: {name: "count", size: 2},
	0x3e: {name: "count", size: 4},
	0x3f: {name: "rotation", unit: "°", size: 2, signed: true, exp: -1},
	0x40: {name: "distance", unit: "mm", size: 2},
	0x41: {name: "distance", unit: "m", size: 2, exp: -1},
	0x42: {name: "duration", unit: "s", size: 3, exp: -3},
	0x43: {name: "current", unit: "A", size: 2, exp: -3},
	0x44: {name: "speed", unit: "m/s", size: 2, exp: -2},
	0x45: {name: "temperature", unit: "°C", size: 2, signed: true, exp: -1},
	0x46: {name: "uv-index", size: 1, exp: -1},
	0x47: {name: "volume", unit: "l", size: 2, exp: -1},
	0x48: {name: "volume", unit: "ml", size: 2},
	0x49: {name: "flow", unit: "m³/h", size: 2, exp: -3},
	0x4a: {name: "voltage", unit: "V", size: 2, exp: -1},
	0x4b: {name: "gas", unit: "m³", size: 3, exp: -3},
	0x4c: {name: "gas", unit: "m³", size: 4, exp: -3},
	0x4d: {name: "energy", unit: "kWh", size: 4, exp: -3},
	0x4e: {name: "volume", unit: "l", size: 4, exp: -3},
	0x4f: {name: "water", unit: "l", size: 4, exp: -3},
	0x50: {name: "timestamp", size: 4},
	0x51: {name: "acceleration", unit: "m/s²", size: 2, exp: -3},
	0x52: {name: "rotation-speed", unit: "°/s", size: 2, exp: -3},
	0x55: {name: "volume-stored", unit: "l", size: 4, exp: -3},
	0x56: {name: "conductivity", unit: "µS/cm", size: 2},
	0x57: {name: "temperature", unit: "°C", size: 1, signed: true},
	0x58: {name: "temperature", unit: "°C", size: 1, signed: true, mul: 35, exp: -2},
	0x59: {name: "count", size: 1, signed: true},
	0x5a: {name: "count", size: 2, signed: true},
	0x5b: {name: "count", size: 4, signed: true},
	0x5c: {name: "power", unit: "W", size: 4, signed: true, exp: -2},
	0x5d: {name: "current", unit: "A", size: 2, signed: true, exp: -3},
	0x5e: {name: "direction", unit: "°", size: 2, exp: -2},
	0x5f: {name: "precipitation", unit: "mm", size: 2, exp: -1},
	0x60: {name: "channel", size: 1},
	0xf0: {name: "device-type", size: 2},
	0xf1: {name: "firmware", size: 4},
	0xf2: {name: "firmware", size: 3},
}

var bthomeFlags = map[byte]string{
	0x0f: "state", 0x10: "power-on", 0x11: "opening", 0x15: "battery-low", 0x16: "battery-charging",
	0x17: "carbon-monoxide", 0x18: "cold", 0x19: "connected", 0x1a: "door", 0x1b: "garage-door", 0x1c: "gas-detected",
	0x1d: "heat", 0x1e: "light", 0x1f: "unlocked", 0x20: "wet", 0x21: "motion", 0x22: "moving", 0x23: "occupied",
	0x24: "plugged", 0x25: "present", 0x26: "problem", 0x27: "running", 0x28: "unsafe", 0x29: "smoke", 0x2a: "sound",
	0x2b: "tampered", 0x2c: "vibration", 0x2d: "window",
}

const (
	objText = 0x53
	objRaw  = 0x54

	infoEncrypted = 1 << 0
	infoVersion   = 0xe0
	version2      = 2 << 5
)

// BTHome decodes the service data of BTHome v2:
//
//	information | objects of id and value, ids ascending
//	information | ciphertext | counter u32 | check 4 octets
//
// A second and third measurement of one kind become temperature-2 and so on.
// An object that is not known ends the decoding, because its length is not
// known either: what came before is given.
func BTHome(from Address, b, key []byte) (Reading, error) {
	if len(b) < 1 || b[0]&infoVersion != version2 {
		return Reading{}, malformed("BTHome of another version than 2, % x", b)
	}
	body := b[1:]
	r := Reading{Format: "bthome", Packet: -1}
	if b[0]&infoEncrypted != 0 {
		plain, counter, err := decrypt(from, b, key)
		if err != nil {
			return Reading{}, err
		}
		body, r.Packet = plain, int(counter&0x7fffffff)
	}
	for len(body) > 0 {
		n, err := r.object(body)
		if err != nil {
			return Reading{}, err
		}
		if n == 0 {
			break
		}
		body = body[n:]
	}
	return r, nil
}

// object takes the first object of b and returns its length, 0 when it is not
// known.
func (r *Reading) object(b []byte) (int, error) {
	if b[0] == objText || b[0] == objRaw {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return 0, malformed("BTHome text is cut short, % x", b)
		}
		n := 2 + int(b[1])
		if b[0] == objText {
			r.add(text("text", printable(b[2:n])))
		} else {
			r.add(text("raw", fmt.Sprintf("%x", b[2:n])))
		}
		return n, nil
	}
	o, ok := objects(b[0])
	if !ok {
		return 0, nil
	}
	if len(b) < 1+o.size {
		return 0, malformed("BTHome %s is cut short, % x", o.name, b)
	}
	var v int64
	for i := o.size; i > 0; i-- { // low octet first
		v = v<<8 | int64(b[i])
	}
	if shift := 64 - 8*o.size; o.signed {
		v = v << shift >> shift
	}
	switch {
	case b[0] == 0x00:
		r.Packet = int(v)
	case b[0] == 0x50:
		r.add(drivers.Sample{Channel: o.name, Value: drivers.Time(time.Unix(v, 0).UTC())})
	case o.flag:
		r.add(drivers.Sample{Channel: o.name, Value: drivers.Bool(v != 0)})
	case b[0] == 0xf1 || b[0] == 0xf2:
		r.add(text(o.name, version(b[1:1+o.size])))
	case o.exp == 0 && o.mul == 0:
		r.add(drivers.Sample{Channel: o.name, Unit: o.unit, Value: drivers.Long(v)})
	default:
		r.add(decimal(o.name, o.unit, v*max(o.mul, 1), o.exp))
	}
	return 1 + o.size, nil
}

// version prints a firmware version, whose first number comes last.
func version(b []byte) string {
	s := fmt.Sprint(b[len(b)-1])
	for i := len(b) - 2; i >= 0; i-- {
		s += fmt.Sprintf(".%d", b[i])
	}
	return s
}

// add numbers a measurement whose kind is there already.
func (r *Reading) add(s drivers.Sample) {
	n := 1
	for _, x := range r.Samples {
		if x.Channel == s.Channel || n > 1 && x.Channel == fmt.Sprintf("%s-%d", s.Channel, n) {
			n++
		}
	}
	if n > 1 {
		s.Channel = fmt.Sprintf("%s-%d", s.Channel, n)
	}
	r.Samples = append(r.Samples, s)
}

const (
	ccmCounter = 4
	ccmCheck   = 4
)

// decrypt opens an encrypted advertisement: AES-CCM with a check of 4 octets,
// and a nonce of address, service, information and counter (bthome.io/encryption).
func decrypt(from Address, b, key []byte) ([]byte, uint32, error) {
	if len(b) < 1+ccmCounter+ccmCheck {
		return nil, 0, malformed("encrypted BTHome is cut short, % x", b)
	}
	if len(key) != 16 {
		return nil, 0, fmt.Errorf("ble: %s: no key of 16 octets: %w", from, ErrKey)
	}
	counter := b[len(b)-ccmCounter-ccmCheck : len(b)-ccmCheck]
	nonce := append(append(append([]byte{}, from[:]...), 0xd2, 0xfc, b[0]), counter...)
	plain, err := openCCM(key, nonce, b[1:len(b)-ccmCounter-ccmCheck], b[len(b)-ccmCheck:])
	if err != nil {
		return nil, 0, fmt.Errorf("ble: %s: %w", from, err)
	}
	return plain, binary.LittleEndian.Uint32(counter), nil
}

// openCCM is AES-CCM without additional data (RFC 3610) for nonces of 13
// octets and a check of 4.
func openCCM(key, nonce, sealed, check []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	// Counter blocks: flags L−1 = 1, nonce, counter of two octets.
	var ctr, stream [aes.BlockSize]byte
	ctr[0] = 1
	copy(ctr[1:], nonce)
	plain := make([]byte, len(sealed))
	for i := range sealed {
		if i%aes.BlockSize == 0 {
			binary.BigEndian.PutUint16(ctr[14:], uint16(i/aes.BlockSize+1))
			block.Encrypt(stream[:], ctr[:])
		}
		plain[i] = sealed[i] ^ stream[i%aes.BlockSize]
	}
	// The check: CBC-MAC over B0 (flags 8·(M−2)/2 + L−1 = 9, nonce, length) and
	// the text, crossed with the counter block of zero.
	var mac [aes.BlockSize]byte
	mac[0] = 9
	copy(mac[1:], nonce)
	binary.BigEndian.PutUint16(mac[14:], uint16(len(plain)))
	block.Encrypt(mac[:], mac[:])
	for i := 0; i < len(plain); i += aes.BlockSize {
		subtle.XORBytes(mac[:], mac[:], pad(plain[i:]))
		block.Encrypt(mac[:], mac[:])
	}
	binary.BigEndian.PutUint16(ctr[14:], 0)
	block.Encrypt(stream[:], ctr[:])
	subtle.XORBytes(mac[:], mac[:], stream[:])
	if subtle.ConstantTimeCompare(mac[:len(check)], check) != 1 {
		return nil, ErrKey
	}
	return plain, nil
}

func pad(b []byte) []byte {
	var full [aes.BlockSize]byte
	copy(full[:], b)
	return full[:]
}
