package events

import (
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/sensors"
)

// subscription is what one account wants of some nodes. Guarded by Service.mu.
type subscription struct {
	id         string // in the store
	bare, full string
	req        Request
	configured bool
	order      uint64 // of two that cover a node the later holds

	// behind: the subscriber misses readings, which are kept in spans until
	// they are taken.
	behind bool
	spans  map[fieldKey]*span
	live   map[fieldKey]int64 // last reading that went out live, ms

	nodes   []node.Ref        // what it covers, resolved
	fields  map[string]*Field // by name; nil: all
	watches map[node.Ref]*watch
	dirty   bool // the store does not have it like this
}

// fieldKey names a field.
type fieldKey struct {
	ref  node.Ref
	name string
}

// span are the instants of readings that a subscriber missed, in ms: runs of
// readings, both ends included. Open: the last one goes on.
type span struct {
	Open bool
	Runs [][2]int64
}

// watch is a node of a subscription.
type watch struct {
	base   map[string]magnitude // conditions count from here
	came   []sensors.Item       // readings that wait to be sent
	due    bool                 // an event with the present values is due
	sent   time.Time            // the last event
	notYet time.Time            // none before
}

// each reports whether every reading is sent: there is neither a condition nor
// a longest interval that says otherwise.
func (s *subscription) each() bool {
	if s.req.Keep {
		return true
	}
	return s.req.Max == 0 && !slices.ContainsFunc(s.req.Fields, func(f Field) bool { return f.conditional() })
}

// wants reports whether a field belongs to the subscription.
func (s *subscription) wants(name string) bool {
	return s.fields == nil || s.fields[name] != nil
}

func (s *subscription) prepare() {
	s.watches = make(map[node.Ref]*watch)
	if s.spans == nil {
		s.spans = make(map[fieldKey]*span)
	}
	if s.live == nil {
		s.live = make(map[fieldKey]int64)
	}
	if len(s.req.Fields) > 0 {
		s.fields = make(map[string]*Field, len(s.req.Fields))
		for i := range s.req.Fields {
			s.fields[s.req.Fields[i].Name] = &s.req.Fields[i]
		}
	}
}

func (s *subscription) watch(ref node.Ref) *watch {
	w := s.watches[ref]
	if w == nil {
		w = &watch{base: make(map[string]magnitude)}
		s.watches[ref] = w
	}
	return w
}

// miss notes a reading that does not go out now.
func (s *subscription) miss(k fieldKey, ms int64) {
	sp := s.spans[k]
	if sp == nil {
		sp = new(span)
		s.spans[k] = sp
		s.dirty = true
	}
	n := len(sp.Runs)
	switch {
	case !sp.Open || n == 0:
		sp.Open, s.dirty = true, true
		sp.Runs = append(sp.Runs, [2]int64{ms, ms})
		if len(sp.Runs) > runsMost {
			// Too many pieces: the alarms between two of them come again.
			sp.Runs[0][1] = sp.Runs[1][1]
			sp.Runs = slices.Delete(sp.Runs, 1, 2)
		}
	default:
		r := &sp.Runs[n-1]
		r[0], r[1] = min(r[0], ms), max(r[1], ms)
	}
}

// runsMost bounds the runs of a span.
const runsMost = 64

// fallBack begins to keep what is missed: of each field, from the reading on
// after the last that went out.
func (s *subscription) fallBack() {
	s.behind, s.dirty = true, true
	for k, ms := range s.live {
		sp := s.spans[k]
		if sp == nil {
			sp = new(span)
			s.spans[k] = sp
		}
		if !sp.Open {
			sp.Open = true
			sp.Runs = append(sp.Runs, [2]int64{ms + 1, ms})
		}
	}
}

// catchUp ends fallBack: what was missed is known in full.
func (s *subscription) catchUp() {
	s.behind, s.dirty = false, true
	for k, sp := range s.spans {
		sp.Open = false
		sp.Runs = slices.DeleteFunc(sp.Runs, func(r [2]int64) bool { return r[0] > r[1] })
		if len(sp.Runs) == 0 {
			delete(s.spans, k)
		}
	}
}

// earliest is the first instant that was missed.
func (s *subscription) earliest() (ms int64, ok bool) {
	for _, sp := range s.spans {
		if len(sp.Runs) > 0 && (!ok || sp.Runs[0][0] < ms) {
			ms, ok = sp.Runs[0][0], true
		}
	}
	return ms, ok
}

