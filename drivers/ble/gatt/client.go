// Package gatt reads the attributes of a connected Bluetooth LE device and
// subscribes to them. Source: Bluetooth Core Specification 5.4, volume 3, part
// F (attribute protocol) and part G (profile).
package gatt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
)

var le = binary.LittleEndian

// Conn carries attribute packets; *hci.Conn is one.
type Conn interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, packet []byte) error
}

// UUID names a characteristic: 2 or 16 octets, the last one first.
type UUID string

// Characteristic is a value of the device.
type Characteristic struct {
	UUID       UUID
	Handle     uint16 // of the value
	Properties byte
	end        uint16 // last handle that belongs to it
}

// Properties of a characteristic (part G, 3.3.1.1).
const (
	CanRead     = 0x02
	CanNotify   = 0x10
	CanIndicate = 0x20
)

const (
	requestLimit       = 5 * time.Second // the standard's 30 s is longer than a reading may take
	maxCharacteristics = 256
	maxValue           = 512 // part F, 3.2.9
	ownMTU             = 247
)

// Errors of a device (part F, 3.4.1.1).
var (
	ErrNotFound = errors.New("the device has no such characteristic")
	ErrRefused  = errors.New("the device refuses")
)

// Client works on one connection. Its methods may be called from one goroutine
// at a time; notify is called on the client's own.
type Client struct {
	conn    Conn
	notify  func(handle uint16, value []byte)
	answers chan []byte
	done    chan struct{}
	stop    context.CancelFunc

	mu  sync.Mutex
	err error
	mtu int
}

// New starts a client, which ends with the connection or with Close. notify
// gets what the device sends by itself; it must not block.
func New(conn Conn, notify func(handle uint16, value []byte)) *Client {
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{conn: conn, notify: notify, answers: make(chan []byte, 1), done: make(chan struct{}), stop: stop, mtu: 23}
	go c.read(ctx)
	return c
}

