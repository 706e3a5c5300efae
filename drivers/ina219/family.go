package ina219

import (
	"fmt"
	"math"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// The registers that both chips have.
const (
	regConfig      = 0
	regShunt       = 1
	regBus         = 2
	regPower       = 3
	regCurrent     = 4
	regCalibration = 5
)

// channels are those of both chips.
var channels = [...]drivers.Channel{
	{Name: "voltage", Kind: drivers.KindNumber, Unit: "V", Doc: "voltage of the line"},
	{Name: "current", Kind: drivers.KindNumber, Unit: "A", Doc: "current through the shunt"},
	{Name: "power", Kind: drivers.KindNumber, Unit: "W", Doc: "power of the line"},
}

// family is what differs between the chips.
type family struct {
	name        string
	constant    float64        // in V: calibration × step of the current × shunt
	calibration float64        // the largest one
	full, least int            // the shunt register goes from −full to full; what max_current must give
	shunt       float64        // V a step of the shunt register
	shift       int            // bits below the voltage in the bus register
	bus         drivers.Number // V a step of the voltage
	power       int64          // steps of the current in one of the power
}

// scaling is what follows from shunt and largest current.
type scaling struct {
	family
	step        drivers.Number // A a step of the current register: 1, 2 or 5 × 10^n
	calibration uint16
}

// plan chooses the smallest step out of 1, 2, 5 × 10^n that reaches the largest
// current, so that currents are short decimal numbers.
func (f family) plan(address int, shunt, maxCurrent string) (scaling, error) {
	if address < 0x40 || address > 0x4f {
		return scaling{}, fmt.Errorf("address: 0x%02x is not in 0x40..0x4f", address)
	}
	ohm, err := drivers.ParseNumber(shunt)
	if err != nil || ohm.Mant <= 0 {
		return scaling{}, fmt.Errorf("shunt: %q is not a resistance in Ω above 0", shunt)
	}
	top, err := drivers.ParseNumber(maxCurrent)
	if err != nil || top.Mant <= 0 {
		return scaling{}, fmt.Errorf("max_current: %q is not a current in A above 0", maxCurrent)
	}
	if steps := ohm.Float64() * top.Float64() / f.shunt; steps > float64(f.full)+1.5 || steps < float64(f.least) {
		return scaling{}, fmt.Errorf("max_current: %s A at %s Ω are %.4g mV; the chip measures up to %.4g mV, and less than %.4g mV wastes it",
			maxCurrent, shunt, 1000*steps*f.shunt, 1000*float64(f.full)*f.shunt, 1000*float64(f.least)*f.shunt)
	}
	need := top.Float64() / 32768
	for exp := -9; exp <= 0; exp++ {
		for _, m := range []int64{1, 2, 5} {
			step := drivers.Num(m, exp)
			if step.Float64() < need {
				continue
			}
			if cal := math.Round(f.constant / (step.Float64() * ohm.Float64())); cal >= 1 && cal <= f.calibration {
				return scaling{f, step, uint16(cal)}, nil
			}
		}
	}
	return scaling{}, fmt.Errorf("max_current: %s A at %s Ω cannot be calibrated; choose a larger shunt", maxCurrent, shunt)
}

// start lets the chip measure, and waits for the first measurement.
func (s scaling) start(c *i2c.Chip, config uint16, conversion time.Duration) error {
	if err := c.Write(regCalibration, byte(s.calibration>>8), byte(s.calibration)); err != nil {
		return err
	}
	if err := c.Write(regConfig, byte(config>>8), byte(config)); err != nil {
		return err
	}
	return c.Sleep(conversion)
}

// registers reads a measurement. Without its calibration the chip would give a
// current of zero.
func (s scaling) registers(c *i2c.Chip) (w [6]uint16, err error) {
	for reg := byte(regShunt); reg <= regCalibration; reg++ {
		if w[reg], err = c.Word(reg); err != nil {
			return w, err
		}
	}
	if got := w[regCalibration]; (got^s.calibration)&^1 != 0 {
		return w, fmt.Errorf("calibration reads 0x%04x, not 0x%04x; the chip lost its power or the bus is disturbed: %w", got, s.calibration, drivers.ErrProtocol)
	}
	return w, nil
}

// samples makes quantities of the registers. A current beyond what the chip can
// measure or count leaves the voltage.
func (s scaling) samples(dst []drivers.Sample, w [6]uint16, overflow bool) []drivers.Sample {
	now := time.Now()
	for i, x := range [...]struct {
		n    int64
		step drivers.Number
	}{
		{int64(w[regBus] >> s.shift), s.bus}, {int64(int16(w[regCurrent])), s.step}, {s.power * int64(w[regPower]), s.step},
	} {
		n, err := drivers.Num(x.n, 0).Mul(x.step)
		if shunt := int(int16(w[regShunt])); i > 0 && (overflow || shunt >= s.full || shunt <= -s.full) {
			err = fmt.Errorf("%s: the current is above max_current: %w", s.name, drivers.ErrRange)
		}
		sample := drivers.Sample{Channel: channels[i].Name, Time: now, Err: err}
		if err == nil {
			sample.Value, sample.Unit = drivers.Decimal(n), channels[i].Unit
		}
		dst = append(dst, sample)
	}
	return dst
}
