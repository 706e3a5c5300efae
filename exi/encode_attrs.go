package exi

import (
	"slices"
	"strings"
)

// attributes writes the NS and AT events of the element just opened: NS in
// document order, xsi:type, xsi:nil, then the others (EXI 1.0 §6).
func (e *encoder) attributes(name Name, prefix string, attrs []Event) {
	e.order = e.order[:0]
	typ, null, marked := -1, -1, false
	for i := range attrs {
		switch attrs[i].Kind {
		case NS:
			local := !marked && attrs[i].Prefix == prefix && attrs[i].Name.Value().Space == name.Value().Space
			marked = marked || local
			e.namespace(&attrs[i], local)
		case AT:
			switch attrs[i].Name {
			case NameXsiType:
				typ = i
			case NameXsiNil:
				null = i
			default:
				e.order = append(e.order, ordered{int32(i), e.names.known(attrs[i].Name)})
			}
		}
	}
	if typ >= 0 {
		e.xsiTypeAttr(&attrs[typ])
	} else {
		e.restrain()
	}
	if null >= 0 && e.err == nil {
		e.xsiNilAttr(&attrs[null])
	}
	if len(e.order) > 1 && (e.o.Canonical || e.b.hasTypes) {
		e.sort(attrs)
	}
	for _, a := range e.order {
		if e.err != nil {
			return
		}
		e.attribute(&attrs[a.at], a.id)
	}
}

// ordered is an attribute that waits for its turn: its position, and the number
// of its name or −1.
type ordered struct{ at, id int32 }

// sort orders attributes by local name, then namespace.
func (e *encoder) sort(attrs []Event) {
	// The numbers of names without a namespace are in this order already; going
	// by them keeps the names' text out of the processor's caches.
	compare := func(a, b ordered) int {
		if n := e.b.names.inOrder; a.id >= 0 && b.id >= 0 && a.id < n && b.id < n {
			return int(a.id - b.id)
		}
		return compareNames(attrs[a.at].Name, attrs[b.at].Name)
	}
	if len(e.order) > 12 {
		slices.SortStableFunc(e.order, compare)
		return
	}
	for i := 1; i < len(e.order); i++ {
		for j := i; j > 0 && compare(e.order[j], e.order[j-1]) < 0; j-- {
			e.order[j], e.order[j-1] = e.order[j-1], e.order[j]
		}
	}
}

// namespace writes an NS event (§7.1.7) and notes the binding. local says that
// it gives the prefix of the element it stands in.
func (e *encoder) namespace(ev *Event, local bool) {
	uri := ev.Name.Value().Space
	e.ns = append(e.ns, binding{prefix: ev.Prefix, uri: uri})
	if !e.keeps(NS) {
		return
	}
	top := e.top()
	at, ok := top.st.escapeAt(NS)
	if !ok {
		return
	}
	p := e.code2(top.st, at, NS)
	id := e.uri(uri)
	u := &e.names.uris[id]
	n := bitsFor(len(u.prefixes) + 1)
	if i := u.prefixID(ev.Prefix); i >= 0 {
		e.w.NBit(uint64(i)+1, n)
	} else {
		e.w.NBit(0, n)
		e.literal(ev.Prefix, 0)
		if e.journal {
			e.undo = append(e.undo, undo{op: undoPrefix, uri: id})
		}
		e.names.addPrefix(id, strings.Clone(ev.Prefix))
	}
	e.w.Bool(local)
	top.st = top.st.follow(p)
}

// resolve finds the namespace of a prefix among the declarations in scope.
func (e *encoder) resolve(prefix string) (string, bool) {
	for i := len(e.ns) - 1; i >= 0; i-- {
		if e.ns[i].prefix == prefix {
			return e.ns[i].uri, true
		}
	}
	return "", prefix == ""
}

// targetName resolves the value of xsi:type. Without a namespace for its
// prefix, the whole text is a local name in no namespace (§8.5.4.4.1).
func (e *encoder) targetName(v Value) (space, prefix, local string) {
	if space, prefix, local, ok := v.Name(); ok {
		return space, prefix, local
	}
	text := trimSpace(v.String())
	prefix, local, found := strings.Cut(text, ":")
	if !found {
		prefix, local = "", text
	}
	if space, ok := e.resolve(prefix); ok && (found || len(e.ns) > 0) {
		return space, prefix, local
	}
	return "", "", text
}

