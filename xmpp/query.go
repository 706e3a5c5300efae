package xmpp

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// pending is a request without an answer yet.
type pending struct {
	to   jid.JID
	ch   chan job // gets the answer, or a job with err; buffered
	ping *link    // the link's own ping instead of a Query
}

var (
	namePing = exi.N(NSPing, "ping")
	pingBody = PayloadFunc(func(d *exi.Doc) { d.Element(namePing, exi.Value{}) })
)

// NSPing is the namespace of XEP-0199.
const NSPing = "urn:xmpp:ping"

func (s *Session) query(ctx context.Context, st Stanza, reply func(*Stanza) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
	}
	st.Kind, st.ID = IQ, s.newID()
	if st.Type == "" {
		st.Type = Get
	}
	p := &pending{to: st.To, ch: make(chan job, 1)}
	s.expect(st.ID, p)
	if err := s.send(ctx, []Stanza{st}); err != nil {
		s.forget(st.ID)
		return err
	}
	select {
	case j := <-p.ch:
		return useAnswer(j, reply)
	case <-ctx.Done():
	}
	if s.forget(st.ID) {
		return ctx.Err()
	}
	return useAnswer(<-p.ch, reply) // it came at the last moment
}

func useAnswer(j job, reply func(*Stanza) error) error {
	if j.err != nil {
		return j.err
	}
	if e := j.st.Err(); e != nil {
		return e // its Elem may be kept: the Doc does not go back to the pool
	}
	defer func() {
		j.st.Elem = exi.Cursor{}
		putDoc(j.doc)
	}()
	if reply == nil {
		return nil
	}
	return reply(j.st)
}

func (s *Session) expect(id string, p *pending) {
	s.pendMu.Lock()
	s.pending[id] = p
	s.pendMu.Unlock()
}

// forget removes a request; ok is false when it is answered already.
func (s *Session) forget(id string) (ok bool) {
	s.pendMu.Lock()
	defer s.pendMu.Unlock()
	_, ok = s.pending[id]
	delete(s.pending, id)
	return ok
}

// fail ends a request with err.
func (s *Session) fail(id string, err error) {
	s.pendMu.Lock()
	p := s.pending[id]
	delete(s.pending, id)
	s.pendMu.Unlock()
	if p != nil && p.ch != nil {
		p.ch <- job{err: err}
	}
}

// failAll ends all requests: the session they were sent in is gone.
func (s *Session) failAll(err error) {
	s.pendMu.Lock()
	defer s.pendMu.Unlock()
	for id, p := range s.pending {
		if p.ch != nil {
			p.ch <- job{err: err}
		}
		delete(s.pending, id)
	}
}

// answered hands an answer to whoever asked; it takes over d then. An id alone
// is no proof, so the sender must be the one that was asked (RFC 6120 §8.1.3).
func (s *Session) answered(l *link, st *Stanza, d *exi.Doc) bool {
	s.pendMu.Lock()
	p := s.pending[st.ID]
	if p == nil || !s.mayAnswer(p.to, st.From) {
		s.pendMu.Unlock()
		return false
	}
	delete(s.pending, st.ID)
	s.pendMu.Unlock()
	if p.ping != nil {
		if p.ping == l {
			l.ponged()
		}
		putDoc(d)
		return true
	}
	p.ch <- job{st: st, doc: d}
	return true
}

// newPing returns a ping to the server and expects its answer.
func (s *Session) newPing(l *link) *Stanza {
	st := &Stanza{Kind: IQ, Type: Get, ID: s.newID(), To: s.cfg.JID.Domain(), Payload: pingBody}
	s.expect(st.ID, &pending{to: st.To, ping: l})
	return st
}

func (s *Session) forgetPings() {
	s.pendMu.Lock()
	defer s.pendMu.Unlock()
	for id, p := range s.pending {
		if p.ping != nil {
			delete(s.pending, id)
		}
	}
}

func (s *Session) send(ctx context.Context, sts []Stanza) error {
	if len(sts) == 0 {
		return nil
	}
	var few [8]*exi.Doc
	docs := few[:0]
	for i := range sts {
		docs = append(docs, record(&sts[i]))
	}
	err := s.q.push(ctx, anyEpoch, true, docs)
	if err != nil {
		for _, d := range docs {
			putDoc(d)
		}
		if errors.Is(err, ErrOffline) && s.ended.Load() {
			return ErrClosed
		}
		return err
	}
	s.written()
	for i := range sts {
		if sts[i].Kind == Presence && sts[i].To.Equal(jid.JID{}) {
			s.present.Store(sts[i].Type == "")
		}
	}
	return nil
}
