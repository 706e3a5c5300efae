package exi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/exi/internal/bits"
)

// frame is an open element, or the document itself at the bottom of the stack.
type frame struct {
	st   *state
	name int32
	ns   int32 // bindings in scope before the element
	self bool  // root of a self-contained fragment
}

// binding is a namespace declaration in scope.
type binding struct{ prefix, uri string }

// encoder is the state of one direction of one stream (EXI 1.0 §6).
type encoder struct {
	o       *Options
	b       *bound
	w       bits.Writer
	names   encodeNames
	vals    encodeValues
	grams   builtins
	frag    state // built-in FragmentContent
	stack   []frame
	ns      []binding
	pv      parsed
	order   []ordered
	chans   *channelWriter
	saved   []savedTables
	stable  bool // value strings outlive the tables
	journal bool
	undo    []undo
	text    []byte // text joined from several events
	learned int    // productions learned, for the EXI Profile
	grown   int    // grammars that learned one
	err     error
	trace   func(kind Kind, parts [3]int)
}

// savedTables are put aside while a self-contained element is written (§8.4.3).
type savedTables struct {
	names encodeNames
	vals  encodeValues
	grams builtins
	frag  state
	log   bool
}

func (e *encoder) setup(o *Options, b *bound) {
	e.o, e.b = o, b
	e.names.setup(b.names)
	e.vals.setup(o)
	e.grams.b = b
	e.pv.keepFloats, e.pv.keepSpace = o.KeepFloatDigits, o.KeepListSpace
	e.w.SetAligned(o.Alignment != BitPacked)
	if o.Alignment >= PreCompression {
		e.chans = newChannelWriter(o)
	}
}

func (e *encoder) resetTables() {
	e.names.reset()
	e.vals.reset()
	e.grams.reset()
	e.frag.forget()
	e.learned, e.grown = 0, 0
}

// begin starts a body (SD, which takes no bits).
func (e *encoder) begin() {
	e.err = nil
	e.undo = e.undo[:0]
	e.ns = e.ns[:0]
	e.stack = append(e.stack[:0], frame{st: e.root(e.o.Fragment), name: -1})
}

func (e *encoder) root(fragment bool) *state {
	switch {
	case !fragment:
		return e.b.doc
	case e.b.fragment != nil:
		return e.b.fragment
	}
	e.frag.fixed, e.frag.esc = e.b.fragmentFixed, e.b.fragmentEsc
	e.frag.learns, e.frag.content = learningFragment, &e.frag
	return &e.frag
}

func (e *encoder) top() *frame { return &e.stack[len(e.stack)-1] }

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// located wraps the error with the position and the open elements.
func (e *encoder) located() error {
	if e.err == nil {
		return nil
	}
	var located *Error
	if errors.As(e.err, &located) {
		return e.err
	}
	return &Error{Op: "encode", Bit: e.w.Pos(), Path: path(e.stack, &e.names.nameTables), Err: e.err}
}

// path writes the open elements, at most the outermost 16 and the innermost.
// Those around a self-contained element have their names in other tables.
func path(stack []frame, names *nameTables) string {
	var sb strings.Builder
	first := 0
	for i := range stack {
		if stack[i].name < 0 {
			first = i + 1
		}
	}
	if first > 1 {
		sb.WriteString("/…")
	}
	for i := first; i < len(stack); i++ {
		if i-first >= 16 && i < len(stack)-1 {
			if i-first == 16 {
				sb.WriteString("/…")
			}
			continue
		}
		sb.WriteByte('/')
		sb.WriteString(names.name(stack[i].name).local)
	}
	return sb.String()
}

// code1 writes an event code of one part.
func (e *encoder) code1(st *state, code int, k Kind) {
	_, w := st.width()
	e.w.NBit(uint64(code), w)
	if e.trace != nil {
		e.trace(k, [3]int{code, -1, -1})
	}
}

// code2 writes an event code of two or three parts.
func (e *encoder) code2(st *state, at pos, k Kind) *prod {
	n, w := st.width()
	e.w.NBit(uint64(n), w)
	e.w.NBit(uint64(at.i), st.esc.w)
	if at.j >= 0 {
		e.w.NBit(uint64(at.j), bitsFor(len(st.esc.nodes[at.i].sub)))
	}
	if e.trace != nil {
		e.trace(k, [3]int{n, int(at.i), int(at.j)})
	}
	return st.esc.prod(at)
}

func (st *state) escapeAt(k Kind) (pos, bool) {
	if st.esc == nil || st.esc.at[k].i < 0 {
		return pos{}, false
	}
	return st.esc.at[k], true
}