// xsiTypeAttr writes xsi:type and changes to the grammar of the type if there
// is one.
func (e *encoder) xsiTypeAttr(ev *Event) {
	top := e.top()
	st := top.st
	space, prefix, local := e.targetName(ev.Value)
	next := st
	switch code, p := st.findExact(AT, e.b.xsiType); {
	case p != nil && st.learns != fixedGrammar:
		e.code1(st, code, AT)
		e.namePrefix(e.b.xsiType, ev.Prefix)
	case st.learns != fixedGrammar:
		at, _ := st.escapeAt(AT)
		e.code2(st, at, AT)
		e.qname(NameXsiType, false)
		e.namePrefix(e.b.xsiType, ev.Prefix)
		e.learn(st, AT, e.b.xsiType, xsiType)
	case st.esc != nil && st.esc.xsiType.i >= 0:
		e.code2(st, st.esc.xsiType, AT)
		e.namePrefix(e.b.xsiType, ev.Prefix)
	default:
		e.redundantType(st, space, local)
		return
	}
	var target *state
	if e.o.Preserve.LexicalValues {
		text := ev.Value.String()
		target = e.typeOfText(text)
		e.lexicalType(text)
	} else {
		name := N(space, local)
		id := e.uri(name.Value().Space)
		n := e.local(id, name, local)
		e.prefix(id, prefix)
		target = e.b.typ(n)
	}
	if target != nil {
		next = target
	}
	top.st = next
}

// lexicalType writes the value of xsi:type as text; it stays in the structure
// channel (§9.2.1).
func (e *encoder) lexicalType(text string) {
	e.stringValue(&e.w, nil, e.b.xsiType, text)
}

// typeOfText resolves text as decoders have to: by the declarations on the
// stream, which has them only when prefixes are preserved.
func (e *encoder) typeOfText(text string) *state {
	prefix, local, found := strings.Cut(text, ":")
	if !found {
		prefix, local = "", text
	}
	var space string
	if e.keeps(NS) {
		var ok bool
		if space, ok = e.resolve(prefix); !ok {
			return nil
		}
	} else if found {
		return nil
	}
	return e.b.typeNamed(N(space, local))
}

// redundantType drops an xsi:type that names the type the element has anyway,
// which strict grammars cannot carry (§8.5.4.4.2).
func (e *encoder) redundantType(st *state, space, local string) {
	if t := e.b.typeNamed(N(space, local)); t == nil || t != st {
		e.fail(contentErr("xsi:type %q in a strict grammar", local))
	}
}

// xsiNilAttr writes xsi:nil (§8.5.4.4).
func (e *encoder) xsiNilAttr(ev *Event) {
	top := e.top()
	st := top.st
	if st.learns != fixedGrammar {
		e.attribute(ev, -1)
		return
	}
	if st.esc == nil || st.esc.xsiNil.i < 0 {
		if b, ok := ev.Value.Bool(); !ok || b {
			e.fail(contentErr("xsi:nil on an element that is not nillable"))
		}
		return
	}
	isNil, ok := ev.Value.Bool()
	if !ok {
		e.untyped(ev, nil)
		return
	}
	p := e.code2(st, st.esc.xsiNil, AT)
	e.namePrefix(e.b.xsiNil, ev.Prefix)
	d := e.b.boolean
	if e.o.Preserve.LexicalValues {
		d = nil // see decoder.lexicalNil
	} else {
		e.pv.set(d, &ev.Value)
	}
	e.write(&e.w, d, e.b.xsiNil, &ev.Value)
	top.st = st.follow(p)
	if isNil && st.empty != nil {
		top.st = st.empty
	}
}

// attribute writes any other AT event. id is the number of its name, −1 if it
// had none yet.
func (e *encoder) attribute(ev *Event, id int32) {
	top := e.top()
	st := top.st
	if id < 0 {
		id = e.names.known(ev.Name)
	}
	if id >= 0 {
		if code, p := st.findExact(AT, id); p != nil {
			if p.dt != nil && !e.pv.set(p.dt, &ev.Value) {
				e.untyped(ev, p)
				return
			}
			e.code1(st, code, AT)
			e.namePrefix(id, ev.Prefix)
			next := st.follow(p)
			e.value(p.dt, id, &ev.Value)
			top.st = next
			return
		}
	}
	e.wildAttribute(ev, id)
}

