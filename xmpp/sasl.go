package xmpp

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"

	"postern/exi"
	"postern/xmpp/saslprep"
)

// Elements of RFC 6120 §6 and XEP-0440.
var (
	nameMechanisms = exi.N(NSSASL, "mechanisms")
	nameMechanism  = exi.N(NSSASL, "mechanism")
	nameAuth       = exi.N(NSSASL, "auth")
	nameChallenge  = exi.N(NSSASL, "challenge")
	nameResponse   = exi.N(NSSASL, "response")
	nameSuccess    = exi.N(NSSASL, "success")
	nameFailure    = exi.N(NSSASL, "failure")
	nameSASLText   = exi.N(NSSASL, "text")
	nameCBList     = exi.N(NSCB, "sasl-channel-binding")
	nameCB         = exi.N(NSCB, "channel-binding")
	attrMechanism  = exi.N("", "mechanism")
)

// scramHashes are the SCRAM mechanisms, best first.
var scramHashes = []struct {
	name string
	hash scram.HashGeneratorFcn
}{
	{"SCRAM-SHA-512", scram.SHA512},
	{"SCRAM-SHA-256", scram.SHA256},
	{"SCRAM-SHA-1", scram.SHA1},
}

// login is a mechanism chosen, with its channel binding.
type login struct {
	mechanism string
	hash      scram.HashGeneratorFcn // of SCRAM
	binding   scram.ChannelBinding   // of -PLUS
	flagY     bool                   // GS2 flag y instead of n
}

// loginOptions is what this side can and may do.
type loginOptions struct {
	external, password, plain bool
	strong                    bool // SCRAM was offered before: PLAIN alone is a downgrade
	except                    []string
}

// chooseLogin picks a mechanism in this side's own order (CORE-R65) and settles
// channel binding (XEP-0440, CORE-R84 to R91).
func chooseLogin(offered, types []string, cs *tls.ConnectionState, o loginOptions) (login, error) {
	can := func(m string) bool { return slices.Contains(offered, m) && !slices.Contains(o.except, m) }
	if o.external && can("EXTERNAL") {
		return login{mechanism: "EXTERNAL"}, nil
	}
	if o.password {
		l, err := chooseSCRAM(offered, types, cs, can)
		if err != nil || l.mechanism != "" {
			return l, err
		}
		if o.plain && can("PLAIN") {
			if o.strong {
				return login{}, errors.New("xmpp: the server offers PLAIN only, but offered SCRAM before; this looks like an attack")
			}
			return login{mechanism: "PLAIN"}, nil
		}
	}
	return login{}, noMechanism(offered, o)
}

func noMechanism(offered []string, o loginOptions) error {
	s := "xmpp: no way to log in that both sides can: the server offers " + strings.Join(offered, ", ")
	switch {
	case len(offered) == 0:
		s = "xmpp: the server offers no way to log in"
	case o.password && slices.Contains(offered, "PLAIN") && !o.plain:
		s += "; PLAIN is used only when the configuration allows it"
	case !o.password && !o.external:
		s += "; neither a password nor a client certificate is configured"
	}
	return errors.New(s)
}

func chooseSCRAM(offered, types []string, cs *tls.ConnectionState, can func(string) bool) (login, error) {
	plus := slices.ContainsFunc(offered, func(m string) bool {
		return strings.HasPrefix(m, "SCRAM-") && strings.HasSuffix(m, "-PLUS")
	})
	binding, err := chooseBinding(plus, types, cs)
	if err != nil {
		return login{}, err
	}
	if binding.IsSupported() {
		for _, h := range scramHashes {
			if can(h.name + "-PLUS") {
				return login{mechanism: h.name + "-PLUS", hash: h.hash, binding: binding}, nil
			}
		}
	}
	for _, h := range scramHashes {
		if can(h.name) {
			// y says "I could, but you did not offer": a server that did offer
			// -PLUS takes it for an attack. So n when -PLUS cannot be used.
			return login{mechanism: h.name, hash: h.hash, flagY: !plus}, nil
		}
	}
	return login{}, nil
}

// chooseBinding returns the channel binding to use; the zero value is none.
func chooseBinding(plus bool, types []string, cs *tls.ConnectionState) (scram.ChannelBinding, error) {
	var none scram.ChannelBinding
	switch {
	case !plus && len(types) == 0:
		return none, nil
	case !plus:
		// XEP-0440: types without a mechanism for them were stripped on the way.
		return none, errors.New("xmpp: the server lists channel-binding types but no mechanism that binds; this looks like an attack")
	case len(types) == 0:
		// Without a list only TLS 1.2's tls-unique is what servers agree on.
		if cs.Version == tls.VersionTLS12 && len(cs.TLSUnique) > 0 {
			return scram.NewTLSUniqueBinding(cs.TLSUnique), nil
		}
		return none, nil
	}
	if slices.Contains(types, "tls-exporter") {
		// An empty context, not an absent one (RFC 9266 §4.2).
		if data, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err == nil {
			return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}, nil
		}
	}
	if slices.Contains(types, "tls-unique") && cs.Version == tls.VersionTLS12 && len(cs.TLSUnique) > 0 {
		return scram.NewTLSUniqueBinding(cs.TLSUnique), nil
	}
	if slices.Contains(types, "tls-server-end-point") {
		if b, err := scram.NewTLSServerEndpointBinding(cs); err == nil {
			return b, nil
		}
		return none, nil // an Ed25519 certificate has no such binding (D5)
	}
	return none, errors.New("xmpp: no channel-binding type in common with the server, which is not plausible; this looks like an attack")
}

