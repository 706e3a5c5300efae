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

// parse is ParseJID. s may be borrowed: it is not kept.
func (c *jidCache) parse(s string) (jid.JID, error) {
	if c == nil || len(s) > maxCached {
		return ParseJID(strings.Clone(s))
	}
	if j, ok := c.new[s]; ok {
		return j, nil
	}
	j, ok := c.old[s]
	if !ok {
		var err error
		if j, err = ParseJID(strings.Clone(s)); err != nil {
			return j, err
		}
	}
	if len(c.new) >= c.limit {
		c.old, c.new = c.new, make(map[string]jid.JID, c.limit)
	}
	c.new[strings.Clone(s)] = j
	return j, nil
}
