package exi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"postern/exi/internal/bits"
)

// decoder is the state of one direction of one stream.
type decoder struct {
	o       *Options
	b       *bound
	r       bits.Reader
	names   nameTables
	vals    decodeValues
	grams   builtins
	frag    state
	stack   []frame
	ns      []binding
	cache   nameCache
	saved   []savedDecode
	chans   *channelReader
	doc     *Doc // where text goes; nil when streaming
	text    []byte
	loc     []byte
	stable  bool // text in the Doc outlives the tables
	events  int64
	most    int64 // events allowed
	learned int
	done    bool
	trace   func(k Kind, parts [3]int, bit int64)
}

type savedDecode struct {
	names nameTables
	vals  decodeValues
	grams builtins
	frag  state
}

func (d *decoder) setup(o *Options, b *bound) {
	d.o, d.b = o, b
	d.names.setup(b.names)
	d.vals.setup(o)
	d.grams.b = b
	d.chans = nil
	if o.Alignment >= PreCompression {
		d.chans = newChannelReader(o)
	}
}

func (d *decoder) resetTables() {
	d.names.reset()
	d.vals.reset()
	d.grams.reset()
	d.frag.forget()
	d.learned = 0
}

// begin starts a body.
func (d *decoder) begin() {
	d.ns = d.ns[:0]
	d.stack = append(d.stack[:0], frame{st: d.root(d.o.Fragment), name: -1})
	d.events, d.done = 0, false
	if d.most = d.o.Limits.Events; d.most <= 0 {
		d.most = streamedEvents
		if d.doc != nil {
			d.most = DefaultLimits().Events
		}
	}
	d.r.SetAligned(d.o.Alignment != BitPacked)
}

func (d *decoder) root(fragment bool) *state {
	switch {
	case !fragment:
		return d.b.doc
	case d.b.fragment != nil:
		return d.b.fragment
	}
	d.frag.fixed, d.frag.esc = d.b.fragmentFixed, d.b.fragmentEsc
	d.frag.learns, d.frag.content = learningFragment, &d.frag
	return &d.frag
}

