package gateway

import (
	"context"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	periphspi "periph.io/x/conn/v3/spi"

	"postern/drivers"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/modbus"
	"postern/drivers/onewire"
	"postern/drivers/serial"
	"postern/drivers/spi"
)

// taped gives one device what another env gives, and records on a tape what
// goes over it.
type taped struct {
	env
	tape *drivers.Tape
}

func (t taped) i2cBus(name string, address uint16, sim func() i2c.Slave) (i2c.Bus, error) {
	bus, err := t.env.i2cBus(name, address, sim)
	if err != nil {
		return nil, err
	}
	b := tapedI2C{bus, t.tape}
	if c, ok := bus.(i2c.ContextBus); ok {
		return tapedContextI2C{b, c}, nil
	}
	return b, nil
}

type tapedI2C struct {
	i2c.Bus
	tape *drivers.Tape
}

func (b tapedI2C) Tx(addr uint16, w, r []byte) error {
	err := b.Bus.Tx(addr, w, r)
	b.tape.Record(time.Now(), w, heard(r, err), err)
	return err
}

// heard is what a transaction brought: nothing where it failed.
func heard(r []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return r
}

type tapedContextI2C struct {
	tapedI2C
	ctx i2c.ContextBus
}

func (b tapedContextI2C) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	err := b.ctx.TxContext(ctx, addr, w, r)
	b.tape.Record(time.Now(), w, heard(r, err), err)
	return err
}

func (t taped) spiPort(name string, sim func() spi.Slave) (spi.Port, error) {
	p, err := t.env.spiPort(name, sim)
	if err != nil {
		return nil, err
	}
	return tapedSPI{p, t.tape}, nil
}

type tapedSPI struct {
	spi.Port
	tape *drivers.Tape
}

func (p tapedSPI) Connect(f physic.Frequency, mode periphspi.Mode, bits int) (periphspi.Conn, error) {
	c, err := p.Port.Connect(f, mode, bits)
	if err != nil {
		return nil, err
	}
	return tapedConn{c, p.tape}, nil
}

type tapedConn struct {
	periphspi.Conn
	tape *drivers.Tape
}

var _ conn.Conn = tapedConn{}

func (c tapedConn) Tx(w, r []byte) error {
	err := c.Conn.Tx(w, r)
	c.tape.Record(time.Now(), w, heard(r, err), err)
	return err
}

func (t taped) oneWire(rom string) onewire.Bus { return tapedOneWire{t.env.oneWire(rom), t.tape} }

type tapedOneWire struct {
	onewire.Bus
	tape *drivers.Tape
}

func (b tapedOneWire) Measure(id string) ([]byte, error) {
	got, err := b.Bus.Measure(id)
	b.tape.Record(time.Now(), nil, got, err)
	return got, err
}

func (t taped) serialPort(cfg serial.Config, sim func() (*serial.Sim, error)) (serial.Conn, error) {
	c, err := t.env.serialPort(cfg, sim)
	if err != nil {
		return nil, err
	}
	return tapedSerial{c, t.tape}, nil
}

type tapedSerial struct {
	serial.Conn
	tape *drivers.Tape
}

func (c tapedSerial) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.tape.Record(time.Now(), b[:n], nil, err)
	return n, err
}

func (c tapedSerial) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tape.Heard(time.Now(), b[:n], nil) // a deadline is no news
	return n, err
}

// Flush drops what has come unread, where the port can.
func (c tapedSerial) Flush() error {
	return serial.Flush(c.Conn)
}

func (t taped) modbusLine(name string, unit byte, sim func() *modbus.Image) (*modbus.Client, func() error, error) {
	c, release, err := t.env.modbusLine(name, unit, sim)
	if err == nil {
		c.Tape(unit, t.tape)
	}
	return c, release, err
}

func (t taped) gpioLine(name string) (gpio.Line, error) { return t.env.gpioLine(name) }
