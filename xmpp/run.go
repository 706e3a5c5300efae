package xmpp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// ErrNoService: the domain says that it offers no XMPP to clients (an SRV
// record with the target ".").
var ErrNoService = errors.New("xmpp: the domain offers no XMPP service")

// presenceRoom is how much more presence than other stanzas may wait: what a
// contact's presence was is not asked for again.
const presenceRoom = 4

// run owns every goroutine: the workers live as long as it, reader, writer and
// OnOnline as long as a connection.
func (s *Session) run(ctx context.Context) error {
	if s.ended.Load() || s.workers != nil {
		return ErrClosed
	}
	var workers sync.WaitGroup
	n := s.cfg.Workers
	if len(s.cfg.Urgent) > 0 {
		n++ // the last one is theirs
	}
	for range n {
		q := make(chan job, presenceRoom*s.cfg.Backlog)
		s.workers = append(s.workers, q)
		l := &lane{s: s, queue: q, ctx: ctx, wg: &workers}
		workers.Go(l.run)
	}
	err := s.keepOnline(ctx)
	s.ended.Store(true)
	s.lost(ErrClosed)
	for _, q := range s.workers {
		close(q)
	}
	workers.Wait()
	s.discardAgain()
	s.enter(Offline, nil)
	return err
}

// keepOnline connects, serves, waits, and begins again.
func (s *Session) keepOnline(ctx context.Context) error {
	for failures := 0; ; {
		s.enter(Connecting, nil)
		l, err := s.connect(ctx)
		if err == nil {
			began := time.Now()
			err = s.serve(ctx, l)
			if time.Since(began) >= s.cfg.Backoff.Stable {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		s.afterEnd(err)
		if s.cfg.NoRetry {
			return err
		}
		wait, held := s.cfg.Backoff.next(failures, err)
		failures++
		if !s.pause(ctx, wait, held, err) {
			return nil
		}
	}
}

// serve is one connection with stanzas on it.
func (s *Session) serve(ctx context.Context, l *link) error {
	s.online(l)
	octx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if s.cfg.OnOnline != nil {
		wg.Go(func() { s.cfg.OnOnline(octx, s, l.resumed) })
	}
	err := l.serve(ctx)
	s.endedAt = time.Now()
	s.lastAlive = l.start.Add(time.Duration(l.lastRead.Load()))
	cancel()
	wg.Wait()
	return err
}

func (s *Session) online(l *link) {
	s.connects.Add(1)
	if l.resumed {
		s.resumes.Add(1)
		l.since = s.lastAlive
	} else {
		s.resend()
	}
	s.stMu.Lock()
	s.features = l.features
	s.stMu.Unlock()
	s.enter(Online, func(st *State) {
		st.Err = nil
		st.Mechanism, st.Resumed = l.mechanism, l.resumed
		st.Resumable = s.sm.id != ""
		if cs := tlsState(l.conn); cs != nil {
			st.TLS = tlsName(cs)
		}
		if a, ok := l.conn.(interface{ RemoteAddr() net.Addr }); ok {
			st.Addr = a.RemoteAddr().String()
		}
		if c, ok := l.conn.(interface{ Codec() string }); ok {
			st.Codec = c.Codec()
		}
	})
	s.log.Info("online", "jid", s.localAddr().String(), "resumed", l.resumed, "mechanism", l.mechanism)
}

// afterEnd decides what is left of the session.
func (s *Session) afterEnd(err error) {
	s.log.Warn("the connection to the server ended", "err", err)
	var se *StreamError
	conflict := errors.As(err, &se) && !se.Local && se.Condition == "conflict"
	if s.sm.id == "" || conflict || errors.Is(err, errPoison) || errors.Is(err, ErrStreamEnd) {
		s.lost(ErrOffline)
		return
	}
	s.q.hibernate(s.endedAt.Add(s.sm.max))
}

// pause waits before the next attempt; it is false when ctx ended.
func (s *Session) pause(ctx context.Context, wait time.Duration, held bool, err error) bool {
	phase := Waiting
	if held {
		phase = Held
		s.log.Error("connecting again needs the operator; trying again rarely", "err", err, "in", wait.Round(time.Second))
	}
	s.enter(phase, func(st *State) { st.Err, st.Retry = err, time.Now().Add(wait) })
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// next returns how long to wait before retry number n, counted from 0, after
// err (CORE-R15, R18, D6, D7).
func (b Backoff) next(n int, err error) (wait time.Duration, held bool) {
	if mendless(err) {
		return jitter(b.Held), true
	}
	var se *StreamError
	condition := ""
	if errors.As(err, &se) && !se.Local {
		condition = se.Condition
	}
	switch condition {
	case "policy-violation", "resource-constraint":
		return jitter(b.Max), false
	case "system-shutdown":
		if n == 0 {
			return rand.N(b.Many) + 1, false
		}
	}
	if n == 0 {
		return rand.N(b.First) + 1, false
	}
	d := b.Max
	if n < 30 {
		d = min(d, time.Second<<n)
	}
	return jitter(d), false
}

// jitter spreads d by 30 % either way.
func jitter(d time.Duration) time.Duration {
	return d*7/10 + rand.N(d*6/10+1)
}

// mendless says that trying again soon would only hammer the server.
func mendless(err error) bool {
	var auth *AuthError
	var refused *loginError
	var se *StreamError
	switch {
	case errors.As(err, &auth):
		return !auth.temporary()
	case errors.As(err, &refused), errors.Is(err, ErrNoService):
		return true
	case errors.As(err, &se):
		switch se.Condition {
		case "unsupported-version", "unsupported-feature":
			return true
		case "conflict", "host-gone", "host-unknown", "not-authorized":
			return !se.Local
		}
	}
	return false
}

// maxRedirects bounds see-other-host in one attempt (CORE-R32).
const maxRedirects = 5

// connect tries the targets in order until one lets this account in.
func (s *Session) connect(ctx context.Context) (*link, error) {
	var failed []error
	if s.sm.id != "" && s.sm.location != "" {
		// The server's wish comes first, the ordinary targets after it
		// (XEP-0198 §5).
		l, err := s.try(ctx, s.hosts(ctx, s.sm.location), nil)
		if l != nil || s.final(ctx, err) {
			return l, err
		}
		failed = append(failed, err)
	}
	targets, err := s.find(ctx, s.cfg.JID.Domainpart(), s.cfg.Addr)
	if err != nil {
		return nil, errors.Join(append(failed, err)...)
	}
	l, err := s.try(ctx, targets, nil)
	if l != nil || s.final(ctx, err) {
		return l, err
	}
	return nil, errors.Join(append(failed, err)...)
}

func (s *Session) final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || mendless(err)
}

func (s *Session) find(ctx context.Context, domain, addr string) ([]Target, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.cfg.Transport.Find(ctx, domain, addr, s.cfg.TLS)
}

// hosts resolves a host[:port] that the server named (CORE-R33).
func (s *Session) hosts(ctx context.Context, where string) []Target {
	host, _, err := net.SplitHostPort(where)
	var targets []Target
	switch {
	case err == nil && host != "":
		targets, err = s.find(ctx, s.cfg.JID.Domainpart(), where)
	case net.ParseIP(strings.Trim(where, "[]")) != nil:
		targets, err = s.find(ctx, s.cfg.JID.Domainpart(), net.JoinHostPort(strings.Trim(where, "[]"), "5222"))
	default:
		targets, err = s.find(ctx, where, "")
	}
	if err != nil {
		s.log.Warn("a host that the server named cannot be found", "host", where, "err", err)
	}
	for i := range targets {
		if s.cfg.TLS == TLSAuto && err == nil && host != "" {
			targets[i].Direct = s.lastTLS
		}
	}
	return targets
}

// try connects to the targets in order. seen are the redirections so far.
func (s *Session) try(ctx context.Context, targets []Target, seen []string) (*link, error) {
	var failed []error
	for _, t := range targets {
		l, err := s.dial(ctx, t)
		if err == nil {
			return l, nil
		}
		if s.final(ctx, err) {
			return nil, err
		}
		failed = append(failed, fmt.Errorf("%s: %w", t.Addr, err))
		var se *StreamError
		if !errors.As(err, &se) || se.Local || se.Condition != "see-other-host" {
			continue
		}
		if len(seen) >= maxRedirects || slices.Contains(seen, se.Text) {
			return nil, fmt.Errorf("xmpp: the server redirects in circles, last to %s: %w", se.Text, err)
		}
		l, err = s.try(ctx, s.hosts(ctx, se.Text), append(seen, se.Text))
		if l != nil || s.final(ctx, err) {
			return l, err
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, errors.New("xmpp: no host to connect to")
	}
	return nil, errors.Join(failed...)
}

func (s *Session) dial(ctx context.Context, t Target) (*link, error) {
	dctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	conn, err := s.cfg.Transport.Dial(dctx, t, s.tlsConfig())
	cancel()
	if err != nil {
		return nil, err
	}
	s.lastTLS = t.Direct
	return s.negotiate(ctx, conn, t)
}

// wantsResend asks Config.Resend about an unacknowledged stanza.
func (s *Session) wantsResend(it outItem) bool {
	if s.cfg.Resend == nil || KindOf(it.doc.Root().Name()) != Message {
		return false
	}
	var st Stanza
	return st.Parse(it.doc.Root()) == nil && st.Type != TypeError && s.cfg.Resend(&st, it.queued)
}

// resend queues what the former session left behind, with delay stamps.
func (s *Session) resend() {
	for _, it := range s.again {
		var st Stanza
		if err := st.Parse(it.doc.Root()); err != nil {
			continue
		}
		st.Payload = resent{st.Elem, delayPayload{from: s.cfg.JID.Bare(), stamp: it.queued}}
		d := record(&st)
		if err := s.q.push(context.Background(), anyEpoch, false, []*exi.Doc{d}); err != nil {
			s.log.Warn("a message of the former session is dropped", "to", st.To.String(), "err", err)
			putDoc(d)
		}
	}
	s.discardAgain()
}

func (s *Session) discardAgain() {
	for _, it := range s.again {
		putDoc(it.doc)
	}
	s.again = nil
}

// resent is the content of a message with a delay stamp behind it.
type resent struct {
	elem  exi.Cursor
	delay delayPayload
}

func (r resent) AppendEvents(d *exi.Doc) {
	stamped := false
	for c := range r.elem.Children() {
		d.AppendElement(c)
		stamped = stamped || c.Name() == nameDelay && delayFrom(c).Equal(r.delay.from)
	}
	if !stamped {
		r.delay.AppendEvents(d)
	}
}

// sayUnavailable queues unavailable presence, if this resource is available.
func (s *Session) sayUnavailable() {
	if !s.present.Swap(false) {
		return
	}
	st := Stanza{Kind: Presence, Type: "unavailable", To: jid.JID{}}
	s.reply(context.Background(), anyEpoch, false, &st)
}
