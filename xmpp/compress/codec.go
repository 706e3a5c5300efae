package compress

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
)

// Codec is the EXI representation of a stream (XEP-0322 §3): one body for each
// first-level element, streamStart and streamEnd in place of the root's tags.
// It implements xmpp.Codec; reading and writing may go on at the same time.
type Codec struct {
	enc *exi.Encoder
	dec *exi.Decoder
	win *window // nil without a kept window

	start exi.Doc // the peer's streamStart
	out   exi.Doc // ours

	sent atomic.Int64 // octets
}

// DefaultLimits are what a stream accepts of one stanza.
func DefaultLimits() exi.Limits {
	return exi.Limits{
		Depth: 64, StringLen: 64 << 10, TableOctets: 1 << 20, TableSize: 32 << 10,
		Grammars: 16 << 10, Octets: 256 << 10, Inflated: 512 << 10, Events: 32 << 10,
	}
}

// NewCodec returns the codec of an agreed configuration.
func NewCodec(p Params, s *exi.Schema, lim exi.Limits) (*Codec, error) {
	if err := p.legal(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	o := p.options(s, lim)
	enc, err := exi.NewEncoder(o)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	c := &Codec{enc: enc, dec: dec}
	c.enc.Keep(p.SessionWide)
	c.dec.Keep(p.SessionWide)
	if p.Window {
		if c.win, err = newWindow(lim); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Name returns "exi".
func (c *Codec) Name() string { return "exi" }

// AppendOpen appends streamStart, behind which all tables are new (0322-R35).
func (c *Codec) AppendOpen(dst []byte, h xmpp.Header) ([]byte, error) {
	c.enc.Reset()
	if c.win != nil {
		c.win.resetWrite()
	}
	d := &c.out
	d.Reset()
	d.Start(nameStreamStart)
	attr := func(name exi.Name, s string) {
		if s != "" {
			d.Attr(name, exi.Str(s))
		}
	}
	attr(attrFrom, h.From.String())
	attr(attrID, h.ID)
	attr(attrTo, h.To.String())
	if h.Version != "" {
		mant, exp, ok := exi.ParseDec(h.Version)
		if !ok {
			return dst, fmt.Errorf("compress: stream version %q is no number", h.Version)
		}
		d.Attr(attrStreamVer, exi.DecimalValue(mant, exp))
	}
	attr(attrLang, h.Lang)
	for _, ns := range [][2]string{{"", xmpp.NSClient}, {"stream", xmpp.NSStream}} {
		d.Start(nameXMLNS)
		d.Attr(attrNamespace, exi.Str(ns[1]))
		d.Attr(attrPrefix, exi.Str(ns[0]))
		d.End()
	}
	d.End()
	return c.AppendElement(dst, d)
}

// AppendElement appends the body of one element. On error dst and the tables
// are unchanged, so that the stream goes on without the element.
func (c *Codec) AppendElement(dst []byte, d *exi.Doc) ([]byte, error) {
	n := len(dst)
	var err error
	if c.win != nil {
		dst, err = c.win.append(dst, c.enc, d)
	} else {
		dst, err = c.enc.Append(dst, d)
	}
	c.sent.Add(int64(len(dst) - n))
	return dst, err
}

// AppendClose appends streamEnd (0322-R37).
func (c *Codec) AppendClose(dst []byte) ([]byte, error) {
	var d exi.Doc
	d.Element(nameStreamEnd, exi.Value{})
	return c.AppendElement(dst, &d)
}

// ReadOpen reads the peer's streamStart.
func (c *Codec) ReadOpen(r *bufio.Reader) (h xmpp.Header, err error) {
	c.dec.Reset()
	if c.win != nil {
		c.win.resetRead()
	}
	if err := c.read(r, &c.start); err != nil {
		return h, err
	}
	root := c.start.Root()
	if root.Name() != nameStreamStart {
		return h, xmpp.NewStreamError("bad-format", "streamStart expected")
	}
	h.NS = xmpp.NSClient
	for name, v := range root.Attrs() {
		var err error
		switch name {
		case attrTo:
			h.To, err = jid.Parse(v.String())
		case attrFrom:
			h.From, err = jid.Parse(v.String())
		case attrID:
			h.ID = v.String()
		case attrStreamVer:
			h.Version = version(v)
		case attrLang:
			h.Lang = v.String()
		}
		if err != nil {
			return h, xmpp.NewStreamError("improper-addressing", err.Error())
		}
	}
	for k := range root.Children() {
		prefix, _ := k.Attr(attrPrefix)
		ns, ok := k.Attr(attrNamespace)
		if k.Name() == nameXMLNS && ok && prefix.IsZero() && !ns.Is(xmpp.NSClient) && !ns.IsZero() {
			return h, xmpp.NewStreamError("invalid-namespace", "the content namespace must be "+xmpp.NSClient)
		}
	}
	return h, nil
}

// version writes a decimal as the version attribute of a stream is written.
func version(v exi.Value) string {
	s := v.String()
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// ReadElement reads one element into d.
func (c *Codec) ReadElement(r *bufio.Reader, d *exi.Doc) error {
	if err := c.read(r, d); err != nil {
		return err
	}
	root := d.Root()
	if root.Name() == nameStreamEnd {
		return xmpp.ErrStreamEnd
	}
	if e, ok := xmpp.ParseStreamError(root); ok {
		return e
	}
	return nil
}

func (c *Codec) read(r *bufio.Reader, d *exi.Doc) error {
	var err error
	if c.win != nil {
		err = c.win.decode(r, c.dec, d)
	} else {
		err = c.dec.Decode(r, d)
	}
	if err == nil {
		return nil
	}
	// What the connection does to a body is not the peer's fault; everything
	// else ends the stream: there is no way to find the next body.
	var fault *exi.Error
	if !errors.As(err, &fault) || isConnection(err) {
		return fmt.Errorf("compress: reading: %w", err)
	}
	return &xmpp.StreamError{Condition: "undefined-condition", Local: true, Err: fault, App: xmpp.PayloadFunc(processingFailed)}
}

// processingFailed is XEP-0138's word for a broken compressed stream.
func processingFailed(d *exi.Doc) {
	d.Start(nameFailure)
	d.Element(nameProcessing, exi.Value{})
	d.End()
}