// learn adds a production to a built-in grammar (§8.4.3).
func (e *encoder) learn(st *state, k Kind, name int32, r role) {
	if !st.learn(k, name, r) {
		return
	}
	if r != xsiType {
		e.learned++
		if !st.counted {
			st.counted = true
			e.grown++
		}
	}
	if e.journal {
		e.undo = append(e.undo, undo{op: undoLearn, st: st})
	}
}

// grammarOf returns the grammar of a global element, creating a built-in one
// when there is none (§8.4.1).
func (e *encoder) grammarOf(name int32) *state {
	if st := e.b.global(name); st != nil {
		return st
	}
	if st := e.grams.get(name); st != nil {
		return st
	}
	if e.journal {
		e.undo = append(e.undo, undo{op: undoGrammar})
	}
	return e.grams.create(name)
}

// startElement writes SE with its NS and AT events, which are all that attrs
// holds.
func (e *encoder) startElement(name Name, prefix string, attrs []Event) {
	if len(e.stack) > e.o.Limits.Depth {
		e.fail(limitErr("open elements", e.o.Limits.Depth))
		return
	}
	e.open(name, prefix)
	if e.err != nil {
		return
	}
	if e.o.SelfContained && e.isSelfContained(name, attrs) {
		e.selfContained(name, prefix)
	}
	e.attributes(name, prefix, attrs)
}

// open writes the event code and name of SE and pushes the element.
func (e *encoder) open(name Name, prefix string) {
	top := e.top()
	st := top.st
	id := e.names.known(name)
	var p *prod
	code := -1
	if id >= 0 {
		if code, p = st.findExact(SE, id); p != nil {
			e.code1(st, code, SE)
		}
	}
	learnt := p != nil
	if p == nil {
		uri, hasURI := e.names.findURI(name.Value().Space)
		if !hasURI {
			uri = -1
		}
		if code, p = st.findWild(SE, uri); p != nil {
			e.code1(st, code, SE)
		} else if at, ok := st.escapeAt(SE); ok {
			p = e.code2(st, at, SE)
		} else {
			e.fail(contentErr("element %s is not in the schema here", name.Value().Local))
			return
		}
		id = e.qname(name, p.match == AnyIn)
	}
	e.namePrefix(id, prefix)
	next := st.follow(p)
	if !learnt && st.learns != fixedGrammar {
		e.learn(st, SE, id, plain)
	}
	top.st = next
	elem := e.b.ready(p.elem)
	if elem == nil {
		elem = e.grammarOf(id)
	}
	e.stack = append(e.stack, frame{st: elem, name: id, ns: int32(len(e.ns))})
}

// qname writes uri and local name, adding them to the tables (§7.1.7).
func (e *encoder) qname(name Name, localOnly bool) int32 {
	q := name.Value()
	var uri int32
	if localOnly {
		uri, _ = e.names.findURI(q.Space)
	} else {
		uri = e.uri(q.Space)
	}
	return e.local(uri, name, q.Local)
}

// uri writes a hit or a miss of the uri partition (§7.3.2). The string must
// last: that of a Name does.
func (e *encoder) uri(s string) int32 {
	n := bitsFor(len(e.names.uris) + 1)
	if id, ok := e.names.findURI(s); ok {
		e.w.NBit(uint64(id)+1, n)
		return id
	}
	e.w.NBit(0, n)
	e.literal(s, 0)
	if e.journal {
		e.undo = append(e.undo, undo{op: undoURI})
	}
	return e.names.addURI(s)
}

// local writes a hit or a miss of a local-name partition (§7.3.3).
func (e *encoder) local(uri int32, name Name, local string) int32 {
	u := &e.names.uris[uri]
	if id := e.names.known(name); id >= 0 {
		e.w.Uint(0)
		e.w.NBit(uint64(e.names.name(id).id), bitsFor(u.locals()))
		return id
	}
	e.literal(local, 1)
	if e.journal {
		e.undo = append(e.undo, undo{op: undoName})
	}
	return e.names.addName(uri, name)
}

// literal writes a string with its length incremented by add.
func (e *encoder) literal(s string, add int) {
	n := utf8.RuneCountInString(s)
	e.w.Uint(uint64(n + add))
	e.chars(&e.w, s)
}

// chars writes the characters of s as code points (§7.1.10).
func (e *encoder) chars(w *bits.Writer, s string) {
	for {
		s = s[w.ASCII(s):]
		if s == "" {
			return
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			e.fail(contentErr("text that is not UTF-8"))
			return
		}
		w.Uint(uint64(r))
		s = s[n:]
	}
}

// namePrefix writes the prefix of a numbered name where prefixes are kept.
func (e *encoder) namePrefix(name int32, prefix string) {
	if e.o.Preserve.Prefixes && !e.b.strict { // else the name need not be looked at
		e.prefix(e.names.name(name).uri, prefix)
	}
}

