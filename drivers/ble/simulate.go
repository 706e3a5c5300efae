package ble

import (
	"encoding/binary"
	"time"

	"postern/drivers"
	"postern/drivers/ble/gatt"
	"postern/drivers/ble/virtual"
)

// Simulate returns a broadcasting sensor of a configuration, in a room whose
// temperature and humidity drift. BTHome sensors send what the configuration
// wants of them, unencrypted, as far as it fits into a packet.
func Simulate(c Config) *virtual.Device {
	a, _ := ParseAddress(c.Address)
	return &virtual.Device{Address: a, Advert: func(now time.Time) []byte { return advertOf(c, now) }}
}

var (
	roomTemperature = drivers.Drift{Base: 21.5, Amplitude: 1.2, Period: 30 * time.Minute}
	roomHumidity    = drivers.Drift{Base: 45, Amplitude: 4, Period: 50 * time.Minute}
)

func advertOf(c Config, now time.Time) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	t, h := roomTemperature.At(now), roomHumidity.At(now)
	a, _ := ParseAddress(c.Address)
	switch c.Format {
	case "ruuvi":
		d := be.AppendUint16(le.AppendUint16(nil, companyRuuvi), 0x0500|uint16(int16(t/0.005)>>8)&0xff)
		d = append(d, byte(int16(t/0.005)))
		d = be.AppendUint16(be.AppendUint16(d, uint16(h/0.0025)), 51320) // 1013.20 hPa
		d = append(d, 0, 0, 0, 0, 0x03, 0xe8, 0xac, 0x36, 0, 0, byte(now.Unix()))
		return structure(adManufacturer, append(d, a[:]...))
	case "atc":
		d := append(le.AppendUint16(nil, uuidEnvironment), a[:]...)
		d = be.AppendUint16(d, uint16(int16(t*10)))
		return structure(adServiceData, append(be.AppendUint16(append(d, byte(h), 92), 2970), byte(now.Unix())))
	case "eddystone-tlm":
		d := append(le.AppendUint16(nil, uuidEddystone), 0x20, 0)
		d = be.AppendUint16(be.AppendUint16(d, 2970), uint16(int16(t*256)))
		return structure(adServiceData, be.AppendUint32(be.AppendUint32(d, 1000), uint32(now.Unix()%86400*10)))
	case "ibeacon":
		d := append(le.AppendUint16(nil, companyApple), 0x02, 0x15)
		d = append(append(d, make([]byte, 16)...), 0, 1, 0, 2, 0xc5)
		return structure(adManufacturer, d)
	}
	return structure(adServiceData, append(le.AppendUint16(nil, uuidBTHome), bthomeOf(c, now, t, h)...))
}

// structure is one piece of advertising data behind the flags.
func structure(kind byte, data []byte) []byte {
	return append([]byte{2, 1, 6, byte(len(data) + 1), kind}, data...)
}

// bthomeOf packs the wanted values, ids ascending as the format demands.
func bthomeOf(c Config, now time.Time, t, h float64) []byte {
	names := c.Values
	if len(names) == 0 {
		names = []string{"temperature", "humidity", "battery"}
	}
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	out := []byte{version2, 0, byte(now.Unix())} // with a packet number
	for id := range 0x60 {
		o, ok := objects(byte(id))
		if !ok || !want[o.name] || len(out)+1+o.size > 23 {
			continue
		}
		delete(want, o.name)
		raw := uint64(0)
		switch {
		case o.name == "temperature":
			raw = uint64(int64(t * 100))
		case o.name == "humidity":
			raw = uint64(h * 100)
		case o.name == "battery":
			raw = 92
		case o.name == "timestamp":
			raw = uint64(now.Unix())
		case !o.flag:
			raw = 100
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], raw)
		out = append(append(out, byte(id)), b[:o.size]...)
	}
	return out
}

// SimulateConnected returns a device that serves the characteristics of a
// configuration.
func SimulateConnected(c ConnectedConfig) *virtual.Device {
	a, _ := ParseAddress(c.Address)
	d := &virtual.Device{Address: a, Random: c.AddressType == "random"}
	svc := virtual.Service{UUID: []byte{0x1a, 0x18}}
	for i, ch := range c.Characteristics {
		u, _ := gatt.ParseUUID(ch.UUID)
		value := func(now time.Time) []byte {
			b := make([]byte, ch.At, ch.At+8)
			if ch.Type == "string" {
				return append(b, "simulated"...)
			}
			scale, _ := drivers.ParseNumber(ch.Scale)
			raw := int64(roomTemperature.At(now)+float64(i)) * 1
			if f := scale.Float64(); f > 0 && f < 1 {
				raw = int64((roomTemperature.At(now) + float64(i)) / f)
			}
			return binary.LittleEndian.AppendUint64(b, uint64(raw))[:ch.At+sizes[ch.Type]]
		}
		svc.Characteristics = append(svc.Characteristics, virtual.Characteristic{UUID: []byte(u), Value: value, Notify: ch.Notify})
	}
	d.Services = []virtual.Service{svc}
	return d
}
