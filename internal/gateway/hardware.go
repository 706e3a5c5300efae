package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/config"
)

// hardware keeps the devices of a configuration, real and simulated. Only get
// may be called concurrently with the rest; the devices are safe for
// concurrent use.
type hardware struct {
	log   *slog.Logger
	plant *plant
	bench *bench

	machine []drivers.Fact // about this machine

	mu      sync.Mutex // guards devices against get
	devices map[string]*opened
}

// opened is one opened device.
type opened struct {
	drivers.Device
	node      config.Node
	simulated bool
	bus       string // what it shares with others; empty: nothing
	print     fingerprint
	slot      *slot // not nil when it could not be opened at first
	tape      *drivers.Tape
}

// fingerprint tells whether a device of a new configuration is the same as one
// that is open.
type fingerprint struct {
	kind, bus string
	simulated bool
	hold      bool // it outlives the process
	config    any  // the configuration struct, compared deeply
	busConfig any
}

func newHardware(log *slog.Logger) *hardware {
	return &hardware{log: log, bench: newBench(), plant: newPlant(log), devices: map[string]*opened{}}
}

func printOf(cfg *config.Config, n *config.Node, k kind) fingerprint {
	_, _, hold := heldOutput(n)
	return fingerprint{kind: n.Kind, bus: n.Bus, simulated: simulated(cfg, n, k), hold: hold, config: n.Config, busConfig: cfg.Buses[n.Bus].Config}
}

// open opens the device of a node. A device that cannot be opened now is tried
// again whenever it is read, so that one that is missing holds nothing up.
func (h *hardware) open(ctx context.Context, cfg *config.Config, n *config.Node) error {
	k, err := findKind(n.Kind)
	if err != nil {
		return err
	}
	if k.branch {
		return nil
	}
	d := &opened{node: *n, print: printOf(cfg, n, k), simulated: simulated(cfg, n, k)}
	d.bus = k.shared
	if n.Bus != "" {
		d.bus = k.Bus + " " + n.Bus // the bus 1 of one type is not that of another
	}
	var e env = h.plant
	if c, _, hold := heldOutput(n); hold {
		e = holdEnv{h.plant, safeLevel(c)}
	}
	if d.simulated {
		e = h.bench
	}
	d.tape = new(drivers.Tape)
	e = taped{e, d.tape}
	opener := func(ctx context.Context) (drivers.Device, error) { return k.open(ctx, e, n.Config) }
	dev, err := opener(ctx)
	if err != nil {
		d.slot = newSlot(k, n.Config, opener, err)
		h.log.Error("a device cannot be opened; it is tried again", "node", n.ID, "kind", n.Kind, "err", d.slot.err)
		dev = d.slot.device()
	}
	d.Device = dev
	h.mu.Lock()
	h.devices[n.ID] = d
	h.mu.Unlock()
	return nil
}

// get returns the open device of a node, or nil.
func (h *hardware) get(id string) *opened {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.devices[id]
}

// close closes the devices for which which is true.
func (h *hardware) close(which func(id string, d *opened) bool) error {
	var errs []error
	for id, d := range h.devices {
		if !which(id, d) {
			continue
		}
		if err := d.Close(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: close: %w", id, err))
		}
		h.mu.Lock()
		delete(h.devices, id)
		h.mu.Unlock()
	}
	return errors.Join(errs...)
}

// closeAll closes devices, then buses.
func (h *hardware) closeAll() error {
	err := h.close(func(string, *opened) bool { return true })
	return errors.Join(err, h.plant.close(), h.bench.close())
}

// same tells whether the open device of a node serves a new configuration too.
func (h *hardware) same(cfg *config.Config, n *config.Node) bool {
	if n == nil {
		return false
	}
	k, err := findKind(n.Kind)
	d := h.devices[n.ID]
	if err == nil && k.branch {
		return d == nil // there is nothing to open
	}
	return err == nil && d != nil && reflect.DeepEqual(d.print, printOf(cfg, n, k))
}

// reopenEvery is the least time between two tries to open a device.
const reopenEvery = 5 * time.Second

// slot stands for a device that could not be opened: its channels are known,
// reading it tries again.
type slot struct {
	opener func(context.Context) (drivers.Device, error)

	mu       sync.Mutex
	channels []drivers.Channel
	secret   bool // the channels show when the device is open
	dev      drivers.Device
	err      error
	next     time.Time
	closed   bool
}

// newSlot returns a slot for a device of the kind.
func newSlot(k kind, cfg any, opener func(context.Context) (drivers.Device, error), cause error) *slot {
	s := &slot{opener: opener, err: cause, next: time.Now().Add(reopenEvery)}
	if k.Channels == nil {
		s.secret = true
		return s
	}
	if chs, err := channelsOf(k.open, cfg); err == nil {
		s.channels = chs
	} else {
		s.secret = true
	}
	return s
}

// revealed opens the devices whose channels only show then, and tells whether
// there is one that did not have any before.
func (h *hardware) revealed(ctx context.Context) bool {
	h.mu.Lock()
	var slots []*slot
	for _, d := range h.devices {
		if d.slot != nil {
			slots = append(slots, d.slot)
		}
	}
	h.mu.Unlock()
	news := false
	for _, s := range slots {
		if s.reveal(ctx) {
			news = true
		}
	}
	return news
}

// reveal opens a device whose channels are not known and learns them. It is
// true once.
func (s *slot) reveal(ctx context.Context) bool {
	s.mu.Lock()
	secret := s.secret
	s.mu.Unlock()
	if !secret {
		return false
	}
	d, err := s.get(ctx)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels, s.secret = d.(described).Channels(), false
	return true
}

// device returns s as a Device that is a Setter only if it may have something
// to set.
func (s *slot) device() drivers.Device {
	if s.secret {
		return setterSlot{s}
	}
	for _, c := range s.channels {
		if c.Writable {
			return setterSlot{s}
		}
	}
	return s
}

// get returns the device, opening it if it is time to try.
func (s *slot) get(ctx context.Context) (drivers.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, drivers.ErrClosed
	case s.dev != nil:
		return s.dev, nil
	case time.Now().Before(s.next):
		return nil, s.err
	}
	s.next = time.Now().Add(reopenEvery)
	dev, err := s.opener(ctx)
	if err != nil {
		s.err = err
		return nil, err
	}
	s.dev, s.err = dev, nil
	return dev, nil
}

// failure tells why the device is not open; empty when it is.
func (s *slot) failure() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return ""
	}
	return s.err.Error()
}

// Channels implements drivers.Describer.
func (s *slot) Channels() []drivers.Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels
}

// Read implements drivers.Device.
func (s *slot) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	d, err := s.get(ctx)
	if err != nil {
		return dst, err
	}
	return d.Read(ctx, dst)
}

// Close implements drivers.Device.
func (s *slot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.dev == nil {
		return nil
	}
	return s.dev.Close()
}

// setterSlot is a slot with channels that can be set.
type setterSlot struct{ *slot }

// Set implements drivers.Setter.
func (s setterSlot) Set(ctx context.Context, channel string, v drivers.Value) error {
	d, err := s.get(ctx)
	if err != nil {
		return err
	}
	set, ok := d.(drivers.Setter)
	if !ok {
		return drivers.ErrChannel
	}
	return set.Set(ctx, channel, v)
}
