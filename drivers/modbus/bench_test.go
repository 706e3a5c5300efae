package modbus_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
)

// theory is how long a read of n registers takes on a perfect line: request and
// answer at 11 bits an octet, two silences, and the unit's delay.
func theory(baud, n int, delay time.Duration) time.Duration {
	char := 11 * time.Second / time.Duration(baud)
	silence := char * 7 / 2
	if baud > 19200 {
		silence = 1750 * time.Microsecond
	}
	return time.Duration(8+5+2*n)*char + 2*silence + delay
}

// BenchmarkLine reads ten registers from a slave that is paced like a line and
// gives the share of the theory that is reached: floors are 95 % at 9,600 and
// 19,200 Bd, 85 % at 115,200.
func BenchmarkLine(b *testing.B) {
	for _, baud := range []int{9600, 19200, 115200} {
		b.Run(fmt.Sprint(baud), func(b *testing.B) {
			const delay = 5 * time.Millisecond
			m := modbus.NewImage()
			m.SetRegisters(modbus.Holdings, 0, make([]uint16, 10)...)
			s := slave.New(map[byte]*modbus.Image{1: m})
			s.Baud, s.Delay = baud, delay
			c := onPTY(b, s, func(c *modbus.BusConfig) { c.Serial.Baud = baud; c.Timeout = time.Second })
			for b.Loop() {
				if _, err := c.ReadRegisters(b.Context(), 1, modbus.Holdings, 0, 10); err != nil {
					b.Fatal(err)
				}
			}
			per := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(100*float64(theory(baud, 10, delay))/float64(per), "%theory")
		})
	}
}

// TestLineEfficiency holds the floors where the machine is quiet: set
// POSTERN_BENCH=1.
func TestLineEfficiency(t *testing.T) {
	if os.Getenv("POSTERN_BENCH") != "1" {
		t.Skip("timing on a busy machine says nothing; set POSTERN_BENCH=1")
	}
	for baud, floor := range map[int]float64{9600: 0.95, 19200: 0.95, 115200: 0.85} {
		const delay = 5 * time.Millisecond
		m := modbus.NewImage()
		m.SetRegisters(modbus.Holdings, 0, make([]uint16, 10)...)
		s := slave.New(map[byte]*modbus.Image{1: m})
		s.Baud, s.Delay = baud, delay
		c := onPTY(t, s, func(c *modbus.BusConfig) { c.Serial.Baud = baud; c.Timeout = time.Second })
		const n = 100
		start := time.Now()
		for range n {
			if _, err := c.ReadRegisters(t.Context(), 1, modbus.Holdings, 0, 10); err != nil {
				t.Fatal(err)
			}
		}
		got := float64(theory(baud, 10, delay)) / float64(time.Since(start)/n)
		t.Logf("%d Bd: %.1f %% of the theory", baud, 100*got)
		if got < floor {
			t.Errorf("%d Bd: %.1f %%, the floor is %.0f %%", baud, 100*got, 100*floor)
		}
	}
}
