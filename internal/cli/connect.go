package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/sensors"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// conn is a session of the operator's with the clients for things on it.
type conn struct {
	*xmpp.Session
	finder  *finder
	sensors *sensors.Client
	control *control.Client
	ended   chan error
	cancel  context.CancelFunc
	// alive ends with the command's time and, with errLost, with the session:
	// nothing is waited for that cannot come any more.
	alive context.Context
}

// errLost ends what waits on a session that is gone for good.
var errLost = errors.New("the connection to the server was lost")

// link says how a command wants its connection.
type link struct {
	account Account
	verbose bool
	// register adds handlers before the session runs; nil for none.
	register func(*xmpp.Mux)
	// events takes what a thing sends by itself; nil: nothing.
	events *subscription
	// lasting reconnects and resumes; otherwise the first error is final.
	lasting bool
}

// dial logs in and returns when stanzas flow.
func (e *Env) dial(ctx context.Context, l link) (*conn, error) {
	cfg, err := e.sessionConfig(l)
	if err != nil {
		return nil, err
	}
	c := &conn{finder: newFinder(), ended: make(chan error, 1)}
	var unclaimed func(*xmpp.Stanza)
	if l.events != nil {
		unclaimed = l.events.unnumbered
	}
	c.sensors = newReader(c, unclaimed)
	c.control = control.NewClient(c)
	mux := &xmpp.Mux{}
	c.sensors.Register(mux)
	if err := c.finder.register(mux, cfg.JID); err != nil {
		return nil, err
	}
	if l.register != nil {
		l.register(mux)
	}
	if l.events != nil {
		l.events.register(mux)
	}
	cfg.Handler = mux
	cfg.OnOnline = func(ctx context.Context, s *xmpp.Session, resumed bool) { c.finder.online(ctx, s, resumed) }
	if c.Session, err = xmpp.NewSession(cfg); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if l.events != nil {
		l.events.on(c)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	var lost context.CancelCauseFunc
	c.alive, lost = context.WithCancelCause(ctx)
	go func() {
		err := c.Session.Run(run)
		lost(errLost)
		c.ended <- err
	}()
	if err := c.online(ctx); err != nil {
		c.close()
		return nil, e.connectFailure(l.account, err)
	}
	return c, nil
}

// online waits for the first login and returns why it failed.
func (c *conn) online(ctx context.Context) error {
	for {
		changed := c.Changed()
		switch st := c.State(); st.Phase {
		case xmpp.Online:
			return nil
		case xmpp.Waiting, xmpp.Held:
			return st.Err
		}
		select {
		case <-changed:
		case err := <-c.ended:
			c.ended <- err
			if err == nil {
				err = xmpp.ErrClosed
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close says goodbye and waits until the session has ended.
func (c *conn) close() {
	c.cancel()
	<-c.ended
}

func (e *Env) sessionConfig(l link) (xmpp.Config, error) {
	j, err := l.account.address()
	if err != nil {
		return xmpp.Config{}, &failure{code: ExitUsage, err: err}
	}
	cfg := xmpp.Config{
		JID:       j,
		Password:  func(context.Context) (string, error) { return l.account.secret() },
		Transport: &tcp.Transport{},
		Addr:      l.account.Server,
		NoRetry:   !l.lasting,
		NoResume:  !l.lasting,
		Logger:    slog.New(slog.DiscardHandler),
	}
	if l.account.DirectTLS {
		cfg.TLS = xmpp.TLSDirect
	}
	if l.verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if l.account.CAFile != "" {
		if cfg.CAs, err = loadCAs(l.account.CAFile); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func loadCAs(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &failure{code: ExitConfig, msg: "authority's certificates", err: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, &failure{code: ExitConfig, msg: "there is no certificate in " + path, hint: "the file must be PEM"}
	}
	return pool, nil
}

// connectFailure says which exit code a failed login has and what to do.
func (e *Env) connectFailure(a Account, err error) error {
	var f *failure
	var auth *xmpp.AuthError
	var cert *x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &f):
		return err
	case errors.As(err, &auth):
		return &failure{code: ExitDenied, err: err, hint: "postern login " + a.JID + " stores another password"}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: ExitTimeout, msg: "no connection to the server of " + a.JID + " in time", err: err,
			hint: "is the server reachable? --verbose tells how far it got, --timeout waits longer"}
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknown):
		return &failure{code: ExitUnreachable, err: err,
			hint: "if the server has a private authority: postern login " + a.JID + " --ca FILE"}
	case errors.As(err, &cert), errors.As(err, &name):
		return &failure{code: ExitUnreachable, err: err, hint: "the server needs another certificate; there is no way to go on without one"}
	}
	return &failure{code: ExitUnreachable, err: err,
		hint: "is the server up? postern login " + a.JID + " --server HOST:PORT names it when DNS does not"}
}

// parseThing reads the address of a thing.
func parseThing(s string) (jid.JID, error) {
	j, err := xmpp.ParseJID(s)
	if err != nil {
		return j, usagef("%q is no address: %v", s, err)
	}
	if j.Localpart() == "" {
		return j, usagef("%q is no address of a thing; it must look like gateway@site.example", s)
	}
	return j, nil
}

// find is finder.find with advice.
func (c *conn) find(ctx context.Context, a Account, j jid.JID) (jid.JID, error) {
	full, err := c.finder.find(ctx, j)
	if err != nil {
		return jid.JID{}, c.findFailure(a, j, err)
	}
	return full, nil
}

// findFailure says what to do about a thing that was not found.
func (c *conn) findFailure(a Account, j jid.JID, err error) error {
	own, _ := a.address()
	f := &failure{msg: j.String(), err: err}
	switch {
	case errors.Is(err, errOffline):
		f.code, f.hint = ExitUnreachable, "is it running? A thing that hides its presence needs its full address"
	case errors.Is(err, errPending):
		f.code, f.hint = ExitTimeout, fmt.Sprintf("if it runs, its owner must let %s be a friend: by postern approve, or in its configuration", own.Bare())
	case errors.Is(err, errRefused):
		f.code, f.hint = ExitDenied, fmt.Sprintf("is the address right? Then its owner must let %s be a friend: by postern approve, or in its configuration", own.Bare())
	default:
		return c.refusal(a, j, err)
	}
	return f
}

// refusal turns what a thing or a server answered into an exit code and
// advice.
func (c *conn) refusal(a Account, j jid.JID, err error) error {
	f := &failure{code: ExitFailure, msg: j.String(), err: err}
	var stanza *xmpp.Error
	switch {
	case errors.As(err, &stanza):
		f.err = errors.New(plainWords(stanza))
		f.code, f.hint = stanzaCode(stanza.Condition, a)
	case context.Cause(c.alive) == errLost:
		f.code, f.err, f.hint = ExitUnreachable, errLost, "try again; if it stays so, see whether the server is up"
	case errors.Is(err, errUnfinished), errors.Is(err, context.DeadlineExceeded):
		f.code, f.hint = ExitTimeout, "--timeout waits longer"
	case errors.Is(err, xmpp.ErrOffline), errors.Is(err, xmpp.ErrClosed):
		f.code, f.hint = ExitUnreachable, "the connection to the server was lost; try again"
		if st := c.State(); st.Err != nil {
			f.err = fmt.Errorf("%w (%w)", err, st.Err)
		}
	case errors.Is(err, errNoThing):
		f.code, f.hint = ExitUnreachable, "is the address right?"
	}
	return f
}

// plainWords puts what people understand first.
func plainWords(e *xmpp.Error) string {
	if e.Text == "" {
		return "the answer is " + string(e.Condition)
	}
	return e.Text + " (" + string(e.Condition) + ")"
}

func stanzaCode(cond xmpp.Condition, a Account) (code int, hint string) {
	switch cond {
	case xmpp.Forbidden, xmpp.NotAllowed, xmpp.NotAuthorized, xmpp.SubscriptionRequired, xmpp.RegistrationRequired:
		own, _ := a.address()
		return ExitDenied, fmt.Sprintf("its owner must allow it to %s: by postern approve or rules, or in its configuration", own.Bare())
	case xmpp.ServiceUnavailable, xmpp.RecipientUnavailable, xmpp.RemoteServerNotFound, xmpp.Gone:
		return ExitUnreachable, "nothing at that address answers such requests; is it running, and is the address right?"
	case xmpp.RemoteServerTimeout:
		return ExitTimeout, "the device did not answer in time"
	case xmpp.ItemNotFound:
		return ExitFailure, "postern read shows the nodes and fields there are"
	case xmpp.ResourceConstraint:
		return ExitFailure, "the thing is busy; try again later"
	}
	return ExitFailure, ""
}
