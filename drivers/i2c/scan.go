package i2c

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"postern/drivers"
)

// Found is an address that acknowledges.
type Found struct {
	Addr   int
	Guess  []Guess // the likeliest first; empty when nothing known fits
	Driven bool    // a driver of the kernel has the chip; it was not touched
}

// Guess is what a chip may be.
type Guess struct {
	Kind       string // of the configuration, where there is one
	Chip       string
	Confidence int // percent: 95 with an identity register that fits, 30 by the address alone
}

// rule tells a chip by its address and, where it has one, an identity register.
type rule struct {
	kind, chip string
	lo, hi     int
	reg        []byte // what is written before reading; nil: address alone
	want, mask []byte // what is read
	check      func([]byte) bool
	n          int // octets read for check
}

// rules are facts of the data sheets. Only registers whose reading has no
// effect are used, and only at addresses where such a chip can be.
func rules() []rule {
	id := func(kind, chip string, lo, hi int, reg byte, want ...byte) rule {
		return rule{kind: kind, chip: chip, lo: lo, hi: hi, reg: []byte{reg}, want: want}
	}
	words := func(n int) func([]byte) bool {
		return func(b []byte) bool { _, err := CheckedWords(b, n); return err == nil && b[0]|b[1] != 0 }
	}
	word := func(b []byte) bool { _, err := CheckedWords(b, 1); return err == nil }
	return []rule{
		id("bme280", "BME280", 0x76, 0x77, 0xd0, 0x60),
		id("bmp280", "BMP280", 0x76, 0x77, 0xd0, 0x58),
		id("bmp180", "BMP180", 0x77, 0x77, 0xd0, 0x55),
		id("bme680", "BME680 or BME688", 0x76, 0x77, 0xd0, 0x61),
		id("bmp388", "BMP388", 0x76, 0x77, 0x00, 0x50),
		id("bmp388", "BMP390", 0x76, 0x77, 0x00, 0x60),
		id("mcp9808", "MCP9808", 0x18, 0x1f, 0x06, 0x00, 0x54),
		// An HDC302x has the same commands; that by which it names its maker would
		// be a duty to a PCA9685.
		{kind: "sht3x", chip: "SHT3x or HDC302x", lo: 0x44, hi: 0x45, reg: []byte{0xf3, 0x2d}, n: 3, check: word},
		{kind: "hdc302x", chip: "HDC302x", lo: 0x46, hi: 0x47, reg: []byte{0xf3, 0x2d}, n: 3, check: word},
		{kind: "sht4x", chip: "SHT4x", lo: 0x44, hi: 0x46, reg: []byte{0x89}, n: 6, check: words(2)},
		{kind: "tmp102", chip: "TMP102", lo: 0x48, hi: 0x4b, reg: []byte{0x01}, want: []byte{0x60, 0xa0}, mask: []byte{0x60, 0x0f}},
		{kind: "tmp117", chip: "TMP117", lo: 0x48, hi: 0x4b, reg: []byte{0x0f}, want: []byte{0x01, 0x17}, mask: []byte{0x0f, 0xff}},
		{kind: "ads1115", chip: "ADS1115", lo: 0x48, hi: 0x4b, reg: []byte{0x01}, want: []byte{0x85, 0x83}},
		{kind: "ina219", chip: "INA219", lo: 0x40, hi: 0x4f, reg: []byte{0x00}, want: []byte{0x39, 0x9f}},
		id("ina226", "INA226", 0x40, 0x4f, 0xfe, 0x54, 0x49),
		{kind: "aht20", chip: "AHT20", lo: 0x38, hi: 0x38},
		{kind: "bh1750", chip: "BH1750 light sensor", lo: 0x23, hi: 0x23},
		{kind: "expander", chip: "PCF8574, MCP23017 or other port expander", lo: 0x20, hi: 0x27},
		{kind: "expander", chip: "PCF8574A or other port expander", lo: 0x38, hi: 0x3f},
		{kind: "pca9685", chip: "PCA9685 with sixteen PWM outputs", lo: 0x40, hi: 0x41},
		{kind: "ds3231", chip: "DS3231 or other clock", lo: 0x68, hi: 0x68},
		{kind: "scd30", chip: "SCD30", lo: 0x61, hi: 0x61, reg: []byte{0xd1, 0x00}, n: 3, check: words(1)},
		{kind: "sps30", chip: "SPS30", lo: 0x69, hi: 0x69, reg: []byte{0xd1, 0x00}, n: 3, check: words(1)},
		{kind: "scd4x", chip: "SCD4x carbon dioxide sensor", lo: 0x62, hi: 0x62},
		{chip: "SGP30 air quality sensor", lo: 0x58, hi: 0x58},
		{chip: "SSD1306 display", lo: 0x3c, hi: 0x3d},
		{chip: "EEPROM", lo: 0x50, hi: 0x57},
	}
}

