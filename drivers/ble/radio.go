package ble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/ble/hci"
)

// AdapterConfig is the configuration of one Bluetooth adapter.
type AdapterConfig struct {
	Adapter string        `yaml:"adapter" default:"hci0" doc:"the adapter as the kernel names it; it is taken away from bluetoothd" example:"hci0"`
	Scan    string        `yaml:"scan" default:"passive" oneof:"passive|active" doc:"passive only listens; active also asks each device for what it does not say by itself, which costs its battery"`
	Silence time.Duration `yaml:"silence" default:"2m" min:"5s" max:"1h" doc:"when nothing at all is heard for so long, the scan is started again, then the adapter taken down and up"`
}

// Validate reports what the tags cannot express.
func (c AdapterConfig) Validate() error {
	if _, err := c.number(); err != nil {
		return err
	}
	if c.Silence <= 0 {
		return errors.New("silence: must be more than 0")
	}
	return nil
}

func (c AdapterConfig) number() (int, error) {
	text, ok := strings.CutPrefix(c.Adapter, "hci")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n > 99 {
		return 0, fmt.Errorf("adapter: %q is not hci0, hci1 and so on", c.Adapter)
	}
	return n, nil
}

// Radio is one adapter: it listens all the time, and connects when asked. It
// is safe for concurrent use. An adapter that is missing, unplugged or hangs is
// tried again by itself.
type Radio struct {
	cfg  AdapterConfig
	open func() (io.ReadWriteCloser, error)
	log  *slog.Logger
	jobs chan func(context.Context, *hci.Host)
	stop context.CancelFunc
	done chan struct{}

	mu        sync.Mutex
	listeners map[Address][]*Sensor
	heard     time.Time // the last advertisement of anybody
	step      int       // of the silence watchdog
	err       error     // why nothing can be heard, or nil
}

// NewRadio starts an adapter; open gives its packets. Close ends it.
func NewRadio(cfg AdapterConfig, open func() (io.ReadWriteCloser, error), log *slog.Logger) *Radio {
	ctx, stop := context.WithCancel(context.Background())
	r := &Radio{
		cfg: cfg, open: open, log: log, stop: stop, done: make(chan struct{}),
		jobs: make(chan func(context.Context, *hci.Host)), listeners: map[Address][]*Sensor{},
	}
	go func() {
		defer close(r.done)
		r.run(ctx)
	}()
	return r
}

// OpenRadio starts an adapter of this machine. One that is not there is no
// failure here; devices say so when they are read.
func OpenRadio(cfg AdapterConfig, log *slog.Logger) (*Radio, error) {
	n, err := cfg.number()
	if err != nil {
		return nil, fmt.Errorf("bluetooth: %w", err)
	}
	return NewRadio(cfg, func() (io.ReadWriteCloser, error) { return hci.Open(n) }, log), nil
}

// Close ends the radio and all connections.
func (r *Radio) Close() error {
	if r.stop == nil {
		return nil // it was never started
	}
	r.stop()
	<-r.done
	return nil
}

// Err tells why nothing can be heard, or returns nil.
func (r *Radio) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// reopenPause is the time between two tries to open an adapter.
const reopenPause = 2 * time.Second

func (r *Radio) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.fail(err)
			select {
			case <-ctx.Done():
			case <-time.After(reopenPause):
			}
		}
	}
}

// fail remembers why nothing can be heard, and says it once.
func (r *Radio) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.log.Warn("bluetooth adapter cannot be used", "adapter", r.cfg.Adapter, "err", err)
	}
	r.err = err
}

