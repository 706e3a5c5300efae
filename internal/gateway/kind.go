package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"postern/drivers"
	"postern/drivers/ble"
	"postern/drivers/ble/virtual"
	"postern/drivers/gpio"
	"postern/drivers/i2c"
	"postern/drivers/modbus"
	"postern/drivers/onewire"
	"postern/drivers/pwm"
	"postern/drivers/serial"
	"postern/drivers/spi"
	"postern/drivers/sysfs"
	"postern/internal/config"
	"postern/xmpp"
)

// kind is a row of the table: what the configuration sees, and how a device of
// it is opened.
type kind struct {
	config.Kind
	// open opens a device on what env gives. cfg points to the configuration.
	open func(ctx context.Context, env env, cfg any) (drivers.Device, error)
	// shared names what all devices of the kind share, so that they are read
	// one after the other; empty: nothing, or the bus that the configuration
	// names.
	shared string
	// branch tells that there is no device.
	branch bool
}

// env gives devices what they are opened on, real or simulated.
type env interface {
	// i2cBus returns the bus called name. A simulated one gets the chip that
	// sim makes at the address.
	i2cBus(name string, address uint16, sim func() i2c.Slave) (i2c.Bus, error)
	// gpioLine returns a line. The device owns it.
	gpioLine(name string) (gpio.Line, error)
	// pwmChannel opens a PWM channel of the kernel.
	pwmChannel(ctx context.Context, cfg pwm.Config) (*pwm.Device, error)
	// oneWire returns the 1-Wire bus. A simulated one has a thermometer of that
	// name.
	oneWire(rom string) onewire.Bus
	// spiPort opens an SPI bus with a chip select. A simulated one has the chip
	// that sim makes. The device owns it.
	spiPort(name string, sim func() spi.Slave) (spi.Port, error)
	// serialPort opens a serial port. A simulated one has the instrument that
	// sim makes at the other end. The device owns it.
	serialPort(cfg serial.Config, sim func() (*serial.Sim, error)) (serial.Conn, error)
	// files returns the root of the file system, or what sim makes of it.
	files(sim func() fs.FS) fs.FS
	// modbusLine returns the master of the line called name. A simulated one
	// has the unit that sim makes. release is called when the device is closed.
	modbusLine(name string, unit byte, sim func() *modbus.Image) (c *modbus.Client, release func() error, err error)
	// bleRadio returns the Bluetooth adapter called name. A simulated one hears
	// the device that sim makes at the address.
	bleRadio(name, address string, sim func() *virtual.Device) (*ble.Radio, error)
}

// described is what every device of Postern is.
type described interface {
	drivers.Device
	drivers.Describer
}

// A generic function is compiled for each type that it is used with. Those of
// the kinds only wrap the types of a driver; the rest is done once for all.

// i2cChip is a kind that sits on an I2C bus; its configuration has the fields
// Bus and Address.
func i2cChip[C any, D described](name, doc string, open func(context.Context, i2c.Bus, C) (D, error), sim func(C) i2c.Slave) kind {
	return onI2C(base[C](name, doc, "i2c"),
		func(ctx context.Context, bus i2c.Bus, cfg any) (described, error) { return open(ctx, bus, *cfg.(*C)) },
		func(cfg any) i2c.Slave { return sim(*cfg.(*C)) })
}

func onI2C(k kind, open func(context.Context, i2c.Bus, any) (described, error), sim func(any) i2c.Slave) kind {
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		name, address := placeOnI2C(cfg)
		bus, err := e.i2cBus(name, address, func() i2c.Slave { return sim(cfg) })
		if err != nil {
			return nil, err
		}
		return device(open(ctx, bus, cfg))
	}
	k.Claims = claimedAddress
	return k.describing()
}

// placeOnI2C and its like read the place of a device off its configuration.
func placeOnI2C(cfg any) (bus string, address uint16) {
	return textField(cfg, "Bus"), uint16(reflect.ValueOf(cfg).Elem().FieldByName("Address").Int())
}

func textField(cfg any, name string) string {
	return reflect.ValueOf(cfg).Elem().FieldByName(name).String()
}

