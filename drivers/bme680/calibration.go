package bme680

import (
	"time"

	"postern/drivers/i2c"
)

// calibration holds the coefficients of one chip.
type calibration struct {
	t1, t2, t3                                 int64
	p1, p2, p3, p4, p5, p6, p7, p8, p9, p10    int64
	h1, h2, h3, h4, h5, h6, h7                 int64
	g1, g2, g3, heatRange, heatValue, rangeErr int64
}

// The three places of the coefficients.
const (
	regCal1, lenCal1 = 0x8a, 23
	regCal2, lenCal2 = 0xe1, 14
	regCal3, lenCal3 = 0x00, 5
)

func readCalibration(c *i2c.Chip) (*calibration, error) {
	var b [lenCal1 + lenCal2 + lenCal3]byte
	if err := c.Ask(b[:lenCal1], regCal1); err != nil {
		return nil, err
	}
	if err := c.Ask(b[lenCal1:lenCal1+lenCal2], regCal2); err != nil {
		return nil, err
	}
	if err := c.Ask(b[lenCal1+lenCal2:], regCal3); err != nil {
		return nil, err
	}
	return calibrationOf(b), nil
}

func calibrationOf(b [lenCal1 + lenCal2 + lenCal3]byte) *calibration {
	const e, x = lenCal1, lenCal1 + lenCal2 // where 0xe1 and 0x00 are
	u := func(i int) int64 { return int64(b[i]) | int64(b[i+1])<<8 }
	s := func(i int) int64 { return int64(int16(u(i))) }
	c := func(i int) int64 { return int64(int8(b[i])) }
	return &calibration{
		t1: u(e + 8), t2: s(0), t3: c(2),
		p1: u(4), p2: s(6), p3: c(8), p4: s(10), p5: s(12), p6: c(15), p7: c(14), p8: s(18), p9: s(20), p10: int64(b[22]),
		h1: int64(b[e+2])<<4 | int64(b[e+1]&15), h2: int64(b[e])<<4 | int64(b[e+1]>>4),
		h3: c(e + 3), h4: c(e + 4), h5: c(e + 5), h6: int64(b[e+6]), h7: c(e + 7),
		g1: c(e + 12), g2: s(e + 10), g3: c(e + 13),
		heatRange: int64(b[x+2] >> 4 & 3), heatValue: c(x), rangeErr: int64(int8(b[x+4]) >> 4),
	}
}

// fine is the temperature in 1/5120 °C, on which the others depend (3.3.1, the
// formulas for whole numbers; those of pressure and gas need 64 bits).
func (c *calibration) fine(raw int64) int64 {
	d := raw>>3 - c.t1<<1
	return d*c.t2>>11 + (((d>>1)*(d>>1))>>12*(c.t3<<4))>>14
}

// temperature is in 0.01 °C.
func temperature(fine int64) int64 { return (fine*5 + 128) >> 8 }

// pressure is in Pa (3.3.2), or 0 where the coefficients are no real ones.
func (c *calibration) pressure(raw, fine int64) int64 {
	t := fine>>1 - 64000
	q := (t >> 2) * (t >> 2)
	offset := ((q>>11*c.p6)>>2+(t*c.p5)<<1)>>2 + c.p4<<16
	slope := ((q>>13*(c.p3<<5))>>3 + (c.p2*t)>>1) >> 18
	slope = ((32768 + slope) * c.p1) >> 15
	if slope == 0 {
		return 0
	}
	p := ((1048576 - raw - offset>>12) * 3125) << 1 / slope
	a := (c.p9 * ((p >> 3) * (p >> 3) >> 13)) >> 12
	b := ((p >> 2) * c.p8) >> 13
	d := ((p >> 8) * (p >> 8) * (p >> 8) * c.p10) >> 17
	return p + (a+b+d+c.p7<<7)>>4
}

// humidity is in 0.001 %RH, cut to 0..100 % (3.3.3).
func (c *calibration) humidity(raw, fine int64) int64 {
	t := temperature(fine)
	d := raw - c.h1*16 - (t*c.h3/100)>>1
	f := (c.h2 * (t*c.h4/100 + ((t*(t*c.h5/100))>>6)/100 + 1<<14)) >> 10
	v := d * f
	w := (c.h6<<7 + t*c.h7/100) >> 4
	q := ((v >> 14) * (v >> 14)) >> 10
	return min(max((((v+(w*q)>>1)>>10)*1000)>>12, 0), 100000)
}

// gasFactor holds the first factor of the range, in 2^31, const_array1 of the maker's driver.
var gasFactor = [16]int64{
	2147483647, 2147483647, 2147483647, 2147483647, 2147483647, 2126008810, 2147483647, 2130303777,
	2147483647, 2147483647, 2143188679, 2136746228, 2147483647, 2126008810, 2147483647, 2147483647,
}

// gasScale is the second one, const_array2.
var gasScale = [16]int64{
	4096000000, 2048000000, 1024000000, 512000000, 255744255, 127110228, 64000000, 32258064,
	16016016, 8000000, 4000000, 2000000, 1000000, 500000, 250000, 125000,
}

// gas is the resistance in Ω (3.4.1).
func (c *calibration) gas(raw int64, scope byte) int64 {
	a := ((1340 + 5*c.rangeErr) * gasFactor[scope&15]) >> 16
	d := raw<<15 - 1<<24 + a
	if d <= 0 {
		return 0
	}
	return (gasScale[scope&15]*a>>9 + d>>1) / d
}

// heater is the register's value for a temperature of the heater in °C (3.3.5).
func (c *calibration) heater(temp, ambient int) byte {
	a := int64(ambient) * c.g3 / 1000 * 256
	b := (c.g1 + 784) * (((c.g2+154009)*int64(temp)*5/100 + 3276800) / 10)
	v := (a + b/2) / (c.heatRange + 4)
	w := 131*c.heatValue + 65536
	if w == 0 {
		return 0
	}
	return byte(min(max(((v/w-250)*34+50)/100, 0), 255))
}

// heaterTime is the register's value for a duration: 6 bits of ms and a factor
// of 4 by the others, rounded up.
func heaterTime(d time.Duration) byte {
	ms, factor := (d+time.Millisecond-1)/time.Millisecond, 0
	for ; ms > 63 && factor < 3; factor++ {
		ms = (ms + 3) / 4
	}
	return byte(factor<<6) | byte(min(ms, 63))
}
