package virtual

import (
	"bytes"
	"sync"
	"time"
)

// acl takes a data packet of the host: it goes to the other controller, or to
// the device's attributes.
func (c *Controller) acl(p []byte) {
	c.mu.Lock()
	peer, device := c.peer, c.device
	c.mu.Unlock()
	c.event(0x13, 1, p[1], p[2]&0x0f, 1, 0) // sent
	if peer != nil {
		if p[2]>>4&3 == 0 {
			p[2] |= 2 << 4 // a first fragment, as a controller marks it
		}
		peer.send(p)
		return
	}
	if device == nil {
		return
	}
	device.mu.Lock()
	s := device.server
	device.mu.Unlock()
	if s != nil {
		s.data(p[2]>>4&3 != 1, p[5:])
	}
}

// deliver sends an attribute packet to the host, in fragments of 27 octets.
func (c *Controller) deliver(att []byte) {
	p := append(le.AppendUint16(le.AppendUint16(nil, uint16(len(att))), 4), att...)
	for flags := byte(2); len(p) > 0; flags = 1 {
		n := min(27, len(p))
		c.send(append([]byte{2, handle, flags << 4, byte(n), 0}, p[:n]...))
		p = p[n:]
	}
}

// attribute is one entry of a device's table; its handle is its place, from 1.
type attribute struct {
	kind     []byte
	value    func(now time.Time) []byte
	groupEnd uint16 // of a service
	enabled  bool   // of a client characteristic configuration
	of       uint16 // the value that it configures
}

// server answers attribute requests (volume 3, part F, 3.4).
type server struct {
	send func([]byte)

	mu    sync.Mutex
	table []attribute
	buf   []byte
	mtu   int
}

var (
	typePrimary        = []byte{0x00, 0x28}
	typeCharacteristic = []byte{0x03, 0x28}
	typeConfiguration  = []byte{0x02, 0x29}
)

func newServer(services []Service, send func([]byte)) *server {
	s := &server{send: send, mtu: 23}
	fixed := func(b []byte) func(time.Time) []byte { return func(time.Time) []byte { return b } }
	for _, svc := range services {
		start := len(s.table)
		s.table = append(s.table, attribute{kind: typePrimary, value: fixed(svc.UUID)})
		for _, c := range svc.Characteristics {
			properties := byte(0x02) // read
			if c.Notify {
				properties |= 0x10
			}
			at := uint16(len(s.table) + 2) // of the value
			s.table = append(s.table,
				attribute{kind: typeCharacteristic, value: fixed(append([]byte{properties, byte(at), byte(at >> 8)}, c.UUID...))},
				attribute{kind: c.UUID, value: c.Value})
			if c.Notify {
				s.table = append(s.table, attribute{kind: typeConfiguration, value: fixed([]byte{0, 0}), of: at})
			}
		}
		s.table[start].groupEnd = uint16(len(s.table))
	}
	return s
}

func (s *server) data(first bool, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first {
		s.buf = nil
	}
	s.buf = append(s.buf, b...)
	if len(s.buf) < 4 || len(s.buf) < 4+int(le.Uint16(s.buf)) {
		return
	}
	if answer := s.request(s.buf[4:]); answer != nil {
		s.send(answer)
	}
	s.buf = nil
}

func (s *server) request(p []byte) []byte {
	refuse := func(at uint16, code byte) []byte { return []byte{0x01, p[0], byte(at), byte(at >> 8), code} }
	if len(p) < 3 {
		return nil
	}
	at := le.Uint16(p[1:])
	switch p[0] {
	case 0x02: // Exchange MTU
		s.mtu = min(max(int(at), 23), 185)
		return []byte{0x03, 185, 0}
	case 0x04, 0x08, 0x10: // Find Information, Read By Type, Read By Group Type
		if len(p) < 5 {
			return refuse(at, 0x04)
		}
		return s.list(p[0], at, le.Uint16(p[3:]), p[5:])
	case 0x0a, 0x0c: // Read, Read Blob
		if at == 0 || int(at) > len(s.table) {
			return refuse(at, 0x01)
		}
		v, from := s.table[at-1].value(time.Now()), 0
		if p[0] == 0x0c && len(p) >= 5 {
			from = min(int(le.Uint16(p[3:])), len(v))
		}
		return append([]byte{p[0] + 1}, v[from:min(len(v), from+s.mtu-1)]...)
	case 0x12: // Write: subscriptions only
		if at == 0 || int(at) > len(s.table) || s.table[at-1].of == 0 || len(p) < 5 {
			return refuse(at, 0x03)
		}
		s.table[at-1].enabled = p[3]&1 != 0
		return []byte{0x13}
	}
	return refuse(at, 0x06)
}

// list answers the three requests that go through the table. All entries of
// one answer have one length.
func (s *server) list(op byte, start, end uint16, kind []byte) []byte {
	out := []byte{op + 1, 0}
	for h := max(start, 1); h <= end && int(h) <= len(s.table); h++ {
		a := s.table[h-1]
		entry := []byte{byte(h), byte(h >> 8)}
		switch op {
		case 0x04:
			entry = append(entry, a.kind...)
		case 0x08:
			if !bytes.Equal(a.kind, kind) {
				continue
			}
			entry = append(entry, a.value(time.Now())...)
		default:
			if !bytes.Equal(a.kind, kind) {
				continue
			}
			entry = append(le.AppendUint16(entry, a.groupEnd), a.value(time.Now())...)
		}
		entry = entry[:min(len(entry), s.mtu-2)]
		format := byte(len(entry))
		if op == 0x04 {
			format = map[bool]byte{true: 1, false: 2}[len(a.kind) == 2]
		}
		if out[1] != 0 && out[1] != format || len(out)+len(entry) > s.mtu {
			break
		}
		out[1] = format
		out = append(out, entry...)
	}
	if out[1] == 0 {
		return []byte{0x01, op, byte(start), byte(start >> 8), 0x0a} // none found
	}
	return out
}

// Notify sends the present values of the subscribed characteristics.
func (d *Device) Notify() {
	d.mu.Lock()
	s := d.server
	d.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.table {
		if a.enabled {
			v := s.table[a.of-1].value(time.Now())
			s.send(append([]byte{0x1b, byte(a.of), byte(a.of >> 8)}, v[:min(len(v), s.mtu-3)]...))
		}
	}
}
