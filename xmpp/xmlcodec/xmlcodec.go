// Package xmlcodec is the XML representation of XMPP streams (RFC 6120 §11):
// an xmpp.Codec over exi/xmltext.
package xmlcodec

import (
	"bufio"
	"errors"
	"fmt"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

var (
	nameStream  = exi.N(xmpp.NSStream, "stream")
	attrTo      = exi.N("", "to")
	attrFrom    = exi.N("", "from")
	attrID      = exi.N("", "id")
	attrVersion = exi.N("", "version")
	attrLang    = exi.N(exi.NSXML, "lang")
)

// Codec reads and writes one stream after the other on one connection. Reading
// and writing may go on at the same time.
type Codec struct {
	in    *xmltext.StreamReader
	root  exi.Doc
	scope xmltext.Scope
}

// New returns a codec that accepts what the limits allow.
func New(lim xmltext.Limits) *Codec {
	return &Codec{in: xmltext.NewStreamReader(lim), scope: xmltext.Scope{
		Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream,
	}}
}

// SetLimits changes the limits of what is read from now on.
func (c *Codec) SetLimits(lim xmltext.Limits) { c.in.SetLimits(lim) }

// Name returns "xml".
func (c *Codec) Name() string { return "xml" }

// AppendOpen appends a stream header (RFC 6120 §4.7).
func (c *Codec) AppendOpen(dst []byte, h xmpp.Header) ([]byte, error) {
	return xmltext.AppendOpen(dst, "stream", c.scope,
		xmltext.Attr{Name: "from", Value: h.From.String()},
		xmltext.Attr{Name: "to", Value: h.To.String()},
		xmltext.Attr{Name: "id", Value: h.ID},
		xmltext.Attr{Name: "version", Value: h.Version},
		xmltext.Attr{Name: "xml:lang", Value: h.Lang})
}

// AppendElement appends one element.
func (c *Codec) AppendElement(dst []byte, d *exi.Doc) ([]byte, error) {
	return xmltext.AppendElement(dst, d, c.scope)
}

// AppendClose appends the end of the stream.
func (c *Codec) AppendClose(dst []byte) ([]byte, error) {
	return xmltext.AppendClose(dst, "stream", c.scope), nil
}

// ReadOpen reads the peer's stream header.
func (c *Codec) ReadOpen(r *bufio.Reader) (xmpp.Header, error) {
	if err := c.in.ReadOpen(r, &c.root); err != nil {
		return xmpp.Header{}, streamError(err)
	}
	root := c.root.Root()
	if root.Name() != nameStream {
		q := root.Name().Value()
		if q.Space != xmpp.NSStream {
			return xmpp.Header{}, xmpp.NewStreamError("invalid-namespace", "a stream expected, not "+q.Local+" in "+q.Space)
		}
		return xmpp.Header{}, xmpp.NewStreamError("bad-format", "a stream expected, not "+q.Local)
	}
	h := xmpp.Header{NS: c.in.DefaultSpace()}
	for name, v := range root.Attrs() {
		var err error
		switch name {
		case attrTo:
			h.To, err = xmpp.ParseJID(v.String())
		case attrFrom:
			h.From, err = xmpp.ParseJID(v.String())
		case attrID:
			h.ID = v.String()
		case attrVersion:
			h.Version = v.String()
		case attrLang:
			h.Lang = v.String()
		}
		if err != nil {
			return h, xmpp.NewStreamError("improper-addressing", err.Error())
		}
	}
	if h.NS != xmpp.NSClient {
		return h, xmpp.NewStreamError("invalid-namespace", "the content namespace must be "+xmpp.NSClient)
	}
	return h, nil
}

// ReadElement reads one element into d.
func (c *Codec) ReadElement(r *bufio.Reader, d *exi.Doc) error {
	if err := c.in.ReadElement(r, d); err != nil {
		return streamError(err)
	}
	if e, ok := xmpp.ParseStreamError(d.Root()); ok {
		return e
	}
	return nil
}

// streamError turns the text codec's errors into those of a stream; those of
// the connection pass.
func streamError(err error) error {
	var fault *xmltext.Error
	switch {
	case errors.Is(err, xmltext.ErrEnd):
		return xmpp.ErrStreamEnd
	case errors.As(err, &fault):
		return &xmpp.StreamError{Condition: fault.Condition, Local: true, Err: fault}
	}
	return fmt.Errorf("xmpp: reading: %w", err)
}
