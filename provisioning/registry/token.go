package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/provisioning"
	"postern/xmpp"
)

// issued is a token that was given for a certificate (0324-D26).
type issued struct {
	Certificate []byte // DER
	For         string // bare JID that got it first
	At          time.Time

	key *rsa.PublicKey
	end time.Time // of the certificate
}

var tokenBucket = bucket[issued]{Name: "registry.tokens"}

// Bounds and timers of tokens.
const (
	challengeOctets = 32
	challengeLife   = 90 * time.Second // 0324-R11
	proofTimeout    = 30 * time.Second
	proofLife       = 5 * time.Minute
	maxPending      = 10_000
	minModulus      = 2048
	maxModulus      = 8192
)

// TokenPrefix begins the subject of a rule that is about whoever holds a
// token, as in token:ABC.
const TokenPrefix = "token:"

// tokens is what the service knows about tokens.
type tokenTable struct {
	mu      sync.Mutex
	issued  map[string]*issued
	byCert  map[[32]byte]string
	pending map[int64]pendingToken
	proven  map[string]time.Time // by token, holder and requester
	lastSeq int64
}

// pendingToken is a challenge of somebody who wants a token.
type pendingToken struct {
	from        string // bare
	certificate []byte
	plain       []byte
	until       time.Time
}

func newTokenTable() *tokenTable {
	return &tokenTable{issued: make(map[string]*issued), byCert: make(map[[32]byte]string), pending: make(map[int64]pendingToken), proven: make(map[string]time.Time)}
}

// add puts a token into the table; mu is held or not needed yet.
func (t *tokenTable) add(token string, i issued) error {
	cert, err := usable(i.Certificate, time.Time{})
	if err != nil {
		return err
	}
	i.key, i.end = cert.PublicKey.(*rsa.PublicKey), cert.NotAfter
	t.issued[token] = &i
	t.byCert[sha256.Sum256(i.Certificate)] = token
	return nil
}

// usable parses a certificate that tokens are given for; a zero now leaves its
// validity aside.
func usable(der []byte, now time.Time) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, xmpp.NewError(xmpp.BadRequest, "the certificate cannot be read")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok:
		return nil, xmpp.NewError(xmpp.BadRequest, "the certificate needs an RSA key") // 0324-D2
	case key.N.BitLen() < minModulus || key.N.BitLen() > maxModulus:
		return nil, xmpp.NewError(xmpp.BadRequest, "the certificate's key needs 2048 to 8192 bits")
	case !now.IsZero() && (now.After(cert.NotAfter) || now.Before(cert.NotBefore)):
		return nil, xmpp.NewError(xmpp.BadRequest, "the certificate is not valid now")
	}
	return cert, nil
}

func (s *Server) loadTokens(tx Tx) {
	for e := range tokenBucket.All(tx) {
		err := e.Err
		if err == nil {
			err = s.tokens.add(e.Key, e.Value)
		}
		if err != nil {
			// Rules for it allow nobody anything; its holder gets a new one.
			s.log.Error("a token is lost", "err", err)
		}
	}
}

// encrypt makes a challenge for a key (0324-R09, D1).
func (s *Server) encrypt(key *rsa.PublicKey, to jid.JID) (plain, secret []byte, err error) {
	plain = make([]byte, challengeOctets)
	_, _ = rand.Read(plain) // never fails
	if s.cfg.PKCS1 != nil && s.cfg.PKCS1(to) {
		secret, err = rsa.EncryptPKCS1v15(rand.Reader, key, plain)
	} else {
		secret, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, key, plain, nil)
	}
	return plain, secret, err
}

// getToken begins the exchange for a token (P1, P2).
func (s *Server) getToken(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	now := s.cfg.Now()
	if !s.certs.allow(st.From.Bare().String(), now) {
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many tokens: wait a minute")
	}
	g, err := provisioning.ParseGetToken(st.Child())
	if err != nil {
		return nil, err
	}
	cert, err := usable(g.Certificate, now)
	if err != nil {
		return nil, err
	}
	plain, secret, err := s.encrypt(cert.PublicKey.(*rsa.PublicKey), st.From)
	if err != nil {
		return nil, xmpp.NewError(xmpp.BadRequest, "the certificate's key cannot be used")
	}
	t := s.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, p := range t.pending {
		if now.After(p.until) {
			delete(t.pending, k)
		}
	}
	if len(t.pending) >= maxPending {
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many tokens are wanted at once").WithType(xmpp.Wait)
	}
	t.lastSeq++
	t.pending[t.lastSeq] = pendingToken{st.From.Bare().String(), g.Certificate, plain, now.Add(challengeLife)}
	return provisioning.Challenge{Name: provisioning.NameGetTokenChallenge, Seq: t.lastSeq, Data: secret}, nil
}

