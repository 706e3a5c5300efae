package sensors

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"postern/drivers"
)

// owner reads the devices of one bus, one after the other, on one goroutine:
// first those that somebody waits for, then those whose poll is due, devices
// with an open breaker last.
//
// Bound for a bus with dead devices: after trying one whose breaker is open,
// the owner tries no other such device for three times as long as that took.
// So a healthy device waits for at most one dead one, and dead ones take at
// most a quarter of the bus.
type owner struct {
	svc   *Service
	units []*unit
	wake  chan struct{}
	stop  context.CancelFunc
	ended chan struct{}

	mu        sync.Mutex
	demanded  []*unit
	polls     pollHeap
	busySince time.Time // zero while idle
	busyWith  *unit
	probeFrom time.Time // no device with an open breaker is tried before
	stopped   bool
}

func newOwner(s *Service, units []*unit) *owner {
	o := &owner{svc: s, units: units, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	now := s.cfg.Now()
	for _, u := range units {
		if u.dev.Interval > 0 {
			u.nextPoll = now
			o.polls = append(o.polls, u)
		}
	}
	heap.Init(&o.polls)
	return o
}

// demand asks for a reading of u. ready is true when there is nothing to wait
// for: the readings are fresh, or the attempt would be hopeless and err says
// why.
func (o *owner) demand(u *unit, now time.Time) (a *attempt, ready bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if u.lastErr == nil && !u.lastOK.IsZero() && now.Sub(u.lastOK) < u.fresh() {
		return nil, true, nil
	}
	if o.stopped {
		return nil, true, errStopped
	}
	if !o.busySince.IsZero() && now.Sub(o.busySince) > o.busyWith.timeout()+time.Second {
		return nil, true, errStuck
	}
	if u.att != nil {
		return u.att, false, nil
	}
	if u.open() && now.Before(u.retryAt) {
		return nil, true, u.leftAlone(now)
	}
	u.att = &attempt{done: make(chan struct{})}
	u.waiting = true
	o.demanded = append(o.demanded, u)
	o.kick()
	return u.att, false, nil
}

func (o *owner) kick() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run is the owner's goroutine.
func (o *owner) run(ctx context.Context) {
	defer o.abandon()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf []drivers.Sample
	for ctx.Err() == nil {
		u, wait := o.next()
		if u != nil {
			buf = o.read(ctx, u, buf[:0])
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-timer.C:
		}
	}
}

// next takes the device to read now, or says how long there is none.
func (o *owner) next() (*unit, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.svc.cfg.Now()
	probe := !now.Before(o.probeFrom)
	pick := -1
	for i, u := range o.demanded {
		if !u.open() {
			pick = i
			break
		}
		if pick < 0 && probe {
			pick = i
		}
	}
	due := len(o.polls) > 0 && !o.polls[0].nextPoll.After(now)
	if pick >= 0 && !(due && o.demanded[pick].open() && !o.polls[0].open()) {
		u := o.demanded[pick]
		o.demanded = append(o.demanded[:pick], o.demanded[pick+1:]...)
		u.waiting = false
		o.begin(u, now)
		return u, 0
	}
	wait := time.Hour
	if len(o.demanded) > 0 {
		wait = o.probeFrom.Sub(now)
	}
	for len(o.polls) > 0 {
		u := o.polls[0]
		if u.nextPoll.After(now) {
			wait = min(wait, u.nextPoll.Sub(now))
			break
		}
		if u.open() && !probe {
			u.nextPoll = o.probeFrom
			heap.Fix(&o.polls, 0)
			continue
		}
		u.schedule(now)
		heap.Fix(&o.polls, 0)
		o.begin(u, now)
		return u, 0
	}
	return nil, max(wait, time.Millisecond)
}

// begin marks u as being read. A demand that waits is served by this reading
// too.
func (o *owner) begin(u *unit, now time.Time) {
	if u.waiting {
		for i, d := range o.demanded {
			if d == u {
				o.demanded = append(o.demanded[:i], o.demanded[i+1:]...)
				break
			}
		}
		u.waiting = false
	}
	if u.att == nil {
		u.att = &attempt{done: make(chan struct{})}
	}
	o.busySince, o.busyWith = now, u
}

// read reads u, publishes what it gave and wakes who waits.
func (o *owner) read(ctx context.Context, u *unit, buf []drivers.Sample) []drivers.Sample {
	start := o.svc.cfg.Now()
	rctx, cancel := context.WithTimeout(ctx, u.timeout())
	samples, err := u.dev.Device.Read(rctx, buf)
	cancel()
	if err != nil {
		samples = samples[:0] // the device failed as a whole
	}
	now := o.svc.cfg.Now()
	bad := outcome(samples, err)
	if bad != nil && ctx.Err() != nil {
		bad = errStopped
	}

	if bad != errStopped {
		o.publish(u, samples, bad, now)
	}

	o.mu.Lock()
	wasOpen, hadErr := u.open(), u.lastErr != nil
	u.reads++
	u.lastTry, u.took = now, now.Sub(start)
	switch {
	case bad == errStopped:
	case bad != nil:
		u.failed(now, bad)
	default:
		u.succeeded(now)
	}
	if wasOpen && bad != nil {
		o.probeFrom = now.Add(3 * u.took)
	}
	if u.dev.Interval > 0 && u.nextPoll.Before(u.retryAt) {
		u.nextPoll = u.retryAt
		heap.Init(&o.polls)
	}
	u.att.err = bad
	close(u.att.done)
	u.att = nil
	o.busySince, o.busyWith = time.Time{}, nil
	nowOpen := u.open()
	o.mu.Unlock()
	o.report(u.name, bad, hadErr, wasOpen, nowOpen)
	return samples[:0]
}

// publish stores a reading for every node that the device serves.
func (o *owner) publish(u *unit, samples []drivers.Sample, bad error, now time.Time) {
	o.mu.Lock()
	nodes := u.nodes
	o.mu.Unlock()
	for _, n := range nodes {
		if len(samples) == 0 {
			o.svc.cfg.Live.FailAll(n, now, bad)
		} else {
			o.svc.cfg.Live.PutSamples(n, samples, o.svc.clockFlag(), u.maxAge())
		}
	}
}

// report logs when a device starts failing, is left alone, and is back: not
// each failure.
func (o *owner) report(name string, bad error, hadErr, wasOpen, nowOpen bool) {
	log := o.svc.cfg.Logger
	switch {
	case bad == errStopped:
	case bad != nil && !hadErr:
		log.Warn("device cannot be read", slog.String("device", name), slog.Any("err", bad))
	case nowOpen && !wasOpen:
		log.Warn("device keeps failing and is tried less often; check its wiring and supply",
			slog.String("device", name), slog.Any("err", bad))
	case bad == nil && hadErr:
		log.Info("device can be read again", slog.String("device", name))
	}
}

// abandon ends what is still asked for.
func (o *owner) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.units {
		if u.att != nil {
			u.att.err = errStopped
			close(u.att.done)
			u.att = nil
		}
	}
	o.demanded, o.stopped = nil, true
}

// pollHeap orders devices by their next poll, healthy ones first where equal.
type pollHeap []*unit

func (h pollHeap) Len() int { return len(h) }
func (h pollHeap) Less(i, j int) bool {
	if !h[i].nextPoll.Equal(h[j].nextPoll) {
		return h[i].nextPoll.Before(h[j].nextPoll)
	}
	return h[i].fails < h[j].fails
}
func (h pollHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *pollHeap) Push(x any)   { *h = append(*h, x.(*unit)) }
func (h *pollHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
