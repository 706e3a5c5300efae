// Package xmpp is Postern's XMPP core: streams, stanzas, sessions that
// reconnect and resume, and the dispatch of stanzas to handlers. It follows
// RFC 6120, RFC 6121, RFC 7622 and XEP-0198.
//
// Elements travel as exi.Doc, whether the wire carries XML text or EXI.
// Inside the program stanzas are always in the namespace jabber:client; a
// connection with another content namespace renames at its edge.
package xmpp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// Header is what a stream header says (RFC 6120 §4.7).
type Header struct {
	To, From jid.JID
	ID       string // given by the receiving side
	Lang     string // xml:lang, default for the stanzas
	Version  string // "1.0"; empty stands for 0.9
	NS       string // content namespace; empty stands for jabber:client
}

// Conn carries whole first-level elements over one transport. ReadElement and
// WriteElements may be called by two goroutines, one each; everything else
// needs both of them to be quiet.
type Conn interface {
	// Open starts or restarts the stream: it sends h and returns the peer's
	// header (initiating side), or awaits the peer's header and answers it
	// (receiving side, see tcp.Server). A stream error instead of features is
	// returned by the following ReadElement.
	Open(ctx context.Context, h Header) (Header, error)
	// ReadElement resets d and reads one first-level element into it. It
	// returns ErrStreamEnd when the peer closed its stream, and a
	// *StreamError when the element is one or the input broke the rules of the
	// stream. Only one goroutine may read.
	ReadElement(d *exi.Doc) error
	// WriteElements sends the elements with one flush, so that small stanzas
	// share a segment. Docs may be reused when it returns. An element that cannot
	// be written is reported as *EncodeError, and the connection stays usable.
	WriteElements(ds ...*exi.Doc) error
	// Close ends the stream cleanly: it sends the closing tag if that has not
	// been done, waits a short time for the peer's, and closes the transport.
	Close() error
}

// Upgrader is what a Conn over TCP can do besides.
type Upgrader interface {
	// StartTLS hands the transport to TLS. Octets that were read ahead of it
	// are an error (RFC 6120 §5.4.3.3). A new stream must be opened after it.
	StartTLS(ctx context.Context, c *tls.Config) error
	// TLS returns the state of the TLS layer, or nil without one.
	TLS() *tls.ConnectionState
	// SetCodec changes the representation of everything that follows. A new
	// stream must be opened after it.
	SetCodec(Codec) error
	// Abort breaks the transport off without ending the stream, so that the
	// session stays resumable (XEP-0198).
	Abort() error
}

// Codec is the representation of a stream on the wire: XML text, or EXI
// (XEP-0322). A Codec belongs to one connection. Its Append methods leave dst
// unchanged on error.
type Codec interface {
	// Name is what status shows: "xml" or "exi".
	Name() string
	AppendOpen(dst []byte, h Header) ([]byte, error)
	AppendElement(dst []byte, d *exi.Doc) ([]byte, error)
	AppendClose(dst []byte) ([]byte, error)
	// ReadOpen reads the peer's stream header.
	ReadOpen(r *bufio.Reader) (Header, error)
	// ReadElement resets d and reads one element; ErrStreamEnd when the stream
	// was closed instead.
	ReadElement(r *bufio.Reader, d *exi.Doc) error
}

// ErrStreamEnd: the peer ended its stream cleanly.
var ErrStreamEnd = errors.New("xmpp: the peer closed the stream")

// Namespaces of the core.
const (
	NSClient    = "jabber:client"
	NSServer    = "jabber:server"
	NSStream    = "http://etherx.jabber.org/streams"
	NSStreams   = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzas   = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSTLS       = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL      = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSBind      = "urn:ietf:params:xml:ns:xmpp-bind"
	NSSession   = "urn:ietf:params:xml:ns:xmpp-session"
	NSSM        = "urn:xmpp:sm:3"
	NSCB        = "urn:xmpp:sasl-cb:0"
	NSComponent = "jabber:component:accept"
)
