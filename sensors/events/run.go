package events

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/xmpp"
)

// job is an event that is due.
type job struct {
	sub   *subscription
	ref   node.Ref
	class outbox.Class
	items []sensors.Item // readings to send; nil: the present values
}

// pass takes what changed, makes the events that are due, and returns when to
// look again.
func (s *Service) pass(ctx context.Context) time.Duration {
	s.tellEnded(ctx)
	s.qmu.Lock()
	changes, arrived := s.changes, s.arrived
	s.changes, s.arrived = nil, nil
	s.qmu.Unlock()

	now := s.cfg.Now()
	s.mu.Lock()
	ready := make(map[string]bool)
	is := func(bare string) bool {
		r, ok := ready[bare]
		if !ok {
			r = s.cfg.Outbox.Ready(bare)
			ready[bare] = r
		}
		return r
	}
	var jobs []job
	for _, bare := range arrived {
		s.came(bare, is(bare), now)
	}
	for i := range changes {
		jobs = s.change(jobs, &changes[i], is, now)
	}
	jobs, next := s.due(jobs, is, now)
	s.mu.Unlock()
	for i := range jobs {
		s.emit(ctx, &jobs[i])
	}
	return next
}

// grave flags are worth an alarm when they come or go.
const grave = live.Missing | live.Error | live.Warning | live.PowerFailure

// change hands a reading to the subscriptions of its node. mu is held.
func (s *Service) change(jobs []job, c *live.Change, ready func(string) bool, now time.Time) []job {
	if c.New.Err != nil && c.Old.Err != nil {
		return jobs // it keeps failing
	}
	if c.New.Err == nil && c.Old.Err == nil && c.New.Quality == c.Old.Quality && c.New.Time.Equal(c.Old.Time) {
		return jobs // the same reading again: a device may give one twice that is young enough
	}
	subs := s.routes[c.Ref]
	if len(subs) == 0 {
		return jobs
	}
	it, ok := s.cfg.Sensors.ItemOf(c.Ref, c.Name, c.New)
	if !ok {
		return jobs
	}
	if c.New.Err != nil {
		it.Time = now // the value's own time is that of the reading before
	}
	alarm := (c.Old.Quality^c.New.Quality)&grave != 0 && c.Old.Quality != 0
	for _, sub := range subs {
		if !sub.wants(c.Name) || it.Types&sub.req.Types == 0 {
			continue
		}
		w := sub.watch(c.Ref)
		k := fieldKey{c.Ref, c.Name}
		ms := it.Time.UnixMilli()
		switch {
		case sub.req.Keep && alarm:
			// It is committed and sent by itself, here or not.
			jobs = append(jobs, job{sub, c.Ref, outbox.Alarm, []sensors.Item{it}})
			sub.live[k] = ms
			if sp := sub.spans[k]; sp != nil {
				sp.Open = false
			}
		case sub.req.Keep && (sub.behind || !ready(sub.bare)):
			if !sub.behind {
				sub.fallBack()
				s.cfg.Outbox.Changed(true)
				s.cfg.Outbox.Wake(sub.bare, false)
			}
			sub.miss(k, ms)
		case sub.req.Keep:
			w.came = append(w.came, it)
			sub.live[k] = ms
		case !ready(sub.bare):
			// It is told the present state when it comes.
		case sub.each():
			w.came = append(slices.DeleteFunc(w.came, func(o sensors.Item) bool { return o.Name == it.Name }), it)
		case alarm || s.fulfils(sub, w, c):
			w.due = true
		}
	}
	return jobs
}

// fulfils reports whether a reading meets the condition of its field.
func (s *Service) fulfils(sub *subscription, w *watch, c *live.Change) bool {
	f := sub.fields[c.Name]
	if f == nil || !f.conditional() {
		return false
	}
	m, ok := magnitudeOf(c.New.Value)
	if !ok || c.New.Err != nil {
		return false
	}
	base, have := w.base[c.Name]
	if !have {
		w.base[c.Name] = m // the first reading there is
		return false
	}
	return f.met(base, m)
}

// came looks at the conditions of a subscriber that comes online. mu is held.
func (s *Service) came(bare string, ready bool, now time.Time) {
	if !ready {
		return
	}
	for _, sub := range s.subs {
		if sub.bare != bare || sub.req.Keep {
			continue
		}
		for _, n := range sub.nodes {
			w := sub.watch(n)
			if sub.each() {
				w.due = true
				continue
			}
			for name := range sub.fields {
				if rd, ok := s.cfg.Sensors.Latest(n, name); ok && s.fulfils(sub, w, &live.Change{Ref: n, Name: name, New: rd}) {
					w.due = true
				}
			}
		}
	}
}

