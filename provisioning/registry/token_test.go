package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/provisioning"
	"postern/xmpp"
)

// testKey is made once: making one takes a second.
var testKey = func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k }()

func certificate(t *testing.T, key any, pub any, from, to time.Time) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (l *lab) goodCert() []byte {
	return certificate(l.t, testKey, &testKey.PublicKey, l.clock().Add(-time.Hour), l.clock().Add(24*time.Hour))
}

// begin asks for a token and returns the challenge.
func (l *lab) begin(from string, cert []byte) (provisioning.Challenge, error) {
	l.t.Helper()
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, ID: "t1", From: jid.MustParse(from), To: l.Addr(), Payload: provisioning.GetToken{Certificate: cert}}
	in := received(&st)
	p, err := l.HandleStanza(context.Background(), &in)
	if err != nil {
		return provisioning.Challenge{}, err
	}
	return p.(provisioning.Challenge), nil
}

func (l *lab) finish(from string, seq int64, data []byte) (string, error) {
	l.t.Helper()
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, ID: "t2", From: jid.MustParse(from), To: l.Addr(),
		Payload: provisioning.Challenge{Name: provisioning.NameGetTokenChallengeResponse, Seq: seq, Data: data}}
	in := received(&st)
	p, err := l.HandleStanza(context.Background(), &in)
	if err != nil {
		return "", err
	}
	return string(p.(provisioning.Token)), nil
}

func opened(t *testing.T, data []byte) []byte {
	t.Helper()
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, testKey, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func isCondition(err error, c xmpp.Condition) bool {
	return errors.Is(err, &xmpp.Error{Condition: c})
}

// One flipped bit is refused, and a challenge can be answered once.
func Test0324R09R12R13_ChallengesAreComparedExactly(t *testing.T) {
	l := newLab(t)
	cert := l.goodCert()
	c, err := l.begin(thing, cert)
	if err != nil {
		t.Fatal(err)
	}
	plain := opened(t, c.Data)
	if len(plain) != 32 {
		t.Errorf("%d octets of chance", len(plain))
	}
	if _, err := l.finish(stranger, c.Seq, plain); !isCondition(err, xmpp.ItemNotFound) {
		t.Errorf("somebody else's challenge: %v", err)
	}
	bent := slices.Clone(plain)
	bent[7] ^= 1
	if _, err := l.finish(thing, c.Seq, bent); !isCondition(err, xmpp.BadRequest) {
		t.Errorf("one bit flipped: %v", err)
	}
	if _, err := l.finish(thing, c.Seq, plain); !isCondition(err, xmpp.ItemNotFound) {
		t.Errorf("a second try: %v", err)
	}
	if _, err := l.finish(thing, 999, plain); !isCondition(err, xmpp.ItemNotFound) {
		t.Errorf("unknown: %v", err)
	}
	d, _ := l.begin(thing, cert)
	if slices.Equal(d.Data, c.Data) || slices.Equal(opened(t, d.Data), plain) {
		t.Error("the same challenge twice")
	}
}

func Test0324R10R18_TokensHaveNoSpaceAndLast(t *testing.T) {
	l := newLab(t)
	cert := l.goodCert()
	get := func(from string, cert []byte) string {
		c, err := l.begin(from, cert)
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.finish(from, c.Seq, opened(t, c.Data))
		if err != nil {
			t.Fatal(err)
		}
		if token == "" || len(strings.Fields(token)) != 1 || strings.TrimSpace(token) != token || len(token) < 20 {
			t.Errorf("token %q", token)
		}
		return token
	}
	one := get(thing, cert)
	l.restart()
	// The same certificate is the same party, also from another account
	// (0324-D26); another certificate is another.
	if again := get(other1, cert); again != one {
		t.Errorf("%q and %q for one certificate", one, again)
	}
	if get(thing, l.goodCert()) == one {
		t.Error("one token for two certificates")
	}
}

func Test0324R11_ChallengesLiveAMinute(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{59 * time.Second, true}, {3 * time.Minute, false}} {
		ch, err := l.begin(thing, l.goodCert())
		if err != nil {
			t.Fatal(err)
		}
		plain := opened(t, ch.Data)
		l.pass(c.after)
		if _, err := l.finish(thing, ch.Seq, plain); (err == nil) != c.ok || err != nil && !isCondition(err, xmpp.ItemNotFound) {
			t.Errorf("after %v: %v", c.after, err)
		}
	}
}

