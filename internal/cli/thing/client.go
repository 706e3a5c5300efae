// Package thing is the client's side of a thing: it finds where a thing is
// online, reads its fields (XEP-0323) and sets its parameters (XEP-0325).
package thing

import (
	"context"
	"sync"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Namespaces of the two protocols.
const (
	NSData    = "urn:xmpp:iot:sensordata"
	NSControl = "urn:xmpp:iot:control"
)

// Session is what the client needs of an xmpp.Session.
type Session interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// Client talks to things over one session. Register comes before the session
// starts, Use before the first request; all other methods are safe for
// concurrent use.
type Client struct {
	s Session

	mu    sync.Mutex
	seq   int32
	reads map[readKey]*read
	seen  map[string]*contact // by bare JID
}

// New returns a client without a session.
func New() *Client {
	return &Client{reads: map[readKey]*read{}, seen: map[string]*contact{}}
}

// Use sets the session that requests go over.
func (c *Client) Use(s Session) { c.s = s }

// Register takes the messages and presence that the client needs.
func (c *Client) Register(m *xmpp.Mux) {
	for _, local := range []string{"fields", "failure", "done", "started"} {
		m.HandleFunc(xmpp.Message, "*", exi.N(NSData, local), c.readMessage)
	}
	m.HandleFunc(xmpp.Presence, "*", exi.Name{}, c.presence)
	m.HandleFunc(xmpp.Presence, xmpp.TypeError, exi.Name{}, c.presence)
}

// attr returns the text of an attribute without a namespace.
func attr(c exi.Cursor, name string) string {
	v, _ := c.Attr(exi.N("", name))
	return v.String()
}

// flag reads a boolean attribute; absent and unreadable are false.
func flag(c exi.Cursor, name string) bool {
	v, _ := c.Attr(exi.N("", name))
	b, _ := v.Bool()
	return b
}

func local(c exi.Cursor) (space, name string) {
	q := c.Name().Value()
	return q.Space, q.Local
}

// key is how addresses are compared.
func key(j jid.JID) string { return j.String() }
