package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"postern/drivers"
	"postern/xmpp"
)

// submit puts a job behind the earlier ones of its devices and returns.
// answer is called once, when it has been carried out or refused.
func (s *Service) submit(j *job, answer func(xmpp.Payload, error)) *xmpp.Error {
	before, after, fault := s.enqueue(j)
	if fault != nil {
		s.cfg.Auditor.Refused(context.Background(), &j.cmd, fault)
		return fault
	}
	go func() {
		defer s.done(after)
		r, err := s.carryOut(j, before)
		if err != nil {
			answer(nil, err)
			return
		}
		answer(response(r), nil)
	}()
	return nil
}

// enqueue takes a place in the line of every device of the job. All places are
// taken at once, so that no two jobs ever wait for each other.
func (s *Service) enqueue(j *job) (before []<-chan struct{}, after chan struct{}, fault *xmpp.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil, nil, xmpp.NewError(xmpp.ResourceConstraint, "the gateway is not ready to act").WithType(xmpp.Wait)
	}
	if s.waiting >= s.cfg.MaxWaiting {
		return nil, nil, xmpp.NewError(xmpp.ResourceConstraint, "too many commands are waiting").WithType(xmpp.Wait)
	}
	s.waiting++
	s.jobs.Add(1)
	j.ctx = s.ctx
	after = make(chan struct{})
	for _, name := range j.lines() {
		if tail := s.tails[name]; tail != nil {
			before = append(before, tail)
		}
		s.tails[name] = after
	}
	return before, after, nil
}

func (s *Service) done(after chan struct{}) {
	close(after)
	s.mu.Lock()
	s.waiting--
	for name, tail := range s.tails {
		if tail == after {
			delete(s.tails, name)
		}
	}
	s.mu.Unlock()
	s.jobs.Done()
}

