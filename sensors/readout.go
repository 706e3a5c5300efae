package sensors

import (
	"context"
	"errors"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// Stages of a read-out (XEP-0323 §2.1). From sending on, nothing stops it any
// more: its end marker is on the way.
//
//	queued ──▶ running ──▶ sending ──▶ (gone)
//	   └──────────┴── cancelled, bounced ──▶ (gone)
type stage uint8

const (
	queued stage = iota
	running
	sending
	ended
)

// key identifies a read-out: equal numbers of different requesters are
// different read-outs (0323-R06).
type key struct {
	from string // full JID
	seq  int32
}

// readout is one accepted request.
type readout struct {
	key  key
	to   jid.JID
	bare string
	req  Request
	plan *plan // replaced under desk.mu

	// answer is the iq result still owed, with the acceptance; Kind 0 when it
	// was given.
	answer xmpp.Stanza
	// tell says that the read-out was queued, so that its beginning is
	// announced (0323-R11, R12).
	tell  bool
	timer *time.Timer // until when

	// guarded by desk.mu
	stage  stage
	parked bool // counts as one of its requester's queued read-outs
}

// desk keeps the read-outs that are not finished, within the limits.
type desk struct {
	limits Limits

	mu      sync.Mutex
	open    map[key]*readout
	perPeer map[string]int // queued read-outs by bare JID
	line    []*readout     // queued without when, first come first served
	busy    int            // goroutines at work
	closed  bool
	wg      sync.WaitGroup
}

func newDesk(l Limits) *desk {
	return &desk{limits: l, open: make(map[key]*readout), perPeer: make(map[string]int)}
}

// enter registers r, or says why it cannot be taken.
func (k *desk) enter(r *readout) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return xmpp.NewError(xmpp.ResourceConstraint, "the gateway is not ready to read").WithType(xmpp.Wait)
	case k.open[r.key] != nil: // 0323-D14
		return xmpp.NewError(xmpp.BadRequest, "a read-out with this seqnr is still going on")
	case len(k.open) >= k.limits.Total:
		return xmpp.NewError(xmpp.ResourceConstraint, "too many read-outs are going on; try again later").WithType(xmpp.Wait)
	}
	k.open[r.key] = r
	return nil
}

// park counts r among the queued read-outs of its requester, or takes it off
// the desk because there are too many (0323-D13).
func (k *desk) park(r *readout) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.perPeer[r.bare] >= k.limits.PerPeer {
		k.remove(r)
		return xmpp.NewError(xmpp.ResourceConstraint, "too many of your read-outs are waiting; try again when some have ended").WithType(xmpp.Wait)
	}
	k.perPeer[r.bare]++
	r.parked = true
	return nil
}

// unpark ends park. k.mu is held.
func (k *desk) unpark(r *readout) {
	if !r.parked {
		return
	}
	r.parked = false
	if k.perPeer[r.bare]--; k.perPeer[r.bare] <= 0 {
		delete(k.perPeer, r.bare)
	}
}

// drop takes r off the desk unless its end marker is on the way. It reports
// whether r was stopped by this call.
func (k *desk) drop(id key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.open[id]
	if r == nil || r.stage >= sending {
		return false
	}
	k.remove(r)
	return true
}

// remove forgets r. k.mu is held.
func (k *desk) remove(r *readout) {
	if r.stage == ended {
		return
	}
	r.stage = ended
	if r.timer != nil {
		r.timer.Stop()
	}
	delete(k.open, r.key)
	k.unpark(r)
}

// advance moves r to the next stage; false when it was stopped meanwhile.
func (k *desk) advance(r *readout, to stage) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.stage == ended {
		return false
	}
	r.stage = to
	k.unpark(r)
	return true
}

func (k *desk) finish(r *readout) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(r)
}

// start gives r a goroutine, which calls work for it and then for what stands
// in line. It reports false when as many as allowed are at work.
func (k *desk) start(r *readout, work func(*readout)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.startLocked(r, work)
}

func (k *desk) startLocked(r *readout, work func(*readout)) bool {
	if k.closed || k.busy >= k.limits.Running {
		return false
	}
	k.busy++
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		for ; r != nil; r = k.next() {
			work(r)
		}
	}()
	return true
}

// queue is start for a read-out that may wait: it stands in line where start
// would report false.
func (k *desk) queue(r *readout, work func(*readout)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || r.stage == ended || k.startLocked(r, work) {
		return
	}
	k.line = append(k.line, r)
}