// wildAttribute writes an attribute that no production names.
func (e *encoder) wildAttribute(ev *Event, id int32) {
	top := e.top()
	st := top.st
	var d *dtype
	if st.learns == fixedGrammar {
		if d = e.b.attrs[id]; d != nil && !e.pv.set(d, &ev.Value) {
			e.untyped(ev, nil)
			return
		}
	}
	uri, hasURI := e.names.findURI(ev.Name.Value().Space)
	if !hasURI {
		uri = -1
	}
	code, p := st.findWild(AT, uri)
	if p != nil {
		e.code1(st, code, AT)
	} else if at, ok := st.escapeAt(AT); ok {
		p = e.code2(st, at, AT)
	} else {
		q := ev.Name.Value()
		if q.Space != NSXSI {
			e.fail(contentErr("attribute %s is not in the schema here", q.Local))
		}
		return // xsi:schemaLocation and its like fall away in strict grammars
	}
	id = e.qname(ev.Name, p.match == AnyIn)
	e.namePrefix(id, ev.Prefix)
	next := st.follow(p)
	if st.learns != fixedGrammar {
		e.learn(st, AT, id, plain)
	}
	e.value(d, id, &ev.Value)
	top.st = next
}

// untyped writes an attribute whose value does not fit its datatype: AT(qname)
// [untyped value] when the production p names it, else AT(*) [untyped value]
// (§8.5.4.4.1).
func (e *encoder) untyped(ev *Event, p *prod) {
	top := e.top()
	st := top.st
	if st.esc == nil || st.esc.untyped < 0 {
		e.fail(contentErr("value %.40q of attribute %s", ev.Value.String(), ev.Name.Value().Local))
		return
	}
	branch := st.esc.untyped
	sub := st.esc.nodes[branch].sub
	at := pos{branch, int16(len(sub) - 1)}
	if p != nil {
		for j := range sub {
			if sub[j].match == Exact && sub[j].name == p.name {
				at.j = int16(j)
				break
			}
		}
	}
	q := e.code2(st, at, AT)
	var id int32
	if q.match == Exact {
		id = q.name
	} else {
		id = e.qname(ev.Name, false)
	}
	e.namePrefix(id, ev.Prefix)
	e.value(nil, id, &ev.Value)
	top.st = st.follow(q)
}

// restrain keeps within the EXI Profile's bounds on learning: an element that
// would learn more is given the type xsd:anyType, whose grammar learns nothing.
func (e *encoder) restrain() {
	pr := e.o.Profile
	if pr == nil || e.b.anyType < 0 || e.top().st.learns != learningElement {
		return
	}
	over := pr.MaximumNumberOfBuiltInProductions != Unbounded && e.learned >= pr.MaximumNumberOfBuiltInProductions ||
		pr.MaximumNumberOfBuiltInElementGrammars != Unbounded && e.grown >= pr.MaximumNumberOfBuiltInElementGrammars &&
			!e.top().st.counted && !e.top().st.content.counted
	if !over {
		return
	}
	e.xsiTypeAttr(&Event{Kind: AT, Name: NameXsiType, Value: NameValue(NSXSD, "anyType")})
}

// undo takes back one change of the tables; see Encoder.Append.
type undo struct {
	op       undoOp
	replaced bool
	uri      int32
	st       *state
	old      valueEntry
}

type undoOp uint8

const (
	undoURI undoOp = iota
	undoName
	undoPrefix
	undoValue
	undoLearn
	undoGrammar
)

// rollback takes back everything since begin.
func (e *encoder) rollback() {
	for len(e.saved) > 0 { // changes inside self-contained elements are lost anyway
		last := e.saved[0]
		e.names, e.vals, e.grams, e.frag = last.names, last.vals, last.grams, last.frag
		e.journal = last.log
		e.saved = e.saved[:0]
	}
	for i := len(e.undo) - 1; i >= 0; i-- {
		u := &e.undo[i]
		switch u.op {
		case undoURI:
			e.names.dropURI()
		case undoName:
			e.names.dropName()
		case undoPrefix:
			e.names.dropPrefix(u.uri)
		case undoValue:
			e.vals.undoAdd(u.old, u.replaced)
		case undoLearn:
			u.st.unlearn()
		case undoGrammar:
			e.grams.dropLast()
		}
		*u = undo{}
	}
	e.undo = e.undo[:0]
}
