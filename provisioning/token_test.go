package provisioning

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
)

// authority plays a provisioning server that gives tokens.
type authority struct {
	t     *testing.T
	key   *rsa.PublicKey
	plain []byte
	pkcs1 bool
	gave  int
}

func (a *authority) answer(_, xml string) (string, error) {
	body := func() []byte {
		_, rest, _ := strings.Cut(xml, ">")
		text, _, _ := strings.Cut(rest, "<")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			a.t.Errorf("%s: %v", xml, err)
		}
		return b
	}
	switch {
	case strings.HasPrefix(xml, "<getToken>"):
		cert, err := x509.ParseCertificate(body())
		if err != nil {
			a.t.Fatal(err)
		}
		a.key = cert.PublicKey.(*rsa.PublicKey)
		return "<getTokenChallenge seqnr='7'>" + base64.StdEncoding.EncodeToString(a.challenge()) + "</getTokenChallenge>", nil
	case strings.HasPrefix(xml, "<getTokenChallengeResponse seqnr='7'>"):
		if string(body()) != string(a.plain) {
			return "", xmpp.NewError(xmpp.BadRequest, "")
		}
		a.gave++
		return "<getTokenResponse token='TOKEN'/>", nil
	}
	return "", xmpp.NewError(xmpp.ServiceUnavailable, "")
}

func (a *authority) challenge() []byte {
	a.plain = []byte(rand.Text())
	var c []byte
	var err error
	if a.pkcs1 {
		c, err = rsa.EncryptPKCS1v15(rand.Reader, a.key, a.plain)
	} else {
		c, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, a.key, a.plain, nil)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

var (
	psJID    = jid.MustParse("ps.a.example")
	readerID = jid.MustParse("reader@b.example/x")
)

func newTokens(t *testing.T, w *world, path string) (*Tokens, *xmpp.Mux) {
	t.Helper()
	k, err := NewTokens(TokensConfig{Session: w, Store: openStore(t, path), Name: "device@a.example", Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	m := new(xmpp.Mux)
	k.Register(m)
	return k, m
}

func Test0324R08R18_ATokenIsFetchedOnce(t *testing.T) {
	for _, old := range []bool{false, true} {
		w := newWorld(t)
		a := &authority{t: t, pkcs1: old}
		w.answer = a.answer
		path := filepath.Join(t.TempDir(), "t.db")
		k, err := NewTokens(TokensConfig{Session: w, Store: openStore(t, path), Name: "device@a.example", Now: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := k.Fetch(t.Context(), psJID); err != nil || got != "TOKEN" || a.gave != 1 {
				t.Fatalf("%q, %v, given %d times", got, err, a.gave)
			}
		}
		if a.key.Size() != 256 {
			t.Errorf("a key of %d octets", a.key.Size())
		}
		if err := k.cfg.Store.Close(); err != nil {
			t.Fatal(err)
		}
		again, _ := newTokens(t, w, path)
		if got, err := again.Fetch(t.Context(), psJID); err != nil || got != "TOKEN" || a.gave != 1 {
			t.Errorf("after a restart: %q, %v, given %d times", got, err, a.gave)
		}
		if err := again.Drop(nil); err != nil || again.All() != "" {
			t.Errorf("%q, %v", again.All(), err)
		}
	}
}

func Test0324R15_AnswersForAMinuteToWhomTheTokenWasSent(t *testing.T) {
	w := newWorld(t)
	a := &authority{t: t}
	w.answer = a.answer
	k, m := newTokens(t, w, "")
	if _, err := k.Fetch(t.Context(), psJID); err != nil {
		t.Fatal(err)
	}
	ask := func(from string) string {
		return gives(t, m, xmpp.IQ, xmpp.Get, from, "<tokenChallenge token='TOKEN'>"+base64.StdEncoding.EncodeToString(a.challenge())+"</tokenChallenge>")
	}
	if got := ask("ps.a.example"); got != "forbidden" {
		t.Errorf("never sent: %s", got)
	}
	k.Passed(psJID, "TOKEN")
	want := "<tokenChallengeResponse>" + "%s" + "</tokenChallengeResponse>"
	for _, c := range []struct {
		after time.Duration
		from  string
		ok    bool
	}{{0, "ps.a.example", true}, {0, "ps.a.example/x", true}, {0, "thief@c.example/x", false}, {60 * time.Second, "ps.a.example", true}, {time.Second, "ps.a.example", false}} {
		w.pass(c.after)
		got := ask(c.from)
		if ok := got == strings.Replace(want, "%s", base64.StdEncoding.EncodeToString(a.plain), 1); ok != c.ok || !ok && got != "forbidden" {
			t.Errorf("%s %v later: %s", c.from, c.after, got)
		}
	}
	k.Passed(psJID, "TOKEN OTHER")
	if got := gives(t, m, xmpp.IQ, xmpp.Get, "ps.a.example", "<tokenChallenge token='TOKEN'>AAAA</tokenChallenge>"); got != "bad-request" {
		t.Errorf("nonsense: %s", got)
	}
	if got := gives(t, m, xmpp.IQ, xmpp.Get, "ps.a.example", "<tokenChallenge token='OTHER'>AAAA</tokenChallenge>"); got != "forbidden" {
		t.Errorf("nobody's token: %s", got)
	}
}

// upstream is a session whose queries wait for the test.
type upstream struct {
	*world
	mu    sync.Mutex
	sent  []xmpp.Stanza
	reply func(ctx context.Context) (string, error)
}

func (u *upstream) Send(_ context.Context, sts ...xmpp.Stanza) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent = append(u.sent, sts...)
	return nil
}

func (u *upstream) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	got, err := u.reply(ctx)
	if err != nil {
		return err
	}
	in := incoming(u.t, xmpp.IQ, xmpp.Result, st.To.String(), got)
	return reply(&in)
}

func Test0324R16_ChallengesArePassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		reply func(context.Context) (string, error)
		want  string
	}{
		"answered": {func(context.Context) (string, error) {
			return "<tokenChallengeResponse>QUJD</tokenChallengeResponse>", nil
		}, "QUJD"},
		"refused": {func(context.Context) (string, error) { return "", xmpp.NewError(xmpp.Forbidden, "") }, "forbidden"},
		"silent":  {func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }, "remote-server-timeout"},
	} {
		db := openStore(t, "")
		synctest.Test(t, func(t *testing.T) {
			u := &upstream{world: newWorld(t), reply: c.reply}
			k, err := NewTokens(TokensConfig{Session: u, Store: db, Now: u.clock})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = k.Run(ctx) }()
			k.Came(readerID, "HERS")
			k.Passed(psJID, "HERS")
			st := incoming(t, xmpp.IQ, xmpp.Get, "ps.a.example", "<tokenChallenge token='HERS'>AAAA</tokenChallenge>")
			if _, err := k.challenged(ctx, &st); !errors.Is(err, xmpp.ErrLater) {
				t.Fatalf("%s: %v", name, err)
			}
			start := time.Now()
			for {
				synctest.Wait()
				u.mu.Lock()
				n := len(u.sent)
				u.mu.Unlock()
				if n > 0 {
					break
				}
				time.Sleep(time.Second)
			}
			if took := time.Since(start); took > 21*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
			got := written(t, u.sent[0].Payload)
			if !strings.Contains(got, c.want) || u.sent[0].To.String() != "ps.a.example" || u.sent[0].ID != "i" {
				t.Errorf("%s: %+v %s", name, u.sent[0], got)
			}
			// A token that came more than a minute ago has no holder any more.
			u.pass(61 * time.Second)
			k.Passed(psJID, "HERS")
			if _, err := k.challenged(ctx, &st); !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
				t.Errorf("%s: later: %v", name, err)
			}
		})
	}
}