// take removes what was missed of a field up to end and returns it.
func (s *subscription) take(k fieldKey, end int64) (runs [][2]int64) {
	sp := s.spans[k]
	for sp != nil && len(sp.Runs) > 0 && sp.Runs[0][0] <= end {
		r := sp.Runs[0]
		s.dirty = true
		// What is taken counts as sent: a later fallBack begins behind it.
		s.live[k] = max(s.live[k], min(r[1], end))
		if r[1] > end {
			sp.Runs[0][0] = end + 1
			return append(runs, [2]int64{r[0], end})
		}
		runs = append(runs, r)
		sp.Runs = slices.Delete(sp.Runs, 0, 1)
	}
	if sp != nil && len(sp.Runs) == 0 {
		delete(s.spans, k)
	}
	return runs
}

// stored form of a subscription.
type stored struct {
	Bare, Full string
	Request    Request
	Order      uint64
	Behind     bool     `json:",omitempty"`
	Missed     []missed `json:",omitempty"`
}

type missed struct {
	Node node.Ref
	Name string
	span
}

func (s *subscription) stored() stored {
	out := stored{Bare: s.bare, Full: s.full, Request: s.req, Order: s.order, Behind: s.behind}
	for k, sp := range s.spans {
		out.Missed = append(out.Missed, missed{k.ref, k.name, span{sp.Open, slices.Clone(sp.Runs)}})
	}
	sort.Slice(out.Missed, func(i, j int) bool {
		a, b := &out.Missed[i], &out.Missed[j]
		return a.Node.String()+"\x00"+a.Name < b.Node.String()+"\x00"+b.Name
	})
	return out
}

// restored is the inverse, in the next run: what was open when the last one
// ended went on until now.
func (x *stored) restored(id string, now time.Time) *subscription {
	s := &subscription{id: id, bare: x.Bare, full: x.Full, req: x.Request, order: x.Order, behind: x.Behind, spans: make(map[fieldKey]*span)}
	for i := range x.Missed {
		m := &x.Missed[i]
		sp := m.span
		if n := len(sp.Runs); sp.Open && n > 0 {
			sp.Runs[n-1][1] = max(sp.Runs[n-1][1], now.UnixMilli()-1)
		}
		sp.Open = false
		s.spans[fieldKey{m.Node, m.Name}] = &sp
	}
	s.prepare()
	return s
}

// magnitude is what changes of a value are measured by: a number, or a text of
// which every change counts 1 (proto-XEP, change conditions).
type magnitude struct {
	num  float64
	text string
	txt  bool
}

func magnitudeOf(v drivers.Value) (m magnitude, ok bool) {
	if b, is := v.Bool(); is {
		if b {
			m.num = 1
		}
		return m, true
	}
	if n, is := v.Number(); is {
		m.num = n.Float64()
		return m, true
	}
	if t, is := v.Time(); is {
		m.num = float64(t.UnixMilli()) / 1000
		return m, true
	}
	text, is := v.Text()
	if !is {
		return m, false
	}
	switch v.Kind() {
	case drivers.KindDate:
		if t, err := time.Parse("2006-01-02", text); err == nil {
			m.num = float64(t.Unix())
			return m, true
		}
	case drivers.KindClock:
		if t, err := time.Parse("15:04:05.999999999", text); err == nil {
			m.num = t.Sub(t.Truncate(24 * time.Hour)).Seconds()
			return m, true
		}
	case drivers.KindDuration:
		if d, ok := parseDuration(text); ok {
			m.num = d.Seconds()
			return m, true
		}
	}
	return magnitude{text: text, txt: true}, true
}

// met reports whether the change from a to b fulfils the condition. A change
// of exactly the amount does: a contact that opens changes by 1.
func (f *Field) met(a, b magnitude) bool {
	var d float64
	switch {
	case b.txt || a.txt:
		d = float64(strings.Compare(b.text, a.text))
	default:
		d = b.num - a.num
	}
	const slack = 1 + 1e-9 // 21.2 − 21.1 is a little less than 0.1
	return f.Up > 0 && d*slack >= f.Up || f.Down > 0 && -d*slack >= f.Down
}

// pieceOf is the reference to readings of a node.
type pieceOf struct {
	Sub    string
	Node   node.Ref
	Fields map[string][][2]int64
}

func (p *pieceOf) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("events: " + err.Error()) // texts and numbers only
	}
	return b
}

// newID names a subscription in the store.
func newID(bare string, order uint64) string { return bare + " " + strconv.FormatUint(order, 10) }
