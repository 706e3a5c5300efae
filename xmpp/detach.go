package xmpp

import (
	"context"
	"sync"
)

// lane is one queue and who serves it. A handler that says by Detach that it
// waits for somebody else leaves the queue to a new goroutine and keeps only
// its sender's stanzas, which wait behind it so that their order stays
// (RFC 6120 §10.1).
//
//	queue: A1 B1 A2 ──▶ handle A1 … Detach ──▶ handle A1 to its end, then A2
//	                            └──▶ new goroutine: B1; A2 is held
type lane struct {
	s     *Session
	queue <-chan job
	ctx   context.Context // of the session
	wg    *sync.WaitGroup

	mu   sync.Mutex
	held map[string][]job // by account: stanzas behind a detached handler
}

// maxHeld bounds the stanzas of one account that wait behind its own.
const maxHeld = 16

// shift is the time in which a goroutine serves a lane.
type shift struct {
	lane *lane

	mu       sync.Mutex
	st       *Stanza // being handled; nil between stanzas
	detached bool
	sender   string // of the stanza that detached
}

type shiftKey struct{}

// Detach says that the handler whose context this is will wait for somebody
// else, such as a server that it asks: stanzas of other accounts are handled
// meanwhile, whose turn would come after this one. It does not wait. At most
// Config.Detached handlers of a session can be away so; then it returns an
// *Error, resource-constraint, with which the handler should refuse the
// stanza. In other contexts it does nothing.
func Detach(ctx context.Context) error {
	w, _ := ctx.Value(shiftKey{}).(*shift)
	if w == nil {
		return nil
	}
	return w.detach()
}

func (w *shift) detach() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lane
	if w.detached || w.st == nil {
		return nil
	}
	if int(l.s.away.Add(1)) > l.s.cfg.Detached {
		l.s.away.Add(-1)
		return NewError(ResourceConstraint, "too many requests wait for an answer from elsewhere").WithType(Wait)
	}
	w.detached, w.sender = true, w.st.From.Bare().String()
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string][]job)
	}
	l.held[w.sender] = nil
	l.mu.Unlock()
	l.wg.Go(l.run) // the handler's own goroutine is still counted
	return nil
}

// begin and end bound the handling of a stanza; end reports whether its handler
// detached.
func (w *shift) begin(st *Stanza) {
	w.mu.Lock()
	w.st = st
	w.mu.Unlock()
}

func (w *shift) end() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.st = nil
	return w.detached
}

// run handles the stanzas of the queue until it is closed, or a handler
// detached.
func (l *lane) run() {
	w := &shift{lane: l}
	ctx := context.WithValue(l.ctx, shiftKey{}, w)
	for j := range l.queue {
		if l.hold(j) {
			continue
		}
		w.begin(j.st)
		l.s.serveJob(ctx, j)
		if w.end() {
			l.catchUp(ctx, w.sender)
			return
		}
	}
}

// hold keeps a stanza whose sender has a detached handler.
func (l *lane) hold(j job) bool {
	l.mu.Lock()
	if len(l.held) == 0 {
		l.mu.Unlock()
		return false
	}
	sender := j.st.From.Bare().String()
	list, ok := l.held[sender]
	full := len(list) >= maxHeld
	if ok && !full {
		l.held[sender] = append(list, j)
	}
	l.mu.Unlock()
	if ok && full {
		l.s.overflow(l.ctx, j)
	}
	return ok
}

// catchUp handles what was held of an account, whose handler is back. These
// may wait, too: nobody else waits for them.
func (l *lane) catchUp(ctx context.Context, sender string) {
	defer l.s.away.Add(-1)
	for {
		l.mu.Lock()
		list := l.held[sender]
		if len(list) == 0 {
			delete(l.held, sender)
			l.mu.Unlock()
			return
		}
		j := list[0]
		list[0] = job{}
		l.held[sender] = list[1:]
		l.mu.Unlock()
		l.s.serveJob(ctx, j)
	}
}
