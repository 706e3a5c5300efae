package live

import (
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/node"
)

// Reading is the latest value of a field or output.
type Reading struct {
	Value   drivers.Value
	Raw     drivers.Value // as measured, where Value was calibrated; else kind none
	Unit    string
	Time    time.Time // when it was measured, with monotonic reading
	Quality Quality   // at least one flag
	// MaxAge is how long the value stands for the present; 0 for as long as
	// nothing newer comes.
	MaxAge time.Duration
	// Err is why the last attempt gave no value; Value is then the last one
	// known, flagged Missing.
	Err error
}

// SameAge as a MaxAge keeps that of the reading replaced: whoever polls the
// device said how long its readings last.
const SameAge = -1

// Fresh reports whether the reading may stand for the state at now.
func (r *Reading) Fresh(now time.Time) bool {
	return r.Err == nil && r.Quality.Usable() && (r.MaxAge == 0 || now.Sub(r.Time) <= r.MaxAge)
}

// Change is what observers are told: one reading of a node replaced another.
type Change struct {
	Ref      node.Ref
	Name     string
	Old, New Reading // Old is zero for the first
}

// Store holds the latest readings. It is safe for concurrent use. The zero
// Store is not; take New.
type Store struct {
	mu    sync.RWMutex
	nodes map[node.Ref]map[string]Reading
	marks map[mark]Quality

	// observing serialises Put with the calls of observers, so that each
	// observer sees the changes in order.
	observing sync.Mutex
	observers []*observer
}

// mark names a reading with flags of its own.
type mark struct {
	ref  node.Ref
	name string
}

type observer struct{ f func(Change) }

// New returns an empty Store.
func New() *Store {
	return &Store{nodes: make(map[node.Ref]map[string]Reading), marks: make(map[mark]Quality)}
}

// Get returns the latest reading; ok is false while there was none.
func (s *Store) Get(r node.Ref, name string) (rd Reading, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	rd, ok = s.nodes[r][name]
	return rd, ok
}

// Put stores a reading and tells the observers before it returns. A reading
// that was taken before the one stored is dropped: a slow poll must not undo
// what a write has just read back.
func (s *Store) Put(r node.Ref, name string, rd Reading) {
	if rd.Quality == 0 {
		rd.Quality = AutomaticReadout
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	s.mu.Lock()
	m := s.nodes[r]
	if m == nil {
		m = make(map[string]Reading)
		s.nodes[r] = m
	}
	old := m[name]
	if older(rd.Time, old.Time) {
		s.mu.Unlock()
		return
	}
	rd.Quality |= s.marks[mark{r, name}]
	if rd.MaxAge == SameAge {
		rd.MaxAge = old.MaxAge
	}
	m[name] = rd
	s.mu.Unlock()
	for _, o := range s.observers {
		o.f(Change{Ref: r, Name: name, Old: old, New: rd})
	}
}

// Mark adds flags to a reading, and to all that follow, until it is called
// anew; 0 takes them away. Observers see the change.
func (s *Store) Mark(r node.Ref, name string, q Quality) {
	k := mark{r, name}
	s.mu.Lock()
	was := s.marks[k]
	if q == 0 {
		delete(s.marks, k)
	} else {
		s.marks[k] = q
	}
	rd, ok := s.nodes[r][name]
	s.mu.Unlock()
	if ok && was != q {
		rd.Quality &^= was
		s.Put(r, name, rd)
	}
}

// older reports whether a was before b. Only monotonic readings can tell: the
// wall clock may have been set back in between.
func older(a, b time.Time) bool {
	return a.Before(b) && a != a.Round(0) && b != b.Round(0)
}

// Fail marks a reading as failed: the last value stays, flagged Missing and
// Error, with the reason. A field that never had a value keeps having none.
func (s *Store) Fail(r node.Ref, name string, at time.Time, err error) {
	rd, _ := s.Get(r, name)
	rd.Quality = rd.Quality&^AutomaticReadout | Missing | Error
	rd.Err = err
	if rd.Value.Kind() == drivers.KindNone {
		rd.Time = at
	}
	s.Put(r, name, rd)
}

// Observe calls f for every change until cancel is called. Calls come one
// after the other on the goroutine that stored the reading; f must return
// promptly and must not call Put, Fail, Forget or Observe.
func (s *Store) Observe(f func(Change)) (cancel func()) {
	o := &observer{f}
	s.observing.Lock()
	defer s.observing.Unlock()
	// A fresh slice: nobody walks the old one, since Put holds the lock too.
	s.observers = append(s.observers, o)
	return func() {
		s.observing.Lock()
		defer s.observing.Unlock()
		for i, have := range s.observers {
			if have == o {
				s.observers = append(s.observers[:i:i], s.observers[i+1:]...)
				return
			}
		}
	}
}

// Forget drops everything about nodes for which keep is false: a changed
// configuration took them away.
func (s *Store) Forget(keep func(node.Ref) bool) {
	s.observing.Lock()
	defer s.observing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.nodes {
		if !keep(r) {
			delete(s.nodes, r)
		}
	}
}
