package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"postern/exi"
)

// login authenticates (RFC 6120 §6). Another mechanism is tried only where the
// failure says that it may help.
func (n *negotiation) login(ctx context.Context) error {
	s, cs := n.s, tlsState(n.conn)
	opts := loginOptions{
		external: s.cfg.ClientCert != nil, password: s.cfg.Password != nil,
		plain: s.cfg.AllowPlain, strong: s.strong, except: s.except,
	}
	for {
		l, err := chooseLogin(n.feat.mechanisms, n.feat.bindings, cs, opts)
		if err != nil {
			return &loginError{err}
		}
		err = n.authenticate(ctx, l, cs)
		if err == nil {
			s.strong = s.strong || l.hash != nil
			n.link.mechanism = l.mechanism
			return nil
		}
		var refused *AuthError
		if !errors.As(err, &refused) || !refused.tryOther() || len(opts.except) > 16 {
			return err
		}
		opts.except = append(slices.Clone(opts.except), l.mechanism)
	}
}

// loginError is a login that this side refuses.
type loginError struct{ error }

func (e *loginError) Unwrap() error { return e.error }

func (n *negotiation) authenticate(ctx context.Context, l login, cs *tls.ConnectionState) error {
	s := n.s
	user := s.cfg.JID.Localpart()
	switch {
	case l.mechanism == "EXTERNAL":
		return n.exchange(l, externalIdentity(s.cfg), nil)
	case l.hash == nil && l.mechanism != "PLAIN":
		return &loginError{errors.New("xmpp: unknown mechanism " + l.mechanism)}
	}
	password, err := s.cfg.Password(ctx)
	if err != nil {
		return &loginError{fmt.Errorf("xmpp: the password is not available: %w", err)}
	}
	if l.mechanism == "PLAIN" {
		return n.exchange(l, "\x00"+user+"\x00"+password, nil)
	}
	client, err := s.keys.clientFor(l, user, password)
	if err != nil {
		return &loginError{err}
	}
	conv := client.NewConversation()
	switch {
	case l.binding.IsSupported():
		conv = client.NewConversationWithChannelBinding(l.binding)
	case l.flagY:
		conv = client.NewConversationAdvertisingChannelBinding()
	}
	first, err := conv.Step("")
	if err != nil {
		return &loginError{err}
	}
	x := &scramExchange{s: s, nonce: first[len(first)-nonceLen(first):], step: conv.Step, valid: conv.Valid}
	return n.exchange(l, first, x)
}

// nonceLen is the length of what stands behind ",r=" at the end of a SCRAM
// client-first message.
func nonceLen(first string) int {
	for i := len(first) - 1; i > 2; i-- {
		if first[i-2:i+1] == ",r=" {
			return len(first) - i - 1
		}
	}
	return 0
}

// externalIdentity is the authorization identity of EXTERNAL: empty when the
// certificate names exactly one account, else the account (XEP-0178).
func externalIdentity(cfg Config) string {
	leaf := cfg.ClientCert.Leaf
	if leaf != nil && len(XmppAddrs(leaf)) == 1 {
		return ""
	}
	return cfg.JID.Bare().String()
}

// scramExchange answers the server's part of SCRAM.
type scramExchange struct {
	s      *Session
	nonce  string
	rounds int
	step   func(string) (string, error)
	valid  func() bool
}

func (x *scramExchange) answer(challenge string) (string, error) {
	x.rounds++
	if x.rounds == 1 {
		f, err := checkServerFirst(challenge, x.nonce, x.s.cfg.MaxIterations)
		if err != nil {
			return "", err
		}
		x.s.keys.sawSalt(f.salt + "," + fmt.Sprint(f.iterations))
	}
	return x.step(challenge)
}

// exchange runs a mechanism; x is nil for those of a single message.
func (n *negotiation) exchange(l login, initial string, x *scramExchange) error {
	err := n.write(func(d *exi.Doc) {
		d.Start(nameAuth)
		d.Attr(attrMechanism, exi.Str(l.mechanism))
		d.Text(encodePayload(initial))
		d.End()
	})
	if err != nil {
		return err
	}
	for range 4 {
		c, err := n.read()
		if err != nil {
			return err
		}
		if c.Name() == nameFailure {
			return parseFailure(c, l.mechanism)
		}
		data, present, err := decodePayload(c)
		if err != nil {
			return &loginError{err}
		}
		switch {
		case c.Name() == nameSuccess:
			return endExchange(x, data, present)
		case c.Name() != nameChallenge:
			return NewStreamError("bad-format", "a SASL answer expected")
		case x == nil:
			return &loginError{errors.New("xmpp: the server asks more than " + l.mechanism + " has to say")}
		}
		reply, err := x.answer(data)
		if err != nil {
			return &loginError{err}
		}
		if err := n.write(func(d *exi.Doc) { d.Element(nameResponse, encodePayload(reply)) }); err != nil {
			return err
		}
	}
	return &loginError{errors.New("xmpp: the login takes too many steps")}
}

// endExchange checks that the server proved that it knows the password: a
// success without a valid v= is none (RFC 5802 §5, CORE-R69).
func endExchange(x *scramExchange, data string, present bool) error {
	if x == nil {
		return nil
	}
	if present {
		if _, err := x.answer(data); err != nil {
			return &loginError{fmt.Errorf("xmpp: the server does not prove that it knows the account: %w", err)}
		}
	}
	if !x.valid() {
		return &loginError{errors.New("xmpp: the server does not prove that it knows the account")}
	}
	return nil
}
