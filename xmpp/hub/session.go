package hub

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

type atomicTime struct{ n atomic.Int64 }

func (t *atomicTime) set(at time.Time)     { t.n.Store(at.UnixNano()) }
func (t *atomicTime) since() time.Duration { return time.Since(time.Unix(0, t.n.Load())) }

// session is a bound resource. With stream management it outlives its
// connection for a while.
type session struct {
	h    *Hub
	acc  *account
	full jid.JID
	res  string
	q    *queue

	link    atomic.Pointer[link] // nil while hibernated
	answer  atomic.Bool          // the client asked for an acknowledgement
	smOn    atomic.Bool
	handled atomic.Uint32
	smID    string        // empty: cannot be resumed. Set once, by the reader.
	max     time.Duration // of hibernation

	// Guarded by acc.mu.
	presence   *exi.Doc // the last available presence, from stamped
	priority   int
	seq        uint64 // order of presences
	interested bool   // has asked for the roster
	asked      bool   // has got the requests and offline messages that waited
	directed   map[string]jid.JID
	muted      map[string]bool // contacts that answered presence by an error
	over       bool
	timer      *time.Timer // of hibernation
}

// push hands a stanza over to the client. A client that takes none is thrown
// out.
func (s *session) push(d *exi.Doc) error {
	err := s.q.push(d, time.Now())
	if errors.Is(err, errFull) {
		s.h.log.Warn("a session ends: its queue is full", "jid", s.full)
		s.h.background(func() {
			s.kick(xmpp.NewStreamError("resource-constraint", "the queue of this session is full"))
		})
	}
	return err
}

// lang is the language of the client's stream.
func (s *session) lang() string {
	if l := s.link.Load(); l != nil {
		return l.lang
	}
	return ""
}

// kick ends the session for good, with or without a connection.
func (s *session) kick(reason error) {
	s.h.mu.Lock()
	delete(s.h.resumes, s.smID)
	s.h.mu.Unlock()
	if l := s.link.Load(); l != nil {
		s.smOn.Store(false)
		l.fail(endSession{reason})
		<-l.over
	}
	s.end()
}

// endSession is the cause of a link's end that ends the session, too, although
// the client could otherwise come back.
type endSession struct{ error }

func (e endSession) Unwrap() error { return e.error }

// detached is the cause of a link's end when another connection resumes the
// session.
type detached struct{ error }

func (e detached) Unwrap() error { return e.error }

// serve lets stanzas flow over the session's link until that ends, and then
// sees to the session.
func (s *session) serve() error {
	l := s.link.Load()
	wrote, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(wrote)
		l.fail(s.writeLoop(l))
	}()
	go func() {
		defer close(read)
		l.fail(s.readLoop(l))
	}()
	<-l.down.Done()
	err := l.cause()
	var se *xmpp.StreamError
	told := errors.Is(err, xmpp.ErrStreamEnd) || errors.As(err, &se)
	if told {
		// What is queued does not go out any more, but the batch in hand does.
		select {
		case <-wrote:
		case <-time.After(time.Second):
			told = false
		}
	}
	if told {
		late := time.AfterFunc(time.Second, l.c.abort)
		if werr := xmpp.EndWith(l.conn, err); werr != nil {
			s.h.log.Debug("ending a stream", "jid", s.full, "err", werr)
		}
		late.Stop()
	}
	l.c.abort()
	<-wrote
	<-read
	s.leave(l, err)
	return err
}

// leave decides what becomes of a session without its link.
func (s *session) leave(l *link, err error) {
	var ends endSession
	var away detached
	var se *xmpp.StreamError
	final := errors.As(err, &ends) || errors.Is(err, xmpp.ErrStreamEnd) || s.smID == "" ||
		errors.As(err, &se) && se.Local && se.Condition != "connection-timeout"
	switch {
	case errors.As(err, &away):
		close(l.over)
	case final:
		close(l.over)
		s.end()
	default:
		s.hibernate()
		close(l.over)
	}
}

// hibernate keeps the session for the client to come back (XEP-0198 §5).
func (s *session) hibernate() {
	s.acc.mu.Lock()
	defer s.acc.mu.Unlock()
	s.link.Store(nil)
	if s.over {
		return
	}
	s.timer = time.AfterFunc(s.max, s.expire)
	s.h.log.Info("a session waits for its client", "jid", s.full, "for", s.max)
}

// expire ends a hibernated session.
func (s *session) expire() {
	if s.link.Load() == nil {
		s.h.log.Info("a session was not resumed", "jid", s.full)
		s.end()
	}
}

// end takes the session out of the account, tells those who saw it, and sees
// to what it did not get.
func (s *session) end() {
	s.h.mu.Lock()
	if s.smID != "" && s.h.resumes[s.smID] == s {
		delete(s.h.resumes, s.smID)
	}
	s.h.mu.Unlock()
	s.acc.mu.Lock()
	if s.over {
		s.acc.mu.Unlock()
		return
	}
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.acc.sessions[s.res] == s {
		delete(s.acc.sessions, s.res)
	}
	f := s.withdraw()
	s.acc.mu.Unlock()
	s.tellUnavailable(f, nil)
	for _, it := range s.q.close() {
		s.requeue(it)
	}
}

