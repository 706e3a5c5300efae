package exi

import (
	"fmt"
	"io"
)

// DocumentWriter writes one EXI stream, header first, as events come; it is a
// Writer. Memory does not grow with the document as long as the value tables
// are bounded (Options.ValuePartitionCapacity) and the layout is bit-packed or
// byte-aligned; otherwise a block is held. The stream is complete when ED was
// written. Not safe for concurrent use.
type DocumentWriter struct {
	x     Encoder
	out   io.Writer
	tag   []Event // start tag whose attributes are still coming
	text  []byte  // text that may go on
	value Value   // text in one piece
	n     int     // pieces of text
	mem   []byte  // strings of tag and value
	start bool    // the last tag was a start tag
	begun bool
	err   error
}

// flushAt is how much a DocumentWriter gathers before it writes.
const flushAt = 32 << 10

// NewDocumentWriter returns a DocumentWriter to w. It does not buffer beyond
// 32 KiB and a start tag, but it writes in small pieces only at the end.
func NewDocumentWriter(w io.Writer, o Options) (*DocumentWriter, error) {
	d := &DocumentWriter{out: w}
	if err := d.x.init(o); err != nil {
		return nil, err
	}
	return d, nil
}

// Event takes the next event. SD may be left out.
func (d *DocumentWriter) Event(ev Event) error {
	if d.err != nil {
		return d.err
	}
	if !d.begun {
		d.begin()
	}
	d.event(&ev)
	if d.err == nil && d.x.e.err != nil {
		d.err = d.x.e.located()
	}
	if d.err == nil {
		d.flush(ev.Kind == ED)
	}
	return d.err
}

func (d *DocumentWriter) begin() {
	d.begun = true
	e := &d.x.e
	e.begin()
	e.w.Reset(nil)
	if err := writeHeader(&e.w, &d.x.opts); err != nil {
		e.fail(err)
	}
	if e.chans != nil {
		e.chans.begin(e)
	}
}

func (d *DocumentWriter) event(ev *Event) {
	e := &d.x.e
	switch ev.Kind {
	case SD:
		return
	case AT, NS, SC:
		if len(d.tag) == 0 {
			e.fail(ErrAttribute)
			return
		}
		d.tag = append(d.tag, d.own(*ev))
		return
	case CM, PI, ER:
		if !e.keeps(ev.Kind) {
			return
		}
	}
	if len(d.tag) > 0 {
		e.startElement(d.tag[0].Name, d.tag[0].Prefix, d.tag[1:])
		clear(d.tag)
		d.tag, d.mem = d.tag[:0], d.mem[:0]
	}
	if ev.Kind == CH {
		d.addText(ev.Value)
		return
	}
	d.endText(ev.Kind)
	switch ev.Kind {
	case SE:
		d.tag = append(d.tag, d.own(*ev))
		d.start = true
	case EE:
		e.endElement()
		d.start = false
	case CM, PI, DT, ER:
		e.misc(ev)
	case ED:
		e.end()
	default:
		e.fail(fmt.Errorf("%w: %v", ErrSequence, ev.Kind))
	}
}

// own copies the strings of an event that is kept until a later call.
func (d *DocumentWriter) own(ev Event) Event {
	ev.Value.str = d.copy(ev.Value.str)
	ev.Prefix = d.copy(ev.Prefix)
	return ev
}

func (d *DocumentWriter) copy(s string) string {
	if s == "" {
		return ""
	}
	n := len(d.mem)
	d.mem = append(d.mem, s...) // strings on an outgrown array stay valid
	return view(d.mem[n:])
}

func (d *DocumentWriter) addText(v Value) {
	switch d.n {
	case 0:
		d.text = d.text[:0]
		v.str = d.copy(v.str)
		d.value = v
	case 1:
		d.text = d.value.AppendText(d.text)
		fallthrough
	default:
		d.text = v.AppendText(d.text)
		if len(d.text) > d.x.opts.Limits.StringLen*4 {
			d.x.e.fail(limitErr("characters of text", d.x.opts.Limits.StringLen))
		}
	}
	d.n++
}

func (d *DocumentWriter) endText(next Kind) {
	if d.n == 0 {
		return
	}
	v := d.value
	if d.n > 1 {
		v = Str(view(d.text))
	}
	d.x.e.characters(&v, !d.start || next == SE)
	d.n, d.value, d.mem = 0, Value{}, d.mem[:0]
}

// flush writes out what is ready.
func (d *DocumentWriter) flush(all bool) {
	e := &d.x.e
	var p []byte
	switch {
	case e.chans != nil:
		if all {
			e.chans.flush(e)
			d.err = e.err
		}
		if p = e.chans.dst; !all && len(p) < flushAt {
			return
		}
		e.chans.dst = p[:0]
	case all:
		p = e.w.Bytes()
	case e.w.Len() < flushAt:
		return
	default:
		p = e.w.Take()
	}
	if d.err == nil {
		if _, err := d.out.Write(p); err != nil {
			d.err = fmt.Errorf("exi: writing: %w", err)
		}
	}
}