// lines names what the job must have to itself: its devices, and the groups
// of which only one output may be active.
func (j *job) lines() []string {
	var names []string
	add := func(s string) {
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	for _, w := range j.writes {
		add("device " + w.node.Device)
		if r := j.state.rules[w.output()]; r != nil && r.Group != "" {
			add("group " + r.Group)
		}
	}
	return names
}

// carryOut waits for the job's turn, asks what may have changed since it was
// checked, and acts.
func (s *Service) carryOut(j *job, before []<-chan struct{}) (Result, error) {
	if fault := s.turn(j, before); fault != nil {
		s.cfg.Auditor.Refused(j.ctx, &j.cmd, fault)
		return j.result, fault
	}
	if err := s.cfg.Auditor.Begin(j.ctx, &j.cmd); err != nil {
		// Without a durable record nothing far away moves an output.
		s.cfg.Logger.Error("the record of a command could not be written, so it is refused; check the disk", slog.Any("err", err))
		fault := xmpp.NewError(xmpp.InternalServerError, "the command could not be recorded").WithType(xmpp.Wait)
		s.cfg.Auditor.Refused(j.ctx, &j.cmd, fault)
		return j.result, fault
	}
	err := s.act(j)
	s.cfg.Auditor.End(context.WithoutCancel(j.ctx), &j.cmd, j.result, err)
	return j.result, err
}

// turn waits until it is the job's turn and refuses it if it must not be
// carried out any more.
func (s *Service) turn(j *job, before []<-chan struct{}) *xmpp.Error {
	limit := time.NewTimer(s.cfg.Expiry)
	defer limit.Stop()
	for _, ch := range before {
		select {
		case <-ch:
		case <-limit.C:
			return xmpp.NewError(xmpp.Conflict, "earlier commands for this output did not end in time").WithType(xmpp.Wait)
		case <-j.ctx.Done():
			return xmpp.NewError(xmpp.ResourceConstraint, "the gateway is stopping").WithType(xmpp.Wait)
		}
	}
	if j.ctx.Err() != nil {
		return xmpp.NewError(xmpp.ResourceConstraint, "the gateway is stopping").WithType(xmpp.Wait)
	}
	if s.state.Load() != j.state {
		return xmpp.NewError(xmpp.Conflict, "the configuration has just changed").WithType(xmpp.Wait)
	}
	if s.epoch.Load() != j.epoch {
		return errMadeSafe()
	}
	for _, w := range j.writes {
		if reason, ok := s.locked(w.node.Ref); ok {
			return refusef(xmpp.Conflict, "%s is locked: %s", w.node.Title(), reason).WithType(xmpp.Wait)
		}
	}
	for _, g := range s.cfg.Guards {
		if err := g.Check(j.ctx, &j.cmd); err != nil {
			var e *xmpp.Error
			if errors.As(err, &e) {
				return e
			}
			return xmpp.NewError(xmpp.NotAllowed, err.Error())
		}
	}
	s.safety.Lock()
	defer s.safety.Unlock()
	if fault := s.refusedBy(j, s.cfg.Now()); fault != nil {
		return fault
	}
	for i := range j.writes {
		w := &j.writes[i]
		w.epoch = s.stateOf(w.output()).epoch
	}
	return nil
}

// overtaken reports whether the output of a write was made safe since its
// rules allowed the write.
func (s *Service) overtaken(j *job, w *write) bool {
	s.safety.Lock()
	defer s.safety.Unlock()
	return s.epoch.Load() != j.epoch || s.stateOf(w.output()).epoch != w.epoch
}

func errMadeSafe() *xmpp.Error {
	return xmpp.NewError(xmpp.Conflict, "the output has just been moved into its safe state, or was taken over at the machine").WithType(xmpp.Wait)
}

// act writes in order and stops at the first failure (D12, D19), then reads
// back what was written.
func (s *Service) act(j *job) error {
	var failed *xmpp.Error
	for i := range j.writes {
		w := &j.writes[i]
		err := s.guardedSet(j, w)
		if errors.Is(err, errOvertaken) {
			failed = errMadeSafe()
			break
		}
		if err != nil {
			s.cfg.Logger.Warn("an output could not be written", slog.String("node", w.node.Ref.String()),
				slog.String("parameter", w.param.Name), slog.Any("err", err))
			failed = w.refuse(xmpp.InternalServerError, deviceSays(err))
			break
		}
		j.result.Written++
	}
	written := j.writes[:j.result.Written]
	attempted := j.writes[:min(len(j.writes), j.result.Written+1)]
	verified, other := s.publish(j.ctx, j.state, written, attempted)
	j.result.Verified = verified && failed == nil
	for i := range other {
		if !s.overtaken(j, &other[i]) {
			s.note(j.state, &other[i], errOther)
		}
	}
	if failed != nil {
		return failed
	}
	return nil
}

// errOther: a device says that it did not do what it was told.
var errOther = errors.New("it reads back another state than was written")

// errOvertaken: a move into the safe state came first.
var errOvertaken = errors.New("overtaken by a move into the safe state")

// guardedSet writes one value unless the outputs were moved into their safe
// state since the job was checked. Should such a move have given up waiting
// for this write, the safe value is written once more behind it.
func (s *Service) guardedSet(j *job, w *write) error {
	gate := s.gate(w.node.Device)
	gate <- struct{}{}
	defer func() { <-gate }()
	if s.overtaken(j, w) {
		return errOvertaken
	}
	err := s.set(j, w)
	s.note(j.state, w, err)
	if !s.overtaken(j, w) || w.param.Safe.Kind() == drivers.KindNone {
		return err
	}
	return errors.Join(errOvertaken, s.setSafe(j, w, "it was made safe while a command wrote it"))
}

// setSafe writes the safe value of a write's output in its place.
func (s *Service) setSafe(j *job, w *write, why string) error {
	safe := *w
	safe.value, safe.by = w.param.Safe, holder{}
	err := s.set(j, &safe)
	if err != nil {
		return s.notSafe(j.state, &safe, err, why, s.failures(w.output()))
	}
	s.note(j.state, &safe, nil)
	return nil
}

// gate lets one writer at a time to a device.
func (s *Service) gate(device string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[device]
	if g == nil {
		g = make(chan struct{}, 1)
		s.gates[device] = g
	}
	return g
}

// lastGrace is how long a write may go on after the gateway began to stop.
const lastGrace = 300 * time.Millisecond

// set writes one value within the device's time.
func (s *Service) set(j *job, w *write) error {
	d, ok := j.state.devices[w.node.Device]
	if !ok {
		return errors.New("the device is not set up")
	}
	setter, ok := d.Device.(drivers.Setter)
	if !ok {
		return errors.New("the device cannot be set")
	}
	// A write that has begun is finished although the gateway stops, if it
	// does not take long.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), d.timeout())
	defer cancel()
	defer context.AfterFunc(j.ctx, func() { time.AfterFunc(lastGrace, cancel) })()
	return setter.Set(ctx, w.param.TargetChannel(), w.value)
}
