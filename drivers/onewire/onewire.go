// Package onewire reaches the chips of the kernel's 1-Wire bus (w1) and
// simulates one. The seam is the scratchpad: the nine octets that a thermometer
// gives after a conversion, with their checksum.
package onewire

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/drivers"
)

// Bus gives scratchpads. It is safe for concurrent use.
type Bus interface {
	// Measure lets the chip convert and returns its scratchpad. It takes up to
	// 750 ms, and drivers.ErrGone says that the chip is not there. The kernel
	// does not let it be broken off.
	Measure(id string) ([]byte, error)
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{12}$`)

// CheckID checks the kernel's name of a chip: family, hyphen, serial number.
func CheckID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("%q is not a 1-Wire id such as 28-0316a2795aff; postern scan onewire lists them", id)
	}
	return nil
}

// Kernel is the kernel's bus below root, the file system's root. All masters
// share their chips' names.
type Kernel struct{ Root fs.FS }

const devices = "sys/bus/w1/devices"

// List returns the ids of the chips that the kernel has found, of all families.
func (k Kernel) List() ([]string, error) {
	entries, err := fs.ReadDir(k.Root, devices)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("onewire: the kernel has no 1-Wire bus; enable it (on a Raspberry Pi dtoverlay=w1-gpio): %w", drivers.ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("onewire: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if idPattern.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Measure implements Bus.
func (k Kernel) Measure(id string) ([]byte, error) {
	if err := CheckID(id); err != nil {
		return nil, fmt.Errorf("onewire: %w", err)
	}
	b, err := fs.ReadFile(k.Root, path.Join(devices, id, "w1_slave"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, listErr := k.List(); listErr != nil {
			return nil, listErr
		}
		return nil, fmt.Errorf("onewire: %s is not on the bus; check its wiring and pull-up: %w", id, drivers.ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("onewire: read %s: %w: %w", id, err, drivers.ErrGone)
	}
	return parse(id, b)
}

// parse takes the octets of the first line, for example
//
//	72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
func parse(id string, b []byte) ([]byte, error) {
	line, _, _ := strings.Cut(string(b), "\n")
	octets, verdict, _ := strings.Cut(line, ":")
	pad, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
	if err != nil || len(pad) != 9 || !strings.Contains(verdict, "YES") {
		return nil, fmt.Errorf("onewire: %s answers %q: %w", id, strings.TrimSpace(line), drivers.ErrProtocol)
	}
	return pad, nil
}

// CRC8 is the checksum of the 1-Wire bus (Maxim application note 27); over
// octets with their checksum it is zero.
func CRC8(b []byte) byte {
	c := byte(0)
	for _, x := range b {
		for range 8 {
			mix := (c ^ x) & 1
			if c >>= 1; mix != 0 {
				c ^= 0x8c
			}
			x >>= 1
		}
	}
	return c
}

// Fault is what a simulated chip does wrong.
type Fault uint8

// The faults. They last until another one is set.
const (
	Healthy  Fault = iota
	Dead           // not on the bus
	Shorted        // all octets are zero, whose checksum is right
	Noise          // a wrong checksum
	BrownOut       // holds the 85 °C of power-on
	Late           // takes two seconds
)

// Sim is a simulated bus with thermometers. It is safe for concurrent use.
type Sim struct {
	mu    sync.Mutex
	chips map[string]*simChip
}

type simChip struct {
	temperature drivers.Drift
	fault       Fault
}

// NewSim returns an empty bus.
func NewSim() *Sim { return &Sim{chips: map[string]*simChip{}} }

// Attach puts a DS18B20 with that temperature in °C on the bus.
func (s *Sim) Attach(id string, temperature drivers.Drift) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chips[id] = &simChip{temperature: temperature}
}

// SetFault makes a chip misbehave. It panics when there is no such chip.
func (s *Sim) SetFault(id string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chips[id].fault = f
}

// Measure implements Bus.
func (s *Sim) Measure(id string) ([]byte, error) {
	s.mu.Lock()
	c, ok := s.chips[id]
	fault := Dead
	if ok {
		fault = c.fault
	}
	s.mu.Unlock()
	raw := 0x0550 // 85 °C
	pad := []byte{0, 0, 0x4b, 0x46, 0x7f, 0xff, 0x0c, 0x10, 0}
	switch fault {
	case Dead:
		return nil, fmt.Errorf("onewire: %s is not on the bus: %w", id, drivers.ErrGone)
	case Shorted:
		return make([]byte, 9), nil
	case Late:
		time.Sleep(2 * time.Second)
	}
	if fault != BrownOut {
		raw, pad[6] = int(c.temperature.At(time.Now())*16), 0x10
	}
	pad[0], pad[1] = byte(raw), byte(raw>>8)
	if pad[8] = CRC8(pad[:8]); fault == Noise {
		pad[0] ^= 0x10
	}
	return pad, nil
}

// Meter measures one chip for callers that have a context: a conversion that
// nobody waits for any more goes on, and its result is the next caller's.
type Meter struct {
	bus Bus
	id  string

	mu      sync.Mutex
	running chan struct{} // closed when the conversion ends; nil while none runs
	closed  bool
	pad     []byte
	at      time.Time
	err     error
}

// NewMeter returns the meter of a chip.
func NewMeter(bus Bus, id string) *Meter { return &Meter{bus: bus, id: id} }

// Measure returns the scratchpad of a conversion that ends after the call
// began, and when it ended.
func (m *Meter) Measure(ctx context.Context) ([]byte, time.Time, error) {
	if ctx.Err() != nil {
		return nil, time.Time{}, context.Cause(ctx)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, time.Time{}, drivers.ErrClosed
	}
	if m.running == nil {
		m.running = make(chan struct{})
		go m.convert(m.running) // ended by the kernel; Close waits for it
	}
	running := m.running
	m.mu.Unlock()
	select {
	case <-running:
	case <-ctx.Done():
		return nil, time.Time{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, time.Time{}, drivers.ErrClosed
	}
	return m.pad, m.at, m.err
}

func (m *Meter) convert(done chan struct{}) {
	pad, err := m.bus.Measure(m.id)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pad, m.at, m.err, m.running = pad, time.Now(), err, nil
	close(done)
}

// Close waits for a conversion that runs.
func (m *Meter) Close() {
	m.mu.Lock()
	m.closed = true
	running := m.running
	m.mu.Unlock()
	if running != nil {
		<-running
	}
}