// prefix writes the prefix of a name (§7.1.7). One that is not in the partition
// yet belongs to an element and is declared by a following NS event; its
// representation is then of no account.
func (e *encoder) prefix(uri int32, prefix string) {
	if !e.o.Preserve.Prefixes || e.b.strict {
		return
	}
	u := &e.names.uris[uri]
	e.w.NBit(uint64(max(u.prefixID(prefix), 0)), bitsFor(len(u.prefixes)))
}

// endElement writes EE.
func (e *encoder) endElement() {
	if len(e.stack) < 2 {
		e.fail(fmt.Errorf("%w: end of an element that was not started", ErrSequence))
		return
	}
	top := e.top()
	st := top.st
	code, p := st.findKind(EE)
	if p == nil {
		if at, ok := st.escapeAt(EE); ok {
			e.code2(st, at, EE)
			if st.learns != fixedGrammar {
				e.learn(st, EE, 0, plain)
			}
		} else if !e.emptyValue(st) {
			e.fail(contentErr("the element cannot end here"))
			return
		}
	} else {
		e.code1(st, code, EE)
	}
	self := top.self
	e.ns = e.ns[:top.ns]
	e.stack = e.stack[:len(e.stack)-1]
	if self {
		e.endSelfContained()
	}
}

// emptyValue writes empty content where a strict grammar wants a value and the
// empty text is one, then EE.
func (e *encoder) emptyValue(st *state) bool {
	code, p := st.findKind(CH)
	if p == nil || !e.pv.set(p.dt, &Value{}) {
		return false
	}
	next, end := p.next.findKind(EE)
	if end == nil {
		return false
	}
	e.code1(st, code, CH)
	e.value(p.dt, e.top().name, &Value{})
	e.top().st = p.next
	e.code1(p.next, next, EE)
	return true
}

// end writes ED.
func (e *encoder) end() {
	if len(e.stack) != 1 {
		e.fail(fmt.Errorf("%w: %d elements are still open", ErrSequence, len(e.stack)-1))
		return
	}
	st := e.top().st
	code, p := st.findKind(ED)
	if p == nil {
		e.fail(fmt.Errorf("%w: a document needs an element", ErrSequence))
		return
	}
	e.code1(st, code, ED)
}

// misc writes CM, PI, DT and ER events, which options may have pruned.
func (e *encoder) misc(ev *Event) {
	top := e.top()
	at, ok := top.st.escapeAt(ev.Kind)
	if !ok {
		if e.keeps(ev.Kind) {
			e.fail(fmt.Errorf("%w: %v", ErrSequence, ev.Kind))
		}
		return
	}
	st := top.st
	p := e.code2(st, at, ev.Kind)
	switch ev.Kind {
	case CM:
		e.literal(e.pv.textOf(&ev.Value), 0)
	case PI:
		e.literal(ev.Name.Value().Local, 0)
		e.literal(e.pv.textOf(&ev.Value), 0)
	case DT:
		public, system, text := ev.Value.DocType()
		e.literal(ev.Name.Value().Local, 0)
		e.literal(public, 0)
		e.literal(system, 0)
		e.literal(text, 0)
	case ER:
		e.literal(ev.Name.Value().Local, 0)
	}
	top.st = st.follow(p)
}

// keeps reports whether the options preserve a kind of event; strict grammars
// have none of them.
func (e *encoder) keeps(k Kind) bool {
	if e.b.strict {
		return false
	}
	switch k {
	case CM:
		return e.o.Preserve.Comments
	case PI:
		return e.o.Preserve.PIs
	case DT, ER:
		return e.o.Preserve.DTD
	case NS:
		return e.o.Preserve.Prefixes
	}
	return true
}

// characters writes CH. layout says that white space here would only lay out
// the document: an end tag came before it, or a start tag comes behind it.
func (e *encoder) characters(v *Value, layout bool) {
	top := e.top()
	st := top.st
	code, p := st.findKind(CH)
	blank := v.kind == Lexical && trimSpace(v.str) == ""
	if blank && layout && e.o.StripSpace && !e.o.Preserve.LexicalValues && (p == nil || p.dt == nil) {
		return
	}
	if len(e.stack) == 1 {
		if !blank {
			e.fail(fmt.Errorf("%w: text outside of any element", ErrSequence))
		}
		return
	}
	if p != nil && (p.dt == nil || e.pv.set(p.dt, v)) {
		e.code1(st, code, CH)
		e.value(p.dt, top.name, v)
		top.st = st.follow(p)
		return
	}
	at, ok := st.escapeAt(CH)
	if !ok {
		if !blank {
			e.fail(contentErr("text %.40q is not in the schema here", v.String()))
		}
		return
	}
	p = e.code2(st, at, CH)
	e.value(nil, top.name, v)
	next := st.follow(p)
	if st.learns != fixedGrammar {
		e.learn(st, CH, 0, plain)
	}
	top.st = next
}