// requeue gives a stanza that the client did not get a second chance
// (XEP-0198 §8, 0198-R35).
func (s *session) requeue(it item) {
	defer s.h.putDoc(it.doc)
	var st xmpp.Stanza
	if err := st.Parse(it.doc.Root()); err != nil {
		return
	}
	p := &packet{st: &st, from: st.From, to: s.full}
	switch st.Kind {
	case xmpp.Message:
		p.to, p.delay = s.acc.bare, it.at // D11
		s.h.route(p)
	case xmpp.IQ:
		s.h.refuse(p, xmpp.NewError(xmpp.ServiceUnavailable, ""))
	}
}

// Pace of acknowledgement requests.
const (
	ackEvery = 16
	ackDelay = time.Second
	maxBatch = 64
)

// writeLoop writes what is queued until the link is down.
func (s *session) writeLoop(l *link) error {
	var docs []*exi.Doc
	var a, r exi.Doc
	unasked, asked := 0, time.Time{} // since the last request; when that was sent
	lastWrite := time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for l.down.Err() == nil {
		var stanzas int
		docs, stanzas = s.q.take(docs[:0], maxBatch)
		control := len(docs) - stanzas
		if s.answer.Swap(false) {
			fill(&a, func(d *exi.Doc) { appendA(d, s.handled.Load()) })
			docs = append(docs, &a)
		}
		unacked, waiting := s.q.pending()
		unasked += stanzas
		due := unasked >= ackEvery || unacked > 0 && !waiting && stanzas == 0 && time.Since(lastWrite) >= ackDelay
		silent := l.lastRead.since() >= s.h.lim.KeepAlive
		if s.smOn.Load() && asked.IsZero() && (due || silent) {
			fill(&r, func(d *exi.Doc) { d.Element(nameR, exi.Value{}) })
			docs = append(docs, &r)
			unasked, asked = 0, time.Now()
		} else if !s.smOn.Load() && asked.IsZero() && silent {
			fill(&r, s.ping)
			docs = append(docs, &r)
			asked = time.Now()
		}
		if len(docs) > 0 {
			err := l.conn.WriteElements(docs...)
			if err := s.settle(control, stanzas, err); err != nil {
				return err
			}
			lastWrite = time.Now()
			continue
		}
		s.q.wrote(0, false)
		wait := s.h.lim.KeepAlive - l.lastRead.since()
		if !asked.IsZero() {
			if l.lastRead.since() < time.Since(asked) {
				asked = time.Time{} // there was a sign of life
				continue
			}
			wait = s.h.lim.Timeout - time.Since(asked)
			if wait <= 0 {
				return xmpp.NewStreamError("connection-timeout", "")
			}
		} else if unacked > 0 {
			wait = min(wait, ackDelay-time.Since(lastWrite))
		}
		timer.Reset(max(wait, time.Millisecond))
		select {
		case <-s.q.wake:
		case <-timer.C:
		case <-l.down.Done():
		}
	}
	return l.cause()
}

// settle ends a batch. A stanza that the wire cannot carry is left out.
func (s *session) settle(control, stanzas int, err error) error {
	var enc *xmpp.EncodeError
	unsent, skip := 0, false
	if errors.As(err, &enc) {
		err = nil
		s.answer.Store(s.smOn.Load()) // it may have been behind the bad one
		if enc.Index < control+stanzas {
			unsent = min(control+stanzas-enc.Index, stanzas)
			skip = unsent > 0 && enc.Index >= control
		}
		s.h.log.Warn("a stanza cannot be sent", "jid", s.full, "err", enc)
		s.q.signal()
	}
	for _, d := range s.q.wrote(unsent, skip) {
		s.h.putDoc(d)
	}
	return err
}

func fill(d *exi.Doc, f func(*exi.Doc)) {
	d.Reset()
	f(d)
}

var namePing = exi.N(xmpp.NSPing, "ping")

// ping asks a client without stream management for a sign of life.
func (s *session) ping(d *exi.Doc) {
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, ID: "hub-" + strconv.FormatInt(time.Now().UnixNano(), 36),
		From: s.h.domain, To: s.full,
		Payload: xmpp.PayloadFunc(func(d *exi.Doc) { d.Element(namePing, exi.Value{}) })}
	st.AppendEvents(d)
}

// readLoop handles what the client sends until the link is down. It is the
// only reader of the connection.
func (s *session) readLoop(l *link) error {
	d := new(exi.Doc)
	for {
		if err := l.conn.ReadElement(d); err != nil {
			return err
		}
		l.lastRead.set(time.Now())
		if l.down.Err() != nil {
			return l.cause() // after a stream error nothing counts
		}
		if err := s.element(d.Root()); err != nil {
			return err
		}
	}
}

// element handles one first-level element.
func (s *session) element(c exi.Cursor) error {
	if xmpp.KindOf(c.Name()) != 0 {
		err := s.stanza(c)
		if s.smOn.Load() {
			s.handled.Add(1) // routed, or answered (XEP-0198 §4)
		}
		return err
	}
	switch q := c.Name().Value(); q.Space {
	case xmpp.NSSM:
		return s.management(c)
	case xmpp.NSClient:
		return xmpp.NewStreamError("unsupported-stanza-type", q.Local)
	default:
		return xmpp.NewStreamError("bad-format", "unknown element "+q.Local+" in "+q.Space)
	}
}
