package xmpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// Config says how a Session logs in and behaves. JID, Transport and either
// Password or ClientCert are needed; the zero of everything else is usable.
type Config struct {
	// JID is the account. A resource part asks the server for that resource.
	JID jid.JID
	// Password returns the account's password, each time one is needed. nil:
	// no mechanism with a password is used.
	Password func(ctx context.Context) (string, error)
	// ClientCert logs in by SASL EXTERNAL where the server offers it. nil: not.
	ClientCert *tls.Certificate
	// CAs are the roots that the server's certificate must lead to. nil: the
	// system's. There is no way to switch verification off.
	CAs *x509.CertPool
	// AllowPlain permits SASL PLAIN, on a verified TLS layer, with a server
	// that offers nothing better.
	AllowPlain bool
	// MaxIterations bounds the SCRAM iterations a server may ask for, which
	// cost this machine's time. 0: 1,000,000.
	MaxIterations int

	// Transport opens connections, usually &tcp.Transport{}.
	Transport Transport
	// Addr is a fixed "host:port" to connect to instead of what DNS says. The
	// certificate must still be the account domain's. Empty: DNS.
	Addr string
	// TLS chooses between STARTTLS and direct TLS. The zero takes what the SRV
	// records say, and STARTTLS with a fixed Addr or without SRV records.
	TLS TLSMode

	// Handler gets every received stanza but answers to Query, usually a *Mux.
	// nil: every request is answered service-unavailable.
	Handler Handler
	// Workers is the number of stanzas handled at the same time. The stanzas
	// of one account always go to the same worker. 0: 4.
	Workers int
	// Detached bounds the handlers that wait for somebody else (see Detach)
	// beside those. 0: 32.
	Detached int
	// Urgent names payloads of iqs that get a worker of their own: handlers
	// wait for what they lead to. Their handlers must be quick.
	Urgent []exi.Name
	// Backlog bounds the stanzas waiting for one worker. When it is full, iqs
	// and messages are answered resource-constraint; presence is dropped and
	// logged when four times as much is waiting. The reader never waits, so
	// replies always get through. 0: 64.
	Backlog int
	// Queue bounds the stanzas not yet written or not yet acknowledged. When it
	// is full, Send waits. 0: 512.
	Queue int

	// OnOnline runs each time the stream can be used: resumed says that it
	// continues the former one (roster, presence and subscriptions still hold),
	// else the session is new. ctx ends with the connection. It runs in a
	// goroutine of its own, which is joined before the next connection.
	OnOnline func(ctx context.Context, s *Session, resumed bool)
	// OnState is told each change of State, in order, and must not block.
	OnState func(State)
	// Resend is asked about each message that was not acknowledged when a
	// session was lost for good; true sends it again on the new session with a
	// delay stamp (XEP-0203) of when it was queued. st.Elem is the message. nil:
	// none is resent.
	Resend func(st *Stanza, queued time.Time) bool
	// BeforeLogin runs on the secured stream, with its features, before each
	// login: an account may be made there (XEP-0077). It must leave the stream
	// as it is. nil: nothing.
	BeforeLogin func(ctx context.Context, conn Conn, features exi.Cursor) error
	// Compress may change the representation of the stream between login and
	// binding (XEP-0170): it reads the features, negotiates on conn, and
	// returns true when a new stream must be opened. nil: XML.
	Compress func(ctx context.Context, conn Conn, features exi.Cursor) (bool, error)

	// NoResume does without XEP-0198.
	NoResume bool
	// NoRetry makes Run return the first error instead of connecting again:
	// for commands.
	NoRetry bool
	// KeepAlive is the idle time after which the server is asked for a sign of
	// life. 0: 5 minutes; not below 10 s.
	KeepAlive time.Duration
	// Timeout bounds each step of connecting and the answer to a sign of life,
	// and a Query whose context has no deadline. 0: 30 s.
	Timeout time.Duration
	// Backoff paces reconnecting.
	Backoff Backoff
	// Lang is the xml:lang of the stream. Empty: "en".
	Lang string
	// Logger gets what an operator may want to know. nil: nothing is logged.
	Logger *slog.Logger
}

// Backoff paces reconnecting. The n-th retry in a row waits 2^n s, between
// First and Max, with 30 % of jitter either way.
type Backoff struct {
	First  time.Duration // the first retry waits a random time up to this; 0: 10 s
	Many   time.Duration // the same when the server shut down, so that its clients do not come back at once; 0: 60 s
	Max    time.Duration // longest wait; 0: 10 min
	Stable time.Duration // a connection that lived this long starts the count again; 0: 2 min
	Held   time.Duration // wait after errors that retrying does not mend: wrong password, conflict; 0: 1 h
}

// TLSMode says how the TLS layer is started. There is no mode without TLS.
type TLSMode uint8

// The TLS modes.
const (
	TLSAuto   TLSMode = iota // as the SRV records say, else STARTTLS
	TLSStart                 // STARTTLS only
	TLSDirect                // direct TLS only (XEP-0368); with Addr: on that port
)

