package provisioning

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/store"
	"postern/xmpp"
)

// TokensConfig says whose tokens are kept. Session and Store are needed.
type TokensConfig struct {
	Session Session
	Store   *store.DB
	// Name is what the certificate calls its holder, usually a bare JID.
	Name string
	// Resolve is as in AccessConfig.
	Resolve func(jid.JID) jid.JID
	// OnlyOAEP leaves out decryption by PKCS #1 v1.5, which some provisioning
	// servers encrypt for (0324-D1).
	OnlyOAEP bool
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil discards
}

// Tokens are the tokens of a device or service (XEP-0324 §3.2, §3.3): its own,
// proven by a certificate that is used for nothing else, and those of others
// that it passed on. Its methods are safe for concurrent use.
type Tokens struct {
	cfg TokensConfig
	log *slog.Logger

	making sync.Mutex // held while the key pair is made, or a token is fetched

	mu   sync.Mutex
	key  *rsa.PrivateKey // nil until the first token is wanted
	cert []byte
	own  map[string]string // token by server
	sent map[passed]time.Time
	came map[string]origin // where a token of somebody else came from
	hops chan hop
}

// passed is a token that somebody was told.
type passed struct{ token, to string }

type origin struct {
	from jid.JID // full
	at   time.Time
}

// Windows of XEP-0324 §3.3 and decisions 0324-D13, D25.
const (
	tokenWindow  = time.Minute
	hopTimeout   = 20 * time.Second
	maxHops      = 16
	maxPassed    = 4096
	keyBits      = 2048
	certYears    = 20
	tokensKey    = "own"
	fetchTimeout = 30 * time.Second
)

// keptTokens is what survives a restart (0324-R18).
type keptTokens struct {
	Key, Certificate []byte            // PKCS #1 and DER
	Tokens           map[string]string // by server
}

var nameError = exi.N(xmpp.NSClient, "error")

var tokenBucket = store.Bucket[keptTokens]{Name: "provisioning.tokens"}

// NewTokens loads what is kept.
func NewTokens(cfg TokensConfig) (*Tokens, error) {
	if cfg.Session == nil || cfg.Store == nil {
		return nil, errors.New("provisioning: tokens need a session and a store")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(j jid.JID) jid.JID { return j }
	}
	t := &Tokens{
		cfg: cfg, log: cfg.Logger, own: make(map[string]string), sent: make(map[passed]time.Time),
		came: make(map[string]origin), hops: make(chan hop, maxHops),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	err := cfg.Store.View(func(tx *store.Tx) error {
		k, ok, err := tokenBucket.Get(tx, tokensKey)
		if !ok || err != nil {
			return err
		}
		t.key, err = x509.ParsePKCS1PrivateKey(k.Key)
		t.cert, t.own = k.Certificate, k.Tokens
		if t.own == nil {
			t.own = make(map[string]string)
		}
		return err
	})
	if err != nil {
		// A new certificate gets new tokens (0324-D26).
		t.log.Warn("the kept tokens cannot be read; new ones are fetched", "err", err)
		t.key, t.cert, t.own = nil, nil, make(map[string]string)
	}
	return t, nil
}

// Register takes token challenges. The session should give them a worker of
// their own (xmpp.Config.Urgent): a provisioning server may wait for one
// before it answers what another handler waits for.
func (t *Tokens) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Get, NameTokenChallenge, t.challenged)
}

// Own returns the token that a server gave; empty while there is none.
func (t *Tokens) Own(server jid.JID) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own[server.Bare().String()]
}

