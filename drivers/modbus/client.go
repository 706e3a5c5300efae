// Package modbus is a Modbus master on serial lines (RTU), on TCP, and on
// serial lines behind TCP (RTU over TCP), a device described by its registers,
// and the register image of a simulated unit.
//
// Sources: Modbus Application Protocol V1.1b3, Modbus over Serial Line V1.02,
// Modbus Messaging on TCP/IP V1.0b (modbus.org).
package modbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Client is the master of one line. It is safe for concurrent use; one
// transaction runs at a time, in the order of the calls.
type Client struct {
	cfg    BusConfig
	log    *slog.Logger
	dial   func(ctx context.Context) (Conn, framer, error)
	turn   chan struct{} // holds one token: the right to use the line
	closed atomic.Bool
	life   context.Context // ends with Close
	end    context.CancelFunc

	tapes [256]atomic.Pointer[drivers.Tape] // by unit

	// Of the holder of the turn.
	conn    Conn
	framer  framer
	retry   time.Time // no new connection before
	dialErr error
	units   [256]breaker
}

// redialPause is the least time between two attempts to connect.
const redialPause = time.Second

// Dial returns the master of a line. A port or host that is not there is no
// failure here; requests say so and try again.
func Dial(cfg BusConfig, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("modbus: %w", err)
	}
	c := newClient(cfg, log)
	if cfg.Transport == "rtu" {
		port, err := serial.Open(cfg.Serial, log)
		if err != nil {
			return nil, fmt.Errorf("modbus: %w", err)
		}
		c.use(port)
		return c, nil
	}
	c.dial = func(ctx context.Context) (Conn, framer, error) {
		d := net.Dialer{Timeout: max(cfg.Timeout, time.Second), KeepAlive: 30 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", cfg.Host)
		if err != nil {
			return nil, nil, fmt.Errorf("connect to %s: %w: %w", cfg.Host, err, drivers.ErrGone)
		}
		if cfg.Transport == "tcp" {
			return conn, &mbap{conn: conn}, nil
		}
		return conn, &rtu{conn: conn, silence: cfg.Silence}, nil
	}
	return c, nil
}

// New returns the master of a line that is open already: RTU framing with the
// timing of cfg. The client closes conn.
func New(conn Conn, cfg BusConfig, log *slog.Logger) *Client {
	c := newClient(cfg, log)
	c.use(conn)
	return c
}

func newClient(cfg BusConfig, log *slog.Logger) *Client {
	life, end := context.WithCancel(context.Background())
	return &Client{cfg: cfg, log: log, turn: make(chan struct{}, 1), life: life, end: end}
}

// use takes an open line that comes back by itself.
func (c *Client) use(conn Conn) {
	char := c.cfg.Serial.CharTime()
	silence := c.cfg.Silence
	if silence == 0 {
		silence = silenceFor(c.cfg.Serial.Baud, char)
	}
	c.conn, c.framer = conn, &rtu{conn: conn, char: char, silence: silence}
}

// Tape records the requests to a unit and its answers, each from the function
// code on, without address and checksum. nil ends it.
func (c *Client) Tape(unit byte, t *drivers.Tape) { c.tapes[unit].Store(t) }

// Close ends the running request and closes the line; closing twice is
// allowed.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.end()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// transact runs one request with its retries. write requests are not repeated:
// whether the first one arrived is unknown.
func (c *Client) transact(ctx context.Context, unit byte, pdu []byte, write bool) ([]byte, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(drivers.ErrClosed) })()
	tries := 1
	if !write && !c.units[unit].trying() {
		tries += c.cfg.Retries
	}
	var err error
	for range tries {
		var got []byte
		if got, err = c.try(ctx, unit, pdu); err == nil {
			return got, nil
		}
		if ctx.Err() != nil { // also when the line's time was over at the same moment
			err = context.Cause(ctx)
			break
		}
		if !errors.Is(err, drivers.ErrTimeout) && !errors.Is(err, drivers.ErrProtocol) {
			break
		}
	}
	return nil, fmt.Errorf("modbus: unit %d: %w", unit, err)
}

