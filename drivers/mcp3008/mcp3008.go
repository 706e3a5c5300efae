// Package mcp3008 reads Microchip's MCP3008, a converter for eight voltages,
// over SPI. Source: Microchip DS21295, chapters 5 and 6.
package mcp3008

import (
	"context"
	"fmt"
	"math"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers"
	"postern/drivers/spi"
)

// Config is the configuration of one MCP3008.
type Config struct {
	Port      string `yaml:"port" default:"0.0" doc:"SPI bus and chip select" example:"0.0"`
	Reference string `yaml:"reference" default:"3.3" doc:"voltage at the pin VREF in V"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	_, err := c.reference()
	return err
}

func (c Config) reference() (drivers.Number, error) {
	n, err := drivers.ParseNumber(c.Reference)
	if err != nil || n.Cmp(drivers.Num(25, -2)) < 0 || n.Cmp(drivers.Num(55, -1)) > 0 {
		return n, fmt.Errorf("reference: %q is not a voltage from 0.25 to 5.5 V", c.Reference)
	}
	return n.Rescale(-6)
}

// Device is one MCP3008. It is safe for concurrent use.
type Device struct {
	chip *spi.Chip
	ref  int64 // µV
}

// Open returns the chip. The device owns the port from then on, also when Open
// fails.
func Open(ctx context.Context, port spi.Port, cfg Config) (*Device, error) {
	ref, err := cfg.reference()
	if err != nil {
		_ = port.Close()
		return nil, fmt.Errorf("mcp3008: %w", err)
	}
	// 1.35 MHz is the limit at 2.7 V (table 1).
	chip, err := spi.Connect("mcp3008", port, physic.MegaHertz, spi.Mode0)
	if err != nil {
		return nil, err
	}
	return &Device{chip: chip, ref: ref.Mant}, nil
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	var cs []drivers.Channel
	for i := range 8 {
		cs = append(cs, drivers.Channel{
			Name: fmt.Sprintf("voltage-%d", i), Kind: drivers.KindNumber, Unit: "V", Doc: fmt.Sprintf("voltage of input %d against ground", i),
		})
	}
	return cs
}

// Read implements drivers.Device.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	out := dst
	err := d.chip.Do(ctx, func() error {
		for i := range byte(8) {
			raw, err := d.convert(i)
			if err != nil {
				return err
			}
			// To 0.1 mV: a step is at least that.
			v := drivers.Num((int64(raw)*d.ref/100+512)/1024, -4)
			out = append(out, drivers.Sample{Channel: fmt.Sprintf("voltage-%d", i), Value: drivers.Decimal(v), Unit: "V", Time: time.Now()})
		}
		return nil
	})
	if err != nil {
		return dst, err
	}
	return out, nil
}

// convert asks for one input: a start bit; single-ended, three bits of the
// input; then come a zero and ten bits (figure 6-1). The transfer is repeated
// to fifteen more bits, in which the chip gives the same value lowest bit
// first (figure 5-2): so a line that nobody drives is told from a voltage.
func (d *Device) convert(input byte) (uint16, error) {
	r, err := d.chip.Tx(0x01, 0x80|input<<4, 0, 0, 0)
	if err != nil {
		return 0, err
	}
	raw := uint16(r[1]&3)<<8 | uint16(r[2])
	if r[1]&4 != 0 {
		return 0, fmt.Errorf("input %d: no answer; check power and wiring: %w", input, drivers.ErrGone)
	}
	// B0 closes the first run and opens the second: B1 to B9 follow.
	back, again := uint16(r[3])<<8|uint16(r[4]), raw&1
	for bit := 1; bit < 10; bit++ {
		again |= back >> (16 - bit) & 1 << bit
	}
	if again != raw {
		return 0, fmt.Errorf("input %d: %d and backwards %d; the line is disturbed: %w", input, raw, again, drivers.ErrProtocol)
	}
	return raw, nil
}

// Close implements drivers.Device.
func (d *Device) Close() error { return d.chip.Close() }

// Slave is a simulated MCP3008. It is safe for concurrent use.
type Slave struct {
	Inputs    [8]drivers.Drift // V; set them before use
	Reference float64          // V
}

// Simulate returns a chip with eight voltages between 0.2 and 2.5 V.
func Simulate(c Config) spi.Slave {
	s := &Slave{Reference: 3.3}
	if n, err := drivers.ParseNumber(c.Reference); err == nil {
		s.Reference = n.Float64()
	}
	for i := range s.Inputs {
		s.Inputs[i] = drivers.Drift{Base: 0.3 + 0.3*float64(i), Amplitude: 0.1, Period: 8 * time.Minute, Phase: float64(i) / 8}
	}
	return s
}

// Tx implements spi.Slave.
func (s *Slave) Tx(w, r []byte) error {
	clear(r)
	if len(w) < 3 || w[0] != 1 || w[1]&0x80 == 0 {
		return nil
	}
	x := math.Floor(s.Inputs[w[1]>>4&7].At(time.Now()) / s.Reference * 1024)
	raw := uint16(min(max(x, 0), 1023))
	r[0], r[1], r[2] = 0xff, 0xf8|byte(raw>>8), byte(raw)
	var back uint16
	for bit := 1; bit < 10; bit++ {
		back |= raw >> bit & 1 << (16 - bit)
	}
	if len(r) >= 5 {
		r[3], r[4] = byte(back>>8), byte(back)
	}
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
