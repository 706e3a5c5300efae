package events

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"

	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/sensors/history"
	"postern/xmpp"
)

// slice is how much time is worked off before the next node's turn, so that
// nodes come about together.
const slice = 10 * time.Minute

// More implements outbox.Source: the subscriber is available, so what it missed
// until now is known, and goes out piece by piece beside live data.
func (s *Service) More(ctx context.Context, bare string, most int) (out []outbox.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.bare != bare || !sub.req.Keep {
			continue
		}
		if sub.behind {
			sub.catchUp()
		}
		for len(out) < most && ctx.Err() == nil {
			more, ok := s.slice(sub)
			out = append(out, more...)
			if !ok {
				break
			}
		}
	}
	return out
}

// slice makes pieces of the earliest readings that were missed. ok is false when
// there are none. mu is held.
func (s *Service) slice(sub *subscription) (out []outbox.Ref, ok bool) {
	from, ok := sub.earliest()
	if !ok {
		return nil, false
	}
	if s.cfg.History == nil {
		return s.nothingKept(sub, from, WhyUnkept), true
	}
	if gone := s.cfg.History.Dropped(); from <= gone {
		return s.nothingKept(sub, from, outbox.WhyExpired, gone), true
	}
	step := slice.Milliseconds()
	end := from - from%step + step - 1
	byNode := make(map[node.Ref]map[string][][2]int64)
	for k := range sub.spans {
		if runs := sub.take(k, end); len(runs) > 0 {
			if byNode[k.ref] == nil {
				byNode[k.ref] = make(map[string][][2]int64)
			}
			byNode[k.ref][k.name] = runs
		}
	}
	nodes := make([]node.Ref, 0, len(byNode))
	for n := range byNode {
		nodes = append(nodes, n)
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].String() < nodes[j].String() })
	for _, n := range nodes {
		out = append(out, s.pieces(sub, n, byNode[n])...)
	}
	if len(out) == 0 {
		s.jump(sub)
	}
	return out, true
}

// WhyUnkept is outbox.WhyNotKept.
const WhyUnkept = outbox.WhyNotKept

// nothingKept turns what was missed, up to an instant where one is given, into
// a gap.
func (s *Service) nothingKept(sub *subscription, from int64, why string, until ...int64) []outbox.Ref {
	last := from
	end := int64(1<<63 - 1)
	if len(until) > 0 {
		end = until[0]
	}
	for k := range sub.spans {
		for _, r := range sub.take(k, end) {
			last = max(last, r[1])
		}
	}
	g := outbox.Gap{Why: why, Class: outbox.History, From: time.UnixMilli(from), To: time.UnixMilli(last)}
	return []outbox.Ref{{At: g.From, Gap: &g}}
}

// jump moves to the next reading: there may be none for days. mu is held.
func (s *Service) jump(sub *subscription) {
	next, found := int64(1<<63-1), false
	for k, sp := range sub.spans {
		if len(sp.Runs) == 0 {
			continue
		}
		last := sp.Runs[len(sp.Runs)-1][1]
		ps, _, err := s.cfg.History.Raw(k.ref, k.name, time.UnixMilli(sp.Runs[0][0]), time.UnixMilli(last)).Next(nil)
		if err != nil || len(ps) > 0 {
			found = true
			if len(ps) > 0 {
				next = min(next, ps[0].Time.UnixMilli())
			}
		}
	}
	if !found {
		for k := range sub.spans {
			sub.take(k, 1<<62)
		}
		return
	}
	for k := range sub.spans {
		sub.take(k, next-1)
	}
}

// readings calls f for what the history has of a field's runs.
func (s *Service) readings(ref node.Ref, name string, runs [][2]int64, f func(history.Point)) error {
	var page []history.Point
	for _, r := range runs {
		c := s.cfg.History.Raw(ref, name, time.UnixMilli(r[0]), time.UnixMilli(r[1]))
		for more := true; more; {
			var err error
			if page, more, err = c.Next(page[:0]); err != nil {
				return err
			}
			for i := range page {
				f(page[i])
			}
		}
	}
	return nil
}

