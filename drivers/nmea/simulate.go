package nmea

import (
	"fmt"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Simulate returns a receiver under a free sky at the far end of a line. It
// drifts by some metres, as real ones do that stand still.
func Simulate(Config) *serial.Sim {
	lat := drivers.Drift{Base: 7.038, Amplitude: 0.002, Period: 7 * time.Minute} // minutes of 48° N
	lon := drivers.Drift{Base: 31, Amplitude: 0.003, Period: 11 * time.Minute}   // minutes of 11° E
	alt := drivers.Drift{Base: 545, Amplitude: 3, Period: 5 * time.Minute}       // m
	return serial.NewSim(func(now time.Time) []byte {
		utc := now.UTC()
		at := fmt.Sprintf("48%07.4f,N,011%07.4f,E", lat.At(now), lon.At(now))
		gga := fmt.Sprintf("GPGGA,%s,%s,1,08,0.9,%.1f,M,46.9,M,,", utc.Format("150405"), at, alt.At(now))
		rmc := fmt.Sprintf("GPRMC,%s,A,%s,000.0,084.4,%s,,", utc.Format("150405"), at, utc.Format("020106"))
		return []byte(serial.NMEA(gga) + "\r\n" + serial.NMEA(rmc) + "\r\n")
	})
}
