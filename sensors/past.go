package sensors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/sensors/history"
)

// Historical values of a field have two forms. Under the field's own name
// stand its readings, as historicalOther, and at the end of each period the
// last reading in it, with the type of the period and of every coarser one
// whose border the instant lies on (0323-D27). Beside it stand, under names of
// their own, what the period came to: "temperature, hour mean" is the mean of
// the hour that ended at its timestamp.
//
// The peaks of a field are today's smallest and largest reading, with their
// own timestamps, as "temperature, peak min" and "temperature, peak max".

// past is a field whose history is asked for.
type past struct {
	field *node.Field
	types node.Types // asked for and allowed
	own   bool       // values under the field's own name
	names []string   // the other names asked for; nil for all
}

// periods by history.Period.
var periods = [...]struct {
	name  string
	types node.Types
}{
	{"minute", node.HistoricalMinute}, {"hour", node.HistoricalHour}, {"day", node.HistoricalDay}, {"week", node.HistoricalWeek},
	{"month", node.HistoricalMonth}, {"quarter", node.HistoricalQuarter}, {"year", node.HistoricalYear},
}

// newPast tells what of a field's history a request asks for; ok is false for
// nothing.
func newPast(f *node.Field, types node.Types, names []string) (p past, ok bool) {
	types &= node.Historical | node.Peak
	if types == 0 || f.Constant() || f.State {
		return p, false
	}
	p = past{field: f, types: types, own: len(names) == 0 || slices.Contains(names, f.Name)}
	if len(names) == 0 {
		return p, true
	}
	p.names = []string{}
	for _, n := range names {
		if strings.HasPrefix(n, f.Name+", ") {
			p.names = append(p.names, n)
		}
	}
	return p, p.own || len(p.names) > 0
}

// typesAt returns the types of a value at the end of a period: its own and the
// coarser ones that begin or end then.
func typesAt(t time.Time, own node.Types) node.Types {
	var at node.Types
	switch midnight := t.Hour() == 0 && t.Minute() == 0; {
	case t.Minute() != 0 || t.Second() != 0 || t.Nanosecond() >= 1e6:
		return own
	case !midnight:
		at = node.HistoricalHour
	default:
		at = node.HistoricalHour | node.HistoricalDay
		if t.Weekday() == time.Monday {
			at |= node.HistoricalWeek
		}
		if t.Day() == 1 {
			at |= node.HistoricalMonth
			if (t.Month()-1)%3 == 0 {
				at |= node.HistoricalQuarter
			}
			if t.Month() == time.January {
				at |= node.HistoricalYear
			}
		}
	}
	return own | at&^(own-1) // the schema's order is that of length
}

// source is one series of values to merge: readings, or one kind of period.
type source struct {
	raw    *history.Cursor
	points []history.Point
	rows   *history.RowCursor
	list   []history.Row
	period history.Period
	more   bool
}

// sources opens what a field's history is made of, the finest first.
func (s *Service) sources(ref node.Ref, p *past, req *Request) ([]*source, error) {
	var all []*source
	if j := s.cfg.Journals[ref]; j != nil {
		if !p.own || p.types&node.HistoricalOther == 0 {
			return nil, nil
		}
		points, err := j.Past(p.field.Name, req.From, req.To, s.cfg.Limits.Values)
		return []*source{{points: points}}, err
	}
	h := s.cfg.History
	if p.own && p.types&node.HistoricalOther != 0 {
		all = append(all, &source{raw: h.Raw(ref, p.field.Name, req.From, req.To), more: true})
	}
	for i := range periods {
		// A coarser value is also one of each finer type (0323-R50).
		if periods[i].types.Widen()&p.types != 0 {
			per := history.Period(i)
			all = append(all, &source{rows: h.Rows(ref, p.field.Name, per, req.From, req.To), period: per, more: true})
		}
	}
	return all, nil
}

// at returns the instant of the source's next value; ok is false at its end.
func (s *source) at() (t time.Time, ok bool, err error) {
	for len(s.points) == 0 && len(s.list) == 0 {
		if !s.more {
			return t, false, nil
		}
		if s.raw != nil {
			s.points, s.more, err = s.raw.Next(s.points[:0])
		} else {
			s.list, s.more, err = s.rows.Next(s.list[:0])
		}
		if err != nil {
			return t, false, err
		}
	}
	if s.rows == nil {
		return s.points[0].Time, true, nil
	}
	return s.list[0].End, true, nil
}

// earliest returns the sources whose next values are the earliest, and when
// that is.
func earliest(all []*source, dst []*source) ([]*source, time.Time, error) {
	var first time.Time
	for _, s := range all {
		t, ok, err := s.at()
		switch {
		case err != nil:
			return nil, first, err
		case !ok:
		case len(dst) == 0 || t.UnixMilli() < first.UnixMilli():
			dst, first = append(dst[:0], s), t
		case t.UnixMilli() == first.UnixMilli():
			dst = append(dst, s)
		}
	}
	return dst, first, nil
}

// sendPast sends the history that a read-out asks for, while it goes on.
func (s *Service) sendPast(ctx context.Context, out *outgoing) {
	select {
	case s.histories <- struct{}{}:
		defer func() { <-s.histories }()
	case <-ctx.Done():
		return
	}
	left := s.cfg.Limits.Values
	for i := range out.r.plan.entries {
		e := &out.r.plan.entries[i]
		for j := range e.past {
			if !s.sendField(ctx, out, e, &e.past[j], &left) {
				return
			}
		}
	}
}

