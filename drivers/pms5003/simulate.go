package pms5003

import (
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Simulate returns a sensor in a city's air at the far end of a line.
func Simulate(Config) *serial.Sim {
	pm25 := drivers.Drift{Base: 9, Amplitude: 4, Period: 3 * time.Hour, Phase: 0.8} // µg/m³
	s := serial.NewSim(func(now time.Time) []byte { return frameOf(pm25.At(now)) })
	s.Period = 800 * time.Millisecond
	return s
}

// frameOf is the frame of a sensor that measures pm up to 2.5 µm; the other
// quantities follow from it.
func frameOf(pm float64) []byte {
	f := append(make([]byte, 0, frameSize), head...)
	for _, share := range [...]float64{0.7, 1, 1.1, 0.7, 1, 1.1, 180, 50, 9, 1, 0.4, 0.1, 0} {
		v := uint16(min(max(pm*share+0.5, 0), 65535))
		f = append(f, byte(v>>8), byte(v))
	}
	c := sum(f)
	return append(f, byte(c>>8), byte(c))
}
