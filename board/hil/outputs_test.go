package hil

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"postern/board/hil/agent"
	"postern/drivers/expander"
	"postern/drivers/i2c"
	"postern/drivers/pca9685"
)

// expanders are the kernel's names of the simulated chips, by address.
var expanders = map[uint16]struct{ chip, device, label string }{
	0x20: {"tca9555", "pca9555", "0-0020"},
	0x21: {"tca9554", "pca9554", "0-0021"},
	0x22: {"mcp23017", "mcp23017", "mcp23017"},
	0x24: {"pcf8574", "pcf8574", "pcf8574"},
}

const pwmAddress = 0x41

// outputChips are those with outputs, which the kernel's drivers are let loose
// on.
func outputChips() map[uint16]i2c.Slave {
	out := map[uint16]i2c.Slave{pwmAddress: pca9685.Simulate(pca9685.Config{})}
	for addr, x := range expanders {
		out[addr] = expander.Simulate(expander.Config{Chip: x.chip})
	}
	return out
}

// kernelOutputs sets lines and duties by the kernel's own drivers and looks at
// what the simulated chips make of it: they have the registers that the chips
// have, and not only those that our drivers think they have.
func kernelOutputs(t *testing.T, g *Guest, chips map[uint16]i2c.Slave) {
	for addr, x := range expanders {
		g.Write("/sys/bus/i2c/devices/i2c-0/new_device", fmt.Sprintf("%s 0x%02x", x.device, addr))
		base := gpioBase(t, g, x.label)
		s := chips[addr].(*expander.Slave)
		for _, c := range []struct {
			line  int
			level string
		}{{0, "high"}, {3, "low"}, {7, "high"}, {7, "low"}} {
			line := fmt.Sprintf("/sys/class/gpio/gpio%d", base+c.line)
			if _, err := g.ask(agent.Request{Op: "read", Path: line + "/direction"}, time.Second*5); err != nil {
				g.Write("/sys/class/gpio/export", fmt.Sprint(base+c.line))
			}
			g.Write(line+"/direction", c.level)
			driven, levels := s.Driven()
			quasi := x.chip == "pcf8574" && c.level == "high" // high is not driven there
			if high := levels>>c.line&1 == 1; high != (c.level == "high") || driven>>c.line&1 == 0 && !quasi {
				t.Errorf("%s: line %d put %s: driven %b, levels %b", x.chip, c.line, c.level, driven, levels)
			}
		}
		g.Write("/sys/class/gpio/export", fmt.Sprint(base+5))
		for _, levels := range []uint16{0xffff, 0xffdf, 0xffff} {
			s.Feed(levels)
			want := fmt.Sprint(levels >> 5 & 1)
			if got := strings.TrimSpace(g.Read(fmt.Sprintf("/sys/class/gpio/gpio%d/value", base+5))); got != want {
				t.Errorf("%s: the input reads %s, want %s", x.chip, got, want)
			}
		}
	}
	pwm := chips[pwmAddress].(*pca9685.Slave)
	g.Write("/sys/bus/i2c/devices/i2c-0/new_device", fmt.Sprintf("pca9685 0x%02x", pwmAddress))
	g.Write("/sys/class/pwm/pwmchip0/export", "3")
	g.Write("/sys/class/pwm/pwmchip0/pwm3/period", "1000000")
	g.Write("/sys/class/pwm/pwmchip0/pwm3/duty_cycle", "250000")
	g.Write("/sys/class/pwm/pwmchip0/pwm3/enable", "1")
	if got := pwm.Duties(); math.Abs(float64(got[3]-1024)) > 1 || got[4] != 0 || math.Abs(pwm.Frequency()-1000) > 30 {
		t.Errorf("a quarter of 1 ms: %v of 4096 at %.0f Hz", got, pwm.Frequency())
	}
}

// gpioBase returns the number of the first line of the chip with that label.
func gpioBase(t *testing.T, g *Guest, label string) int {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		for base := 508; base > 380; base -= 4 {
			a, err := g.ask(agent.Request{Op: "read", Path: fmt.Sprintf("/sys/class/gpio/gpiochip%d/label", base)}, 5*time.Second)
			if err == nil && strings.TrimSpace(a.Text) == label {
				return base
			}
		}
	}
	t.Fatalf("the kernel has no GPIO chip %s\n%s", label, g.log.tail(20))
	return 0
}