// session opens the adapter once and works until it has to be opened again. It
// returns nil when the silence watchdog wants that at once.
func (r *Radio) session(ctx context.Context) error {
	rw, err := r.open()
	if err != nil {
		return err
	}
	h, err := hci.New(ctx, rw, r.receive)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Scan(ctx, r.cfg.Scan == "active"); err != nil {
		return err
	}
	r.mu.Lock()
	if r.step < flagged {
		r.err = nil
	}
	r.heard = time.Now() // the silence begins now
	r.mu.Unlock()
	look := time.NewTicker(max(r.cfg.Silence/4, time.Millisecond))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.Done():
			return fmt.Errorf("bluetooth: %s is gone: %w", r.cfg.Adapter, drivers.ErrGone)
		case job := <-r.jobs:
			if err := r.pauseFor(ctx, h, job); err != nil {
				return err
			}
		case now := <-look.C:
			again, err := r.watchSilence(ctx, h, now)
			if again || err != nil {
				return err
			}
		}
	}
}

// pauseFor runs a job while the adapter does not scan: few can do both.
func (r *Radio) pauseFor(ctx context.Context, h *hci.Host, job func(context.Context, *hci.Host)) error {
	if err := h.StopScan(ctx); err != nil {
		return err
	}
	job(ctx, h)
	return h.Scan(ctx, r.cfg.Scan == "active")
}

// Steps of the silence watchdog.
const (
	rescanned = 1
	restarted = 2
	flagged   = 3
)

// watchSilence escalates while nothing is heard although somebody listens: the
// scan anew, then the adapter anew, then that and a flag. again tells to open
// the adapter anew.
func (r *Radio) watchSilence(ctx context.Context, h *hci.Host, now time.Time) (again bool, err error) {
	r.mu.Lock()
	if len(r.listeners) == 0 || now.Sub(r.heard) < r.cfg.Silence {
		r.mu.Unlock()
		return false, nil
	}
	r.step = min(r.step+1, flagged)
	step := r.step
	r.heard = now
	if step == flagged {
		r.err = fmt.Errorf("bluetooth: %s hears nothing, although it was restarted; is its antenna or firmware at fault, or is there nobody to hear? %w", r.cfg.Adapter, drivers.ErrGone)
	}
	r.mu.Unlock()
	if step == rescanned {
		r.log.Info("bluetooth is silent; scanning anew", "adapter", r.cfg.Adapter)
		if err := h.StopScan(ctx); err != nil {
			return false, err
		}
		return false, h.Scan(ctx, r.cfg.Scan == "active")
	}
	r.log.Warn("bluetooth is silent; restarting the adapter", "adapter", r.cfg.Adapter)
	return true, nil
}

// receive takes one advertisement; it runs on the adapter's reader.
func (r *Radio) receive(rep hci.Report) {
	r.mu.Lock()
	r.heard = time.Now()
	if r.step == flagged {
		r.err = nil
	}
	r.step = 0
	listeners := r.listeners[Address(rep.Address)]
	r.mu.Unlock()
	for _, s := range listeners {
		s.hear(rep)
	}
}

func (r *Radio) listen(s *Sensor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == nil {
		r.listeners = map[Address][]*Sensor{}
	}
	// A new list: receive walks the old one without the lock.
	r.listeners[s.address] = append(append([]*Sensor(nil), r.listeners[s.address]...), s)
}

func (r *Radio) forget(s *Sensor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rest []*Sensor
	for _, x := range r.listeners[s.address] {
		if x != s {
			rest = append(rest, x)
		}
	}
	if r.listeners[s.address] = rest; rest == nil {
		delete(r.listeners, s.address)
	}
}

// with runs a job with the adapter to itself and waits for its end.
func (r *Radio) with(ctx context.Context, job func(context.Context, *hci.Host) error) error {
	done := make(chan error, 1)
	run := func(life context.Context, h *hci.Host) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(life, func() { cancel(drivers.ErrClosed) })()
		done <- job(ctx, h)
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case r.jobs <- run:
		return <-done
	case <-wait.Done():
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.Err() != nil:
			return r.Err()
		}
		return fmt.Errorf("bluetooth: the adapter is busy with another device: %w", drivers.ErrTimeout)
	case <-r.done:
		return fmt.Errorf("bluetooth: %w", drivers.ErrClosed)
	}
}
