package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// Do carries out a command of the gateway itself or of a person at it and
// returns when it is done. Access is not asked; everything else is checked as
// for a remote one, values of whole numbers and enumerations may be given as
// the wider kind. A refusal is a *xmpp.Error.
func (s *Service) Do(ctx context.Context, c Command) (Result, error) {
	j, r := s.own(c)
	if fault := s.choose(ctx, j, r, ""); fault != nil {
		s.cfg.Auditor.Refused(ctx, &j.cmd, fault)
		return j.result, fault
	}
	if len(j.writes) == 0 {
		return j.result, nil
	}
	before, after, fault := s.enqueue(j)
	if fault != nil {
		s.cfg.Auditor.Refused(ctx, &j.cmd, fault)
		return j.result, fault
	}
	defer s.done(after)
	return s.carryOut(j, before)
}

// Safe moves every output that has a safe state into it, whatever fails on the
// way, and returns the errors joined. The gateway calls it before the network
// starts and when it stops. It waits neither for audit nor for limits nor for
// commands under way: what these have not written yet, they do not write any
// more. Devices are written side by side, each within its own time.
func (s *Service) Safe(ctx context.Context, reason string) error {
	return s.SafeBut(ctx, reason, nil)
}

// SafeBut is Safe for all outputs but those that stay as they are: such as are
// held across a restart. No command moves those either, unless it comes
// afterwards. stays nil stands for none.
func (s *Service) SafeBut(ctx context.Context, reason string, stays func(Output) bool) error {
	s.epoch.Add(1)
	st := s.state.Load()
	byDevice := make(map[string][]write)
	var order []string
	for _, n := range st.tree.Nodes() {
		for i := range n.Parameters {
			p := &n.Parameters[i]
			if p.Safe.Kind() == drivers.KindNone || stays != nil && stays(Output{n.Ref, p.Name}) {
				continue
			}
			if !slices.Contains(order, n.Device) {
				order = append(order, n.Device)
			}
			byDevice[n.Device] = append(byDevice[n.Device], write{node: n, param: p, value: p.Safe})
		}
	}
	for _, writes := range byDevice { // none is done before all are marked
		s.tripping(writes, true)
	}
	errs := make([]error, len(order))
	var wg sync.WaitGroup
	for i, name := range order {
		wg.Go(func() { errs[i] = s.makeSafe(ctx, st, byDevice[name], reason) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// safePatience is how long a move into the safe state waits for a write that
// is under way.
const safePatience = 200 * time.Millisecond

// makeSafe writes the safe states of one device. A failure does not keep the
// others from being written, and the watchdog tries what failed again.
func (s *Service) makeSafe(ctx context.Context, st *state, writes []write, reason string) error {
	s.tripping(writes, true)
	defer s.poke() // what waited for it is looked at
	defer s.tripping(writes, false)
	gate := s.gate(writes[0].node.Device)
	patience := time.NewTimer(safePatience)
	defer patience.Stop()
	select {
	case gate <- struct{}{}:
		defer func() { <-gate }()
	case <-patience.C: // see guardedSet
	}
	if name := writes[0].node.Device; !s.state.Load().sameDevice(st, name) {
		return errReplaced // and it has to be made safe by the device's successor
	}
	var errs []error
	var done []write
	past := make(map[Output]int) // attempts that have failed
	for i := range writes {
		w := &writes[i]
		o := w.output()
		past[o] = s.failures(o)
		j := &job{state: st, ctx: ctx, cmd: Command{
			Origin: OriginSafe, At: s.cfg.Now(), Reason: reason,
			Nodes: []node.Ref{w.node.Ref}, Assignments: []Assignment{{w.param.Name, w.value}},
		}}
		err := s.set(j, w)
		if err != nil {
			errs = append(errs, s.notSafe(st, w, err, reason, past[o]))
			s.unknown(w, s.cfg.Now())
		} else {
			s.note(st, w, nil)
			done = append(done, *w)
			j.result.Written = 1
		}
		// A device that is away for long is tried often: the record has the
		// first failure, and then the success.
		if err == nil || past[o] == 0 {
			s.cfg.Auditor.End(ctx, &j.cmd, j.result, err)
		}
	}
	if len(done) > 0 {
		_, other := s.publish(ctx, st, done, done)
		for i := range other {
			errs = append(errs, s.notSafe(st, &other[i], errOther, reason, past[other[i].output()]))
		}
	}
	return errors.Join(errs...)
}

// tripping marks that outputs are being made safe, so that the watchdog does not
// do it as well.
func (s *Service) tripping(writes []write, is bool) {
	s.safety.Lock()
	defer s.safety.Unlock()
	for i := range writes {
		s.stateOf(writes[i].output()).tripping = is
	}
}

// notSafe notes that a safe value was not taken, after past attempts that
// failed already, and lets the watchdog try again.
func (s *Service) notSafe(st *state, w *write, err error, reason string, past int) error {
	s.note(st, w, err)
	s.safety.Lock()
	os := s.stateOf(w.output())
	os.due, os.failures = reason, past
	os.retry(s.cfg.Now())
	s.safety.Unlock()
	err = fmt.Errorf("safe state of %s, %s: %w", w.node.Ref, w.param.Name, err)
	if n := past + 1; n&(n-1) == 0 { // the 1st, 2nd, 4th …
		s.cfg.Logger.Error("an output could not be moved into its safe state; check it by hand", slog.Int("attempts", n), slog.Any("err", err))
	}
	return err
}

// failures is how many attempts in a row to make an output safe have failed.
func (s *Service) failures(o Output) int {
	s.safety.Lock()
	defer s.safety.Unlock()
	if st := s.stateOf(o); st.due != "" {
		return st.failures
	}
	return 0
}