func Test0324R63_UnusableCertificates(t *testing.T) {
	l := newLab(t)
	now := l.clock()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for name, cert := range map[string][]byte{
		"broken":    []byte("no certificate"),
		"expired":   certificate(t, testKey, &testKey.PublicKey, now.Add(-2*time.Hour), now.Add(-time.Hour)),
		"not yet":   certificate(t, testKey, &testKey.PublicKey, now.Add(time.Hour), now.Add(2*time.Hour)),
		"not RSA":   certificate(t, ec, &ec.PublicKey, now.Add(-time.Hour), now.Add(time.Hour)),
		"too small": certificate(t, small, &small.PublicKey, now.Add(-time.Hour), now.Add(time.Hour)),
	} {
		if _, err := l.begin(thing, cert); !isCondition(err, xmpp.BadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// PEM is taken (0324-D3).
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, ID: "p", From: jid.MustParse(thing), To: l.Addr(), Payload: provisioning.GetToken{}}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.goodCert()}))
	got, err := l.get(thing, "<getToken xmlns='"+provisioning.NS+"'>"+text+"</getToken>")
	if err != nil || !strings.Contains(got, "getTokenChallenge") {
		t.Errorf("PEM: %q, %v", got, err)
	}
	_ = st
	// A rule about a token ends with its certificate.
	c := claimedLab(t)
	cert := c.goodCert()
	ch, _ := c.begin(thing2, cert)
	token, err := c.finish(thing2, ch.Seq, opened(t, ch.Data))
	if err != nil {
		t.Fatal(err)
	}
	c.rule(Rule{Subject: TokenPrefix + token, Action: Read})
	q := provisioning.Question{JID: jid.MustParse("r@x.example"), ServiceToken: token}
	if !c.May("thing@a.example", q).Result {
		t.Error("the token's holder may not")
	}
	c.pass(25 * time.Hour)
	if c.May("thing@a.example", q).Result {
		t.Error("the rule outlives the certificate")
	}
}

// device is an end that is provisioned by the service and has tokens.
func (w *wire) device(t *testing.T, addr string) (*provisioning.Access, *provisioning.Tokens) {
	t.Helper()
	e := w.end(addr)
	k := e.tokens(t)
	a, err := provisioning.NewAccess(provisioning.AccessConfig{Session: e, Servers: []jid.JID{w.l.Addr()}, CacheSize: -1, Tokens: k, Now: w.l.clock})
	if err != nil {
		t.Fatal(err)
	}
	return a, k
}

func reads(t *testing.T, a *provisioning.Access, from, tokens string) bool {
	t.Helper()
	d, err := a.CanRead(context.Background(), node.Request{From: from, Bare: jid.MustParse(from).Bare().String(), Fields: []string{"E"}, Types: node.Momentary, ServiceToken: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return !d.Denied()
}

// A service's token travels over two gateways to the provisioning server,
// whose challenge finds its way back: three hops.
func Test0324R08R14R16R17R66_ThreeHops(t *testing.T) {
	l := claimedLab(t)
	w := newWire(t, l)
	svc := w.end("service@s.example/x")
	holder := svc.tokens(t)
	token, err := holder.Fetch(t.Context(), l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	middle := w.end("middle@m.example/x")
	pass := middle.tokens(t)
	last, _ := w.device(t, thing)
	l.rule(Rule{Subject: TokenPrefix + token, Action: Read, Names: []string{"E"}})

	// The middle one got the token from the service and sends it on.
	holder.Passed(jid.MustParse("middle@m.example"), token)
	pass.Came(jid.MustParse("service@s.example/x"), token)
	pass.Passed(jid.MustParse(thing), token)
	w.took()
	if !reads(t, last, "middle@m.example/x", token) {
		t.Fatal("the rule about the token does not help")
	}
	log := strings.Join(w.took(), "\n")
	for i, want := range []string{"thing> canRead", ">thing tokenChallenge", "thing>middle tokenChallenge", "middle>service tokenChallenge", "service>middle tokenChallengeResponse", "middle>thing tokenChallengeResponse", "thing> tokenChallengeResponse", ">thing canReadResponse"} {
		if at := strings.Index(log, want); at < 0 {
			t.Fatalf("%d: %q is missing, or too early:\n%s", i, want, log)
		} else {
			log = log[at+len(want):]
		}
	}
	// Somebody who has seen the token cannot use it.
	if thief := "thief@t.example/x"; reads(t, last, thief, token) {
		t.Error("a stolen token helps")
	}
}

func Test0324R20_SeveralTokens(t *testing.T) {
	l := claimedLab(t, func(c *Config) { c.TrustTokens = true })
	w := newWire(t, l)
	var tokens []string
	for _, name := range []string{"a", "b"} {
		k := w.end(name + "@s.example/x").tokens(t)
		token, err := k.Fetch(t.Context(), l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	l.rule(Rule{Subject: TokenPrefix + tokens[0], Action: Read, Deny: true})
	l.rule(Rule{Subject: TokenPrefix + tokens[1], Action: Read})
	device, _ := w.device(t, thing)
	for _, c := range []struct {
		tokens string
		want   bool
	}{
		{tokens[0], false}, {tokens[1], true}, {tokens[0] + " " + tokens[1], true}, {"unknown " + tokens[1], true}, {tokens[1] + " \t unknown", true}, {"unknown", false}, {"", false},
	} {
		if got := reads(t, device, "r@x.example/y", c.tokens); got != c.want {
			t.Errorf("%q: %v", c.tokens, got)
		}
	}
}

// Peers that decrypt by PKCS #1 v1.5 only are named in the configuration, and
// devices understand both.
func TestChallengesByPKCS1(t *testing.T) {
	l := newLab(t, func(c *Config) { c.PKCS1 = func(j jid.JID) bool { return j.Domainpart() == "old.example" } })
	w := newWire(t, l)
	if _, err := w.end("a@old.example/x").tokens(t).Fetch(t.Context(), l.Addr()); err != nil {
		t.Error(err)
	}
	only := func(c *provisioning.TokensConfig) { c.OnlyOAEP = true }
	if _, err := w.end("b@old.example/x").tokens(t, only).Fetch(t.Context(), l.Addr()); err == nil {
		t.Error("decrypted by PKCS #1 v1.5 although that is off")
	}
}
