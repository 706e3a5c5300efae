package exi

import (
	"bufio"
	"bytes"
	"io"
)

// Decoder turns EXI bodies into Docs. Its string tables and learned grammars
// start afresh with every body unless Keep says otherwise. Not safe for
// concurrent use.
type Decoder struct {
	outer Options // as given: what headers are applied to
	opts  Options
	d     decoder
	keep  bool
	mem   *bufio.Reader
}

// NewDecoder returns a decoder for the given options, which are the
// out-of-band ones: the options document of a header overrides them.
func NewDecoder(o Options) (*Decoder, error) {
	x := &Decoder{outer: o}
	return x, x.use(o)
}

func (x *Decoder) use(o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	x.opts = o
	b, err := bind(&x.opts)
	if err != nil {
		return err
	}
	x.d.setup(&x.opts, b)
	x.d.resetTables()
	return nil
}

// Keep says whether string tables and learned grammars live on from body to
// body; see Encoder.Keep.
func (x *Decoder) Keep(on bool) {
	x.keep = on
	x.Reset()
}

// Reset empties the string tables and forgets learned grammars.
func (x *Decoder) Reset() { x.d.resetTables() }

// Options returns the options in force; after DecodeDocument those of its
// header.
func (x *Decoder) Options() Options { return x.opts }

// Octets returns how many octets the last body took, as it was sent: those of
// its DEFLATE streams where it was compressed.
func (x *Decoder) Octets() int64 {
	if c := x.d.chans; c != nil && c.compress {
		return c.z.src.n
	}
	return x.d.octets()
}

// octets is what the bit reader has used of its source.
func (d *decoder) octets() int64 { return (d.r.Pos() + 7) / 8 }

// Decode reads exactly one body, without a header, from r into d, which it
// resets first, and stops behind its end. Errors are of type *Error; after one
// the stream is lost.
func (x *Decoder) Decode(r *bufio.Reader, d *Doc) error {
	x.d.source(r)
	return x.decode(r, d)
}

// DecodeDocument reads a whole EXI stream, header and body.
func (x *Decoder) DecodeDocument(r *bufio.Reader, d *Doc) error {
	if err := x.header(r); err != nil {
		d.Reset()
		return x.d.located(err)
	}
	return x.decode(r, d)
}

// DecodeBytes is Decode from a slice; it returns what is behind the body.
func (x *Decoder) DecodeBytes(p []byte, d *Doc) (rest []byte, err error) {
	if x.d.chans != nil {
		src := bytes.NewReader(p)
		if x.mem == nil {
			x.mem = bufio.NewReader(nil)
		}
		x.mem.Reset(src)
		err = x.Decode(x.mem, d)
		return p[len(p)-src.Len()-x.mem.Buffered():], err
	}
	x.d.r.Reset(p)
	if err := x.decode(nil, d); err != nil {
		return nil, err
	}
	return x.d.r.Rest(), nil
}

// header reads a header and takes the options it brings.
func (x *Decoder) header(r *bufio.Reader) error {
	x.d.source(r)
	o, changed, err := readHeader(&x.d.r, &x.outer)
	if err != nil {
		return err
	}
	if changed || x.d.o == nil {
		if err := x.use(o); err != nil {
			return err
		}
	}
	x.d.resetTables()
	return nil
}

func (x *Decoder) decode(r *bufio.Reader, doc *Doc) error {
	d := &x.d
	if !x.keep {
		d.resetTables()
	}
	doc.Reset()
	d.doc, d.stable = doc, !x.keep
	d.begin()
	err := d.into(doc, r)
	d.doc = nil
	if err == nil {
		d.r.Finish()
		err = d.r.Err()
	}
	if err != nil {
		err = d.located(err)
		doc.Reset()
	}
	return err
}

// into reads the events of a body into doc.
func (d *decoder) into(doc *Doc, r *bufio.Reader) error {
	if d.chans != nil {
		if d.chans.compress {
			d.r.Finish() // the header ends at an octet boundary
		}
		d.chans.begin(d, r)
		for {
			ev, err := d.chans.next(d)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			doc.ev = append(doc.ev, *ev)
			doc.note(len(doc.ev) - 1)
		}
	}
	for !d.done {
		n := len(doc.ev)
		if n < cap(doc.ev) {
			doc.ev = doc.ev[:n+1]
		} else {
			doc.ev = append(doc.ev, Event{})
		}
		ev := &doc.ev[n]
		if err := d.step(ev); err != nil {
			return err
		}
		doc.note(n)
	}
	return nil
}

// note keeps the Doc's bookkeeping for the event at n, which a decoder put
// there: grammars have checked its order already.
func (d *Doc) note(n int) {
	ev := &d.ev[n]
	switch ev.Kind {
	case SE:
		d.open = append(d.open, int32(n))
	case EE:
		start := d.open[len(d.open)-1]
		d.open = d.open[:len(d.open)-1]
		d.ev[start].Value.num = int64(n)
		ev.Name = d.ev[start].Name
	case NS:
		if ev.LocalNS {
			d.ev[d.open[len(d.open)-1]].Prefix = ev.Prefix
		}
	case ED:
		d.ev[n] = Event{}
		d.ev = d.ev[:n]
	}
}

// Tables is Encoder.Tables for what was read. Options.Limits bound it.
func (x *Decoder) Tables() (entries, octets int) {
	t := &x.d
	return t.names.size() + len(t.vals.ents), t.names.octets + t.vals.octets
}
