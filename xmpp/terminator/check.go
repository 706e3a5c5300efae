package terminator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/exi"
	"postern/xmpp"
)

// ErrChannelBinding: the server offers logins bound to the TLS channel on the
// link to the terminator. Clients do not see that offer and say so, which the
// server takes for a downgrade attack and refuses (RFC 5802 §6).
var ErrChannelBinding = errors.New("the server offers channel binding (-PLUS) on this link, so logins through the terminator would fail")

// Check connects to the server and finds out whether clients can log in
// through the terminator.
func (t *Terminator) Check(ctx context.Context) error {
	var d exi.Doc
	conn, _, err := t.dial(ctx, nil, xmpp.Header{To: t.cfg.Domain, Version: "1.0"}, &d)
	if err != nil {
		return err
	}
	defer conn.Close()
	mechs := d.Root().Child(nameMechanisms)
	var usable, bound []string
	for m := range mechs.Children() {
		name := m.Text().String()
		switch {
		case relayable(name):
			usable = append(usable, name)
		case strings.HasSuffix(name, "-PLUS"):
			bound = append(bound, name)
		}
	}
	switch {
	case len(bound) > 0:
		return fmt.Errorf("%w: it offers %s. Let the terminator connect without TLS on loopback, or, with Prosody, by TLS 1.3",
			ErrChannelBinding, strings.Join(bound, ", "))
	case len(usable) == 0 && d.Root().Child(nameStartTLSFeature).Valid():
		return errors.New("the server wants TLS on this link: set the link's security to starttls, or allow logins without encryption on loopback")
	case len(usable) == 0:
		return errors.New("the server offers no login on this link: allow logins without encryption on loopback, or use TLS")
	}
	return nil
}
