package xmpp

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"mellium.im/xmpp/jid"

	"postern/exi"
)

func TestCoreR65R66R86R87R88R90R95_ChoiceOfMechanism(t *testing.T) {
	tls13 := &tls.ConnectionState{Version: tls.VersionTLS13}
	tls12 := &tls.ConnectionState{Version: tls.VersionTLS12, TLSUnique: []byte("finished")}
	password := loginOptions{password: true}
	for _, tt := range []struct {
		name      string
		mechs     string
		types     string
		cs        *tls.ConnectionState
		o         loginOptions
		want, gs2 string // gs2: n, y or the binding
		err       string
	}{
		{"best hash", "SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 PLAIN", "", tls13, password, "SCRAM-SHA-512", "y", ""},
		{"CoreR87", "SCRAM-SHA-1", "", tls13, password, "SCRAM-SHA-1", "y", ""},
		{"never DIGEST-MD5", "DIGEST-MD5 CRAM-MD5 X-OAUTH2", "", tls13, password, "", "", "no way to log in"},
		{"PLAIN not allowed", "PLAIN", "", tls13, password, "", "", "only when the configuration allows"},
		{"PLAIN allowed", "PLAIN", "", tls13, loginOptions{password: true, plain: true}, "PLAIN", "n", ""},
		{"SCRAM before PLAIN", "PLAIN SCRAM-SHA-1", "", tls13, loginOptions{password: true, plain: true}, "SCRAM-SHA-1", "y", ""},
		{"CoreR66", "PLAIN", "", tls13, loginOptions{password: true, plain: true, strong: true}, "", "", "attack"},
		{"EXTERNAL first", "PLAIN EXTERNAL SCRAM-SHA-256", "", tls13, loginOptions{external: true, password: true}, "EXTERNAL", "n", ""},
		{"EXTERNAL without certificate", "EXTERNAL SCRAM-SHA-256", "", tls13, password, "SCRAM-SHA-256", "y", ""},
		{"certificate alone", "SCRAM-SHA-256", "", tls13, loginOptions{external: true}, "", "", "no way to log in"},
		{"unusable PLUS on 1.3: flag n", "SCRAM-SHA-512-PLUS SCRAM-SHA-512", "", tls13, password, "SCRAM-SHA-512", "n", ""},
		{"PLUS on 1.2", "SCRAM-SHA-512-PLUS SCRAM-SHA-512", "", tls12, password, "SCRAM-SHA-512-PLUS", "tls-unique", ""},
		{"weaker PLUS before stronger plain", "SCRAM-SHA-1-PLUS SCRAM-SHA-512", "", tls12, password, "SCRAM-SHA-1-PLUS", "tls-unique", ""},
		{"CoreR88", "SCRAM-SHA-1-PLUS SCRAM-SHA-1", "tls-magic", tls13, password, "", "", "attack"},
		{"CoreR90", "SCRAM-SHA-1", "tls-exporter", tls13, password, "", "", "attack"},
		{"tls-unique not on 1.3", "SCRAM-SHA-1-PLUS SCRAM-SHA-1", "tls-unique", tls13, password, "", "", "attack"},
		{"listed tls-unique on 1.2", "SCRAM-SHA-1-PLUS SCRAM-SHA-1", "tls-unique", tls12, password, "SCRAM-SHA-1-PLUS", "tls-unique", ""},
		{"end-point without certificate", "SCRAM-SHA-1-PLUS SCRAM-SHA-1", "tls-server-end-point", tls13, password, "SCRAM-SHA-1", "n", ""},
		{"second choice", "SCRAM-SHA-512 SCRAM-SHA-1", "", tls13, loginOptions{password: true, except: []string{"SCRAM-SHA-512"}}, "SCRAM-SHA-1", "y", ""},
		{"nothing offered", "", "", tls13, password, "", "", "offers no way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := chooseLogin(strings.Fields(tt.mechs), strings.Fields(tt.types), tt.cs, tt.o)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			gs2 := "n"
			if l.binding.IsSupported() {
				gs2 = string(l.binding.Type)
			} else if l.flagY {
				gs2 = "y"
			}
			if err != nil || l.mechanism != tt.want || gs2 != tt.gs2 {
				t.Errorf("%s with %s, %v", l.mechanism, gs2, err)
			}
		})
	}
}