// pacer is a Sender that knows how much waits in it.
type pacer interface{ Pending() int }

// A read-out of the past goes on when at most these many stanzas wait: enough
// to keep a link busy, and a megabyte or two, where a full queue would take
// thirty.
const (
	waiting  = 64
	paceTick = 2 * time.Millisecond
	paceMost = 10 * time.Second // then the queue's own limit holds
)

// pace waits until the session has sent most of what it has.
func (s *Service) pace(ctx context.Context) {
	p, ok := s.cfg.Sender.(pacer)
	if !ok || p.Pending() <= waiting {
		return
	}
	tick := time.NewTicker(paceTick)
	defer tick.Stop()
	for range paceMost / paceTick {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if p.Pending() <= waiting {
			return
		}
	}
}

// sendField sends the history of one field. It reports false when nothing more
// is to be sent.
func (s *Service) sendField(ctx context.Context, out *outgoing, e *entry, p *past, left *int) bool {
	ref := e.ref
	if p.types&node.Peak != 0 && s.cfg.Journals[e.node.Ref] == nil {
		if err := s.peaks(out, e, p); err != nil {
			out.rep.fault(ref, s.cfg.Now(), p.field.Name+": the history cannot be read: "+err.Error())
			return true
		}
	}
	all, err := s.sources(e.node.Ref, p, &out.r.plan.req)
	if err != nil {
		out.rep.fault(ref, s.cfg.Now(), p.field.Name+": the past cannot be read: "+err.Error())
		return true
	}
	var now []*source
	for {
		var t time.Time
		var err error
		if now, t, err = earliest(all, now[:0]); err != nil {
			out.rep.fault(ref, s.cfg.Now(), p.field.Name+": the history cannot be read: "+err.Error())
			return true
		}
		if len(now) == 0 {
			return true
		}
		had := len(out.rep.items)
		for _, src := range now {
			src.take(out, ref, p, t.In(s.cfg.Location))
		}
		if *left -= len(out.rep.items) - had; *left < 0 {
			out.rep.fault(ref, s.cfg.Now(), fmt.Sprintf("more than %d values of the past; ask for a shorter time", s.cfg.Limits.Values))
			return false
		}
		if len(out.rep.items) >= maxItems {
			out.flush(ctx)
			s.pace(ctx)
			if out.failed || ctx.Err() != nil || !s.alive(out.r) {
				return false
			}
		}
	}
}

// peaks adds today's smallest and largest reading.
func (s *Service) peaks(out *outgoing, e *entry, p *past) error {
	low, high, ok, err := s.cfg.History.Peaks(e.node.Ref, p.field.Name)
	if err != nil || !ok {
		return err
	}
	for _, peak := range [...]struct {
		name string
		history.Point
	}{{"min", low}, {"max", high}} {
		name := p.field.Name + ", peak " + peak.name
		if p.names == nil || slices.Contains(p.names, name) {
			out.once(Item{Ref: e.ref, Time: peak.Time, Name: name, Value: peak.Value, Unit: peak.Unit, Types: node.Peak, Quality: peak.Quality})
		}
	}
	return nil
}

// take moves the source's values at t into the report.
func (s *source) take(out *outgoing, ref node.Ref, p *past, t time.Time) {
	ms := t.UnixMilli()
	if s.rows == nil {
		for len(s.points) > 0 && s.points[0].Time.UnixMilli() == ms {
			pt := &s.points[0]
			out.value(ref, p, Item{Time: t, Value: pt.Value, Unit: pt.Unit, Types: node.HistoricalOther, Quality: pt.Quality})
			s.points = s.points[1:]
		}
		return
	}
	for len(s.list) > 0 && s.list[0].End.UnixMilli() == ms {
		r := &s.list[0]
		per := &periods[s.period]
		if p.own {
			out.value(ref, p, Item{Time: t, Value: r.Last, Unit: r.Unit, Types: typesAt(t, per.types), Quality: r.Quality()})
		}
		for _, stat := range [...]struct {
			name string
			v    drivers.Value
			unit string
		}{{"min", r.Min, r.Unit}, {"mean", r.Mean, r.Unit}, {"max", r.Max, r.Unit}, {"count", drivers.Long(r.Count), ""}} {
			name := p.field.Name + ", " + per.name + " " + stat.name
			if stat.v.Kind() == drivers.KindNone || p.names != nil && !slices.Contains(p.names, name) {
				continue
			}
			out.once(Item{Ref: ref, Time: t, Name: name, Value: stat.v, Unit: stat.unit, Types: per.types, Quality: r.Quality()})
		}
		s.list = s.list[1:]
	}
}

// value adds a value under the field's own name.
func (o *outgoing) value(ref node.Ref, p *past, it Item) {
	f := p.field
	it.Ref, it.Name, it.Value = ref, f.Name, cleanValue(it.Value)
	it.DataType, it.Module, it.StringIDs = f.DataType, f.Module, f.StringIDs
	o.once(it)
}

// once adds an item unless one of the same name and instant is there: then the
// more important of the two stays, with the types of both (0323-R52).
func (o *outgoing) once(it Item) {
	items := o.rep.items
	for i := len(items) - 1; i >= 0 && items[i].Ref == it.Ref && sameInstant(&items[i], &it); i-- {
		if items[i].Name == it.Name {
			types := items[i].Types | it.Types
			if it.Quality.Compare(items[i].Quality) > 0 {
				items[i] = it // the more important one stays (0323-D20)
			}
			items[i].Types = types
			return
		}
	}
	o.rep.items = append(o.rep.items, it)
}
