package exi

import (
	"io"
)

// Step is one event of a stream as Inspect reports it.
type Step struct {
	Event Event
	Depth int // open elements, this one not counted
	// Bit is where the event code starts, counted from the start of the stream;
	// in compressed streams, from the start of the inflated structure channel.
	Bit  int64
	Bits int64 // of code and content; of compressed streams only what the structure holds
	// Code holds the parts of the event code, −1 for those it does not have. SD
	// has none.
	Code     [3]int
	CodeBits int64
}

// Inspect reads a stream and reports its events with what they cost. The
// options are the out-of-band ones; head is called with those in force and the
// length of the header in bits before the first event.
func Inspect(r io.Reader, o Options, head func(o Options, bits int64), step func(*Step) error) error {
	d, err := NewDocumentReader(r, o)
	if err != nil {
		return err
	}
	c := &d.x.d
	start := c.r.Pos()
	if head != nil {
		head(d.Options(), start)
	}
	type mark struct {
		code     [3]int
		bit, end int64
		codeEnd  int64
	}
	var marks []mark
	c.trace = func(_ Kind, parts [3]int, bit int64) {
		if n := len(marks); n > 0 {
			marks[n-1].end = bit
		}
		marks = append(marks, mark{code: parts, bit: bit, codeEnd: c.r.Pos()})
	}
	depth, at := 0, 0
	for {
		var s Step
		inner := len(marks)
		err := d.Next(&s.Event)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if s.Event.Kind == EE {
			depth--
		}
		s.Depth = depth
		s.Code = [3]int{-1, -1, -1}
		if s.Event.Kind == SD {
			s.Bit = start
		} else {
			if c.chans == nil {
				at = inner // a self-contained element brings a second code
			}
			m := &marks[at]
			if c.chans == nil {
				m.end = c.r.Pos()
			} else if m.end == 0 {
				m.end = m.codeEnd
			}
			s.Bit, s.Code, s.CodeBits, s.Bits = m.bit, m.code, m.codeEnd-m.bit, m.end-m.bit
			at++
			if c.chans == nil {
				marks = marks[:0]
			}
		}
		if s.Event.Kind == SE {
			depth++
		}
		if err := step(&s); err != nil {
			return err
		}
	}
}