func (d *decoder) located(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	switch {
	case errors.Is(err, bits.ErrTooLong):
		err = fmt.Errorf("%w: %w", ErrLimit, err)
	case errors.Is(err, bits.ErrOverflow), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return &Error{Op: "decode", Bit: d.r.Pos(), Path: path(d.stack, &d.names), Err: err}
}

// step reads one event into ev. After ED, done is set.
func (d *decoder) step(ev *Event) error {
	start := d.r.Pos()
	top := &d.stack[len(d.stack)-1]
	st := top.st
	n, w := st.width()
	c := int(d.r.NBit(w))
	var p *prod
	parts := [3]int{c, -1, -1}
	switch l := len(st.learned); {
	case c < l:
		p = &st.learned[l-1-c]
	case c < n:
		p = &st.fixed[c-l]
	case c == n && st.esc != nil:
		c2 := int(d.r.NBit(st.esc.w))
		if c2 >= len(st.esc.nodes) {
			return d.noCode(parts)
		}
		parts[1] = c2
		nd := &st.esc.nodes[c2]
		p = &nd.prod
		if nd.sub != nil {
			c3 := int(d.r.NBit(bitsFor(len(nd.sub))))
			if c3 >= len(nd.sub) {
				return d.noCode(parts)
			}
			parts[2] = c3
			p = &nd.sub[c3]
		}
	default:
		return d.noCode(parts)
	}
	if err := d.r.Err(); err != nil {
		return err
	}
	if d.trace != nil {
		d.trace(p.kind, parts, start)
	}
	d.events++
	if d.events > d.most {
		return limitErr("events", int(d.most))
	}
	if err := d.event(ev, top, st, p, c < n); err != nil {
		return err
	}
	return d.r.Err()
}

func (d *decoder) noCode(parts [3]int) error {
	if err := d.r.Err(); err != nil {
		return err
	}
	return formatErr("no production has event code %d", parts[0])
}

func (d *decoder) event(ev *Event, top *frame, st *state, p *prod, onePart bool) error {
	ev.Kind = p.kind
	switch p.kind {
	case SE:
		return d.element(ev, top, st, p)
	case EE:
		if !onePart && st.learns != fixedGrammar {
			if err := d.learn(st, EE, 0, plain); err != nil {
				return err
			}
		}
		return d.endElement(top)
	case AT:
		return d.attribute(ev, top, st, p, onePart)
	case CH:
		if !onePart && st.learns != fixedGrammar {
			if err := d.learn(st, CH, 0, plain); err != nil {
				return err
			}
		}
		top.st = st.follow(p)
		dt := p.dt
		if p.untyped {
			dt = nil
		}
		return d.value(ev, dt, top.name)
	case ED:
		return d.endDocument()
	case NS:
		return d.namespace(ev, top, st, p)
	case SC:
		return d.selfContained(ev)
	}
	return d.misc(ev, top, st, p)
}

func (d *decoder) learn(st *state, k Kind, name int32, r role) error {
	d.learned++
	if d.learned > d.o.Limits.Grammars {
		return limitErr("learned productions", d.o.Limits.Grammars)
	}
	st.learn(k, name, r)
	return nil
}

func (d *decoder) grammarOf(name int32) *state {
	if st := d.b.global(name); st != nil {
		return st
	}
	if st := d.grams.get(name); st != nil {
		return st
	}
	return d.grams.create(name)
}

// element reads the name of SE and pushes the element.
func (d *decoder) element(ev *Event, top *frame, st *state, p *prod) error {
	id := p.name
	if p.match != Exact {
		var err error
		if id, err = d.qname(p); err != nil {
			return err
		}
	}
	info := d.names.name(id)
	ev.Name = info.name
	if d.o.Preserve.Prefixes && !d.b.strict {
		prefix, err := d.prefix(info.uri, false)
		if err != nil {
			return err
		}
		ev.Prefix = prefix
	}
	if p.match != Exact && st.learns != fixedGrammar {
		if err := d.learn(st, SE, id, plain); err != nil {
			return err
		}
	}
	top.st = st.follow(p)
	elem := d.b.ready(p.elem)
	if elem == nil {
		elem = d.grammarOf(id)
	}
	if len(d.stack) > d.o.Limits.Depth {
		return limitErr("open elements", d.o.Limits.Depth)
	}
	d.stack = append(d.stack, frame{st: elem, name: id, ns: int32(len(d.ns))})
	return nil
}

func (d *decoder) endElement(top *frame) error {
	self := top.self
	d.ns = d.ns[:top.ns]
	d.stack = d.stack[:len(d.stack)-1]
	if self {
		return d.endSelfContained()
	}
	return nil
}

func (d *decoder) endDocument() error {
	d.done = true
	return nil
}

// qname reads the name of a wildcard production (§7.1.7).
func (d *decoder) qname(p *prod) (int32, error) {
	uri := p.uri
	if p.match != AnyIn {
		var err error
		if uri, err = d.uri(); err != nil {
			return 0, err
		}
	}
	return d.local(uri)
}

func (d *decoder) uri() (int32, error) {
	n := len(d.names.uris)
	id := int(d.r.NBit(bitsFor(n + 1)))
	if id > n {
		return 0, formatErr("uri %d of %d", id, n)
	}
	if id > 0 {
		return int32(id - 1), nil
	}
	s, err := d.literal(d.r.Uint())
	if err != nil {
		return 0, err
	}
	if err := d.room(); err != nil {
		return 0, err
	}
	return d.names.addURI(d.cache.uri(s)), nil
}

func (d *decoder) local(uri int32) (int32, error) {
	u := &d.names.uris[uri]
	n := d.r.Uint()
	if n == 0 {
		id := int(d.r.NBit(bitsFor(u.locals())))
		if id >= u.locals() {
			return 0, formatErr("local name %d of %d", id, u.locals())
		}
		return u.nameAt(id), nil
	}
	s, err := d.literal(n - 1)
	if err != nil {
		return 0, err
	}
	if err := d.room(); err != nil {
		return 0, err
	}
	name, local := d.cache.intern(u.uri, s)
	return d.names.addLocal(uri, name, local), nil
}

// room fails when the tables are full.
func (d *decoder) room() error {
	l := &d.o.Limits
	if d.names.octets+d.vals.octets > l.TableOctets {
		return limitErr("octets in the string tables", l.TableOctets)
	}
	if d.names.size()+len(d.vals.ents) > l.TableSize {
		return limitErr("entries in the string tables", l.TableSize)
	}
	return nil
}

// prefix reads the prefix of a name. must says that it cannot come from a
// following NS event.
func (d *decoder) prefix(uri int32, must bool) (string, error) {
	u := &d.names.uris[uri]
	id := int(d.r.NBit(bitsFor(len(u.prefixes))))
	if id < len(u.prefixes) {
		return u.prefixes[id], nil
	}
	if must && len(u.prefixes) > 0 {
		return "", formatErr("prefix %d of %d", id, len(u.prefixes))
	}
	return "", nil
}

// literal reads the characters of a string of n into a buffer that the next
// call overwrites.
func (d *decoder) literal(n uint64) ([]byte, error) {
	var err error
	d.loc, err = d.chars(d.loc[:0], n)
	return d.loc, err
}

// chars appends a string of n characters (§7.1.10).
func (d *decoder) chars(dst []byte, n uint64) ([]byte, error) {
	if err := d.r.Err(); err != nil {
		return dst, err
	}
	if n > uint64(d.o.Limits.StringLen) {
		return dst, fmt.Errorf("string of %d characters: %w", n, limitErr("characters in a string", d.o.Limits.StringLen))
	}
	left := int(n)
	for left > 0 {
		var k int
		dst, k = d.r.ASCII(dst, left)
		left -= k
		for i := min(left, 8); i > 0; i-- {
			c := d.r.Bits(8)
			if c >= 0x80 {
				var err error
				if dst, err = d.char(dst, c); err != nil {
					return dst, err
				}
			} else {
				dst = append(dst, byte(c))
			}
			left--
		}
		if d.r.Err() != nil {
			return dst, d.r.Err()
		}
	}
	return dst, nil
}

// char reads the rest of a code point whose first octet is c.
func (d *decoder) char(dst []byte, c uint64) ([]byte, error) {
	v := c & 0x7f
	for s := uint(7); c >= 0x80; s += 7 {
		if s > 28 {
			return dst, formatErr("code point above U+10FFFF")
		}
		c = d.r.Bits(8)
		v |= c & 0x7f << s
	}
	return d.rune(dst, v)
}

func (d *decoder) rune(dst []byte, v uint64) ([]byte, error) {
	if v > utf8.MaxRune || v >= 0xD800 && v < 0xE000 {
		return dst, formatErr("code point U+%04X", v)
	}
	return utf8.AppendRune(dst, rune(v)), nil
}

func (d *decoder) misc(ev *Event, top *frame, st *state, p *prod) error {
	top.st = st.follow(p)
	str := func() (string, error) {
		s, err := d.literal(d.r.Uint())
		return string(s), err
	}
	var part [4]string
	n := 1
	switch p.kind {
	case PI:
		n = 2
	case DT:
		n = 4
	}
	for i := range n {
		var err error
		if part[i], err = str(); err != nil {
			return err
		}
	}
	switch p.kind {
	case CM:
		ev.Value = Str(part[0])
	case PI:
		ev.Name, ev.Value = N("", part[0]), Str(part[1])
	case ER:
		ev.Name = N("", part[0])
	case DT:
		ev.Name, ev.Value = N("", part[0]), DocTypeValue(part[1], part[2], part[3])
	}
	return nil
}

func (d *decoder) namespace(ev *Event, top *frame, st *state, p *prod) error {
	id, err := d.uri()
	if err != nil {
		return err
	}
	u := &d.names.uris[id]
	n := len(u.prefixes)
	i := int(d.r.NBit(bitsFor(n + 1)))
	switch {
	case i > n:
		return formatErr("prefix %d of %d", i, n)
	case i > 0:
		ev.Prefix = u.prefixes[i-1]
	default:
		s, err := d.literal(d.r.Uint())
		if err != nil {
			return err
		}
		if err := d.room(); err != nil {
			return err
		}
		ev.Prefix = string(s)
		d.names.addPrefix(id, ev.Prefix)
	}
	ev.Name = N(u.uri, "")
	ev.LocalNS = d.r.Bool()
	d.ns = append(d.ns, binding{prefix: ev.Prefix, uri: u.uri})
	if len(d.ns) > d.o.Limits.TableSize {
		return limitErr("namespace declarations in scope", d.o.Limits.TableSize)
	}
	top.st = st.follow(p)
	return nil
}

// selfContained starts over with fresh tables; the name of the element comes
// once more (§8.4.3).
func (d *decoder) selfContained(ev *Event) error {
	if len(d.saved) > d.o.Limits.Depth/10+16 {
		return limitErr("nested self-contained elements", d.o.Limits.Depth/10+16)
	}
	top := &d.stack[len(d.stack)-1]
	d.saved = append(d.saved, savedDecode{d.names, d.vals, d.grams, d.frag})
	d.names, d.vals, d.grams, d.frag = nameTables{}, decodeValues{}, builtins{b: d.b}, state{}
	d.names.setup(d.b.names)
	d.vals.setup(d.o)
	d.r.Align()
	*top = frame{st: d.root(true), name: -1, ns: top.ns}
	var inner Event
	if err := d.step(&inner); err != nil {
		return err
	}
	if inner.Kind != SE {
		return formatErr("self-contained fragment starts with %v", inner.Kind)
	}
	d.stack[len(d.stack)-1].self = true
	ev.Kind = SC
	return nil
}

func (d *decoder) endSelfContained() error {
	var inner Event
	if err := d.step(&inner); err != nil {
		return err
	}
	if inner.Kind != ED {
		return formatErr("self-contained fragment goes on with %v", inner.Kind)
	}
	d.done = false
	d.r.Align()
	d.stack = d.stack[:len(d.stack)-1]
	last := &d.saved[len(d.saved)-1]
	d.names, d.vals, d.grams, d.frag = last.names, last.vals, last.grams, last.frag
	*last = savedDecode{}
	d.saved = d.saved[:len(d.saved)-1]
	return nil
}

// source points the bit reader at a bufio.Reader.
func (d *decoder) source(r *bufio.Reader) {
	d.r.ResetSource(r, d.o.Limits.Octets)
}
