// Package gpio is about single lines: those of the kernel's GPIO character
// device, simulated ones, and the devices made of one line, contact and relay.
// Its seam is periph's gpio.PinIO, widened by what a gateway needs besides:
// errors of reads, levels from the first moment on, and counted edges.
package gpio

import (
	"context"
	"errors"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// Level is periph's: false is low, true is high. Levels are physical here;
// active-low is a matter of the devices.
type Level = gpio.Level

// Low and High are the levels.
const (
	Low  = gpio.Low
	High = gpio.High
)

// Line is one GPIO line. Implementations are safe for concurrent use.
type Line interface {
	gpio.PinIO
	// Input makes the line an input and starts counting edges at zero.
	Input(InputOptions) error
	// Output makes the line an output that is at level from the first moment
	// on. drive is push-pull, open-drain or open-source.
	Output(drive string, level Level) error
	// Level reads the line, input or output.
	Level() (Level, error)
	// Edges tells what happened since Input. It does not wait.
	Edges() (Edges, error)
	// Wait returns when there was an edge since the last call of Edges, or
	// with the error of ctx.
	Wait(ctx context.Context) error
	// Close gives the line back to the kernel. An output keeps its level on
	// most chips, some let go of the line.
	Close() error
}

// InputOptions are how an input is set up.
type InputOptions struct {
	Bias     string        // as-is, pull-up, pull-down, disabled
	Debounce time.Duration // how long a level must be stable to count
}

// Edges counts the edges of an input. Edges that came faster than they could
// be kept one by one are counted all the same.
type Edges struct {
	Rising, Falling uint64
	Last            time.Time // of the latest edge; zero before the first
}

// add counts n edges of which the last one was rising or falling; edges
// alternate, so the ones before it are known, too.
func (e *Edges) add(n uint64, rising bool, at time.Time) {
	same, other := (n+1)/2, n/2
	if rising {
		e.Rising, e.Falling = e.Rising+same, e.Falling+other
	} else {
		e.Rising, e.Falling = e.Rising+other, e.Falling+same
	}
	e.Last = at
}

// errPWM: what periph's interface asks for and lines do not have.
var errPWM = errors.New("gpio: a GPIO line has no PWM; use the board's PWM channels")
