package compress

import (
	"bufio"
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

// PortCodec is the representation of a stream on a dedicated port, where
// nothing ever is XML: STARTTLS, login and the setup travel in EXI themselves.
//
//	first document of a direction   $EXI, header 0x80 (or 0xA0 and a schemaId), streamStart
//	every later streamStart         header 0x80, streamStart
//	everything else                 a body
//
// (decision D7). A PortCodec belongs to one connection. The peer's headers are
// optional.
type PortCodec struct {
	*Codec
	set   *grammarSet
	login *Codec // with closer limits, until SetLimits; nil: none

	sent, got bool   // the first document went by
	shortcut  string // schemaId of the first header to send; the one to expect
	named     func(schemaID string) *PortCodec
}

// Errors of the start of a stream on a dedicated port.
var (
	// ErrNotEXI: the peer does not speak EXI (0322-R54).
	ErrNotEXI = errors.New("compress: the other end does not speak EXI on this port")
	// ErrShortcut: the configuration that a header named is not known, or not
	// accepted (0322-R62, R69).
	ErrShortcut = errors.New("compress: the configuration named in the EXI header is not accepted")
)

// DefaultSchemaID names the grammars that a dedicated port starts with, and
// shortcutPrefix a configuration instead.
const (
	DefaultSchemaID = "urn:xmpp:exi:default"
	shortcutPrefix  = "c:"
)

const (
	headerPlain   = 0x80 // EXI 1.0 §5: distinguishing bits, no options, version 1
	headerOptions = 0xa0
	exiCookie     = "$EXI"
)

// loginLimits bound a stranger (core decision D13).
func loginLimits() exi.Limits {
	l := DefaultLimits()
	l.Octets, l.StringLen, l.Depth, l.Events = 10_000, 8<<10, 16, 4096
	return l
}

// port returns the codec of a configuration for a dedicated port.
func (g *grammarSet) port(p Params, lim exi.Limits) (*PortCodec, error) {
	e, err := g.engine(p, lim)
	if err != nil {
		return nil, err
	}
	e.once.Do(e.prepare)
	c, err := e.codec(p)
	return &PortCodec{Codec: c, set: g}, err
}

// prepare finds out how a streamStart can begin, and what the schema declares.
func (g *engine) prepare() {
	enc, err := exi.NewEncoder(g.opts)
	if err != nil {
		return
	}
	for _, h := range []xmpp.Header{
		{}, {Version: "1.0"}, {Version: "0.9"}, {Lang: "en"}, {ID: "1"}, {To: jid.MustParse("example.org")},
		{From: jid.MustParse("example.org")}, {From: jid.MustParse("a@b.example/c"), ID: "x", To: jid.MustParse("example.org")},
	} {
		d, err := streamStart(h)
		if err != nil {
			continue
		}
		if body, err := enc.Append(nil, d); err == nil {
			g.starts[body[0]] = true
		}
	}
	g.known = make(map[exi.Name]bool)
	if g.opts.Schema == nil {
		return
	}
	for _, e := range g.opts.Schema.FragmentElements {
		g.known[e.Name] = true
	}
}

// keepsWindow reports whether a configuration cannot start with a header: the
// window would begin within it.
func keepsWindow(p Params) bool { return p.Window || p.Compression }

// next returns the codec that follows on the same connection.
func (p *PortCodec) next(set *grammarSet, params Params, lim exi.Limits) (*PortCodec, error) {
	n, err := set.port(params, lim)
	if err == nil {
		n.sent, n.got = true, true
	}
	return n, err
}

// SetLimits ends the limits for strangers: the peer has logged in.
func (p *PortCodec) SetLimits(xmltext.Limits) {
	if p.login != nil {
		p.login = nil
	}
}

func (p *PortCodec) now() *Codec {
	if p.login != nil {
		return p.login
	}
	return p.Codec
}

// AppendOpen appends the header and streamStart.
func (p *PortCodec) AppendOpen(dst []byte, h xmpp.Header) ([]byte, error) {
	head := append(dst, headerPlain)
	if !p.sent {
		head = append(append(dst, exiCookie...), headerPlain)
	}
	if !p.sent && p.shortcut != "" {
		return p.openNamed(dst, h)
	}
	out, err := p.now().AppendOpen(head, h)
	if err != nil {
		return dst, err
	}
	p.sent = true
	return out, nil
}

// openNamed starts the stream in a configuration that the header names
// (0322-R60, R68).
func (p *PortCodec) openNamed(dst []byte, h xmpp.Header) ([]byte, error) {
	o := p.engine.opts
	o.Cookie, o.OptionsInHeader, o.SchemaIDInHeader, o.SchemaIDOnly = true, true, true, true
	o.SchemaID = p.shortcut
	enc, err := exi.NewEncoder(o)
	if err != nil {
		return dst, err
	}
	d, err := streamStart(h)
	if err != nil {
		return dst, err
	}
	if p.params.SessionWide { // the tables of this document live on
		enc.Keep(true)
		p.enc = enc
	}
	out, err := enc.AppendDocument(dst, d)
	p.sent = err == nil
	return out, err
}

// AppendElement appends the body of one element. A strict stream carries no
// stanza with content that its schema does not declare (0322-R59, decision
// D21).
func (p *PortCodec) AppendElement(dst []byte, d *exi.Doc) ([]byte, error) {
	if name, ok := p.unfit(d.Root()); ok {
		return dst, fmt.Errorf("compress: {%s}%s is not declared, and the stream is strict", name.Value().Space, name.Value().Local)
	}
	head := dst
	if !p.sent {
		head = append(append(dst, exiCookie...), headerPlain)
	}
	out, err := p.Codec.AppendElement(head, d)
	if err != nil {
		return dst, err
	}
	p.sent = true
	return out, nil
}

// AppendClose appends streamEnd.
func (p *PortCodec) AppendClose(dst []byte) ([]byte, error) {
	var d exi.Doc
	d.Element(nameStreamEnd, exi.Value{})
	return p.AppendElement(dst, &d)
}

// unfit returns what a strict schema does not declare of a stanza.
func (p *PortCodec) unfit(c exi.Cursor) (exi.Name, bool) {
	if !p.params.Strict || xmpp.KindOf(c.Name()) == 0 {
		return exi.Name{}, false
	}
	return p.undeclared(c)
}

func (p *PortCodec) undeclared(c exi.Cursor) (exi.Name, bool) {
	if !p.engine.known[c.Name()] {
		return c.Name(), true
	}
	for k := range c.Children() {
		if name, ok := p.undeclared(k); ok {
			return name, true
		}
	}
	return exi.Name{}, false
}

// Prune takes out of d, which lists features, those that the stream's grammar
// cannot carry.
func (p *PortCodec) Prune(d *exi.Doc) {
	if p.fits(d) {
		return
	}
	var all, one exi.Doc
	all.Copy(d)
	name := all.Root().Name()
	d.Reset()
	d.Start(name)
	for f := range all.Root().Children() {
		one.Reset()
		one.Start(name)
		one.AppendElement(f)
		one.End()
		if p.fits(&one) {
			d.AppendElement(f)
		}
	}
	d.End()
}

// fits reports whether the stream can carry an element.
func (p *PortCodec) fits(d *exi.Doc) bool {
	if _, ok := p.unfit(d.Root()); ok {
		return false
	}
	enc, err := p.engine.encoder()
	if err != nil {
		return false
	}
	defer p.engine.encs.Put(enc)
	_, err = enc.Append(nil, d)
	return err == nil
}

// ReadElement reads one element.
func (p *PortCodec) ReadElement(r *bufio.Reader, d *exi.Doc) error { return p.now().ReadElement(r, d) }

// ReadOpen reads the peer's header, if there is one, and streamStart.
func (p *PortCodec) ReadOpen(r *bufio.Reader) (h xmpp.Header, err error) {
	first := !p.got
	p.got = true
	cookie := false
	if b, err := r.Peek(1); err != nil {
		return h, fmt.Errorf("compress: reading: %w", err)
	} else if b[0] == exiCookie[0] {
		if b, err = r.Peek(len(exiCookie) + 1); err != nil {
			return h, fmt.Errorf("compress: reading: %w", err)
		}
		if cookie = string(b[:len(exiCookie)]) == exiCookie; cookie {
			_, _ = r.Discard(len(exiCookie))
		}
	}
	b, err := r.Peek(2)
	if err != nil {
		return h, fmt.Errorf("compress: reading: %w", err)
	}
	starts := &p.engine.starts
	switch {
	case b[0] == headerOptions && (cookie || !starts[b[0]]):
		return p.readNamed(r, first)
	case b[0] == headerPlain && (cookie || !starts[b[0]] || starts[b[1]]):
		_, _ = r.Discard(1)
	case cookie || !starts[b[0]] && p.win == nil:
		if first {
			return h, fmt.Errorf("%w: it starts with %q", ErrNotEXI, b)
		}
		return h, xmpp.NewStreamError("bad-format", "streamStart expected")
	}
	if first && p.shortcut != "" {
		return h, fmt.Errorf("%w: the answer names no configuration", ErrShortcut)
	}
	return p.now().ReadOpen(r)
}

// readNamed reads a streamStart behind a header with an options document.
func (p *PortCodec) readNamed(r *bufio.Reader, first bool) (h xmpp.Header, err error) {
	own := p.now().engine.opts
	asked, found := "", (*PortCodec)(nil)
	o := own
	o.SchemaID = DefaultSchemaID
	o.Named = func(id string) *exi.Options {
		asked = id
		if first && p.shortcut != "" && id == p.shortcut {
			return &own
		}
		if first && p.named != nil && len(id) > len(shortcutPrefix) && id[:len(shortcutPrefix)] == shortcutPrefix {
			if found = p.named(id); found != nil {
				return &found.engine.opts
			}
		}
		return nil
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		return h, err
	}
	dec.Keep(true)
	var d exi.Doc
	err = dec.DecodeDocument(r, &d)
	switch {
	case first && p.shortcut != "" && asked != p.shortcut:
		return h, fmt.Errorf("%w: the answer names %q", ErrShortcut, asked)
	case err != nil && found == nil && len(asked) >= len(shortcutPrefix) && asked[:len(shortcutPrefix)] == shortcutPrefix:
		return h, fmt.Errorf("%w: %q", ErrShortcut, asked)
	case err != nil && isConnection(err):
		return h, fmt.Errorf("compress: reading: %w", err)
	case err != nil:
		return h, &xmpp.StreamError{Condition: "undefined-condition", Local: true, Err: err, App: xmpp.PayloadFunc(processingFailed)}
	}
	if found != nil {
		p.adopt(found, asked)
	} else if asked != p.shortcut && !sameOptions(dec.Options(), own) {
		return h, xmpp.NewStreamError("bad-format", "the EXI header's options are not the ones in force")
	}
	if p.params.SessionWide {
		p.dec = dec
	}
	return headerOf(d.Root())
}

// adopt goes on in the configuration that the client's header named, and has
// the answer name it as well (0322-R61).
func (p *PortCodec) adopt(c *PortCodec, id string) {
	p.Codec, p.set, p.shortcut = c.Codec, c.set, id
	p.login = c.login
}

// sameOptions compares what an options document says (decision D7).
func sameOptions(a, b exi.Options) bool {
	return a.Alignment == b.Alignment && a.Strict == b.Strict && a.Preserve == b.Preserve && a.SelfContained == b.SelfContained &&
		!a.Fragment && a.ValueMaxLength == b.ValueMaxLength && a.ValuePartitionCapacity == b.ValuePartitionCapacity &&
		len(a.DatatypeRepresentationMap) == 0
}

// AppendRefusal appends what a server sends instead of a stream when the
// client's header named a configuration that it does not know (0322-R62).
func AppendRefusal(d *exi.Doc) { d.Element(nameStreamEnd, exi.Value{}) }
