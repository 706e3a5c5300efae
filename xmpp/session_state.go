package xmpp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

var (
	errFull   = errors.New("xmpp: the queue to the server is full")
	errPoison = errors.New("xmpp: a stanza of the former connection cannot be sent again")
	errDead   = errors.New("the connection is dead")
)

// Session is a client's session with its server: it logs in, resumes
// (XEP-0198), reconnects, matches answers, and hands everything else to its
// Handler. All methods may be called by any goroutine at any time.
//
// The session, with its address, queue and counters, outlives a connection
// when the server lets it be resumed.
type Session struct {
	cfg     Config
	log     *slog.Logger
	tickets tls.ClientSessionCache
	seed    maphash.Seed

	q       *outQueue
	workers []chan job

	// Used by the goroutine of Run between connections, and by the reader
	// while there is one.
	jids      *jidCache
	keys      scramKeys
	strong    bool      // SCRAM was used before
	except    []string  // mechanisms not to use; set by tests
	sm        smState   // constant while a link serves
	lastTLS   bool      // the last connection was direct TLS
	lastAlive time.Time // when the last connection received something
	endedAt   time.Time // when it was found to have ended
	again     []outItem // messages to resend in the next session

	handled     atomic.Uint32 // stanzas taken over, modulo 2^32
	epoch       atomic.Uint32 // of the queue's session
	present     atomic.Bool   // initial presence was sent
	away        atomic.Int32  // detached handlers
	ended       atomic.Bool
	link        atomic.Pointer[link] // while stanzas flow
	in          atomic.Uint64
	overflowed  atomic.Uint64
	unrequested atomic.Uint64
	connects    atomic.Uint64
	resumes     atomic.Uint64

	pendMu  sync.Mutex
	pending map[string]*pending

	stMu     sync.Mutex // guards what follows
	st       State
	stCh     chan struct{}
	addr     jid.JID
	features []exi.Name
}

func newSession(cfg Config) (*Session, error) {
	switch {
	case cfg.JID.Localpart() == "":
		return nil, errors.New("xmpp: the account must have the form name@domain")
	case cfg.Transport == nil:
		return nil, errors.New("xmpp: Config.Transport is missing")
	case cfg.Password == nil && cfg.ClientCert == nil:
		return nil, errors.New("xmpp: neither a password nor a client certificate is configured")
	}
	cfg.setDefaults()
	s := &Session{
		cfg: cfg, log: cfg.Logger, seed: maphash.MakeSeed(),
		tickets: tls.NewLRUClientSessionCache(4),
		q:       newOutQueue(cfg.Queue), jids: newJIDCache(256),
		pending: make(map[string]*pending), stCh: make(chan struct{}),
	}
	s.st.Since = time.Now()
	return s, nil
}

func (c *Config) setDefaults() {
	def := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	defTime := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	def(&c.MaxIterations, 1_000_000)
	def(&c.Workers, 4)
	def(&c.Detached, 32)
	def(&c.Backlog, 64)
	def(&c.Queue, 512)
	defTime(&c.KeepAlive, 5*time.Minute)
	c.KeepAlive = max(c.KeepAlive, 10*time.Second)
	defTime(&c.Timeout, 30*time.Second)
	defTime(&c.Backoff.First, 10*time.Second)
	defTime(&c.Backoff.Many, time.Minute)
	defTime(&c.Backoff.Max, 10*time.Minute)
	defTime(&c.Backoff.Stable, 2*time.Minute)
	defTime(&c.Backoff.Held, time.Hour)
	if c.Lang == "" {
		c.Lang = "en"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Handler == nil {
		c.Handler = new(Mux)
	}
}

func (s *Session) tlsConfig() *tls.Config {
	return clientTLS(s.cfg.JID.Domainpart(), s.cfg.CAs, s.cfg.ClientCert, s.tickets)
}

// newID returns an id that nobody can guess (RFC 6120 §8.1.3).
func (s *Session) newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// started begins a new session, after binding.
func (s *Session) started(addr jid.JID, sm smState) {
	s.sm = sm
	s.handled.Store(0)
	s.present.Store(false)
	s.epoch.Store(s.q.begin(sm.on))
	s.stMu.Lock()
	s.addr = addr
	s.stMu.Unlock()
}

// lost ends the session for good, if there is one: requests fail with err, and
// what is not acknowledged is offered to Config.Resend (XEP-0198 §5, D6, D7).
func (s *Session) lost(err error) {
	s.sm = smState{}
	rest := s.q.lose()
	s.epoch.Store(0)
	s.failAll(err)
	s.stMu.Lock()
	s.addr = jid.JID{}
	s.stMu.Unlock()
	for _, it := range rest {
		if s.wantsResend(it) {
			s.again = append(s.again, it)
		} else {
			putDoc(it.doc)
		}
	}
}

func (s *Session) localAddr() jid.JID {
	s.stMu.Lock()
	defer s.stMu.Unlock()
	return s.addr
}

func (s *Session) state() State {
	s.stMu.Lock()
	defer s.stMu.Unlock()
	st := s.st
	st.JID = s.addr
	return st
}

func (s *Session) changed() <-chan struct{} {
	s.stMu.Lock()
	defer s.stMu.Unlock()
	return s.stCh
}

// enter changes the state. Only Run's goroutine calls it, so OnState is told in
// order without a lock.
func (s *Session) enter(p Phase, change func(*State)) {
	s.stMu.Lock()
	next := State{Phase: p, Since: time.Now(), Err: s.st.Err}
	if change != nil {
		change(&next)
	}
	s.st = next
	close(s.stCh)
	s.stCh = make(chan struct{})
	next.JID = s.addr
	s.stMu.Unlock()
	if s.cfg.OnState != nil {
		s.cfg.OnState(next)
	}
}

func (s *Session) stats() Stats {
	unacked, queued := s.q.pending()
	return Stats{
		In: s.in.Load(), Out: s.q.written(), Unacked: unacked, Queued: queued,
		Overflow: s.overflowed.Load(), Unrequested: s.unrequested.Load(),
		Connects: s.connects.Load(), Resumes: s.resumes.Load(),
	}
}

// HasFeature reports whether the server's last stream features had an element of
// this name, for example urn:xmpp:features:rosterver ver.
func (s *Session) HasFeature(name exi.Name) bool {
	s.stMu.Lock()
	defer s.stMu.Unlock()
	return slices.Contains(s.features, name)
}

func (s *Session) flush(ctx context.Context) error {
	s.urge()
	if err := s.q.flush(ctx); err != nil {
		return fmt.Errorf("xmpp: not everything has reached the server: %w", err)
	}
	return nil
}

func tlsName(cs *tls.ConnectionState) string {
	return tls.VersionName(cs.Version) + " " + tls.CipherSuiteName(cs.CipherSuite)
}

// urge makes the writer ask for an acknowledgement now.
func (s *Session) urge() {
	if l := s.link.Load(); l != nil {
		l.urge.Store(true)
		s.q.signal()
	}
}

// written has what was just queued written: at once, or by the writer while
// requests are waiting, for it batches the answers to several of them.
func (s *Session) written() {
	l := s.link.Load()
	if l == nil || s.waiting() {
		s.q.signal()
		return
	}
	l.w.help()
}

// waiting says that stanzas wait for a worker.
func (s *Session) waiting() bool {
	for _, q := range s.workers {
		if len(q) > 0 {
			return true
		}
	}
	return false
}