// giveToken ends the exchange (P3, P4). A challenge can be answered once.
func (s *Server) giveToken(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	c, err := provisioning.ParseChallenge(st.Child())
	if err != nil {
		return nil, err
	}
	from, now := st.From.Bare().String(), s.cfg.Now()
	t := s.tokens
	t.mu.Lock()
	p, ok := t.pending[c.Seq]
	if ok = ok && p.from == from && !now.After(p.until); ok {
		delete(t.pending, c.Seq)
	}
	t.mu.Unlock()
	switch {
	case !ok:
		return nil, notFound()
	case subtle.ConstantTimeCompare(p.plain, c.Data) != 1:
		return nil, xmpp.NewError(xmpp.BadRequest, "the challenge was not answered rightly")
	}
	token, err := s.tokenFor(p.certificate, from, now)
	if err != nil {
		return nil, err
	}
	return provisioning.Token(token), nil
}

// tokenFor returns the token of a certificate: the same for the same one.
func (s *Server) tokenFor(cert []byte, from string, now time.Time) (string, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	t := s.tokens
	t.mu.Lock()
	token, known := t.byCert[sha256.Sum256(cert)]
	full := len(t.issued) >= s.lim.Tokens
	t.mu.Unlock()
	switch {
	case known:
		return token, nil
	case full:
		return "", xmpp.NewError(xmpp.ResourceConstraint, "no more tokens are given")
	}
	token = rand.Text() // letters and digits: 0324-R10
	i := issued{Certificate: bytes.Clone(cert), For: from, At: now.UTC()}
	if err := s.cfg.Store.Update(func(tx Tx) error { return tokenBucket.Put(tx, token, i) }); err != nil {
		return "", fmt.Errorf("registry: a token cannot be kept: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return token, t.add(token, i)
}

// valid returns those tokens that were given here and whose certificates are
// still valid (0324-R63), each once.
func (s *Server) valid(now time.Time, attrs ...string) (list []string) {
	t := s.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range attrs {
		for _, token := range provisioning.SplitTokens(a) {
			if i := t.issued[token]; i != nil && now.Before(i.end) && !slices.Contains(list, token) {
				list = append(list, token)
			}
		}
	}
	return list
}

// prove challenges whoever sent tokens to show that it holds them, or can ask
// their holders, and calls then with those that were proven. It returns at
// once; then may be called before it does (0324-R14, R66). A proof counts for a
// while, for the same requester who: another one who came by the token must
// not live on it.
func (s *Server) prove(ctx context.Context, holder jid.JID, who string, list []string, then func(proven []string)) {
	if s.cfg.TrustTokens || len(list) == 0 {
		then(list)
		return
	}
	now, about := s.cfg.Now(), " "+holder.Bare().String()+" "+who
	var mu sync.Mutex
	var proven, open []string
	s.tokens.mu.Lock()
	for _, token := range list {
		if at, ok := s.tokens.proven[token+about]; ok && now.Sub(at) < proofLife {
			proven = append(proven, token)
		} else {
			open = append(open, token)
		}
	}
	s.tokens.mu.Unlock()
	if len(open) == 0 {
		then(proven)
		return
	}
	left := len(open)
	ctx = context.WithoutCancel(ctx)
	for _, token := range open {
		s.challenge(ctx, holder, token, func(err error) {
			if err != nil {
				s.log.Info("a token was not proven", "from", holder.String(), "requester", who, "err", err)
			} else {
				s.noteProof(token + about)
			}
			mu.Lock()
			if err == nil {
				proven = append(proven, token)
			}
			left--
			last := left == 0
			mu.Unlock()
			if last {
				then(proven)
			}
		})
	}
}

var errProof = errors.New("the challenge was not answered rightly")

func (s *Server) challenge(ctx context.Context, holder jid.JID, token string, done func(error)) {
	s.tokens.mu.Lock()
	i := s.tokens.issued[token]
	s.tokens.mu.Unlock()
	if i == nil {
		done(errProof)
		return
	}
	plain, secret, err := s.encrypt(i.key, holder)
	if err != nil {
		done(err)
		return
	}
	p := provisioning.Challenge{Name: provisioning.NameTokenChallenge, Token: token, Data: secret}
	s.askFor(ctx, xmpp.Get, holder, p, proofTimeout, func(c exi.Cursor, err error) {
		if err == nil {
			var got provisioning.Challenge
			if got, err = provisioning.ParseChallenge(c); err == nil && subtle.ConstantTimeCompare(got.Data, plain) != 1 {
				err = errProof
			}
		}
		done(err)
	})
}

func (s *Server) noteProof(key string) {
	now := s.cfg.Now()
	t := s.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.proven) >= maxPending {
		for k, at := range t.proven {
			if now.Sub(at) >= proofLife {
				delete(t.proven, k)
			}
		}
	}
	if len(t.proven) < maxPending {
		t.proven[key] = now
	}
}

// later sends the answer to a request whose handler has returned, and whose
// content is gone.
func (s *Server) later(ctx context.Context, st xmpp.Stanza, p xmpp.Payload, err error) {
	out := st.Reply(xmpp.Result, p)
	switch {
	case errors.Is(err, xmpp.ErrLater):
		return
	case err != nil:
		out = st.ErrorReply(err)
	}
	if err := s.send(ctx, out); err != nil {
		s.log.Warn("a request got no answer", "from", st.From.String(), "err", err)
	}
}