// The range of 7-bit addresses that chips may have; the others are reserved.
const (
	firstAddr = 0x08
	lastAddr  = 0x77
)

// ScanOptions say what Scan may do. The zero value is safe.
type ScanOptions struct {
	// Driven tells addresses that a driver of the kernel has: they are left
	// alone.
	Driven func(addr int) bool
	// Progress is called before each address.
	Progress func(addr int)
	// Deep also asks chips at 0x48 to 0x4f and 0x60 to 0x67 for their identity.
	// There a PCF8591 or a MCP4725 may take the register number for a command
	// that moves its analogue output, so that this is for buses without one.
	Deep bool
}

// asks tells whether a chip at addr may be asked for its identity, which is
// done by writing a register number. Ports that take any octet for their
// outputs are at 0x20 to 0x27 and 0x38 to 0x3f, where no rule asks.
func (o ScanOptions) asks(addr int) bool {
	return o.Deep || addr&^7 != 0x48 && addr&^7 != 0x60
}

// Scan asks every address for one octet and what answers for its identity.
// Nothing is written but register numbers that have no effect on the chips that
// are known to live there.
func Scan(ctx context.Context, bus Bus, o ScanOptions) ([]Found, error) {
	var found []Found
	for addr := firstAddr; addr <= lastAddr; addr++ {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		if o.Progress != nil {
			o.Progress(addr)
		}
		if o.Driven != nil && o.Driven(addr) {
			found = append(found, Found{Addr: addr, Driven: true})
			continue
		}
		chip := NewChip(bus, uint16(addr))
		var first [1]byte
		err := chip.Do(ctx, func() error { return chip.Ask(first[:]) })
		known := slices.ContainsFunc(rules(), func(r rule) bool { return addr >= r.lo && addr <= r.hi })
		switch {
		case ctx.Err() != nil:
			return found, context.Cause(ctx)
		case err == nil:
		case errors.Is(err, drivers.ErrTimeout):
			return found, fmt.Errorf("i2c: scan of %s: a line is held low, nothing can be found: %w", bus, err)
		case !errors.Is(err, drivers.ErrGone):
			return found, fmt.Errorf("i2c: scan of %s: %w", bus, err)
		case !known:
			continue
		}
		// Some chips, as Sensirion's, do not acknowledge a read before a
		// command; for these the identity decides.
		guess, there := identify(ctx, chip, addr, o.asks(addr))
		if err == nil && !there && addr >= 0x70 {
			guess = append(unswitch(ctx, chip, first[0]), guess...)
		}
		if err == nil || there {
			found = append(found, Found{Addr: addr, Guess: guess})
		}
	}
	return found, nil
}

// identify tries the rules of an address; there is true when one with an
// identity fits.
func identify(ctx context.Context, chip *Chip, addr int, ask bool) (guess []Guess, there bool) {
	for _, r := range rules() {
		if addr < r.lo || addr > r.hi {
			continue
		}
		if r.reg == nil || !ask {
			guess = append(guess, Guess{r.kind, r.chip, 30})
			continue
		}
		if r.fits(ctx, chip) {
			there = true
			guess = append(guess, Guess{r.kind, r.chip, 95})
		}
	}
	sort.SliceStable(guess, func(i, j int) bool { return guess[i].Confidence > guess[j].Confidence })
	if there { // an identity that fits makes guesses by the address idle
		guess = slices.DeleteFunc(guess, func(g Guess) bool { return g.Confidence < 50 })
	}
	return guess, there
}

// unswitch puts a multiplexer of the PCA954x family (0x70 to 0x77) back: it
// takes the register numbers of the rules for its channels, and reads back what
// it took.
func unswitch(ctx context.Context, chip *Chip, before byte) []Guess {
	var now [1]byte
	err := chip.Do(ctx, func() error {
		if err := chip.Ask(now[:]); err != nil || now[0] == before {
			return err
		}
		return chip.Write(before)
	})
	if err != nil || now[0] == before {
		return nil
	}
	return []Guess{{"", "PCA9548 or other I2C multiplexer", 60}}
}

func (r rule) fits(ctx context.Context, chip *Chip) bool {
	b := make([]byte, max(len(r.want), r.n))
	err := chip.Do(ctx, func() error {
		if r.check == nil {
			return chip.Ask(b, r.reg...)
		}
		if err := chip.Write(r.reg...); err != nil {
			return err
		}
		if err := chip.Sleep(pollInterval); err != nil {
			return err
		}
		return chip.Ask(b)
	})
	if err != nil {
		return false
	}
	if r.check != nil {
		return r.check(b)
	}
	for i, w := range r.want {
		m := byte(0xff)
		if r.mask != nil {
			m = r.mask[i]
		}
		if b[i]&m != w&m {
			return false
		}
	}
	return true
}
