package compress

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"sync"

	"postern/exi"
	"postern/xmpp"
)

// Codec is the EXI representation of a stream (XEP-0322 §3): one body for each
// first-level element, streamStart and streamEnd in place of the root's tags.
// It implements xmpp.Codec; reading and writing may go on at the same time.
type Codec struct {
	engine *engine
	enc    *exi.Encoder // nil: taken from the engine for each body
	dec    *exi.Decoder
	win    *window // nil without a kept window

	params Params

	sent, in meter
}

// engine lends encoders and decoders to the streams of one configuration that
// keep nothing from body to body, so that idle ones cost no tables.
type engine struct {
	opts       exi.Options
	encs, decs sync.Pool

	once   sync.Once // of what a dedicated port needs
	starts [256]bool
	known  map[exi.Name]bool
}

func newEngine(p Params, s *exi.Schema, lim exi.Limits) (*engine, error) {
	if err := p.legal(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	g := &engine{opts: p.options(s, lim)}
	enc, err := exi.NewEncoder(g.opts)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	dec, err := exi.NewDecoder(g.opts)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	g.encs.Put(enc)
	g.decs.Put(dec)
	return g, nil
}

// encoder lends an encoder; making another cannot fail once newEngine has not.
func (g *engine) encoder() (*exi.Encoder, error) {
	if e, ok := g.encs.Get().(*exi.Encoder); ok {
		return e, nil
	}
	return exi.NewEncoder(g.opts)
}

func (g *engine) decoder() (*exi.Decoder, error) {
	if d, ok := g.decs.Get().(*exi.Decoder); ok {
		return d, nil
	}
	return exi.NewDecoder(g.opts)
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
	g, err := newEngine(p, s, lim)
	if err != nil {
		return nil, err
	}
	return g.codec(p)
}

// codec returns a codec of the engine's configuration.
func (g *engine) codec(p Params) (*Codec, error) {
	c := &Codec{engine: g, params: p}
	if !p.SessionWide && !p.Window {
		return c, nil
	}
	var err error
	if c.enc, err = exi.NewEncoder(g.opts); err != nil {
		return nil, err
	}
	if c.dec, err = exi.NewDecoder(g.opts); err != nil {
		return nil, err
	}
	c.enc.Keep(p.SessionWide)
	c.dec.Keep(p.SessionWide)
	if p.Window {
		c.win, err = newWindow(g.opts.Limits)
	}
	return c, err
}

// Params returns the options of the stream.
func (c *Codec) Params() Params { return c.params }

// Schemas returns the namespaces that the stream's schemas describe.
func (c *Codec) Schemas() (ns []string) {
	if s := c.engine.opts.Schema; s != nil {
		for _, u := range s.URIs[min(builtInURIs, len(s.URIs)):] {
			ns = append(ns, u.URI)
		}
	}
	return ns
}

// builtInURIs are "", xml, xsi and xsd (EXI 1.0 appendix D).
const builtInURIs = 4

// Name returns "exi".
func (c *Codec) Name() string { return "exi" }

// AppendOpen appends streamStart, behind which all tables are new (0322-R35).
func (c *Codec) AppendOpen(dst []byte, h xmpp.Header) ([]byte, error) {
	if c.enc != nil {
		c.enc.Reset()
	}
	if c.win != nil {
		c.win.resetWrite()
	}
	d, err := streamStart(h)
	if err != nil {
		return dst, err
	}
	return c.AppendElement(dst, d)
}

// streamStart is the header of a stream as a document (0322-R70).
func streamStart(h xmpp.Header) (*exi.Doc, error) {
	d := new(exi.Doc)
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
			return nil, fmt.Errorf("compress: stream version %q is no number", h.Version)
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
	return d, nil
}

// AppendElement appends the body of one element. On error dst and the tables
// are unchanged, so that the stream goes on without the element.
func (c *Codec) AppendElement(dst []byte, d *exi.Doc) ([]byte, error) {
	n := len(dst)
	enc, err := c.enc, error(nil)
	if enc == nil {
		if enc, err = c.engine.encoder(); err != nil {
			return dst, err
		}
		defer c.engine.encs.Put(enc)
	}
	if c.win != nil {
		dst, err = c.win.append(dst, enc, d)
	} else {
		dst, err = enc.Append(dst, d)
	}
	if err == nil {
		c.sent.add(len(dst)-n, d)
	}
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
	if c.dec != nil {
		c.dec.Reset()
	}
	if c.win != nil {
		c.win.resetRead()
	}
	var start exi.Doc
	if err := c.read(r, &start); err != nil {
		return h, err
	}
	return headerOf(start.Root())
}

// headerOf reads a streamStart (0322-R71).
func headerOf(root exi.Cursor) (h xmpp.Header, err error) {
	if root.Name() != nameStreamStart {
		return h, xmpp.NewStreamError("bad-format", "streamStart expected")
	}
	h.NS = xmpp.NSClient
	for name, v := range root.Attrs() {
		var err error
		switch name {
		case attrTo:
			h.To, err = xmpp.ParseJID(v.String())
		case attrFrom:
			h.From, err = xmpp.ParseJID(v.String())
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
	// A stream spends its life waiting here; it needs a decoder only then.
	if _, err := r.Peek(1); err != nil {
		return fmt.Errorf("compress: reading: %w", err)
	}
	dec, err := c.dec, error(nil)
	if dec == nil {
		if dec, err = c.engine.decoder(); err != nil {
			return err
		}
		defer c.engine.decs.Put(dec)
	}
	if c.win != nil {
		err = c.win.decode(r, dec, d)
	} else {
		err = dec.Decode(r, d)
	}
	if err == nil {
		octets := int(dec.Octets())
		if c.win != nil {
			octets = c.win.in.octets
		}
		c.in.add(octets, d)
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
