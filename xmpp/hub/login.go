package hub

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/register"
)

var (
	nameMechanisms = exi.N(xmpp.NSSASL, "mechanisms")
	nameMechanism  = exi.N(xmpp.NSSASL, "mechanism")
	nameAuth       = exi.N(xmpp.NSSASL, "auth")
	nameChallenge  = exi.N(xmpp.NSSASL, "challenge")
	nameResponse   = exi.N(xmpp.NSSASL, "response")
	nameAbort      = exi.N(xmpp.NSSASL, "abort")
	nameSuccess    = exi.N(xmpp.NSSASL, "success")
	nameFailure    = exi.N(xmpp.NSSASL, "failure")
	nameCBList     = exi.N(xmpp.NSCB, "sasl-channel-binding")
	nameCB         = exi.N(xmpp.NSCB, "channel-binding")
	attrMechanism  = exi.N("", "mechanism")
)

// mechanism is a SCRAM variant.
type mechanism struct {
	name   string
	sha256 bool
	hash   scram.HashGeneratorFcn
	plus   bool
}

// mechanisms lists what is offered, the strongest first.
func (c *client) mechanisms() []mechanism {
	var list []mechanism
	plus := len(c.bindings()) > 0
	for _, m := range []mechanism{{"SCRAM-SHA-256", true, scram.SHA256, false}, {"SCRAM-SHA-1", false, scram.SHA1, false}} {
		if plus {
			p := m
			p.name, p.plus = m.name+"-PLUS", true
			list = append(list, p)
		}
		list = append(list, m)
	}
	return list
}

// Channel binding types.
const (
	cbExporter = "tls-exporter"         // RFC 9266
	cbEndPoint = "tls-server-end-point" // RFC 5929
)

// bindings returns the channel bindings of the connection by type.
func (c *client) bindings() map[string][]byte {
	state := c.conn.TLS()
	if state == nil || !c.h.cfg.ChannelBinding {
		return nil
	}
	b := make(map[string][]byte, 2)
	// Fails for TLS 1.2 without extended master secret, where the value would
	// not be unique.
	if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err == nil {
		b[cbExporter] = data
	}
	if data, ok := c.h.endPointBinding(); ok {
		b[cbEndPoint] = data
	}
	return b
}

// endPointBinding hashes the server's certificate (RFC 5929 §4.1). A hub
// shows the same certificate to everybody.
func (h *Hub) endPointBinding() ([]byte, bool) {
	cert, err := certificate(h.cfg.TLS)
	if err != nil {
		return nil, false
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, false
	}
	var hash crypto.Hash
	switch leaf.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA, x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		hash = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	default:
		return nil, false // Ed25519: not defined (D5)
	}
	sum := hash.New()
	sum.Write(leaf.Raw)
	return sum.Sum(nil), true
}

func certificate(cfg *tls.Config) (*tls.Certificate, error) {
	if cfg.GetCertificate != nil {
		return cfg.GetCertificate(&tls.ClientHelloInfo{})
	}
	if len(cfg.Certificates) == 1 {
		return &cfg.Certificates[0], nil
	}
	return nil, errors.New("hub: several certificates: which one a client sees is not known")
}

func (c *client) appendMechanisms(d *exi.Doc) {
	d.Start(nameMechanisms)
	for _, m := range c.mechanisms() {
		d.Element(nameMechanism, exi.Str(m.name))
	}
	d.End()
	b := c.bindings()
	if len(b) == 0 {
		return
	}
	d.Start(nameCBList)
	for _, typ := range []string{cbExporter, cbEndPoint} {
		if b[typ] != nil {
			d.Start(nameCB)
			d.Attr(attrType, exi.Str(typ))
			d.End()
		}
	}
	d.End()
}

// saslFailure is a failed attempt to log in: the condition is told.
type saslFailure string

func (f saslFailure) Error() string { return "hub: login failed: " + string(f) }

// login lets the client try to authenticate (RFC 6120 §6).
func (c *client) login() (*account, error) {
	var d exi.Doc
	var last error
	for range c.h.lim.LoginTries {
		c.deadline(c.h.lim.Negotiation)
		if err := c.conn.ReadElement(&d); err != nil {
			return nil, errors.Join(err, last)
		}
		if r := register.Parse(d.Root()); r.Wanted && c.h.cfg.Register {
			if err := c.register(r); err != nil {
				return nil, err
			}
			continue
		}
		if d.Root().Name() != nameAuth {
			return nil, notAuthorized
		}
		name, err := c.authenticate(d.Root())
		if err == nil {
			var acc *account
			if acc, err = c.h.account(name); acc != nil {
				c.h.log.Info("a client logged in", "account", name, "addr", c.addr)
				return acc, c.write(func(d *exi.Doc) { d.Element(nameSuccess, exi.Str(c.final)) })
			}
			c.h.log.Error("an account cannot be read", "account", name, "err", err)
			err = saslFailure("temporary-auth-failure")
		}
		var f saslFailure
		if !errors.As(err, &f) {
			return nil, err
		}
		last = f
		time.Sleep(c.h.lim.pauseAfterFailures) // guessing takes its time
		if err := c.write(func(d *exi.Doc) {
			d.Start(nameFailure)
			d.Element(exi.N(xmpp.NSSASL, string(f)), exi.Value{})
			d.End()
		}); err != nil {
			return nil, err
		}
	}
	c.h.log.Warn("too many failed logins", "addr", c.addr)
	return nil, xmpp.NewStreamError("policy-violation", "too many failed logins")
}

