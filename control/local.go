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
// others from being written.
func (s *Service) makeSafe(ctx context.Context, st *state, writes []write, reason string) error {
	gate := s.gate(writes[0].node.Device)
	patience := time.NewTimer(safePatience)
	defer patience.Stop()
	select {
	case gate <- struct{}{}:
		defer func() { <-gate }()
	case <-patience.C: // see guardedSet
	}
	var errs []error
	var done []write
	for i := range writes {
		w := &writes[i]
		j := &job{state: st, ctx: ctx, cmd: Command{
			Origin: OriginSafe, At: s.cfg.Now(), Reason: reason,
			Nodes: []node.Ref{w.node.Ref}, Assignments: []Assignment{{w.param.Name, w.value}},
		}}
		err := s.set(j, w)
		s.note(w, err)
		if err != nil {
			err = fmt.Errorf("safe state of %s, %s: %w", w.node.Ref, w.param.Name, err)
			s.cfg.Logger.Error("an output could not be moved into its safe state; check it by hand", slog.Any("err", err))
			errs = append(errs, err)
			s.unknown(*w, s.cfg.Now())
		} else {
			done = append(done, *w)
			j.result.Written = 1
		}
		s.cfg.Auditor.End(ctx, &j.cmd, j.result, err)
	}
	if len(done) > 0 {
		s.publish(ctx, st, done, done)
	}
	return errors.Join(errs...)
}