func claimedAddress(cfg any) (string, string) {
	name, address := placeOnI2C(cfg)
	return fmt.Sprintf("address 0x%02x on bus %s", address, sameBus(name)), "address"
}

func claimedPort(cfg any) (string, string) { return "SPI port " + textField(cfg, "Port"), "port" }

func claimedLine(cfg any) (string, string) { return "line " + sameLine(textField(cfg, "Line")), "line" }

// spiChip is a kind that sits on an SPI bus; its configuration has the field
// Port.
func spiChip[C any, D described](name, doc string, open func(context.Context, spi.Port, C) (D, error), sim func(C) spi.Slave) kind {
	return onSPI(base[C](name, doc, ""),
		func(ctx context.Context, p spi.Port, cfg any) (described, error) { return open(ctx, p, *cfg.(*C)) },
		func(cfg any) spi.Slave { return sim(*cfg.(*C)) })
}

func onSPI(k kind, open func(context.Context, spi.Port, any) (described, error), sim func(any) spi.Slave) kind {
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		p, err := e.spiPort(textField(cfg, "Port"), func() spi.Slave { return sim(cfg) })
		if err != nil {
			return nil, err
		}
		return device(open(ctx, p, cfg))
	}
	k.Claims = claimedPort
	return k.describing()
}

// line is a kind made of one GPIO line; its configuration has the field Line.
func line[C any, D described](name, doc string, open func(context.Context, gpio.Line, C) (D, error)) kind {
	return onLine(base[C](name, doc, ""),
		func(ctx context.Context, l gpio.Line, cfg any) (described, error) { return open(ctx, l, *cfg.(*C)) })
}

func onLine(k kind, open func(context.Context, gpio.Line, any) (described, error)) kind {
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		l, err := e.gpioLine(textField(cfg, "Line"))
		if err != nil {
			return nil, err
		}
		return device(open(ctx, l, cfg))
	}
	k.Claims = claimedLine
	return k.describing()
}

// thermometer is a kind on the 1-Wire bus; its configuration has the field ID.
func thermometer[C any, D described](name, doc string, open func(context.Context, onewire.Bus, C) (D, error)) kind {
	k := base[C](name, doc, "")
	k.shared = "1-wire"
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		c := *cfg.(*C)
		return device(open(ctx, e.oneWire(textField(cfg, "ID")), c))
	}
	return k.describing()
}

// noConfig is the configuration of kinds that have none.
type noConfig struct{}

// branch is a node without a device.
func branch(name, doc string) kind {
	k := base[noConfig](name, doc, "")
	k.branch, k.Real = true, "has no device; simulate its parts"
	k.Channels = func(any) ([]config.Channel, bool) { return nil, true }
	return k
}

// talker is an instrument with a serial port of its own; its configuration has
// the field Serial.
func talker[C any, D described](name, doc string, open func(context.Context, serial.Conn, C) (D, error), sim func(C) (*serial.Sim, error)) kind {
	return onSerial(base[C](name, doc, ""),
		func(ctx context.Context, c serial.Conn, cfg any) (described, error) { return open(ctx, c, *cfg.(*C)) },
		func(cfg any) (*serial.Sim, error) { return sim(*cfg.(*C)) })
}

func onSerial(k kind, open func(context.Context, serial.Conn, any) (described, error), sim func(any) (*serial.Sim, error)) kind {
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		port, _ := serialOf(cfg)
		conn, err := e.serialPort(port, func() (*serial.Sim, error) { return sim(cfg) })
		if err != nil {
			return nil, err
		}
		return device(open(ctx, conn, cfg))
	}
	k.Simulation = func(cfg any) error {
		_, err := sim(cfg)
		return err
	}
	return k.describing()
}

// always is a simulation that there is for every configuration.
func always[C any](sim func(C) *serial.Sim) func(C) (*serial.Sim, error) {
	return func(c C) (*serial.Sim, error) { return sim(c), nil }
}