// next takes the first in line, or ends the goroutine that asks.
func (k *desk) next() *readout {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.line) > 0 {
		r := k.line[0]
		k.line[0] = nil
		k.line = k.line[1:]
		if r.stage != ended {
			return r
		}
	}
	k.busy--
	return nil
}

// close stops everything that is queued and waits for what is at work.
func (k *desk) close() {
	k.mu.Lock()
	k.closed = true
	for _, r := range k.open {
		if r.stage == queued {
			k.remove(r)
		}
	}
	k.line = nil
	k.mu.Unlock()
	k.wg.Wait()
}

// work carries a read-out through: wait for the devices, send what there is.
func (s *Service) work(r *readout) {
	ctx := s.runContext()
	defer s.desk.finish(r)
	if !s.desk.advance(r, running) {
		return
	}
	if r.tell {
		s.replan(ctx, r)
	}
	out := s.outgoing(r)
	defer out.release()
	if r.tell {
		out.add(mark{name: nameStarted, seq: r.key.seq})
	}
	waits := s.demandAll(r.plan)
	s.await(ctx, waits, s.cfg.Limits.Grace)
	if !allDone(waits) {
		out.flush(ctx) // the acceptance, or that the read-out begins
		s.collect(ctx, out, waits)
	}
	if r.plan.history {
		for _, w := range waits {
			w.giveUp()
		}
		out.ready(waits)
		out.flush(ctx)
		s.sendPast(ctx, out)
	}
	s.complete(ctx, out, waits)
}

// replan looks at nodes and rights again for a read-out that waited.
func (s *Service) replan(ctx context.Context, r *readout) {
	req := r.plan.req
	p, err := s.newPlan(ctx, s.state.Load(), req, r.key.from, r.bare)
	if err != nil {
		// What was accepted must end, but there is nothing to read any more.
		p = &plan{st: s.state.Load(), req: req}
		if errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
			p.unknown = req.Nodes
		}
	}
	s.desk.mu.Lock()
	r.plan = p
	s.desk.mu.Unlock()
}

// longestWait bounds how long a read-out waits for its devices; a reader gives
// up after 60 s without data (0323-D16).
const longestWait = 45 * time.Second

// partial is how often a read-out that still waits sends what it has.
const partial = time.Second

// collect waits for slow devices and sends what the others gave meanwhile.
func (s *Service) collect(ctx context.Context, out *outgoing, waits []*wait) {
	end := time.NewTimer(longestWait)
	defer end.Stop()
	for rounds := longestWait / partial; rounds > 0 && !allDone(waits) && ctx.Err() == nil; rounds-- {
		s.await(ctx, waits, partial)
		if allDone(waits) || !s.alive(out.r) {
			return
		}
		out.ready(waits)
		out.flush(ctx)
	}
}

func (s *Service) alive(r *readout) bool {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	return r.stage != ended
}

// complete sends the rest and the end marker.
func (s *Service) complete(ctx context.Context, out *outgoing, waits []*wait) {
	for _, w := range waits {
		w.giveUp()
	}
	if !s.desk.advance(out.r, sending) {
		return
	}
	out.ready(waits)
	out.finish(ctx)
}

// wait is one device that a read-out waits for.
type wait struct {
	unit *unit
	att  *attempt // nil when there is nothing to wait for
	done bool
	err  error
}

// demandAll asks for readings of every device of the plan.
func (s *Service) demandAll(p *plan) []*wait {
	units := p.units()
	ws := make([]*wait, 0, len(units))
	now := s.cfg.Now()
	for _, u := range units {
		w := &wait{unit: u}
		w.att, w.done, w.err = p.st.owners[u].demand(u, now)
		ws = append(ws, w)
	}
	return ws
}

// await waits until all devices are done, at most d.
func (s *Service) await(ctx context.Context, ws []*wait, d time.Duration) {
	var timeout <-chan time.Time
	for _, w := range ws {
		if w.poll() {
			continue
		}
		if timeout == nil {
			t := time.NewTimer(d)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-w.att.done:
			w.done, w.err = true, w.att.err
		case <-timeout:
			for _, w := range ws {
				w.poll()
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// poll looks whether the device is done.
func (w *wait) poll() bool {
	if w.done {
		return true
	}
	select {
	case <-w.att.done:
		w.done, w.err = true, w.att.err
	default:
	}
	return w.done
}

func (w *wait) giveUp() {
	if !w.poll() {
		w.done, w.err = true, errTooLate
	}
}

func allDone(ws []*wait) bool {
	for _, w := range ws {
		if !w.done {
			return false
		}
	}
	return true
}
