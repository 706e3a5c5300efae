package xmpp

import (
	"errors"
	"strings"

	"mellium.im/xmpp/jid"
)

var (
	errLongJID    = errors.New("longer than an address can be")
	errEmptyLabel = errors.New("the domain has a dot too many")
	errNoDomain   = errors.New("a domain alone is wanted, without @ and /")
)

// ParseJID reads an address (RFC 7622) as somebody wrote it: a peer, an
// operator, or a configuration. It is stricter than jid.Parse, which takes
// domains with empty labels, such as that of a@.., and cannot read all of them
// again. Every address from outside goes through here.
func ParseJID(s string) (jid.JID, error) {
	if len(s) > maxJID {
		return jid.JID{}, errLongJID
	}
	j, err := jid.Parse(s)
	if err != nil {
		return jid.JID{}, err
	}
	if d := j.Domainpart(); d[0] == '.' || d[len(d)-1] == '.' || strings.Contains(d, "..") {
		return jid.JID{}, errEmptyLabel
	}
	return j, nil
}

// ParseDomain is ParseJID for a domain alone.
func ParseDomain(s string) (jid.JID, error) {
	j, err := ParseJID(s)
	if err == nil && !j.Equal(j.Domain()) {
		return jid.JID{}, errNoDomain
	}
	return j, err
}
