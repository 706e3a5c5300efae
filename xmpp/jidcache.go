package xmpp

import (
	"strings"

	"mellium.im/xmpp/jid"
)

// jidCache remembers parsed addresses: preparing one (RFC 7622) costs more
// than reading the stanza around it. It holds between limit and twice limit
// entries. A nil cache just parses. Not safe for concurrent use.
type jidCache struct {
	limit    int
	new, old map[string]jid.JID
}

// maxJID is the longest text that can be an address, 3 × 1023 + 2 octets; the
// cache keeps only short ones.
const (
	maxJID    = 3071
	maxCached = 256
)

func newJIDCache(limit int) *jidCache {
	return &jidCache{limit: limit, new: make(map[string]jid.JID)}
}

// parse is jid.Parse. s may be borrowed: it is not kept.
func (c *jidCache) parse(s string) (jid.JID, error) {
	if c == nil || len(s) > maxCached {
		if len(s) > maxJID {
			return jid.JID{}, errLongJID
		}
		return parseJID(s)
	}
	if j, ok := c.new[s]; ok {
		return j, nil
	}
	j, ok := c.old[s]
	if !ok {
		var err error
		if j, err = parseJID(s); err != nil {
			return j, err
		}
	}
	if len(c.new) >= c.limit {
		c.old, c.new = c.new, make(map[string]jid.JID, c.limit)
	}
	c.new[strings.Clone(s)] = j
	return j, nil
}

// parseJID is jid.Parse of a borrowed text, and stricter: the library lets
// domains with empty labels pass, which it does not read again.
func parseJID(s string) (jid.JID, error) {
	j, err := jid.Parse(strings.Clone(s))
	if err != nil {
		return j, err
	}
	d := j.Domainpart()
	if d[0] == '.' || d[len(d)-1] == '.' || strings.Contains(d, "..") {
		return jid.JID{}, errEmptyLabel
	}
	return j, nil
}