func TestCoreR77R78_ServerFirst(t *testing.T) {
	for _, tt := range []struct{ msg, err string }{
		{"r=ourstheirs,s=c2FsdA==,i=4096", ""},
		{"r=ourstheirs,s=c2FsdA==,i=1000000", ""},
		{"r=ourstheirs,s=c2FsdA==,i=4095", "too few"},
		{"r=ourstheirs,s=c2FsdA==,i=1000001", "limit"},
		{"r=ourstheirs,s=c2FsdA==,i=99999999999999999999", "iteration"},
		{"r=ourstheirs,s=c2FsdA==,i=-5", "iteration"},
		{"r=ourstheirs,s=c2FsdA==", "too few"},
		{"r=ours,s=c2FsdA==,i=4096", "nonce"},
		{"r=others,s=c2FsdA==,i=4096", "nonce"},
		{"m=x,r=ourstheirs,s=c2FsdA==,i=4096", "extension"},
		{"e=other-error", "other-error"},
		{"rubbish", "malformed"},
		{"", "malformed"},
	} {
		_, err := checkServerFirst(tt.msg, "ours", 1_000_000)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.msg, err)
		}
	}
}

// The vectors of RFC 5802, RFC 7677 and the digest, through the same code that
// logs in.
func TestCoreR81R82_ScramVectors(t *testing.T) {
	cb := make([]byte, 32)
	for i := range cb {
		cb[i] = byte(i)
	}
	for _, tt := range []struct {
		hash                              scram.HashGeneratorFcn
		nonce, server, salt, c, p, verify string
		binding                           scram.ChannelBinding
	}{
		{scram.SHA1, "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92",
			"biws", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=", scram.ChannelBinding{}},
		{scram.SHA256, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ==",
			"biws", "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", scram.ChannelBinding{}},
		{scram.SHA256, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ==",
			"cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f", "QC6CS20quADQRb3mT99YUH+n3VJxUvzuK0K0E1Vrs2M=",
			"2GiAgapEppLVlUXbxUDksL3VgYHzuqiK5tR4mhJGgvs=", scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: cb}},
	} {
		client, err := tt.hash.NewClientUnprepped("user", "pencil", "")
		if err != nil {
			t.Fatal(err)
		}
		client.WithNonceGenerator(func() string { return tt.nonce })
		conv := client.NewConversation()
		if tt.binding.IsSupported() {
			conv = client.NewConversationWithChannelBinding(tt.binding)
		}
		first, err := conv.Step("")
		if err != nil {
			t.Fatal(err)
		}
		x := &scramExchange{s: &Session{cfg: Config{MaxIterations: 4096}}, nonce: first[len(first)-nonceLen(first):], step: conv.Step, valid: conv.Valid}
		final, err := x.answer("r=" + tt.nonce + tt.server + ",s=" + tt.salt + ",i=4096")
		if want := "c=" + tt.c + ",r=" + tt.nonce + tt.server + ",p=" + tt.p; err != nil || final != want {
			t.Errorf("got %s, %v; want %s", final, err, want)
		}
		if err := endExchange(x, "v="+tt.verify, true); err != nil {
			t.Error(err)
		}
	}
}