// All returns all own tokens, separated by one space (0324-R19).
func (t *Tokens) All() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]string, 0, len(t.own))
	for _, s := range t.own {
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// Fetch gets a token of a server unless there is one. The first time it makes
// an RSA key pair, which takes a slow board many seconds: call it in the
// background.
func (t *Tokens) Fetch(ctx context.Context, server jid.JID) (string, error) {
	t.making.Lock()
	defer t.making.Unlock()
	if s := t.Own(server); s != "" {
		return s, nil
	}
	if err := t.makeKey(); err != nil {
		return "", fmt.Errorf("provisioning: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	s, err := t.fetch(ctx, server.Bare())
	if err != nil {
		return "", fmt.Errorf("provisioning: a token of %s: %w", server, err)
	}
	t.mu.Lock()
	all := make(map[string]string, len(t.own)+1)
	for k, v := range t.own {
		all[k] = v
	}
	all[server.Bare().String()] = s
	t.mu.Unlock()
	if err := t.keep(all); err != nil {
		return "", err
	}
	return s, nil
}

// Drop forgets the tokens of all servers but those given: trust in the others
// has ended.
func (t *Tokens) Drop(but []jid.JID) error {
	t.making.Lock()
	defer t.making.Unlock()
	t.mu.Lock()
	left := make(map[string]string)
	for _, j := range but {
		if s := t.own[j.Bare().String()]; s != "" {
			left[j.Bare().String()] = s
		}
	}
	same := len(left) == len(t.own)
	t.mu.Unlock()
	if same {
		return nil
	}
	return t.keep(left)
}

func (t *Tokens) keep(own map[string]string) error {
	t.mu.Lock()
	k := keptTokens{Key: x509.MarshalPKCS1PrivateKey(t.key), Certificate: t.cert, Tokens: own}
	t.mu.Unlock()
	if err := t.cfg.Store.Update(func(tx *store.Tx) error { return tokenBucket.Put(tx, tokensKey, k) }); err != nil {
		return fmt.Errorf("provisioning: tokens cannot be kept: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = own
	return nil
}

// makeKey makes the key pair and its certificate. t.making is held.
func (t *Tokens) makeKey() error {
	t.mu.Lock()
	have := t.key != nil
	t.mu.Unlock()
	if have {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	// Boards without a clock start in the past: the certificate is valid from
	// before their time.
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: t.cfg.Name}, NotBefore: from,
		NotAfter: later(t.cfg.Now().UTC(), from).AddDate(certYears, 0, 0), KeyUsage: x509.KeyUsageDataEncipherment,
	}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key, t.cert = key, cert
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// fetch runs the exchange (P1 to P4).
func (t *Tokens) fetch(ctx context.Context, server jid.JID) (string, error) {
	to := t.cfg.Resolve(server)
	if to.String() == "" {
		return "", errors.New("it cannot be reached: its presence is missing")
	}
	t.mu.Lock()
	cert := t.cert
	t.mu.Unlock()
	var c Challenge
	err := t.cfg.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: GetToken{cert}}, func(st *xmpp.Stanza) (err error) {
		if st.Child().Name() != NameGetTokenChallenge {
			return bad("no challenge came")
		}
		c, err = ParseChallenge(st.Child())
		return err
	})
	if err != nil {
		return "", err
	}
	plain, err := t.decrypt(c.Data)
	if err != nil {
		return "", err
	}
	var token Token
	answer := Challenge{Name: NameGetTokenChallengeResponse, Seq: c.Seq, Data: plain}
	err = t.cfg.Session.Query(ctx, xmpp.Stanza{Type: xmpp.Get, To: to, Payload: answer}, func(st *xmpp.Stanza) (err error) {
		if st.Elem.Child(nameError).Valid() { // an error within a result (0324-D4)
			return bad("the server does not accept the answer")
		}
		token, err = ParseToken(st.Child())
		return err
	})
	return string(token), err
}

// decrypt answers a challenge: OAEP with SHA-1 first, then PKCS #1 v1.5
// (0324-D1).
func (t *Tokens) decrypt(data []byte) ([]byte, error) {
	t.mu.Lock()
	key := t.key
	t.mu.Unlock()
	if key == nil {
		return nil, xmpp.NewError(xmpp.Forbidden, "")
	}
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, data, nil)
	if err != nil && !t.cfg.OnlyOAEP {
		plain, err = rsa.DecryptPKCS1v15(nil, key, data)
	}
	if err != nil {
		return nil, bad("the challenge cannot be decrypted")
	}
	return plain, nil
}

// Passed notes that tokens were sent to somebody, who may challenge them for a
// minute (0324-R15).
func (t *Tokens) Passed(to jid.JID, tokens ...string) {
	now, bare := t.cfg.Now(), to.Bare().String()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range tokens {
		for _, one := range SplitTokens(s) {
			if len(t.sent) >= maxPassed {
				forgetOld(t.sent, now, func(x time.Time) time.Time { return x })
			}
			if len(t.sent) < maxPassed {
				t.sent[passed{one, bare}] = now
			}
		}
	}
}

// Came notes where tokens of others came from, so that challenges find their
// holder (0324-R16).
func (t *Tokens) Came(from jid.JID, tokens ...string) {
	now := t.cfg.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range tokens {
		for _, one := range SplitTokens(s) {
			if len(t.came) >= maxPassed {
				forgetOld(t.came, now, func(o origin) time.Time { return o.at })
			}
			if len(t.came) < maxPassed {
				t.came[one] = origin{from, now}
			}
		}
	}
}

func forgetOld[K comparable, V any](m map[K]V, now time.Time, at func(V) time.Time) {
	for k, v := range m {
		if now.Sub(at(v)) > tokenWindow {
			delete(m, k)
		}
	}
}

// challenged answers, or passes on, the challenge of a token (P5).
func (t *Tokens) challenged(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	forbidden := func() (xmpp.Payload, error) { return nil, xmpp.NewError(xmpp.Forbidden, "") }
	if !t.told(text(st.Child(), attrToken), st.From) {
		return forbidden()
	}
	c, err := ParseChallenge(st.Child())
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	from, at := t.came[c.Token].from, t.came[c.Token].at
	mine := false
	for _, s := range t.own {
		mine = mine || s == c.Token
	}
	t.mu.Unlock()
	switch {
	case mine:
		plain, err := t.decrypt(c.Data)
		if err != nil {
			return nil, err
		}
		return Challenge{Name: NameTokenChallengeResponse, Data: plain}, nil
	case at.IsZero() || t.cfg.Now().Sub(at) > tokenWindow || from.Equal(st.From):
		return forbidden() // 0324-D24
	}
	// The answer takes as long as the other end does; it must not hold a worker.
	h := hop{ask: xmpp.Stanza{Type: xmpp.Get, To: from, Payload: c}, reply: st.Reply(xmpp.Result, nil)}
	select {
	case t.hops <- h:
		return nil, xmpp.ErrLater
	default:
		return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many challenges").WithType(xmpp.Wait)
	}
}

// told reports whether a token went to somebody within the last minute.
func (t *Tokens) told(token string, to jid.JID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.sent[passed{token, to.Bare().String()}]
	return ok && t.cfg.Now().Sub(at) <= tokenWindow
}

// hop is a challenge on its way to the holder of a token.
type hop struct{ ask, reply xmpp.Stanza }

// Run passes challenges on until ctx is done.
func (t *Tokens) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxHops)
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-t.hops:
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			wg.Go(func() {
				defer func() { <-slots }()
				t.forward(ctx, h)
			})
		}
	}
}

// forward asks the holder and returns what it says, errors too (0324-D25).
func (t *Tokens) forward(ctx context.Context, h hop) {
	qctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	var answer Challenge
	err := t.cfg.Session.Query(qctx, h.ask, func(st *xmpp.Stanza) (err error) {
		answer, err = ParseChallenge(st.Child())
		return err
	})
	var e *xmpp.Error
	switch {
	case err == nil:
		h.reply.Payload = Challenge{Name: NameTokenChallengeResponse, Data: answer.Data}
	case errors.As(err, &e):
		h.reply.Type, h.reply.Payload = xmpp.TypeError, e
	default:
		h.reply.Type, h.reply.Payload = xmpp.TypeError, xmpp.NewError(xmpp.RemoteServerTimeout, "the holder of the token does not answer").WithType(xmpp.Wait)
	}
	if err := t.cfg.Session.Send(ctx, h.reply); err != nil && ctx.Err() == nil {
		t.log.Warn("a token challenge is not answered", "to", h.reply.To.String(), "err", err)
	}
}