func (c *Client) try(ctx context.Context, unit byte, pdu []byte) ([]byte, error) {
	if c.closed.Load() {
		return nil, drivers.ErrClosed
	}
	b := &c.units[unit]
	if now := time.Now(); !b.allows(now) {
		return nil, fmt.Errorf("silent since %d requests, asked again in %v; check its address, speed and wiring: %w",
			b.silent, b.until.Sub(now).Round(100*time.Millisecond), drivers.ErrTimeout)
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	got, err := c.framer.exchange(ctx, unit, pdu, c.cfg.Timeout)
	c.tapes[unit].Load().Record(time.Now(), pdu, got, err)
	switch {
	case err == nil:
		if b.trying() {
			c.log.Info("modbus unit answers again", "unit", unit)
		}
		b.answered()
		return got, nil
	case ctx.Err() != nil:
	case errors.Is(err, drivers.ErrTimeout):
		if b.timedOut(time.Now()) {
			c.log.Warn("modbus unit is silent", "unit", unit)
		}
	case errors.Is(err, drivers.ErrProtocol) && !errors.Is(err, errFraming):
		b.silent = 0 // something is there
	case c.dial != nil:
		c.hangUp()
	}
	return nil, err
}

// connect opens the TCP connection where there is none.
func (c *Client) connect(ctx context.Context) error {
	if c.framer != nil {
		return nil
	}
	if time.Now().Before(c.retry) {
		return c.dialErr
	}
	conn, f, err := c.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.retry, c.dialErr = time.Now().Add(redialPause), err
		}
		return err
	}
	c.conn, c.framer = conn, f
	return nil
}

func (c *Client) hangUp() {
	_ = c.conn.Close() // it failed already
	c.conn, c.framer = nil, nil
}

// ReadBits reads n (1..2000) coils or discrete inputs from addr on.
func (c *Client) ReadBits(ctx context.Context, unit byte, t Table, addr uint16, n int) ([]bool, error) {
	if !t.Bits() || n < 1 || n > maxReadBits {
		return nil, fmt.Errorf("modbus: cannot read %d bits from table %s", n, t)
	}
	fn := t.readFunction()
	pdu, err := c.transact(ctx, unit, request(fn, addr, uint16(n)), false)
	if err != nil {
		return nil, err
	}
	b, err := counted(fn, pdu, (n+7)/8)
	if err != nil {
		return nil, unitError(unit, err)
	}
	return unpackBits(b, n), nil
}

// ReadRegisters reads n (1..125) input or holding registers from addr on.
func (c *Client) ReadRegisters(ctx context.Context, unit byte, t Table, addr uint16, n int) ([]uint16, error) {
	if t.Bits() || n < 1 || n > maxReadRegisters {
		return nil, fmt.Errorf("modbus: cannot read %d registers from table %s", n, t)
	}
	fn := t.readFunction()
	pdu, err := c.transact(ctx, unit, request(fn, addr, uint16(n)), false)
	if err != nil {
		return nil, err
	}
	b, err := counted(fn, pdu, 2*n)
	if err != nil {
		return nil, unitError(unit, err)
	}
	return unpackRegisters(b), nil
}

func unitError(unit byte, err error) error { return fmt.Errorf("modbus: unit %d: %w", unit, err) }

// write sends a write whose answer repeats its first n octets.
func (c *Client) write(ctx context.Context, unit byte, req []byte, n int) error {
	pdu, err := c.transact(ctx, unit, req, true)
	if err != nil {
		return err
	}
	if unit == 0 && c.cfg.Transport != "tcp" {
		return nil // nobody answers a broadcast
	}
	if err := echoed(req, pdu, n); err != nil {
		return unitError(unit, err)
	}
	return nil
}

// WriteCoil sets one coil (function 5).
func (c *Client) WriteCoil(ctx context.Context, unit byte, addr uint16, on bool) error {
	v := uint16(0)
	if on {
		v = coilOn
	}
	return c.write(ctx, unit, request(fnWriteCoil, addr, v), 5)
}

