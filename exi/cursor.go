package exi

import "iter"

// Cursor points at an element of a Doc. The zero Cursor points nowhere: its
// methods return zero values, so that look-ups can be chained and checked
// once. A Cursor is valid until its Doc is reset.
type Cursor struct {
	d *Doc
	i int
}

// Root returns the first element of the Doc, or the zero Cursor while there is
// none that is closed.
func (d *Doc) Root() Cursor {
	for i := range d.ev {
		if d.ev[i].Kind == SE && d.ev[i].Value.num > 0 {
			return Cursor{d, i}
		}
	}
	return Cursor{}
}

// Valid reports whether c points at an element.
func (c Cursor) Valid() bool { return c.d != nil }

func (c Cursor) end() int { return int(c.d.ev[c.i].Value.num) }

// Name returns the element's name.
func (c Cursor) Name() Name {
	if c.d == nil {
		return Name{}
	}
	return c.d.ev[c.i].Name
}

// Attr returns the value of an attribute; ok is false when it is absent.
//
//go:noinline
func (c Cursor) Attr(name Name) (v Value, ok bool) {
	if c.d == nil {
		return Value{}, false
	}
	for i := c.i + 1; i < len(c.d.ev); i++ {
		switch e := &c.d.ev[i]; e.Kind {
		case AT:
			if e.Name == name {
				return e.Value, true
			}
		case NS, SC:
		default:
			return Value{}, false
		}
	}
	return Value{}, false
}

// Attrs iterates over the attributes in document order.
func (c Cursor) Attrs() iter.Seq2[Name, Value] {
	return func(yield func(Name, Value) bool) {
		if c.d == nil {
			return
		}
		for i := c.i + 1; i < len(c.d.ev); i++ {
			switch e := &c.d.ev[i]; e.Kind {
			case AT:
				if !yield(e.Name, e.Value) {
					return
				}
			case NS, SC:
			default:
				return
			}
		}
	}
}

// First returns the first child element.
//
//go:noinline
func (c Cursor) First() Cursor {
	if c.d == nil {
		return Cursor{}
	}
	return c.d.seek(c.i + 1)
}

// Next returns the following sibling element.
//
//go:noinline
func (c Cursor) Next() Cursor {
	if c.d == nil {
		return Cursor{}
	}
	return c.d.seek(c.end() + 1)
}

// seek returns the element that starts at or after position i before the
// enclosing element ends.
func (d *Doc) seek(i int) Cursor {
	for ; i < len(d.ev); i++ {
		switch d.ev[i].Kind {
		case SE:
			return Cursor{d, i}
		case EE:
			return Cursor{}
		}
	}
	return Cursor{}
}

// Children iterates over the child elements.
func (c Cursor) Children() iter.Seq[Cursor] {
	return func(yield func(Cursor) bool) {
		for k := c.First(); k.Valid(); k = k.Next() {
			if !yield(k) {
				return
			}
		}
	}
}

// Child returns the first child element with the given name, or the zero
// Cursor.
func (c Cursor) Child(name Name) Cursor {
	for k := c.First(); k.Valid(); k = k.Next() {
		if k.Name() == name {
			return k
		}
	}
	return Cursor{}
}

// Text returns the element's own character content. Content in one piece is
// returned as it is held; several pieces are joined into a new text.
func (c Cursor) Text() Value {
	if c.d == nil {
		return Value{}
	}
	var one Value
	n := 0
	for i := c.i + 1; i < c.end(); i++ {
		switch e := &c.d.ev[i]; e.Kind {
		case SE:
			i = int(e.Value.num)
		case CH:
			one = e.Value
			n++
		}
	}
	if n < 2 {
		return one
	}
	var buf []byte
	for i := c.i + 1; i < c.end(); i++ {
		switch e := &c.d.ev[i]; e.Kind {
		case SE:
			i = int(e.Value.num)
		case CH:
			buf = e.Value.AppendText(buf)
		}
	}
	return Str(string(buf))
}

// Events iterates over the events of the element, its own SE and EE included.
// The Value of SE events is internal and must be ignored.
func (c Cursor) Events() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		if c.d == nil {
			return
		}
		for i := c.i; i <= c.end(); i++ {
			if !yield(&c.d.ev[i]) {
				return
			}
		}
	}
}
