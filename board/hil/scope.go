package hil

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// pl061 is the GPIO controller of QEMU's machine virt (ARM PrimeCell PL061): its
// register of data, unmasked, and that of directions.
const (
	pl061Data      = 0x090303fc
	pl061Direction = 0x09030400
)

// Scope looks at one line of the machine's own GPIO controller from outside, in
// the controller's registers, whatever the guest does meanwhile.
type Scope struct {
	stop, done chan struct{}
	begin      time.Time

	mu   sync.Mutex
	seen []Seen
	now  string
	err  error
}

// Seen is a change of a line: "in", "out 0" or "out 1".
type Seen struct {
	State string
	After time.Duration // since the scope was started
}

// Watch starts a scope, which ends with the test.
func (g *Guest) Watch(line int) *Scope {
	s := &Scope{stop: make(chan struct{}), done: make(chan struct{}), begin: time.Now()}
	go func() {
		defer close(s.done)
		for {
			state, err := g.lineState(line)
			s.mu.Lock()
			if err == nil && state != s.now {
				s.now = state
				s.seen = append(s.seen, Seen{state, time.Since(s.begin)})
			}
			s.err = err
			s.mu.Unlock()
			select {
			case <-s.stop:
				return
			case <-g.done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	g.tb.Cleanup(func() {
		close(s.stop)
		<-s.done
	})
	return s
}

// State is what the line does now.
func (s *Scope) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err.Error()
	}
	return s.now
}

// Mark forgets what was seen, but for what the line does now.
func (s *Scope) Mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin, s.seen = time.Now(), []Seen{{s.now, 0}}
}

// String is what was seen, in order, with the times in seconds.
func (s *Scope) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, x := range s.seen {
		out = append(out, fmt.Sprintf("%s at %.2f s", x.State, x.After.Seconds()))
	}
	return strings.Join(out, ", ")
}

// States is what was seen, in order.
func (s *Scope) States() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, x := range s.seen {
		out = append(out, x.State)
	}
	return strings.Join(out, ", ")
}

func (g *Guest) lineState(line int) (string, error) {
	direction, err := g.peek(pl061Direction)
	if err != nil {
		return "", err
	}
	data, err := g.peek(pl061Data)
	if err != nil {
		return "", err
	}
	if direction>>line&1 == 0 {
		return "in", nil
	}
	return fmt.Sprintf("out %d", data>>line&1), nil
}

// peek reads a register of the machine.
func (g *Guest) peek(addr uint32) (n uint32, err error) {
	raw, err := g.qmp.do("human-monitor-command", map[string]any{"command-line": fmt.Sprintf("xp /1wx 0x%x", addr)})
	if err != nil {
		return 0, err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return 0, err
	}
	_, value, ok := strings.Cut(text, ": ")
	if !ok {
		return 0, fmt.Errorf("hil: QEMU says %q", text)
	}
	_, err = fmt.Sscanf(strings.TrimSpace(value), "0x%x", &n)
	return n, err
}
