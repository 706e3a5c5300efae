package xmpp

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// job is a received stanza on its way through a worker, which owns doc.
type job struct {
	st    *Stanza
	doc   *exi.Doc
	epoch uint32
	err   error // what is wrong with the stanza itself
}

// route takes over a received stanza. It never waits: answers that handlers
// are waiting for come through here.
func (s *Session) route(ctx context.Context, l *link, d *exi.Doc, c exi.Cursor) {
	st := new(Stanza)
	j := job{st: st, doc: d, epoch: s.epoch.Load()}
	j.err = st.parse(c, s.jids)
	if l.stale.Load() {
		st.QueuedSince = l.since
	}
	if st.Kind == IQ && (st.Type == Result || st.Type == TypeError) {
		if j.err != nil || !s.answered(l, st, d) {
			s.unrequested.Add(1)
			s.log.Debug("an answer nobody waits for", "id", st.ID, "from", st.From.String())
			putDoc(d)
		}
		return
	}
	if j.err == nil {
		j.err = checkStanza(st)
	}
	q := s.worker(st)
	if st.Kind != Presence && len(q) >= s.cfg.Backlog {
		s.overflow(ctx, j)
		return
	}
	select {
	case q <- j:
	default:
		s.overflow(ctx, j)
	}
}

// checkStanza applies the rules that are the same for all content
// (RFC 6120 §8.2.3, §8.1).
func checkStanza(st *Stanza) error {
	if st.Kind != IQ {
		return nil
	}
	if st.Type != Get && st.Type != Set {
		return NewError(BadRequest, "an iq of type get, set, result or error expected")
	}
	if st.ID == "" {
		return NewError(BadRequest, "an iq needs an id")
	}
	first := st.Elem.First()
	if !first.Valid() || first.Next().Valid() {
		return NewError(BadRequest, "exactly one payload expected")
	}
	return nil
}

// worker returns the queue for a sender: always the same for one account, so
// that its stanzas are handled in order (RFC 6120 §10.1).
func (s *Session) worker(st *Stanza) chan job {
	all := s.workers
	if n := len(all) - 1; len(s.cfg.Urgent) > 0 {
		if st.Kind == IQ && slices.Contains(s.cfg.Urgent, st.Child().Name()) {
			return all[n]
		}
		all = all[:n]
	}
	if len(all) == 1 {
		return all[0]
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	// The length of an address is at most 3 KiB; writing it allocates nothing.
	var buf [256]byte
	_, _ = h.Write(appendAddr(buf[:0], st.From.Bare()))
	return all[h.Sum64()%uint64(len(all))]
}

// overflow refuses a stanza that no worker has room for.
func (s *Session) overflow(ctx context.Context, j job) {
	s.overflowed.Add(1)
	st := j.st
	if st.Type != TypeError && st.Kind != Presence {
		reply := st.ErrorReply(NewError(ResourceConstraint, "too many requests are waiting").WithType(Wait))
		s.reply(ctx, j.epoch, false, &reply)
	} else {
		s.log.Warn("a stanza is dropped, too many are waiting", "kind", st.Kind.String(), "from", st.From.String())
	}
	st.Elem = exi.Cursor{}
	putDoc(j.doc)
}

// serveJob handles one stanza and gives its doc back.
func (s *Session) serveJob(ctx context.Context, j job) {
	s.handle(ctx, j)
	j.st.Elem = exi.Cursor{} // a handler that kept it finds nothing, not another stanza
	putDoc(j.doc)
}

func (s *Session) handle(ctx context.Context, j job) {
	st := j.st
	var p Payload
	err := j.err
	if err == nil {
		p, err = s.cfg.Handler.HandleStanza(ctx, st)
	}
	if errors.Is(err, ErrLater) {
		return
	}
	if err != nil && !isRefusal(err) {
		s.log.Error("a stanza could not be handled", "kind", st.Kind.String(), "from", st.From.String(), "err", err)
	}
	if st.Kind != IQ {
		if j.err != nil {
			s.log.Debug("a malformed stanza is ignored", "kind", st.Kind.String(), "err", j.err)
		}
		return
	}
	if st.Type == Result || st.Type == TypeError {
		return
	}
	if err != nil {
		reply := st.ErrorReply(err)
		s.reply(ctx, j.epoch, true, &reply)
		return
	}
	s.result(ctx, j, p)
}

// isRefusal says that err is an answer for the peer, not a fault here.
func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// result answers an iq, with what must follow in the same write.
func (s *Session) result(ctx context.Context, j job, p Payload) {
	var then []Stanza
	switch a := p.(type) {
	case Answer:
		then = a.Then
	case *Answer:
		p, then = *a, a.Then
	}
	reply := j.st.Reply(Result, p)
	if len(then) == 0 {
		s.reply(ctx, j.epoch, true, &reply)
		return
	}
	var few [8]*exi.Doc
	docs := append(few[:0], record(&reply))
	for i := range then {
		docs = append(docs, record(&then[i]))
	}
	s.deliver(ctx, j.epoch, true, docs)
}

// record writes a stanza into a Doc of the pool.
func record(st *Stanza) *exi.Doc {
	d := getDoc()
	st.AppendEvents(d)
	return d
}

func (s *Session) reply(ctx context.Context, epoch uint32, wait bool, st *Stanza) {
	var one [1]*exi.Doc
	one[0] = record(st)
	s.deliver(ctx, epoch, wait, one[:])
}

// deliver queues answers. Those to a session that is gone are dropped: who
// asked was told that by the server.
func (s *Session) deliver(ctx context.Context, epoch uint32, wait bool, docs []*exi.Doc) {
	if err := s.q.push(ctx, epoch, wait, docs); err != nil {
		s.log.Debug("an answer is dropped", "err", err)
		for _, d := range docs {
			putDoc(d)
		}
		return
	}
	if wait {
		s.written()
	} else {
		s.q.signal()
	}
}

// unsendable replaces a stanza that cannot be written: who waits for a result
// gets an error instead.
func (s *Session) unsendable(bad *exi.Doc, reason error) {
	var st Stanza
	err := st.Parse(bad.Root())
	s.log.Error("a stanza cannot be sent and is dropped", "kind", st.Kind.String(), "to", st.To.String(), "err", reason)
	if err == nil && st.Kind == IQ && st.Type == Result {
		e := Stanza{Kind: IQ, Type: TypeError, ID: st.ID, To: st.To, Payload: NewError(InternalServerError, "")}
		s.reply(context.Background(), anyEpoch, false, &e)
	}
	if err == nil && st.Kind == IQ && (st.Type == Get || st.Type == Set) {
		s.fail(st.ID, reason)
	}
	putDoc(bad)
}

// mayAnswer says whether an answer from an address may come for a request to
// another (RFC 6120 §8.1.2.1): the same one, or, where the server or the own
// account was asked, any name of these (D9).
func (s *Session) mayAnswer(asked, from jid.JID) bool {
	if asked.Equal(from) {
		return true
	}
	zero := jid.JID{}
	own := s.cfg.JID.Bare()
	if !asked.Equal(zero) && !asked.Equal(own) {
		return false
	}
	return from.Equal(zero) || from.Equal(own) || from.Equal(own.Domain()) || from.Equal(s.localAddr())
}