func TestCoreR69R79_ServerMustProveItself(t *testing.T) {
	for _, tt := range []struct {
		data    string
		present bool
	}{{"", false}, {"", true}, {"v=AAAA", true}, {"e=other-error", true}, {"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", false}} {
		client, err := scram.SHA1.NewClientUnprepped("user", "pencil", "")
		if err != nil {
			t.Fatal(err)
		}
		client.WithNonceGenerator(func() string { return "fyko+d2lbbFgONRv9qkxdawL" })
		conv := client.NewConversation()
		if _, err := conv.Step(""); err != nil {
			t.Fatal(err)
		}
		x := &scramExchange{s: &Session{cfg: Config{MaxIterations: 4096}}, nonce: "fyko+d2lbbFgONRv9qkxdawL", step: conv.Step, valid: conv.Valid}
		if _, err := x.answer("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"); err != nil {
			t.Fatal(err)
		}
		if err := endExchange(x, tt.data, tt.present); err == nil {
			t.Errorf("%q (present: %v) is taken for a proof", tt.data, tt.present)
		}
	}
}

func TestCoreR76_UserNamesAreEscaped(t *testing.T) {
	client, err := scram.SHA1.NewClientUnprepped("a,b=c", "p", "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := client.NewConversation().Step("")
	if err != nil || !strings.HasPrefix(first, "n,,n=a=2Cb=3Dc,r=") {
		t.Errorf("%s, %v", first, err)
	}
	if n := nonceLen(first); n < 24 || strings.Contains(first[len(first)-n:], ",") {
		t.Errorf("CoreR77: nonce of %d characters in %s", n, first)
	}
}

func TestCoreR83_KeysAreKeptForTheSaltUsedLast(t *testing.T) {
	var k scramKeys
	l := login{mechanism: "SCRAM-SHA-256", hash: scram.SHA256}
	a, err := k.clientFor(l, "user", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	k.sawSalt("s1")
	if b, _ := k.clientFor(login{mechanism: "SCRAM-SHA-256-PLUS", hash: scram.SHA256}, "user", "pencil"); b != a {
		t.Error("the keys are derived again")
	}
	k.sawSalt("s1")
	if b, _ := k.clientFor(l, "user", "pencil"); b != a {
		t.Error("the keys are derived again")
	}
	if b, _ := k.clientFor(l, "user", "changed"); b == a {
		t.Error("keys of another password")
	}
	k.sawSalt("s2")
	k.sawSalt("s3")
	if k.client != nil {
		t.Error("keys of many salts are kept")
	}
	if _, err := k.clientFor(l, "user", "a\x00b"); err == nil {
		t.Error("a password that SASLprep forbids is taken")
	}
}

func TestCoreR67R68_Payloads(t *testing.T) {
	for _, tt := range []struct {
		text, data  string
		present, ok bool
	}{
		{"", "", false, true}, {"=", "", true, true}, {"YQ==", "a", true, true},
		{"YQ", "", true, false}, {"Y Q==", "", true, false}, {"YQ==\n", "", true, false}, {"==", "", true, false}, {"YR==", "", true, false},
	} {
		var d exi.Doc
		d.Element(nameChallenge, exi.Str(tt.text))
		data, present, err := decodePayload(d.Root())
		if data != tt.data || present != tt.present || (err == nil) != tt.ok {
			t.Errorf("%q: %q, %v, %v", tt.text, data, present, err)
		}
	}
	if v := encodePayload(""); v.String() != "=" {
		t.Errorf("empty payload %q", v)
	}
}

func FuzzServerFirst(f *testing.F) {
	f.Add("r=ourstheirs,s=c2FsdA==,i=4096")
	f.Add("m=,r=,s=,i=")
	f.Fuzz(func(t *testing.T, msg string) {
		got, err := checkServerFirst(msg, "ours", 100_000)
		if err == nil && (got.iterations > 100_000 || got.iterations < 4096 || !strings.HasPrefix(got.nonce, "ours")) {
			t.Errorf("%q gives %+v", msg, got)
		}
	})
}

func FuzzDecodePayload(f *testing.F) {
	f.Add("=")
	f.Add("YQ==")
	f.Fuzz(func(t *testing.T, s string) {
		var d exi.Doc
		d.Element(nameChallenge, exi.Str(s))
		data, present, err := decodePayload(d.Root())
		if err == nil && present && s != "=" && base64.StdEncoding.EncodeToString([]byte(data)) != s {
			t.Errorf("%q is read as %q", s, data)
		}
	})
}

func TestCoreR18_AuthErrors(t *testing.T) {
	e := &AuthError{Condition: "not-authorized", Text: "no", Mechanism: "PLAIN"}
	if !strings.Contains(e.Error(), "check the account") || e.temporary() || e.tryOther() {
		t.Error(e)
	}
	for c, held := range map[string]bool{"temporary-auth-failure": false, "aborted": false, "credentials-expired": true,
		"account-disabled": true, "not-authorized": true, "malformed-request": true} {
		if got := mendless(&AuthError{Condition: c}); got != held {
			t.Errorf("CoreR18: %s held: %v", c, got)
		}
	}
}

func TestCoreR109R113_MayAnswer(t *testing.T) {
	s := &Session{cfg: Config{JID: jid.MustParse("me@example.org")}, addr: jid.MustParse("me@example.org/r")}
	for _, tt := range []struct {
		asked, from string
		ok          bool
	}{
		{"", "", true}, {"", "me@example.org", true}, {"", "example.org", true}, {"", "me@example.org/r", true},
		{"", "you@example.org", false}, {"", "me@example.org/other", false},
		{"me@example.org", "", true}, {"me@example.org", "example.org", true},
		{"you@example.org/x", "you@example.org/x", true}, {"you@example.org/x", "you@example.org/X", false},
		{"you@example.org/x", "you@example.org", false}, {"you@example.org/x", "", false},
		{"example.org", "example.org", true}, {"example.org", "", false}, {"example.org", "me@example.org", false},
	} {
		var asked, from jid.JID
		if tt.asked != "" {
			asked = jid.MustParse(tt.asked)
		}
		if tt.from != "" {
			from = jid.MustParse(tt.from)
		}
		if got := s.mayAnswer(asked, from); got != tt.ok {
			t.Errorf("CoreD9: asked %q, answered by %q: %v", tt.asked, tt.from, got)
		}
	}
}

func TestCoreR15R18_Backoff(t *testing.T) {
	cfg := Config{}
	cfg.setDefaults()
	b := cfg.Backoff
	remote := func(c string) error { return &StreamError{Condition: c} }
	const s = 1e9
	for _, tt := range []struct {
		n        int
		err      error
		min, max float64 // seconds
		held     bool
	}{
		{0, errors.New("lost"), 0, 10, false},
		{0, remote("system-shutdown"), 0, 60, false},
		{1, remote("system-shutdown"), 1.4, 2.7, false},
		{1, errors.New("lost"), 1.4, 2.7, false},
		{3, errors.New("lost"), 5.6, 10.5, false},
		{9, errors.New("lost"), 358, 666, false},
		{10, errors.New("lost"), 420, 781, false},
		{1000, errors.New("lost"), 420, 781, false},
		{0, remote("resource-constraint"), 420, 781, false},
		{0, remote("policy-violation"), 420, 781, false},
		{0, remote("conflict"), 2520, 4681, true},
		{0, remote("host-gone"), 2520, 4681, true},
		{0, remote("host-unknown"), 2520, 4681, true},
		{5, &AuthError{Condition: "not-authorized"}, 2520, 4681, true},
		{0, NewStreamError("unsupported-version", ""), 2520, 4681, true},
		{0, NewStreamError("not-well-formed", ""), 0, 10, false},
		{0, ErrNoService, 2520, 4681, true},
	} {
		for range 50 {
			wait, held := b.next(tt.n, tt.err)
			if f := float64(wait) / s; f < tt.min || f > tt.max || held != tt.held || wait <= 0 {
				t.Errorf("try %d after %v: %v, held %v", tt.n, tt.err, wait, held)
			}
		}
	}
}