// Errors of a Session.
var (
	// ErrOffline: there is no session, and none that can be resumed.
	ErrOffline = errors.New("xmpp: not connected")
	// ErrClosed: Run has returned, or is about to.
	ErrClosed = errors.New("xmpp: the session has ended")
	// ErrLater is returned by a Handler that has taken over answering an iq: it
	// kept what Reply returned and will Send it.
	ErrLater = errors.New("xmpp: answered later")
)

// AuthError says that the server refused the login (RFC 6120 §6.5).
type AuthError struct {
	Condition string // for example "not-authorized"
	Text      string // the server's words
	Mechanism string
}

// Error makes *AuthError an error.
func (e *AuthError) Error() string {
	s := "xmpp: the server refused the login by " + e.Mechanism + ": " + e.Condition
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	if e.Condition == "not-authorized" {
		s += "; check the account's name and password"
	}
	return s
}

// Phase is where a Session stands.
type Phase uint8

// The phases of a Session.
const (
	Offline    Phase = iota // Run has not started or has returned
	Connecting              // looking up, connecting, logging in
	Online                  // stanzas flow
	Waiting                 // until Retry, then connecting again
	Held                    // like Waiting, after an error that needs the operator
)

// String returns the phase in a word.
func (p Phase) String() string {
	return [...]string{"offline", "connecting", "online", "waiting", "held"}[p]
}

// State is what a Session's status says.
type State struct {
	Phase     Phase
	Since     time.Time // of the phase
	Err       error     // why the last connection or attempt ended; nil before the first
	Retry     time.Time // when the next attempt starts; zero unless Waiting or Held
	JID       jid.JID   // full address; kept while the session can be resumed
	Addr      string    // the peer's network address, while connected
	TLS       string    // version and cipher suite
	Mechanism string    // SASL mechanism
	Codec     string    // representation on the wire
	Resumable bool      // XEP-0198 is on and the server keeps the session over a loss
	Resumed   bool      // this connection resumed the former session
}

// Stats counts what a Session did since it was made.
type Stats struct {
	In, Out     uint64 // stanzas received and written, resends not counted
	Unacked     int    // written and not acknowledged
	Queued      int    // not written yet
	Overflow    uint64 // stanzas refused because the backlog was full
	Unrequested uint64 // results and errors nobody had asked for
	Connects    uint64 // connections that got online, resumed ones included
	Resumes     uint64 // of these, resumed
}

// NewSession checks cfg. The Session does nothing until Run.
func NewSession(cfg Config) (*Session, error) { return newSession(cfg) }

// Run connects, and connects again whenever the connection is lost, until ctx
// is done. Then it says goodbye to the server, which takes at most a second,
// and returns nil. All goroutines of the session belong to Run and have ended
// when it returns. It may be called once.
//
// Errors that retrying does not mend (wrong password, conflict with another
// login, unknown host) are retried only every Backoff.Held and shown in State;
// with NoRetry any error is returned at once.
func (s *Session) Run(ctx context.Context) error { return s.run(ctx) }

// Send queues stanzas in this order, with no other between them and in one
// write if they fit. Payloads are written into the queue before Send returns.
//
// With stream management the stanzas reach the server although the connection
// may break, unless the session is lost for good (see Config.Resend); Flush
// waits for that. Send returns ErrOffline when there is no session nor one that
// may be resumed, and waits while the queue is full; it may also wait for the
// network as long as one write takes. A stanza without an ID gets none.
func (s *Session) Send(ctx context.Context, sts ...Stanza) error { return s.send(ctx, sts) }

// Query sends an iq of type get or set and waits for its answer. The ID is
// filled in. reply, which may be nil, is called with the result, in the
// caller's goroutine; st.Elem is valid until it returns, and its error becomes
// Query's. An error stanza is returned as *Error. When ctx has no deadline,
// Config.Timeout applies; the error is then context.DeadlineExceeded. When the
// session is lost, the error is ErrOffline.
//
// Only the entity that was asked can answer: an answer from elsewhere is
// dropped.
func (s *Session) Query(ctx context.Context, st Stanza, reply func(*Stanza) error) error {
	return s.query(ctx, st, reply)
}

// Flush waits until the server has acknowledged what was sent before (without
// stream management: until it is written).
func (s *Session) Flush(ctx context.Context) error { return s.flush(ctx) }

// LocalAddr returns the session's full JID, the zero JID while there is no
// session. It stays during a break of a session that may be resumed.
func (s *Session) LocalAddr() jid.JID { return s.localAddr() }

// State returns the present state.
func (s *Session) State() State { return s.state() }

// Changed returns a channel that is closed when State changes.
func (s *Session) Changed() <-chan struct{} { return s.changed() }

// WaitOnline waits until the session is online.
func (s *Session) WaitOnline(ctx context.Context) error {
	for {
		ch := s.Changed()
		if s.State().Phase == Online {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stats returns the counters.
func (s *Session) Stats() Stats { return s.stats() }

// Pending returns how many stanzas are not yet written or not yet acknowledged.
// Who has much to send waits for it to fall: each waiting stanza takes memory.
func (s *Session) Pending() int {
	unacked, queued := s.q.pending()
	return unacked + queued
}