// authenticate goes through one SCRAM exchange and returns the account's
// name. The server's last message is left in c.final.
func (c *client) authenticate(auth exi.Cursor) (name string, err error) {
	wanted, _ := auth.Attr(attrMechanism)
	var m *mechanism
	for _, offered := range c.mechanisms() {
		if wanted.Is(offered.name) {
			m = &offered
		}
	}
	if m == nil {
		return "", saslFailure("invalid-mechanism")
	}
	text := auth.Text().String()
	if text == "" {
		// No initial response: the empty challenge asks for it.
		if text, err = c.challenge(""); err != nil {
			return "", err
		}
	}
	first, err := decode(text)
	if err != nil {
		return "", err
	}
	conv, err := c.conversation(m, first)
	if err != nil {
		return "", err
	}
	reply, err := conv.Step(first)
	switch {
	case err != nil && strings.HasPrefix(reply, "e="):
		return "", saslFailure("not-authorized")
	case err != nil:
		return "", saslFailure("malformed-request")
	}
	if err := c.checkAuthzID(conv); err != nil {
		return "", err
	}
	if text, err = c.challenge(reply); err != nil {
		return "", err
	}
	second, err := decode(text)
	if err != nil {
		return "", err
	}
	reply, err = conv.Step(second)
	if err != nil || !conv.Valid() {
		return "", saslFailure("not-authorized")
	}
	c.final = base64.StdEncoding.EncodeToString([]byte(reply))
	return c.h.localName(conv.Username())
}

// conversation starts a SCRAM exchange with the channel binding that the
// client's first message names.
func (c *client) conversation(m *mechanism, first string) (*scram.ServerConversation, error) {
	server, err := m.hash.NewServer(func(user string) (scram.StoredCredentials, error) {
		k := c.h.credentials(user, m.sha256)
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iter},
			StoredKey:  k.StoredKey, ServerKey: k.ServerKey,
		}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	flag, _, _ := strings.Cut(first, ",")
	typ, bound := strings.CutPrefix(flag, "p=")
	if bound != m.plus {
		return nil, saslFailure("not-authorized") // CORE-R92
	}
	b := c.bindings()
	if len(b) == 0 {
		return server.NewConversation(), nil
	}
	if !bound {
		// With -PLUS offered, the flag "y" shows that somebody took it out of
		// the list (CORE-R91). Which type is named does not matter for that.
		typ = cbEndPoint
		if b[typ] == nil {
			typ = cbExporter
		}
	}
	data := b[typ]
	if data == nil {
		return nil, saslFailure("not-authorized")
	}
	return server.NewConversationWithChannelBinding(scram.ChannelBinding{
		Type: scram.ChannelBindingType(typ), Data: data,
	}), nil
}

// checkAuthzID allows nobody but the account itself (CORE-R71).
func (c *client) checkAuthzID(conv *scram.ServerConversation) error {
	id := conv.AuthzID()
	if id == "" {
		return nil
	}
	j, err := xmpp.ParseJID(id)
	name, nerr := c.h.localName(conv.Username())
	if err != nil || nerr != nil || j.Resourcepart() != "" || j.Localpart() != name || j.Domainpart() != c.h.domain.Domainpart() {
		return saslFailure("invalid-authzid")
	}
	return nil
}

// challenge sends a challenge and returns the text of the response.
func (c *client) challenge(text string) (string, error) {
	if text != "" {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	if err := c.write(func(d *exi.Doc) { d.Element(nameChallenge, exi.Str(text)) }); err != nil {
		return "", err
	}
	c.deadline(c.h.lim.Negotiation)
	var d exi.Doc
	if err := c.conn.ReadElement(&d); err != nil {
		return "", err
	}
	switch d.Root().Name() {
	case nameResponse:
		return d.Root().Text().String(), nil
	case nameAbort:
		return "", saslFailure("aborted")
	}
	return "", notAuthorized
}

// decode reads the base64 of SASL, where "=" stands for an empty text
// (RFC 6120 §6.4.2).
func decode(text string) (string, error) {
	if text == "=" {
		return "", nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return "", saslFailure("incorrect-encoding")
	}
	return string(b), nil
}