// pieces cuts a node's readings into messages of a fair size. mu is held.
func (s *Service) pieces(sub *subscription, ref node.Ref, fields map[string][][2]int64) (out []outbox.Ref) {
	type reading struct {
		ms   int64
		size int
	}
	var all []reading
	for name, runs := range fields {
		err := s.readings(ref, name, runs, func(p history.Point) {
			it, ok := s.cfg.Sensors.PastOf(ref, name, p)
			if ok {
				all = append(all, reading{p.Time.UnixMilli(), it.Size() + 60})
			}
		})
		if err != nil {
			s.cfg.Logger.Error("the history cannot be read; a subscriber misses a part of it", "node", ref.String(), "err", err)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ms < all[j].ms })
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (size+all[n].size <= pieceOctets || n == 0 || all[n].ms == all[n-1].ms) {
			size += all[n].size
			n++
		}
		first, last := all[0].ms, all[n-1].ms
		p := pieceOf{Sub: sub.id, Node: ref, Fields: make(map[string][][2]int64)}
		for name, runs := range fields {
			if in := clip(runs, first, last); len(in) > 0 {
				p.Fields[name] = in
			}
		}
		out = append(out, outbox.Ref{At: time.UnixMilli(first), Ref: p.encode()})
		all = all[n:]
	}
	return out
}

// pieceOctets is about how large a message of the past is.
const pieceOctets = 9_000

func clip(runs [][2]int64, from, to int64) (out [][2]int64) {
	for _, r := range runs {
		if r[1] >= from && r[0] <= to {
			out = append(out, [2]int64{max(r[0], from), min(r[1], to)})
		}
	}
	return out
}

// Content implements outbox.Source.
func (s *Service) Content(ctx context.Context, bare string, ref []byte) (xmpp.Payload, error) {
	var p pieceOf
	if err := json.Unmarshal(ref, &p); err != nil {
		return nil, fmt.Errorf("events: a reference to the past: %w", err)
	}
	s.mu.Lock()
	sub := s.subs[p.Sub]
	if sub == nil { // it subscribed anew meanwhile
		for _, o := range s.routes[p.Node] {
			if o.bare == bare && (sub == nil || o.req.Keep) {
				sub = o
			}
		}
	}
	var req sensors.Request
	if sub != nil {
		req = sub.req.reads([]node.Ref{p.Node}, time.Time{})
	}
	s.mu.Unlock()
	gap := outbox.Gap{Why: outbox.WhyDenied, Class: outbox.History}
	if sub == nil {
		return gap, nil
	}
	if s.cfg.History == nil {
		gap.Why = outbox.WhyExpired
		return gap, nil
	}
	ask := node.Request{From: sub.address(), Bare: bare, Nodes: []node.Ref{p.Node}, Types: node.HistoricalOther,
		ServiceToken: req.ServiceToken, DeviceToken: req.DeviceToken, UserToken: req.UserToken}
	for name := range p.Fields {
		ask.Fields = append(ask.Fields, name)
	}
	slices.Sort(ask.Fields)
	d, err := s.cfg.Access.CanRead(ctx, ask)
	if err != nil {
		s.cfg.Logger.Warn("access could not be decided, so nothing is sent", "to", bare, "err", err)
		return gap, nil
	}
	var items []sensors.Item
	for _, name := range ask.Fields {
		if d.Readable(p.Node, name, node.HistoricalOther) == 0 {
			continue
		}
		gap.Why = outbox.WhyExpired
		err := s.readings(p.Node, name, p.Fields[name], func(pt history.Point) {
			if it, ok := s.cfg.Sensors.PastOf(p.Node, name, pt); ok {
				items = append(items, it)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(items) == 0 {
		return gap, nil
	}
	sort.SliceStable(items, func(i, j int) bool { return items[i].Time.Before(items[j].Time) })
	return &sensors.Fields{Seq: req.Seq, Items: items, Done: true}, nil
}