// A request that carries tokens makes the device a hop for their challenges,
// and its own are among none of them.
func Test0324R58_TokensOfTheRequestAreSentOn(t *testing.T) {
	w := newWorld(t)
	k, m := newTokens(t, w, "")
	a, err := NewAccess(AccessConfig{Session: w, Servers: []jid.JID{psJID}, Tokens: k, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.answer = func(_, xml string) (string, error) {
		return "<canReadResponse jid='reader@b.example' result='false'/>", nil
	}
	r := request
	r.Bare = "reader@b.example"
	r.From, r.ServiceToken, r.UserToken = readerID.String(), "S1  S2", "U"
	if _, err := a.CanRead(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	asked, _ := w.took()
	if len(asked) != 1 || !strings.Contains(asked[0], "serviceToken='S1 S2'") || !strings.Contains(asked[0], "userToken='U'") || strings.Contains(asked[0], "deviceToken") {
		t.Errorf("%q", asked)
	}
	for _, token := range []string{"S1", "S2", "U"} {
		st := incoming(t, xmpp.IQ, xmpp.Get, psJID.String(), "<tokenChallenge token='"+token+"'>AAAA</tokenChallenge>")
		if _, err := m.HandleStanza(t.Context(), &st); !errors.Is(err, xmpp.ErrLater) {
			t.Errorf("%s: %v", token, err)
		}
	}
}
