package registry

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// asks are requests of the service without an answer yet.
type asks struct {
	mu   sync.Mutex
	open map[string]ask
}

type ask struct {
	to    jid.JID
	until time.Time
	done  func(exi.Cursor, error) // the payload of a result, valid until it returns
}

// ask sends a request of type set and calls done once: with the answer's
// error, with context.DeadlineExceeded after the time-out, or nil.
func (s *Server) ask(ctx context.Context, to jid.JID, p xmpp.Payload, timeout time.Duration, done func(error)) {
	s.askFor(ctx, xmpp.Set, to, p, timeout, func(_ exi.Cursor, err error) { done(err) })
}

// askFor is ask for requests whose answer says something.
func (s *Server) askFor(ctx context.Context, typ string, to jid.JID, p xmpp.Payload, timeout time.Duration, done func(exi.Cursor, error)) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: typ, ID: rand.Text(), To: to, Payload: p}
	s.asks.mu.Lock()
	if s.asks.open == nil {
		s.asks.open = make(map[string]ask)
	}
	s.asks.open[st.ID] = ask{to, s.cfg.Now().Add(timeout), done}
	s.asks.mu.Unlock()
	if err := s.send(ctx, st); err != nil {
		if a, ok := s.asks.take(st.ID, to); ok {
			a.done(exi.Cursor{}, err)
		}
	}
}

// take removes a request that to may answer: an id alone proves nothing.
func (q *asks) take(id string, from jid.JID) (ask, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a, ok := q.open[id]
	if !ok || !a.to.Equal(from) {
		return ask{}, false
	}
	delete(q.open, id)
	return a, true
}

func (s *Server) answered(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	a, ok := s.asks.take(st.ID, st.From)
	if !ok {
		return nil, nil
	}
	if e := st.Err(); e != nil {
		a.done(exi.Cursor{}, e)
		return nil, nil
	}
	a.done(st.Child(), nil)
	return nil, nil
}

func (q *asks) expire(now time.Time) {
	q.end(context.DeadlineExceeded, func(a ask) bool { return now.After(a.until) })
}

func (q *asks) failAll(err error) { q.end(err, func(ask) bool { return true }) }

func (q *asks) end(err error, which func(ask) bool) {
	var late []ask
	q.mu.Lock()
	for id, a := range q.open {
		if which(a) {
			late = append(late, a)
			delete(q.open, id)
		}
	}
	q.mu.Unlock()
	for _, a := range late {
		a.done(exi.Cursor{}, err)
	}
}

// limiter allows n events in a minute for each key, by token buckets. Its
// zero value allows none; it is safe for concurrent use.
type limiter struct {
	mu   *sync.Mutex
	rate float64 // in a second
	full float64
	keys map[string]tokens
}

type tokens struct {
	left float64
	at   time.Time
}

const maxBuckets = 20_000

func newLimiter(perMinute int) limiter {
	return limiter{mu: new(sync.Mutex), rate: float64(perMinute) / 60, full: float64(perMinute), keys: make(map[string]tokens)}
}

func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.keys[key]
	if !ok {
		l.makeRoom(now)
		b = tokens{l.full, now}
	}
	b.left = min(l.full, b.left+l.rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	allowed := b.left >= 1
	if allowed {
		b.left--
	}
	l.keys[key] = b
	return allowed
}

// makeRoom forgets keys whose bucket is full again where there are too many,
// and others until a quarter is free, so that a storm of new keys does not look
// through all of them for each.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.keys) < maxBuckets {
		return
	}
	for k, b := range l.keys {
		if b.left+l.rate*now.Sub(b.at).Seconds() >= l.full {
			delete(l.keys, k)
		}
	}
	for k := range l.keys {
		if len(l.keys) <= maxBuckets*3/4 {
			return
		}
		delete(l.keys, k)
	}
}

// seldom lets something be said once in a while, with how often it was not. Its
// zero value is ready; it is safe for concurrent use.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	kept int
}

// every reports whether to say it now, and how often it was not said before.
func (x *seldom) every(d time.Duration, now time.Time) (unsaid int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.last.IsZero() && now.Sub(x.last) < d {
		x.kept++
		return 0, false
	}
	unsaid, x.kept, x.last = x.kept, 0, now
	return unsaid, true
}
