package sensors

import (
	"context"
	"errors"
	"time"

	"postern/internal/live"
	"postern/xmpp"
)

// smallPlan is the number of fields up to which ready data is put together by
// the handler itself.
const smallPlan = 500

// handleReq answers a request for a read-out (XEP-0323 §3.1).
func (s *Service) handleReq(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	r, err := s.accept(ctx, st)
	if err != nil {
		return nil, s.refusal(st, err)
	}
	if delay := r.plan.req.When.Sub(s.cfg.Now()); !r.plan.req.When.IsZero() && delay > 0 {
		p, err := s.postpone(r, delay)
		return p, s.refusal(st, err)
	}
	r.answer = st.Reply(xmpp.Result, mark{name: nameAccepted, seq: r.key.seq})
	if s.ready(ctx, r) || s.desk.start(r, s.work) {
		return nil, xmpp.ErrLater
	}
	// Everybody is busy: 0323-R08.
	if err := s.desk.park(r); err != nil {
		return nil, s.refusal(st, err)
	}
	r.answer.Payload, r.tell = mark{name: nameAccepted, seq: r.key.seq, queued: true}, true
	if err := s.cfg.Sender.Send(ctx, r.answer); err != nil {
		s.desk.finish(r)
		return nil, xmpp.ErrLater
	}
	r.answer = xmpp.Stanza{}
	s.desk.queue(r, s.work)
	return nil, xmpp.ErrLater
}

// accept parses and plans a request and puts it on the desk.
func (s *Service) accept(ctx context.Context, st *xmpp.Stanza) (*readout, error) {
	req, err := ParseRequest(st.Child(), s.cfg.Location, s.cfg.Limits.Names)
	if err != nil {
		return nil, err
	}
	if req.Types == 0 {
		if !s.cfg.AllowNoType {
			return nil, xmpp.NewError(xmpp.BadRequest, "say which types of fields to read") // 0323-D11
		}
		req.Types = ^req.Types // all
	}
	if s.cfg.RequireNodes && len(req.Nodes) == 0 {
		return nil, xmpp.NewError(xmpp.BadRequest, "name the nodes to read") // 0323-D23
	}
	if req.When.Sub(s.cfg.Now()) > s.cfg.Limits.Ahead {
		return nil, xmpp.NewError(xmpp.BadRequest, "when lies too far ahead")
	}
	from, bare := st.From.String(), st.From.Bare().String()
	p, err := s.newPlan(ctx, s.state.Load(), req, from, bare)
	if err != nil {
		return nil, err
	}
	r := &readout{key: key{from, req.Seq}, to: st.From, bare: bare, req: req, plan: p}
	return r, s.desk.enter(r)
}

// ready sends the whole answer at once where nothing has to be waited for.
func (s *Service) ready(ctx context.Context, r *readout) bool {
	fields := 0
	for i := range r.plan.entries {
		fields += len(r.plan.entries[i].fields)
	}
	if fields > smallPlan || r.plan.history {
		return false
	}
	waits := s.demandAll(r.plan)
	if !allDone(waits) {
		return false
	}
	defer s.desk.finish(r)
	s.desk.advance(r, sending)
	out := s.outgoing(r)
	defer out.release()
	out.ready(waits)
	out.finish(ctx)
	return true
}

// postpone keeps a read-out until its time (0323-R08).
func (s *Service) postpone(r *readout, delay time.Duration) (xmpp.Payload, error) {
	if err := s.desk.park(r); err != nil {
		return nil, err
	}
	r.tell = true
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	if r.stage != ended {
		// Not before the acceptance has left.
		r.timer = time.AfterFunc(max(delay, 50*time.Millisecond), func() { s.desk.queue(r, s.work) })
	}
	return mark{name: nameAccepted, seq: r.key.seq, queued: true}, nil
}

// refusal dresses an error for old peers, which look for the element of
// version 0.2 beside it.
func (s *Service) refusal(st *xmpp.Stanza, err error) error {
	seq, ok := seqOf(st.Child())
	var e *xmpp.Error
	if !errors.As(err, &e) || !ok || !s.cfg.LegacyPeers() {
		return err
	}
	c := *e
	text := c.Text
	if text == "" {
		text = string(c.Condition)
	}
	c.Following = rejected{seq: seq, text: text}
	return &c
}

// handleCancel stops a read-out of the same requester (XEP-0323 §3.6; 0323-D1,
// D25).
func (s *Service) handleCancel(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	seq, ok := seqOf(st.Child())
	if !ok {
		return nil, xmpp.NewError(xmpp.BadRequest, "seqnr is missing or not a 32-bit whole number")
	}
	if !s.desk.drop(key{st.From.String(), seq}) {
		return nil, s.refusal(st, xmpp.NewError(xmpp.ItemNotFound, "no read-out of yours with this seqnr is going on"))
	}
	return mark{name: nameCancelled, seq: seq}, nil
}

// handleBounce ends a read-out whose messages come back (0323-D30).
func (s *Service) handleBounce(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	for c := range st.Elem.Children() {
		if seq, ok := seqOf(c); ok && c.Name().Value().Space == NS {
			s.desk.drop(key{st.From.String(), seq})
		}
	}
	return nil, nil
}

// clockFlag is the quality of readings made now besides how they were made.
func (s *Service) clockFlag() live.Quality {
	if s.cfg.ClockSane() {
		return 0
	}
	return live.TimeOffset
}