// Close ends the client, not the connection.
func (c *Client) Close() {
	c.stop()
	<-c.done
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

func (c *Client) read(ctx context.Context) {
	defer close(c.done)
	for {
		p, err := c.conn.Read(ctx)
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
		if len(p) > 0 {
			c.take(ctx, p)
		}
	}
}

// take handles one packet of the device: an answer, a value, or a request of
// its own, which is refused.
func (c *Client) take(ctx context.Context, p []byte) {
	switch op := p[0]; {
	case op == 0x1b || op == 0x1d: // notification, indication
		if op == 0x1d {
			_ = c.conn.Write(ctx, []byte{0x1e}) // a lost connection shows at the next read
		}
		if len(p) >= 3 && c.notify != nil {
			c.notify(le.Uint16(p[1:]), p[3:])
		}
	case op == 0x02: // it asks for our size
		_ = c.conn.Write(ctx, []byte{0x03, ownMTU, 0})
	case op&1 == 0 && op < 0x1b: // other requests have even codes
		_ = c.conn.Write(ctx, []byte{0x01, op, 0, 0, 0x06})
	default:
		select {
		case c.answers <- p:
		default: // nobody waits
		}
	}
}

// ask sends a request and returns its answer, whose code is one higher.
func (c *Client) ask(ctx context.Context, p []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestLimit, fmt.Errorf("gatt: %w", drivers.ErrTimeout))
	defer cancel()
	select {
	case <-c.answers: // a late one
	default:
	}
	if err := c.conn.Write(ctx, p); err != nil {
		return nil, err
	}
	for {
		select {
		case a := <-c.answers:
			switch {
			case a[0] == p[0]+1:
				return a, nil
			case a[0] == 0x01 && len(a) >= 5 && a[1] == p[0]:
				return nil, refusal(a[4])
			}
		case <-c.done:
			c.mu.Lock()
			defer c.mu.Unlock()
			return nil, c.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

type refusal byte

func (r refusal) Error() string {
	why := map[refusal]string{0x01: "no such attribute", 0x02: "not readable", 0x03: "not writable", 0x05: "it asks to be paired with, which is not supported",
		0x06: "not supported", 0x08: "not authorised", 0x0a: "nothing found", 0x0f: "it asks for encryption, which is not supported"}[r]
	return fmt.Sprintf("gatt: the device refuses: 0x%02x %s", byte(r), why)
}

func (r refusal) Unwrap() error { return ErrRefused }

const notFound = refusal(0x0a)

// Characteristics lists what the device has, after agreeing on a packet size.
func (c *Client) Characteristics(ctx context.Context) ([]Characteristic, error) {
	if a, err := c.ask(ctx, []byte{0x02, ownMTU, 0}); err == nil && len(a) >= 3 {
		c.mtu = min(max(int(le.Uint16(a[1:])), 23), ownMTU)
	} else if err != nil && !errors.Is(err, ErrRefused) {
		return nil, err
	}
	var out []Characteristic
	for start := uint16(1); len(out) < maxCharacteristics; {
		a, err := c.ask(ctx, []byte{0x08, byte(start), byte(start >> 8), 0xff, 0xff, 0x03, 0x28})
		if errors.Is(err, notFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		found, last, err := declarations(a)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if len(out) > 0 {
				out[len(out)-1].end = f.Handle - 2
			}
			out = append(out, f)
		}
		if last < start || last == 0xffff {
			return out, nil
		}
		start = last + 1
	}
	return out, nil
}

// declarations takes the answer to Read By Type apart: entries of one length,
// each a handle, properties, the value's handle, a UUID.
func declarations(a []byte) (out []Characteristic, last uint16, err error) {
	if len(a) < 2 || a[1] != 7 && a[1] != 21 || len(a) == 2 {
		return nil, 0, fmt.Errorf("gatt: list of characteristics % x: %w", a[:min(len(a), 8)], drivers.ErrProtocol)
	}
	size := int(a[1])
	for a = a[2:]; len(a) >= size; a = a[size:] {
		last = le.Uint16(a)
		out = append(out, Characteristic{UUID: UUID(a[5:size]), Handle: le.Uint16(a[3:]), Properties: a[2], end: 0xffff})
	}
	return out, last, nil
}

// Read returns a value, at most 512 octets.
func (c *Client) Read(ctx context.Context, ch Characteristic) ([]byte, error) {
	h := []byte{byte(ch.Handle), byte(ch.Handle >> 8)}
	a, err := c.ask(ctx, append([]byte{0x0a}, h...))
	if err != nil {
		return nil, err
	}
	value := bytes.Clone(a[1:])
	for len(a) == c.mtu && len(value) < maxValue { // there may be more
		n := len(value)
		if a, err = c.ask(ctx, []byte{0x0c, h[0], h[1], byte(n), byte(n >> 8)}); err != nil {
			if errors.Is(err, ErrRefused) {
				return value, nil // it was all
			}
			return nil, err
		}
		value = append(value, a[1:]...)
	}
	return value[:min(len(value), maxValue)], nil
}

// Subscribe asks for the value whenever it changes.
func (c *Client) Subscribe(ctx context.Context, ch Characteristic) error {
	mode := byte(1)
	switch {
	case ch.Properties&CanNotify != 0:
	case ch.Properties&CanIndicate != 0:
		mode = 2
	default:
		return fmt.Errorf("gatt: the characteristic has neither notifications nor indications; leave notify out: %w", ErrRefused)
	}
	for start := ch.Handle + 1; start <= ch.end && start != 0; {
		a, err := c.ask(ctx, []byte{0x04, byte(start), byte(start >> 8), byte(ch.end), byte(ch.end >> 8)})
		if err != nil {
			return err
		}
		if len(a) < 6 || a[1] != 1 { // a list of long UUIDs has no configuration in it
			if len(a) < 20 || a[1] != 2 {
				return fmt.Errorf("gatt: list of descriptors: %w", drivers.ErrProtocol)
			}
			start = le.Uint16(a[len(a)-18:]) + 1
			continue
		}
		for e := a[2:]; len(e) >= 4; e = e[4:] {
			h := le.Uint16(e)
			if le.Uint16(e[2:]) == 0x2902 {
				_, err := c.ask(ctx, []byte{0x12, byte(h), byte(h >> 8), mode, 0})
				return err
			}
			if h < start {
				return fmt.Errorf("gatt: descriptors out of order: %w", drivers.ErrProtocol)
			}
			start = h + 1
		}
	}
	return fmt.Errorf("gatt: no configuration descriptor: %w", ErrNotFound)
}

// ParseUUID reads 2a6e, 0x2a6e or 00002a6e-0000-1000-8000-00805f9b34fb. Long
// forms of short UUIDs become short.
func ParseUUID(s string) (UUID, error) {
	var digits []byte
	for _, r := range []byte(trim(s)) {
		switch {
		case r >= '0' && r <= '9':
			digits = append(digits, r-'0')
		case r|0x20 >= 'a' && r|0x20 <= 'f':
			digits = append(digits, r|0x20-'a'+10)
		case r == '-':
		default:
			digits = append(digits, 0xff)
		}
	}
	if len(digits) != 4 && len(digits) != 32 || bytes.IndexByte(digits, 0xff) >= 0 {
		return "", fmt.Errorf("%q is no UUID such as 2a6e or 00002a6e-0000-1000-8000-00805f9b34fb", s)
	}
	b := make([]byte, len(digits)/2)
	for i := range b {
		b[len(b)-1-i] = digits[2*i]<<4 | digits[2*i+1]
	}
	if short, ok := bytes.CutPrefix(b, []byte("\xfb\x34\x9b\x5f\x80\x00\x00\x80\x00\x10\x00\x00")); ok && short[2] == 0 && short[3] == 0 {
		b = short[:2]
	}
	return UUID(b), nil
}

func trim(s string) string {
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
		return s[2:]
	}
	return s
}

// Find returns the characteristic of a UUID.
func Find(list []Characteristic, u UUID) (Characteristic, error) {
	for _, c := range list {
		if c.UUID == u {
			return c, nil
		}
	}
	return Characteristic{}, fmt.Errorf("gatt: %x: %w", reversed(u), ErrNotFound)
}

func reversed(u UUID) []byte {
	b := []byte(u)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