// value writes the content of AT or CH, or keeps it for its channel (§9.2.2).
// e.pv holds it already when it is typed.
func (e *encoder) value(d *dtype, name int32, v *Value) {
	if e.chans != nil {
		e.chans.add(e, d, name, v)
		return
	}
	e.write(&e.w, d, name, v)
}

func (e *encoder) write(w *bits.Writer, d *dtype, name int32, v *Value) {
	switch {
	case d == nil:
		e.stringValue(w, nil, name, e.pv.textOf(v))
	case d.isString():
		e.stringValue(w, d.charset, name, e.pv.textOf(v))
	case d.codec == CodecList:
		e.writeList(w, d, &e.pv, name)
	default:
		e.pv.write(w, d)
	}
}

func (e *encoder) writeList(w *bits.Writer, d *dtype, p *parsed, name int32) {
	if d.item.isString() {
		w.Uint(p.n)
		for item, rest := firstItem(p.text); item != ""; item, rest = firstItem(rest) {
			e.stringValue(w, d.item.charset, name, item)
		}
		return
	}
	w.Uint(uint64(len(p.items)))
	for i := range p.items {
		it := &p.items[i]
		if d.item.codec == CodecList {
			e.writeList(w, d.item, it, name)
		} else {
			it.write(w, d.item)
		}
	}
}

// stringValue writes a hit in the local or global value partition, or a miss
// (§7.3.3).
func (e *encoder) stringValue(w *bits.Writer, set *charset, name int32, s string) {
	t := &e.vals
	hit, global, h := t.find(s)
	if hit != nil {
		if hit.name == name && hit.local >= 0 {
			w.Uint(0)
			w.NBit(uint64(hit.local), bitsFor(t.localCount(name)))
			return
		}
		w.Uint(1)
		w.NBit(uint64(global), bitsFor(t.count()))
		return
	}
	n := utf8.RuneCountInString(s)
	w.Uint(uint64(n) + 2)
	if set == nil {
		e.chars(w, s)
	} else {
		e.restricted(w, set, s)
	}
	if !t.takes(n) {
		return
	}
	old, replaced := t.add(s, h, name, e.stable && !within(s, e.pv.buf))
	if e.journal {
		e.undo = append(e.undo, undo{op: undoValue, old: old, replaced: replaced})
	}
}

func (e *encoder) restricted(w *bits.Writer, set *charset, s string) {
	for {
		s = s[w.Set(s, set.bits, &set.ascii):]
		if s == "" {
			return
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			e.fail(contentErr("text that is not UTF-8"))
			return
		}
		if i := set.position(r); i >= 0 {
			w.NBit(uint64(i), set.bits)
		} else {
			w.NBit(uint64(len(set.runes)), set.bits)
			w.Uint(uint64(r))
		}
		s = s[n:]
	}
}

// isSelfContained reports whether an element is to be self-contained: by the
// options, or because it was when it was read.
func (e *encoder) isSelfContained(name Name, attrs []Event) bool {
	if _, ok := e.top().st.escapeAt(SC); !ok {
		return false
	}
	return slices.Contains(e.o.SelfContainedElements, name) ||
		slices.ContainsFunc(attrs, func(ev Event) bool { return ev.Kind == SC })
}

// selfContained writes SC and starts over with fresh tables (§8.4.3).
func (e *encoder) selfContained(name Name, prefix string) {
	top := e.top()
	at, _ := top.st.escapeAt(SC)
	e.code2(top.st, at, SC)
	e.saved = append(e.saved, savedTables{e.names, e.vals, e.grams, e.frag, e.journal})
	e.journal = false
	e.names, e.vals, e.grams, e.frag = encodeNames{}, encodeValues{}, builtins{b: e.b}, state{}
	e.names.setup(e.b.names)
	e.vals.setup(e.o)
	e.w.Align()
	e.stack[len(e.stack)-1] = frame{st: e.root(true), name: -1, ns: top.ns}
	e.open(name, prefix)
	e.top().self = true
}

func (e *encoder) endSelfContained() {
	e.endFragment()
	e.w.Align()
	last := &e.saved[len(e.saved)-1]
	e.names, e.vals, e.grams, e.frag = last.names, last.vals, last.grams, last.frag
	e.journal = last.log
	*last = savedTables{}
	e.saved = e.saved[:len(e.saved)-1]
}

// endFragment writes the ED of a self-contained fragment and pops it.
func (e *encoder) endFragment() {
	st := e.top().st
	if code, p := st.findKind(ED); p != nil {
		e.code1(st, code, ED)
	}
	e.stack = e.stack[:len(e.stack)-1]
}