// scramKeys keeps what SCRAM derives from the password, which costs much time
// on a small board, for the salt used last.
type scramKeys struct {
	mechanism, password, salted string
	client                      *scram.Client
}

// clientFor returns the client for a login; salted identifies the salt and
// iteration count once they are known.
func (k *scramKeys) clientFor(l login, user, password string) (*scram.Client, error) {
	base := strings.TrimSuffix(l.mechanism, "-PLUS")
	if k.client != nil && k.mechanism == base && k.password == password {
		return k.client, nil
	}
	name, err := saslprep.Prepare(user)
	if err != nil {
		return nil, fmt.Errorf("xmpp: SCRAM does not allow the user name (SASLprep): %w", err)
	}
	prepared, err := saslprep.Prepare(password)
	if err != nil {
		return nil, fmt.Errorf("xmpp: SCRAM does not allow the password (SASLprep): %w", err)
	}
	c, err := l.hash.NewClientUnprepped(name, prepared, "")
	if err != nil {
		return nil, fmt.Errorf("xmpp: SCRAM: %w", err)
	}
	*k = scramKeys{mechanism: base, password: password, client: c}
	return c, nil
}

// sawSalt drops keys derived for another salt, so that a server that changes it
// each time cannot fill the memory.
func (k *scramKeys) sawSalt(salted string) {
	if k.salted != salted && k.salted != "" {
		k.client = nil
	}
	k.salted = salted
}

// serverFirst is SCRAM's first message of the server (RFC 5802 §7).
type serverFirst struct {
	nonce, salt string
	iterations  int
}

// checkServerFirst refuses what the mechanism's library would let pass: an
// extension it must understand, too many iterations, a nonce without the
// server's part (CORE-R77, R78).
func checkServerFirst(msg, ourNonce string, maxIterations int) (serverFirst, error) {
	var f serverFirst
	for part := range strings.SplitSeq(msg, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return f, errors.New("xmpp: malformed SCRAM challenge")
		}
		switch k {
		case "m":
			return f, errors.New("xmpp: the server demands a SCRAM extension that is not known")
		case "e":
			return f, errors.New("xmpp: the server reports a SCRAM error: " + v)
		case "r":
			f.nonce = v
		case "s":
			f.salt = v
		case "i":
			for _, c := range v {
				if c < '0' || c > '9' || f.iterations > 1<<30 {
					return f, errors.New("xmpp: malformed SCRAM iteration count")
				}
				f.iterations = f.iterations*10 + int(c-'0')
			}
		}
	}
	switch {
	case !strings.HasPrefix(f.nonce, ourNonce) || len(f.nonce) == len(ourNonce):
		return f, errors.New("xmpp: the server's SCRAM nonce does not extend ours")
	case f.iterations < 4096:
		return f, fmt.Errorf("xmpp: %d SCRAM iterations are too few to protect the password", f.iterations)
	case f.iterations > maxIterations:
		return f, fmt.Errorf("xmpp: the server wants %d SCRAM iterations, more than the limit of %d", f.iterations, maxIterations)
	}
	return f, nil
}

// decodePayload reads the text of a SASL element: base64 without line breaks,
// "=" for an empty payload (RFC 6120 §6.4.2). present is false for no text.
func decodePayload(c exi.Cursor) (data string, present bool, err error) {
	s := c.Text().String()
	switch s {
	case "":
		return "", false, nil
	case "=":
		return "", true, nil
	}
	if strings.ContainsAny(s, " \t\r\n") {
		return "", true, errors.New("xmpp: base64 with white space in a SASL element")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return "", true, fmt.Errorf("xmpp: bad base64 in a SASL element: %w", err)
	}
	return string(b), true, nil
}

func encodePayload(data string) exi.Value {
	if data == "" {
		return exi.Str("=")
	}
	return exi.Str(base64.StdEncoding.EncodeToString([]byte(data)))
}

func parseFailure(c exi.Cursor, mechanism string) *AuthError {
	e := &AuthError{Condition: "undefined-condition", Mechanism: mechanism}
	for k := range c.Children() {
		switch q := k.Name(); {
		case q == nameSASLText:
			e.Text = k.Text().String()
		case q.Value().Space == NSSASL:
			e.Condition = q.Value().Local
		}
	}
	return e
}

// tryOther says whether another mechanism may succeed.
func (e *AuthError) tryOther() bool {
	switch e.Condition {
	case "invalid-mechanism", "mechanism-too-weak", "encryption-required":
		return true
	}
	return false
}

// temporary says whether the same credentials may succeed later.
func (e *AuthError) temporary() bool {
	return e.Condition == "temporary-auth-failure" || e.Condition == "aborted"
}