// due collects the events whose time has come. mu is held.
func (s *Service) due(jobs []job, ready func(string) bool, now time.Time) ([]job, time.Duration) {
	next := time.Hour
	for _, sub := range s.subs {
		for ref, w := range sub.watches {
			if sub.req.Max > 0 && now.Sub(w.sent) >= sub.req.Max {
				w.due = true
			}
			if !w.due && len(w.came) == 0 {
				if sub.req.Max > 0 {
					next = min(next, w.sent.Add(sub.req.Max).Sub(now))
				}
				continue
			}
			if wait := max(w.sent.Add(sub.req.Min).Sub(now), w.notYet.Sub(now)); wait > 0 {
				next = min(next, wait)
				continue
			}
			if !ready(sub.bare) && !sub.req.Keep {
				// Its presence calls again.
				w.came = nil
				continue
			}
			j := job{sub, ref, outbox.Momentary, w.came}
			if w.due && !sub.req.Keep || w.due && len(w.came) == 0 {
				j.items = nil
			}
			jobs = append(jobs, j)
			w.came, w.due, w.sent, w.notYet = nil, false, now, time.Time{}
			if sub.req.Max > 0 {
				next = min(next, sub.req.Max)
			}
		}
	}
	return jobs, max(next, 10*time.Millisecond)
}

// emit makes the messages of an event.
func (s *Service) emit(ctx context.Context, j *job) {
	now := s.cfg.Now()
	req := j.sub.req.reads([]node.Ref{j.ref}, now)
	var faults []sensors.Fault
	items := j.items
	if items == nil {
		var err error
		items, faults, err = s.cfg.Sensors.Snapshot(ctx, req, j.sub.address(), j.sub.bare, itemsMost)
		if err != nil {
			s.refused(j, err)
			return
		}
		s.count(j, items)
	} else if items = s.readable(ctx, j, &req, items); len(items) == 0 {
		return
	}
	if len(items)+len(faults) == 0 {
		return
	}
	for _, p := range s.cfg.Sensors.Pack(req.Seq, items, faults) {
		m := outbox.Message{Class: j.class, At: now, Payload: p}
		if f, ok := p.(*sensors.Fields); ok && len(f.Items) > 0 {
			m.At, m.Need = f.Items[0].Time, []outbox.Need{need(j.ref, &req, f.Items)}
		}
		if err := s.cfg.Outbox.Add(j.sub.bare, m); err != nil && !errors.Is(err, outbox.ErrUnknown) {
			s.cfg.Logger.Error("an event cannot be made", "to", j.sub.bare, "err", err)
		}
	}
}

// itemsMost bounds the values of one event.
const itemsMost = 5000

func (s *subscription) address() string {
	if s.full != "" {
		return s.full
	}
	return s.bare
}

// need is what a subscriber must still be allowed when the items go out.
func need(ref node.Ref, req *sensors.Request, items []sensors.Item) outbox.Need {
	n := outbox.Need{Node: ref, ServiceToken: req.ServiceToken, DeviceToken: req.DeviceToken, UserToken: req.UserToken}
	for i := range items {
		name := items[i].Name
		// "temperature, hour mean" stands under the right to temperature.
		if items[i].Types&node.Historical != 0 {
			name, _, _ = strings.Cut(name, ", ")
		}
		if !slices.Contains(n.Names, name) {
			n.Names = append(n.Names, name)
		}
		n.Types |= items[i].Types
	}
	return n
}

// count lets conditions count from what was just told.
func (s *Service) count(j *job, items []sensors.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := j.sub.watch(j.ref)
	for i := range items {
		it := &items[i]
		if it.Types&node.Historical != 0 || j.sub.fields[it.Name] == nil {
			continue
		}
		if m, ok := magnitudeOf(it.Value); ok {
			w.base[it.Name] = m
		}
	}
}

// readable leaves out what the subscriber may not read, and puts the rest in
// the order of time.
func (s *Service) readable(ctx context.Context, j *job, req *sensors.Request, items []sensors.Item) []sensors.Item {
	ask := node.Request{From: j.sub.address(), Bare: j.sub.bare, Nodes: []node.Ref{j.ref}, Types: req.Types,
		ServiceToken: req.ServiceToken, DeviceToken: req.DeviceToken, UserToken: req.UserToken}
	for i := range items {
		if !slices.Contains(ask.Fields, items[i].Name) {
			ask.Fields = append(ask.Fields, items[i].Name)
		}
	}
	d, err := s.cfg.Access.CanRead(ctx, ask)
	if err != nil {
		s.refused(j, err)
		return nil
	}
	items = slices.DeleteFunc(items, func(it sensors.Item) bool { return d.Readable(it.Ref, it.Name, it.Types) == 0 })
	sort.SliceStable(items, func(i, j int) bool { return items[i].Time.Before(items[j].Time) })
	return items
}

// refused notes that an event was not made; the subscriber learns it when it
// subscribes anew (proto-XEP, re-evaluation).
func (s *Service) refused(j *job, err error) {
	var e *xmpp.Error
	if !errors.As(err, &e) {
		s.cfg.Logger.Warn("access could not be decided, so nothing is sent", "to", j.sub.bare, "err", err)
		return
	}
	s.cfg.Logger.Debug("an event is not sent", "to", j.sub.bare, "node", j.ref.String(), "err", err)
}
