package control

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// Form sessions (XEP-0336): a control form that was handed out is kept up to
// date for a while by messages, so that it shows what the outputs really do.
const (
	sessionLife = 15 * time.Minute // without activity (0336 §3.4)
	maxSessions = 64
	maxPerPeer  = 4               // of one bare JID; the oldest gives way
	updatePause = 2 * time.Second // between two updates of a form
)

// formSession is one form that somebody has open.
type formSession struct {
	id      string
	to      jid.JID // full: the only one who may use it
	request *request
	nodes   []node.Ref
	used    time.Time // last activity of the client
	sent    time.Time // last message
	shown   []string  // the values on the form, in its order
	dirty   bool      // a value may have changed
}

// sessions holds the open forms.
type sessions struct {
	wake chan struct{}

	mu   sync.Mutex
	open map[string]*formSession // nil entries do not occur
}

func newSessions() *sessions {
	return &sessions{wake: make(chan struct{}, 1), open: make(map[string]*formSession)}
}

// openFor gives form f a session. Without control fields there is nothing to
// keep up to date.
func (ss *sessions) openFor(f *form, r *request, to jid.JID, now time.Time) {
	if len(f.fields) == 0 {
		return
	}
	f.session = rand.Text()
	fs := &formSession{id: f.session, to: to, request: r, nodes: f.nodes, used: now, sent: now, shown: f.values()}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.expire(now)
	bare := to.Bare()
	mine := 0
	var oldest, oldestMine *formSession
	for _, o := range ss.open {
		if oldest == nil || o.used.Before(oldest.used) {
			oldest = o
		}
		if o.to.Bare().Equal(bare) {
			mine++
			if oldestMine == nil || o.used.Before(oldestMine.used) {
				oldestMine = o
			}
		}
	}
	switch {
	case mine >= maxPerPeer:
		delete(ss.open, oldestMine.id)
	case len(ss.open) >= maxSessions:
		delete(ss.open, oldest.id)
	}
	ss.open[fs.id] = fs
}

// find returns the session that one of the values names, if it is to's own.
func (ss *sessions) find(values []string, to jid.JID, now time.Time) *formSession {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.expire(now)
	for _, v := range values {
		if fs := ss.open[v]; fs != nil && fs.to.Equal(to) {
			fs.used = now
			return fs
		}
	}
	return nil
}

// close ends the session that one of the values names; ok is false when to has
// no such session.
func (ss *sessions) close(values []string, to jid.JID) (ok bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, v := range values {
		if fs := ss.open[v]; fs != nil && fs.to.Equal(to) {
			delete(ss.open, v)
			return true
		}
	}
	return false
}

// expire drops sessions nobody used for too long. ss.mu is held.
func (ss *sessions) expire(now time.Time) {
	for id, fs := range ss.open {
		if now.Sub(fs.used) >= sessionLife {
			delete(ss.open, id)
		}
	}
}

// changed is told every change of a reading.
func (ss *sessions) changed(c live.Change) {
	if c.Old.Value == c.New.Value && c.Old.Quality == c.New.Quality {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, fs := range ss.open {
		if !fs.dirty && slices.Contains(fs.nodes, c.Ref) {
			fs.dirty = true
			select {
			case ss.wake <- struct{}{}:
			default:
			}
		}
	}
}

// due takes the sessions whose form may have to be updated now, and says when
// to look again.
func (ss *sessions) due(now time.Time) (list []*formSession, next time.Duration) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.expire(now)
	next = time.Hour
	for _, fs := range ss.open {
		if !fs.dirty {
			continue
		}
		if wait := fs.sent.Add(updatePause).Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		fs.dirty, fs.sent = false, now
		list = append(list, fs)
	}
	return list, next
}

// updateForms sends updates until ctx is done (R27).
func (s *Service) updateForms(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		list, next := s.sessions.due(s.cfg.Now())
		for _, fs := range list {
			s.update(ctx, fs)
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-s.sessions.wake:
		case <-timer.C:
		}
	}
}

// update sends a form again where a value on it changed. Rights are asked
// anew: who lost them gets no more updates.
func (s *Service) update(ctx context.Context, fs *formSession) {
	f, fault := s.formFor(ctx, fs.request, fs.to)
	if fault != nil {
		s.sessions.close([]string{fs.id}, fs.to)
		return
	}
	values := f.values()
	if slices.Equal(values, fs.shown) { // only this goroutine looks at shown
		return
	}
	fs.shown = values
	f.session = fs.id
	st := xmpp.Stanza{Kind: xmpp.Message, To: fs.to, Lang: f.lang, Payload: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameUpdated)
		d.Attr(attrSessionVariable, exi.Str(sessionVar))
		f.AppendEvents(d)
		d.End()
	})}
	if err := s.cfg.Sender.Send(ctx, st); err != nil {
		s.cfg.Logger.Debug("a form could not be updated", slog.String("to", fs.to.String()), slog.Any("err", err))
	}
}

// handlePostBack answers a form that was posted back while it is being edited
// with the form as it now is. It never acts (R50).
func (s *Service) handlePostBack(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	r, fault := parsePostBack(st.Child(), s.cfg.MaxNames)
	if fault != nil {
		return nil, fault
	}
	fs := s.sessions.find(r.hidden, st.From, s.cfg.Now())
	if fs == nil { // R51
		return nil, xmpp.NewError(xmpp.ItemNotFound, "this form has expired; ask for a new one")
	}
	f, fault := s.formFor(ctx, fs.request, st.From)
	if fault != nil {
		s.sessions.close(r.hidden, st.From)
		return nil, fault
	}
	f.session = fs.id
	lang := langOf(st)
	if lang == "" {
		lang = fs.request.lang
	}
	for i := range f.fields {
		ff := &f.fields[i]
		for j := range r.wants {
			if w := &r.wants[j]; w.name == ff.param.Name {
				ff.posted, ff.value, ff.known = true, w.text, true
				if _, err := w.value(&ff.param, s.cfg.Location); err != nil {
					said := node.PhraseOf(err)
					if ff.fault = saidIn(lang, said); ff.fault != said.Text {
						f.lang = german
					}
				}
			}
		}
	}
	return xmpp.Answer{Payload: f, Lang: f.lang}, nil
}

// handleFormCancel ends a form session.
func (s *Service) handleFormCancel(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	r, fault := parsePostBack(st.Child(), s.cfg.MaxNames)
	if fault != nil {
		return nil, fault
	}
	if !s.sessions.close(r.hidden, st.From) {
		return nil, xmpp.NewError(xmpp.ItemNotFound, "no such form is open")
	}
	return nil, nil
}

// handleUpdateBounce ends the session of a form whose reader is gone.
func (s *Service) handleUpdateBounce(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	for c := range st.Elem.Children() {
		if c.Name() != nameUpdated {
			continue
		}
		for f := range c.Child(nameX).Children() {
			if v, _ := f.Attr(attrVar); v.Is(sessionVar) {
				s.sessions.close([]string{f.Child(nameValue).Text().String()}, st.From)
			}
		}
	}
	return nil, nil
}

// parsePostBack reads the form inside submit or cancel of XEP-0336. A form
// that is given up may have any type.
func parsePostBack(c exi.Cursor, names int) (*request, *xmpp.Error) {
	p := parser{names: names, anyType: c.Name() == nameDynCancel}
	for k := range c.Children() {
		if k.Name() == nameX {
			p.x(k)
		}
	}
	if p.xs == 0 {
		p.fail("there is no form in it")
	}
	return &p.r, p.err
}
