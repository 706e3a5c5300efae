// Package bme680 reads Bosch's BME680 (temperature, humidity, air pressure, gas
// resistance) over I2C. Formulas: Bosch's public BME68x driver; checked with
// a sold chip's calibration and results, and with the driver of Linux 6.1.
package bme680

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/i2c"
)

// Config is the configuration of one BME680.
type Config struct {
	Bus         string        `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address     int           `yaml:"address" default:"0x76" min:"0x76" max:"0x77" doc:"I2C address: 0x76 with SDO low, 0x77 with SDO high"`
	HeaterTemp  int           `yaml:"heater" default:"320" min:"0" max:"400" doc:"temperature of the gas sensor's heater in °C, from 200; 0: no gas resistance, and less warmth"`
	HeaterTime  time.Duration `yaml:"heat_for" default:"150ms" min:"1ms" max:"1s" doc:"how long the heater is on before the gas resistance is measured"`
	Temperature int           `yaml:"ambient" default:"25" min:"-40" max:"85" doc:"usual temperature of the place in °C, for the heater's power"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	switch {
	case c.Address != 0x76 && c.Address != 0x77:
		return fmt.Errorf("address: 0x%02x is neither 0x76 nor 0x77", c.Address)
	case c.HeaterTemp != 0 && (c.HeaterTemp < 200 || c.HeaterTemp > 400):
		return fmt.Errorf("heater: %d is neither 0 nor 200 to 400 °C", c.HeaterTemp)
	case c.HeaterTime < time.Millisecond || c.HeaterTime > time.Second:
		return fmt.Errorf("heat_for: %v is not 1 ms to 1 s", c.HeaterTime)
	case c.Temperature < -40 || c.Temperature > 85:
		return fmt.Errorf("ambient: %d is not -40 to 85 °C", c.Temperature)
	}
	return nil
}

// Registers (5.2).
const (
	regData    = 0x1d // status, then from 0x1f pressure, temperature, humidity, at 0x2a gas
	regHeat0   = 0x5a
	regWait0   = 0x64
	regCtrlOff = 0x70 // bit 3 keeps the heater off
	regCtrlGas = 0x71
	regCtrlHum = 0x72
	regCtrl    = 0x74
	regFilter  = 0x75
	regID      = 0xd0
	regReset   = 0xe0
	regVariant = 0xf0

	idBME680  = 0x61
	resetWord = 0xb6
	newData   = 0x80
	runGas    = 0x10
	gasValid  = 0x20
	heatFirm  = 0x10
	once      = 0x01

	osrHum  = 2 // 2x
	osrCtrl = 4<<5 | 3<<2
)

// conversion is what 8x temperature, 4x pressure, 2x humidity and the gas
// resistance take at most, without heating.
const conversion = (8+4+2)*1963*time.Microsecond + 9*477*time.Microsecond + time.Millisecond

// ErrHeater: the heater did not reach its temperature.
var ErrHeater = errors.New("the heater did not reach its temperature; heat longer (heat_for) or less (heater)")

// Open returns the chip. Whether it is there shows when it is read.
func Open(ctx context.Context, bus i2c.Bus, cfg Config) (*i2c.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bme680: %w", err)
	}
	channels := []drivers.Channel{
		{Name: "temperature", Kind: drivers.KindNumber, Unit: "°C", Doc: "air temperature at the chip, which its heater warms a little"},
		{Name: "humidity", Kind: drivers.KindNumber, Unit: "%RH", Doc: "relative humidity"},
		{Name: "pressure", Kind: drivers.KindNumber, Unit: "hPa", Doc: "air pressure at the place, not reduced to sea level"},
		{Name: "gas", Kind: drivers.KindNumber, Unit: "Ω", Doc: "resistance of the gas sensor; it falls with organic vapours in the air"},
	}
	if cfg.HeaterTemp == 0 {
		channels = channels[:3]
	}
	return i2c.NewSensor("bme680", bus, cfg.Address, channels,
		func(c *i2c.Chip) (i2c.Measure, error) { return setUp(c, cfg) }), nil
}

