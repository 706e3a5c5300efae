package bme280

import (
	"fmt"
	"math"
	"testing"

	"postern/drivers"
	"postern/drivers/i2c"
	"postern/drivers/i2c/i2ctest"
)

var config180 = BMP180Config{Bus: "sim", Address: 0x77, Oversampling: "4x"}

func TestBMP180Device(t *testing.T) {
	i2ctest.TestChip(t, 0x77, OpenBMP180, SimulateBMP180, config180, i2c.Dead, i2c.Stuck)
}

// TestBMP180WorkedExample has the data sheet's (3.5): the simulation's formulas
// give 15.0 °C and 69964 Pa for the raw values 27898 and 23843.
func TestBMP180WorkedExample(t *testing.T) {
	b := b5(27898)
	if got := temperature180(b); b != 2399 && b != 2400 || got != 150 {
		t.Errorf("B5 %d, %d tenths of a degree", b, got)
	}
	if got := pressure180(23843, b, 0); got != 69964 {
		t.Errorf("%d Pa", got)
	}
}

// TestBMP180Readings compares what periph's formulas make of the simulated raw
// values with the simulated quantities.
func TestBMP180Readings(t *testing.T) {
	for _, o := range []string{"1x", "2x", "4x", "8x"} {
		for _, c := range [][2]float64{{-20, 400}, {0, 980}, {21.5, 1013.25}, {60, 1080}} {
			s := SimulateBMP180(config180).(*Slave180)
			s.Temperature, s.Pressure = drivers.Drift{Base: c[0]}, drivers.Drift{Base: c[1]}
			d, _ := i2ctest.Open(t, 0x77, OpenBMP180, BMP180Config{Oversampling: o}, s)
			got, err := d.Read(t.Context(), nil)
			if err != nil {
				t.Fatalf("%s %v: %v", o, c, err)
			}
			temperature, _ := got[0].Value.Number()
			pressure, _ := got[1].Value.Number()
			if math.Abs(temperature.Float64()-c[0]) > 0.051 || math.Abs(pressure.Float64()-c[1]) > 0.1 {
				t.Errorf("%s: %v, want %v", o, fmt.Sprint(got[0].Value, got[1].Value), c)
			}
		}
	}
}

func TestBMP180Refuses(t *testing.T) {
	d, sim := i2ctest.Open(t, 0x77, OpenBMP180, config180, SimulateBMP280(BMP280Config{}))
	if got, err := d.Read(t.Context(), nil); err == nil {
		t.Errorf("a BMP280 is read as a BMP180: %v", got)
	}
	if _, err := OpenBMP180(t.Context(), sim, BMP180Config{Oversampling: "16x"}); err == nil {
		t.Error("16x is taken")
	}
}
