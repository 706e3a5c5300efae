package gpio

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"postern/drivers"
)

// Move is a change of a simulated output's level, or its first level.
type Move struct {
	Time  time.Time
	Level Level
}

// maxMoves bounds the history of a SimLine; older moves are forgotten.
const maxMoves = 1000

// SimLine is a simulated line. Its outside is Drive, Driven, History and Fail;
// its inside is Line. It is safe for concurrent use.
type SimLine struct {
	name string

	mu      sync.Mutex
	output  bool
	level   Level // of the output
	shorted bool  // the outside wins against the output
	moves   []Move
	outside Level // what the outside drives
	failed  error
	closed  bool
	changed chan struct{} // closed and replaced at every change

	// Input with debouncing: outside was settled until since, then changed.
	debounce time.Duration
	settled  Level
	since    time.Time
	edges    Edges
	unseen   bool // there was an edge since the last call of Edges
}

// NewSimLine returns a line that the outside holds low and that nobody has
// made an input or output yet.
func NewSimLine(name string) *SimLine {
	return &SimLine{name: name, changed: make(chan struct{})}
}

// Drive moves the line from outside, as a contact would.
func (s *SimLine) Drive(l Level) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if l != s.outside {
		s.outside, s.since = l, time.Now()
	}
	s.settle()
	s.wake()
}

// Driven tells what the line is at, seen from outside, and whether it is an
// output.
func (s *SimLine) Driven() (level Level, output bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.actual(), s.output
}

// History returns the moves of the output, oldest first.
func (s *SimLine) History() []Move {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.moves)
}

// Short lets the outside win against the output, as a short circuit does.
func (s *SimLine) Short(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shorted = on
}

// Fail takes the chip away: calls return err until Fail(nil), and then the
// line must be made an input or output again.
func (s *SimLine) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err; err != nil {
		s.output = false
	}
	s.wake()
}

func (s *SimLine) actual() Level {
	if s.output && !s.shorted {
		return s.level
	}
	return s.outside
}

// settle takes over a level that was stable for long enough.
func (s *SimLine) settle() {
	if s.outside == s.settled || time.Since(s.since) < s.debounce {
		return
	}
	s.settled = s.outside
	s.edges.add(1, bool(s.settled), s.since.Add(s.debounce))
	s.unseen = true
}

func (s *SimLine) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *SimLine) usable() error {
	switch {
	case s.closed:
		return drivers.ErrClosed
	case s.failed != nil:
		return fmt.Errorf("gpio: %s: %w", s.name, s.failed)
	}
	return nil
}

// Input implements Line.
func (s *SimLine) Input(o InputOptions) error {
	if _, ok := biases[o.Bias]; !ok {
		return fmt.Errorf("gpio: bias %q is unknown", o.Bias)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.output, s.debounce, s.settled = false, o.Debounce, s.outside
	s.edges, s.unseen = Edges{}, false
	return nil
}

// Output implements Line.
func (s *SimLine) Output(drive string, l Level) error {
	if _, ok := drives[drive]; !ok {
		return fmt.Errorf("gpio: drive %q is unknown", drive)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.output || s.level != l {
		s.move(l)
	}
	s.output = true
	return nil
}

func (s *SimLine) move(l Level) {
	if len(s.moves) == maxMoves {
		s.moves = slices.Delete(s.moves, 0, 1)
	}
	s.moves = append(s.moves, Move{time.Now(), l})
	s.level = l
	s.wake()
}

// Out implements periph's gpio.PinOut.
func (s *SimLine) Out(l Level) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.output || s.level != l {
		s.move(l)
	}
	s.output = true
	return nil
}

// Level implements Line.
func (s *SimLine) Level() (Level, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return Low, err
	}
	if s.output {
		return s.actual(), nil
	}
	s.settle()
	return s.settled, nil
}

// Edges implements Line.
func (s *SimLine) Edges() (Edges, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return Edges{}, err
	}
	s.settle()
	s.unseen = false
	return s.edges, nil
}

// Wait implements Line.
func (s *SimLine) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		s.settle()
		err, unseen, changed := s.usable(), s.unseen, s.changed
		var timer <-chan time.Time
		if s.outside != s.settled {
			timer = time.After(s.debounce - time.Since(s.since))
		}
		s.mu.Unlock()
		if err != nil || unseen {
			return err
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close implements Line. It may be opened again by Reopen.
func (s *SimLine) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.output = true, false
	s.wake()
	return nil
}

// Reopen makes a closed line usable again, as opening it anew does with a real
// one; its history goes on.
func (s *SimLine) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
}

// The rest of periph's gpio.PinIO.

func (s *SimLine) String() string   { return s.name }
func (s *SimLine) Name() string     { return s.name }
func (s *SimLine) Number() int      { return 0 }
func (s *SimLine) Function() string { return "GPIO" }
func (s *SimLine) Halt() error      { return nil }

func (s *SimLine) In(pull gpio.Pull, _ gpio.Edge) error {
	return s.Input(InputOptions{Bias: pullBias(pull)})
}

func (s *SimLine) Read() gpio.Level {
	v, _ := s.Level() // periph's interface has no place for the error
	return v
}

func (s *SimLine) WaitForEdge(timeout time.Duration) bool { return waitForEdge(s, timeout) }
func (s *SimLine) Pull() gpio.Pull                        { return gpio.PullNoChange }
func (s *SimLine) DefaultPull() gpio.Pull                 { return gpio.PullNoChange }
func (s *SimLine) PWM(gpio.Duty, physic.Frequency) error  { return errPWM }

var _ Line = (*SimLine)(nil)