// kernelClass is a kind that the kernel offers below /sys. Its channels depend
// on the machine.
func kernelClass[C any](name, doc string, open func(context.Context, fs.FS, C) (*sysfs.Device, error), sim func(C) fs.FS) kind {
	k := base[C](name, doc, "")
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		c := *cfg.(*C)
		return device(open(ctx, e.files(func() fs.FS { return sim(c) }), c))
	}
	return k
}

// modbusUnit is a unit on a Modbus line.
func modbusUnit(name, doc string) kind {
	k := base[modbus.Config](name, doc, "modbus")
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		c := *cfg.(*modbus.Config)
		client, release, err := e.modbusLine(c.Bus, byte(c.Unit), func() *modbus.Image { return modbus.Simulate(c) })
		if err != nil {
			return nil, err
		}
		d, err := modbus.Open(ctx, client, c)
		if err != nil {
			return nil, errors.Join(err, release())
		}
		return unit{d, release}, nil
	}
	k.Resolve = resolveModbus
	return k.describing()
}

// unit is a Modbus device that lets go of its line when it is closed.
type unit struct {
	*modbus.Device
	release func() error
}

// Close implements drivers.Device.
func (u unit) Close() error { return errors.Join(u.Device.Close(), u.release()) }

// machine is a kind that needs nothing but the machine. It is never simulated,
// and its channels depend on the machine.
func machine[C any, D described](name, doc string, open func(context.Context, C) (D, error)) kind {
	k := base[C](name, doc, "")
	k.Real = "is the machine that this runs on"
	k.open = func(ctx context.Context, _ env, cfg any) (drivers.Device, error) {
		return device(open(ctx, *cfg.(*C)))
	}
	return k
}

func base[C any](name, doc, bus string) kind {
	return kind{Kind: config.Kind{Name: name, Doc: doc, Bus: bus, New: func() any { return new(C) }}}
}

// device turns a typed nil into none.
func device(d described, err error) (drivers.Device, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// describing lets the configuration know the channels: those of a simulated
// device of the same configuration. It is not to be copied into the generic
// functions, which are compiled for each type.
//
//go:noinline
func (k kind) describing() kind {
	open := k.open
	k.Channels = func(cfg any) ([]config.Channel, bool) {
		chs, err := channelsOf(open, cfg)
		if err != nil {
			return nil, false
		}
		var out []config.Channel
		for _, c := range chs {
			out = append(out, config.Channel{Name: c.Name, Type: c.Kind.String(), Unit: c.Unit, Doc: c.Doc, Writable: c.Writable, Safe: c.Safe.Kind() != drivers.KindNone, Takes: takes(c)})
		}
		return out, true
	}
	return k
}

// channelsOf opens a throw-away simulated device and asks for its channels.
func channelsOf(open func(context.Context, env, any) (drivers.Device, error), cfg any) ([]drivers.Channel, error) {
	b := paper{newBench()}
	defer b.close()
	d, err := open(context.Background(), b, cfg)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.(described).Channels(), nil
}

// Kinds returns the table as the configuration sees it.
func Kinds() *config.Kinds {
	out := &config.Kinds{
		Buses:   busKinds(),
		Formats: config.Formats{"jid": checkJID, "bare-jid": checkBareJID, "decimal": checkDecimal, "condition": checkCondition, "formula": checkCondition, "reading": checkReading, "string-ids": checkStringIDs, "line": gpio.CheckLine},
		Values:  conditionValues,
		Energy:  energyUnits,
		Models:  Models,

		Description: func() any { return new(description) },
		Tag:         checkTag,
	}
	for _, k := range kinds() {
		out.Devices = append(out.Devices, k.Kind)
	}
	return out
}

// findKind returns the row of that name.
func findKind(name string) (kind, error) {
	for _, k := range kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("there is no kind %q", name)
}

func checkJID(text string) error {
	_, err := xmpp.ParseJID(text)
	return noJID(err)
}

func noJID(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write an address such as name@domain (%w)", err)
}

func checkBareJID(text string) error {
	j, err := xmpp.ParseJID(text)
	switch {
	case err != nil:
		return noJID(err)
	case j.Resourcepart() != "":
		return errors.New("leave out /" + j.Resourcepart() + ", it does not identify anybody")
	}
	return nil
}