// WriteRegister sets one holding register (function 6).
func (c *Client) WriteRegister(ctx context.Context, unit byte, addr, v uint16) error {
	return c.write(ctx, unit, request(fnWriteRegister, addr, v), 5)
}

// WriteCoils sets 1 to 1968 coils from addr on (function 15).
func (c *Client) WriteCoils(ctx context.Context, unit byte, addr uint16, bits []bool) error {
	if len(bits) < 1 || len(bits) > maxWriteBits {
		return fmt.Errorf("modbus: cannot write %d coils at once", len(bits))
	}
	req := append(request(fnWriteCoils, addr, uint16(len(bits))), byte((len(bits)+7)/8))
	return c.write(ctx, unit, appendBits(req, bits), 5)
}

// WriteRegisters sets 1 to 123 holding registers from addr on (function 16).
func (c *Client) WriteRegisters(ctx context.Context, unit byte, addr uint16, regs []uint16) error {
	if len(regs) < 1 || len(regs) > maxWriteRegisters {
		return fmt.Errorf("modbus: cannot write %d registers at once", len(regs))
	}
	req := append(request(fnWriteRegisters, addr, uint16(len(regs))), byte(2*len(regs)))
	return c.write(ctx, unit, appendRegisters(req, regs), 5)
}

// MaskWrite sets a holding register to (old AND and) OR (or AND NOT and)
// within the unit (function 22).
func (c *Client) MaskWrite(ctx context.Context, unit byte, addr, and, or uint16) error {
	return c.write(ctx, unit, request(fnMaskWrite, addr, and, or), 7)
}

// ReadWriteRegisters writes 1 to 121 holding registers and then reads n (1 to
// 125), in one request (function 23).
func (c *Client) ReadWriteRegisters(ctx context.Context, unit byte, readAddr uint16, n int, writeAddr uint16, regs []uint16) ([]uint16, error) {
	if n < 1 || n > maxReadRegisters || len(regs) < 1 || len(regs) > maxReadWriteRegs {
		return nil, fmt.Errorf("modbus: cannot read %d and write %d registers at once", n, len(regs))
	}
	req := request(fnReadWrite, readAddr, uint16(n), writeAddr, uint16(len(regs)))
	req = appendRegisters(append(req, byte(2*len(regs))), regs)
	pdu, err := c.transact(ctx, unit, req, true)
	if err != nil {
		return nil, err
	}
	b, err := counted(fnReadWrite, pdu, 2*n)
	if err != nil {
		return nil, unitError(unit, err)
	}
	return unpackRegisters(b), nil
}

// Identification is what a unit says about itself (function 43/14): vendor,
// product code, revision, and whatever else it has.
type Identification map[byte]string

// The objects that every unit with function 43/14 has.
const (
	VendorName  byte = 0
	ProductCode byte = 1
	Revision    byte = 2
)

// Identify asks for the basic identification.
func (c *Client) Identify(ctx context.Context, unit byte) (Identification, error) {
	id := Identification{}
	next := byte(0)
	for range identificationLimit {
		pdu, err := c.transact(ctx, unit, []byte{fnEncapsulated, meiIdentification, 1, next}, false)
		if err != nil {
			return nil, err
		}
		more, n, err := ParseIdentification(pdu, id)
		if err != nil {
			return nil, unitError(unit, err)
		}
		if !more || n <= next {
			return id, nil
		}
		next = n
	}
	return id, nil
}

// ParseIdentification takes the objects of one answer into id and tells
// whether more follow and from which one on.
func ParseIdentification(pdu []byte, id Identification) (more bool, next byte, err error) {
	if _, err := answer(fnEncapsulated, pdu); err != nil {
		return false, 0, err
	}
	if n := identificationLength(pdu); n <= 0 || n > len(pdu) || pdu[1] != meiIdentification {
		return false, 0, garbage("identification % x is malformed", head(pdu))
	}
	at := 7
	for range int(pdu[6]) {
		n := int(pdu[at+1])
		id[pdu[at]] = string(pdu[at+2 : at+2+n])
		at += 2 + n
	}
	return pdu[4] != 0, pdu[5], nil
}
