// Package max31865 reads platinum thermometers (Pt100, Pt1000) through Maxim's
// MAX31865 over SPI. Sources: Maxim 19-6478, IEC 60751.
package max31865

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers"
	"postern/drivers/spi"
)

// Config is the configuration of one MAX31865.
type Config struct {
	Port      string `yaml:"port" default:"0.0" doc:"SPI bus and chip select" example:"0.0"`
	Nominal   string `yaml:"nominal" default:"100" doc:"resistance of the thermometer at 0 °C in Ω: 100 or 1000"`
	Reference string `yaml:"reference" default:"430" doc:"reference resistor on the board in Ω: often 430 for Pt100, 4300 for Pt1000"`
	Wires     int    `yaml:"wires" default:"2" min:"2" max:"4" doc:"wires to the thermometer: 2, 3 or 4"`
	Mains     string `yaml:"mains" default:"50Hz" oneof:"50Hz|60Hz" doc:"frequency of the mains, whose hum is filtered out"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, _, err := c.resistors()
	switch {
	case err != nil:
		return err
	case c.Wires < 2 || c.Wires > 4:
		return fmt.Errorf("wires: %d is none of 2, 3, 4", c.Wires)
	case c.Mains != "50Hz" && c.Mains != "60Hz":
		return fmt.Errorf("mains: %q is neither 50Hz nor 60Hz", c.Mains)
	}
	return nil
}

func (c Config) resistors() (nominal, reference float64, err error) {
	for _, x := range []struct {
		key, text string
		to        *float64
	}{{"nominal", c.Nominal, &nominal}, {"reference", c.Reference, &reference}} {
		n, err := drivers.ParseNumber(x.text)
		if err != nil || n.Mant <= 0 {
			return 0, 0, fmt.Errorf("%s: %q is not a resistance in Ω above 0", x.key, x.text)
		}
		*x.to = n.Float64()
	}
	if reference < nominal {
		return 0, 0, fmt.Errorf("reference: %s Ω is below the thermometer's %s Ω; the chip measures up to the reference", c.Reference, c.Nominal)
	}
	return nominal, reference, nil
}

// Registers and bits (table 1, figure 2).
const (
	regConfig = 0x00
	regRTD    = 0x01
	regFault  = 0x07
	write     = 0x80

	bias       = 0x80
	oneShot    = 0x20
	threeWire  = 0x10
	clearFault = 0x02
	filter50   = 0x01
	fixedBits  = bias | threeWire | filter50 // what reads back as it was written

	biasTime   = 10 * time.Millisecond // five time constants of the usual input filter
	conversion = 66 * time.Millisecond // 62.5 ms with the 50 Hz filter
)

// Device is one chip. It is safe for concurrent use.
type Device struct {
	cfg                Config
	nominal, reference float64
	chip               *spi.Chip
}

// Open returns the chip. The device owns the port from then on, also when Open
// fails.
func Open(ctx context.Context, port spi.Port, cfg Config) (*Device, error) {
	if err := cfg.Validate(); err != nil {
		_ = port.Close()
		return nil, fmt.Errorf("max31865: %w", err)
	}
	chip, err := spi.Connect("max31865", port, physic.MegaHertz, spi.Mode1)
	if err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, chip: chip}
	d.nominal, d.reference, _ = cfg.resistors() // checked by Validate
	return d, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	return []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "temperature of the thermometer"},
		{Name: "resistance", Kind: drivers.KindNumber, Unit: "Ω", Doc: "resistance of the thermometer and its wires"},
	}
}

func (d *Device) settings() byte {
	c := byte(0)
	if d.cfg.Wires == 3 {
		c |= threeWire
	}
	if d.cfg.Mains == "50Hz" {
		c |= filter50
	}
	return c
}

// Read implements drivers.Device: one conversion, about 80 ms. Between them the
// thermometer has no current and does not heat itself.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	var raw uint16
	err := d.chip.Do(ctx, func() (err error) {
		raw, err = d.convert(ctx)
		return err
	})
	if err != nil {
		return dst, err
	}
	r := float64(raw) / 32768 * d.reference
	if r < ratio(lowest)*d.nominal || r > ratio(highest)*d.nominal {
		return dst, fmt.Errorf("max31865: %.1f Ω is no thermometer of %s Ω between %d and %d °C; check its wires, nominal and reference: %w",
			r, d.cfg.Nominal, lowest, highest, drivers.ErrProtocol)
	}
	t, err := drivers.FromFloat(celsius(r/d.nominal), 2) // a step is about 0.03 °C
	if err != nil {
		return dst, fmt.Errorf("max31865: %w", err)
	}
	ohm, err := drivers.FromFloat(r, 2)
	if err != nil {
		return dst, fmt.Errorf("max31865: %w", err)
	}
	now := time.Now()
	return append(dst,
		drivers.Sample{Channel: "temperature", Value: drivers.Decimal(t), Unit: "°C", Time: now},
		drivers.Sample{Channel: "resistance", Value: drivers.Decimal(ohm), Unit: "Ω", Time: now},
	), nil
}

func (d *Device) convert(ctx context.Context) (_ uint16, err error) {
	base := d.settings()
	if _, err := d.chip.Tx(write|regConfig, base|bias|clearFault); err != nil {
		return 0, err
	}
	defer func() { // no current, also when nobody waits any more
		if _, off := d.chip.Tx(write|regConfig, base); err == nil {
			err = off
		}
	}()
	if err := spi.Sleep(ctx, biasTime); err != nil {
		return 0, err
	}
	got, err := d.chip.Tx(regConfig, 0)
	if err != nil {
		return 0, err
	}
	if want := base | bias; got[1]&fixedBits != want || got[1]&oneShot != 0 {
		return 0, fmt.Errorf("configuration reads 0x%02x, not 0x%02x; check power and wiring: %w", got[1], want, drivers.ErrGone)
	}
	if _, err := d.chip.Tx(write|regConfig, base|bias|oneShot); err != nil {
		return 0, err
	}
	if err := spi.Sleep(ctx, conversion); err != nil {
		return 0, err
	}
	b, err := d.chip.Tx(regRTD, 0, 0)
	if err != nil {
		return 0, err
	}
	fault, err := d.chip.Tx(regFault, 0)
	if err != nil {
		return 0, err
	}
	rtd := binary.BigEndian.Uint16(b[1:])
	switch {
	case fault[1]&0xfc != 0 || rtd&1 != 0:
		return 0, fmt.Errorf("%s: %w", faultText(fault[1]), drivers.ErrProtocol)
	case rtd>>1 == 0 || rtd>>1 == 0x7fff:
		return 0, fmt.Errorf("the converter is at its end (0x%04x); is the thermometer connected? %w", rtd, drivers.ErrProtocol)
	}
	return rtd >> 1, nil
}

// faultText says what the fault register means (table 7).
func faultText(f byte) string {
	var s []string
	for _, b := range []struct {
		bit  byte
		text string
	}{
		{0x80, "resistance above the upper threshold: a wire is broken"},
		{0x40, "resistance below the lower threshold: a short circuit"},
		{0x20, "the reference input is too high"},
		{0x10, "the reference input is too low: a wire is open"},
		{0x08, "the thermometer's input is too low: a wire is open"},
		{0x04, "an input is beyond the supply"},
	} {
		if f&b.bit != 0 {
			s = append(s, b.text)
		}
	}
	if s == nil {
		return "the chip reports a fault without a reason"
	}
	return strings.Join(s, "; ")
}

// Callendar and Van Dusen's constants, and the temperatures in °C that they are
// for (IEC 60751: −200 to 850), with a little room for tolerances.
const (
	lowest  = -205
	highest = 855

	cvdA = 3.9083e-3
	cvdB = -5.775e-7
	cvdC = -4.183e-12
)

// ratio is the resistance at t °C by that at 0 °C.
func ratio(t float64) float64 {
	r := 1 + cvdA*t + cvdB*t*t
	if t < 0 {
		r += cvdC * (t - 100) * t * t * t
	}
	return r
}

// celsius inverts ratio: above zero by the root of the quadratic, below by
// Newton's method, which needs three steps.
func celsius(r float64) float64 {
	t := (-cvdA + math.Sqrt(max(cvdA*cvdA-4*cvdB*(1-r), 0))) / (2 * cvdB)
	if t >= 0 {
		return t
	}
	for range 5 {
		slope := cvdA + 2*cvdB*t + cvdC*(4*t*t*t-300*t*t)
		t -= (ratio(t) - r) / slope
	}
	return t
}

// Close implements drivers.Device.
func (d *Device) Close() error { return d.chip.Close() }

// Slave is a simulated MAX31865 with a thermometer. It is safe for concurrent
// use.
type Slave struct {
	Temperature drivers.Drift // °C; set it before use

	nominal, reference float64

	mu     sync.Mutex
	config byte
	broken bool // the thermometer's wire
	rtd    uint16
	ready  time.Time
}

// Simulate returns a thermometer at about 65 °C, as in a heating circuit.
func Simulate(c Config) spi.Slave {
	s := &Slave{Temperature: drivers.Drift{Base: 65, Amplitude: 6, Period: 15 * time.Minute}, nominal: 100, reference: 430}
	if n, r, err := c.resistors(); err == nil {
		s.nominal, s.reference = n, r
	}
	return s
}

// Break breaks the thermometer's wire, or mends it.
func (s *Slave) Break(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// Tx implements spi.Slave.
func (s *Slave) Tx(w, r []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	clear(r)
	if s.config&oneShot != 0 && !now.Before(s.ready) {
		s.config &^= oneShot
		s.rtd = uint16(min(ratio(s.Temperature.At(now))*s.nominal/s.reference*32768+0.5, 32767)) << 1
		if s.broken {
			s.rtd = 0xffff
		}
	}
	if len(w) < 2 {
		return nil
	}
	if w[0] == write|regConfig {
		s.config = w[1] &^ clearFault
		if w[1]&(bias|oneShot) == bias|oneShot {
			s.ready = now.Add(63 * time.Millisecond)
		}
	}
	if w[0]&write != 0 {
		return nil
	}
	reg := [8]byte{regConfig: s.config, regRTD: byte(s.rtd >> 8), regRTD + 1: byte(s.rtd)}
	if s.broken {
		reg[regFault] = 0x80
	}
	for i := 1; i < len(r); i++ {
		r[i] = reg[(int(w[0])+i-1)%8]
	}
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
