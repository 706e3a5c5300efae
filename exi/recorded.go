package exi

import (
	"errors"
	"unsafe"
)

// Doc is a recorded element or document: its events in order, without SD and
// ED. The zero Doc is empty and ready to use. Reusing one with Reset makes
// building and reading free of allocations.
//
// Text that codecs put into a Doc lives in an arena of the Doc. Names and
// whatever Value.String returned may be kept; a Value itself, a Cursor and
// View's text are valid until Reset. A Doc is not safe for concurrent
// modification; any number of goroutines may read it.
type Doc struct {
	ev    []Event
	arena []byte
	open  []int32 // positions of the SE events not closed yet
}

// Errors of Add.
var (
	ErrUnbalanced = errors.New("exi: end of an element that was not started")
	ErrAttribute  = errors.New("exi: attribute or namespace declaration outside a start tag")
)

// Reset empties the Doc and keeps its memory. All Values, Cursors and views
// taken from it become invalid.
func (d *Doc) Reset() {
	clear(d.ev)
	d.ev = d.ev[:0]
	d.arena = d.arena[:0]
	d.open = d.open[:0]
}

// What builds events is called from hundreds of places; a copy of it in each
// would be a third of a megabyte of binary, and be no faster.

// Start opens an element.
//
//go:noinline
func (d *Doc) Start(name Name) { d.must(Event{Kind: SE, Name: name}) }

// Attr adds an attribute to the element just opened. It panics when content
// was already added to it: that is a mistake in the calling code.
//
//go:noinline
func (d *Doc) Attr(name Name, v Value) { d.must(Event{Kind: AT, Name: name, Value: v}) }

// Text adds character content.
//
//go:noinline
func (d *Doc) Text(v Value) { d.must(Event{Kind: CH, Value: v}) }

// End closes the innermost open element. It panics when there is none.
//
//go:noinline
func (d *Doc) End() { d.must(Event{Kind: EE}) }

// Element adds an element with nothing but text in it; the empty value gives
// an empty element.
func (d *Doc) Element(name Name, v Value) {
	d.Start(name)
	if !v.IsZero() {
		d.Text(v)
	}
	d.End()
}

func (d *Doc) must(e Event) {
	if err := d.Add(e); err != nil {
		panic(err)
	}
}

// Add records any event except SD and ED, which it ignores. Codecs use it:
// unlike Start and its like it returns an error for misplaced events.
func (d *Doc) Add(e Event) error {
	switch e.Kind {
	case SD, ED:
		return nil
	case SE:
		d.open = append(d.open, int32(len(d.ev)))
	case EE:
		if len(d.open) == 0 {
			return ErrUnbalanced
		}
		i := d.open[len(d.open)-1]
		d.open = d.open[:len(d.open)-1]
		d.ev[i].Value.num = int64(len(d.ev)) // lets cursors step over the element
		e.Name = d.ev[i].Name
	case AT, NS:
		if !d.inStartTag() {
			return ErrAttribute
		}
	}
	d.ev = append(d.ev, e)
	return nil
}

func (d *Doc) inStartTag() bool {
	if len(d.open) == 0 || len(d.ev) == 0 {
		return false
	}
	switch d.ev[len(d.ev)-1].Kind {
	case SE, AT, NS, SC:
		return true
	}
	return false
}

// Depth is the number of elements not closed yet.
func (d *Doc) Depth() int { return len(d.open) }

// Len is the number of recorded events.
func (d *Doc) Len() int { return len(d.ev) }

// Event returns the event at position i. The Value of an SE event is internal.
func (d *Doc) Event(i int) *Event { return &d.ev[i] }

// Complete reports whether the Doc holds exactly one whole element.
func (d *Doc) Complete() bool {
	return len(d.open) == 0 && len(d.ev) > 0 && d.ev[0].Kind == SE && int(d.ev[0].Value.num) == len(d.ev)-1
}

// Borrow copies text into the arena and returns a lexical Value that borrows
// it. It is what decoders use for text that is not in a string table.
func (d *Doc) Borrow(text []byte) Value {
	if len(text) == 0 {
		return Value{}
	}
	n := len(d.arena)
	// A grown arena leaves earlier Values on the old array, which stays alive.
	d.arena = append(d.arena, text...)
	return Value{str: unsafe.String(&d.arena[n], len(text)), borrowed: true}
}

// BorrowOctets is Borrow for Base64 and Hex values.
func (d *Doc) BorrowOctets(kind ValueKind, octets []byte) Value {
	v := d.Borrow(octets)
	v.kind = kind
	return v
}

// Copy makes d an independent copy of src.
func (d *Doc) Copy(src *Doc) {
	d.Reset()
	for i := range src.ev {
		d.ev = append(d.ev, src.ev[i])
		d.own(&d.ev[len(d.ev)-1])
	}
	d.open = append(d.open, src.open...)
}

// AppendElement adds a copy of the element at c, which may belong to another
// Doc.
func (d *Doc) AppendElement(c Cursor) {
	if !c.Valid() {
		return
	}
	end := c.end()
	for i := c.i; i <= end; i++ {
		e := c.d.ev[i]
		d.own(&e)
		if e.Kind == SE {
			e.Value = Value{}
		}
		d.must(e)
	}
}

// own moves borrowed text of e into d's arena.
func (d *Doc) own(e *Event) {
	if e.Value.borrowed {
		kind := e.Value.kind
		text := unsafe.Slice(unsafe.StringData(e.Value.str), len(e.Value.str))
		e.Value = d.Borrow(text)
		e.Value.kind = kind
	}
}