func setUp(c *i2c.Chip, cfg Config) (i2c.Measure, error) {
	var id, variant [1]byte
	if err := c.Ask(id[:], regID); err != nil {
		return nil, err
	}
	if err := c.Ask(variant[:], regVariant); err != nil {
		return nil, err
	}
	switch {
	case id[0] != idBME680:
		return nil, fmt.Errorf("the chip at 0x%02x has identity 0x%02x and is no BME680: %w", cfg.Address, id[0], drivers.ErrProtocol)
	case variant[0] == 1:
		return nil, fmt.Errorf("the chip at 0x%02x is a BME688, whose gas sensor is another one: %w", cfg.Address, drivers.ErrProtocol)
	}
	cal, err := readCalibration(c)
	if err != nil {
		return nil, err
	}
	return func(dst []drivers.Sample) ([]drivers.Sample, error) {
		b, err := measure(c, cal, cfg)
		if err != nil {
			return dst, err
		}
		return cal.samples(dst, b, cfg.HeaterTemp != 0)
	}, nil
}

// measure writes all settings, so that neither a chip that lost its power nor
// one that a program before left with a filter does harm, starts one measurement and returns the registers from regData on.
func measure(c *i2c.Chip, cal *calibration, cfg Config) (b [15]byte, err error) {
	gas, wait := byte(0), conversion
	if cfg.HeaterTemp != 0 {
		gas, wait = runGas, conversion+cfg.HeaterTime*11/10
	}
	settings := []byte{
		regCtrlHum, osrHum, regFilter, 0, regCtrlOff, 0, regCtrlGas, gas,
		regHeat0, cal.heater(cfg.HeaterTemp, cfg.Temperature), regWait0, heaterTime(cfg.HeaterTime),
		regCtrl, osrCtrl | once,
	}
	for i := 0; i < len(settings); i += 2 {
		if err := c.Write(settings[i], settings[i+1]); err != nil {
			return b, err
		}
	}
	if err := c.Sleep(wait); err != nil {
		return b, err
	}
	for try := 0; ; try++ {
		if err := c.Ask(b[:], regData); err != nil {
			return b, err
		}
		if b[0]&newData != 0 {
			break
		}
		if try == 30 {
			return b, fmt.Errorf("the measurement does not end: %w", drivers.ErrTimeout)
		}
		if err := c.Sleep(3 * time.Millisecond); err != nil {
			return b, err
		}
	}
	// Disturbed octets on the bus show in registers that are known.
	var ctrl [4]byte
	if err := c.Ask(ctrl[:], regCtrlGas); err != nil {
		return b, err
	}
	if ctrl[0] != gas || ctrl[1] != osrHum || ctrl[3] != osrCtrl {
		return b, fmt.Errorf("control registers read % x; the chip lost its power or the bus is disturbed: %w", ctrl, drivers.ErrProtocol)
	}
	return b, nil
}

// samples makes quantities of the registers. A gas resistance that is not good
// leaves the others.
func (c *calibration) samples(dst []drivers.Sample, b [15]byte, gas bool) ([]drivers.Sample, error) {
	raw20 := func(i int) int64 { return int64(b[i])<<12 | int64(b[i+1])<<4 | int64(b[i+2])>>4 }
	fine := c.fine(raw20(5))
	t, p, h := temperature(fine), c.pressure(raw20(2), fine), c.humidity(int64(b[8])<<8|int64(b[9]), fine)
	// The chip measures −40..85 °C and 300..1100 hPa (tables 2 and 4).
	if t < -4500 || t > 9000 || p < 25000 || p > 120000 {
		return dst, fmt.Errorf("reading %d.%02d °C, %d Pa is outside of what a BME680 can measure: %w", t/100, max(t, -t)%100, p, drivers.ErrProtocol)
	}
	now := time.Now()
	out := append(dst,
		drivers.Sample{Channel: "temperature", Value: drivers.Decimal(drivers.Num(t, -2)), Unit: "°C", Time: now},
		drivers.Sample{Channel: "humidity", Value: drivers.Decimal(drivers.Num((h+5)/10, -2)), Unit: "%RH", Time: now},
		drivers.Sample{Channel: "pressure", Value: drivers.Decimal(drivers.Num(p, -2)), Unit: "hPa", Time: now},
	)
	if !gas {
		return out, nil
	}
	s := drivers.Sample{Channel: "gas", Time: now}
	if status := b[14]; status&gasValid == 0 || status&heatFirm == 0 {
		s.Err = fmt.Errorf("bme680: gas: %w", ErrHeater)
	} else {
		r := c.gas(int64(b[13])<<2|int64(status>>6), status&15)
		s.Value, s.Unit = drivers.Decimal(drivers.Num(r, 0)), "Ω"
	}
	return append(out, s), nil
}
