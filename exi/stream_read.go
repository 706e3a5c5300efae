package exi

import (
	"bufio"
	"io"
)

// DocumentReader reads one EXI stream, header first, event by event; it is a
// Reader. Memory does not grow with the document as long as its value tables
// are bounded; compressed streams are read a block at a time. Not safe for
// concurrent use.
//
// The prefix of an element whose namespace is declared in its own start tag is
// only known from the NS event with LocalNS that follows (EXI 1.0 §7.1.7).
type DocumentReader struct {
	x     Decoder
	src   *bufio.Reader
	begun bool
	err   error
}

// NewDocumentReader reads the header of the stream in r. The options given are
// those agreed on out of band; an options document in the header overrides
// them. A *bufio.Reader is read exactly to the end of the stream.
func NewDocumentReader(r io.Reader, o Options) (*DocumentReader, error) {
	src, ok := r.(*bufio.Reader)
	if !ok {
		src = bufio.NewReaderSize(r, 64<<10)
	}
	d := &DocumentReader{src: src}
	d.x.outer = o
	if err := d.x.use(o); err != nil {
		return nil, err
	}
	if err := d.x.header(src); err != nil {
		return nil, d.x.d.located(err)
	}
	c := &d.x.d
	c.begin()
	if c.chans != nil {
		if c.chans.compress {
			c.r.Finish()
		}
		c.chans.begin(c, src)
	}
	return d, nil
}

// Options returns the options in force.
func (d *DocumentReader) Options() Options { return d.x.opts }

// Next reads the next event; see Reader.
func (d *DocumentReader) Next(ev *Event) error {
	if d.err != nil {
		return d.err
	}
	*ev = Event{}
	if !d.begun {
		d.begun = true
		ev.Kind = SD
		return nil
	}
	c := &d.x.d
	if c.chans != nil {
		got, err := c.chans.next(c)
		if err == nil {
			*ev = *got
		}
		d.err = err
	} else if c.done {
		d.err = io.EOF
	} else {
		d.err = c.step(ev)
	}
	if d.err != nil {
		d.err = c.located(d.err)
		return d.err
	}
	if ev.Kind == ED {
		c.r.Finish()
	}
	return nil
}
