package exi

import (
	"fmt"

	"postern/exi/internal/bits"
)

// cookie is the optional start of a stream (EXI 1.0 §5.1).
const cookie = "$EXI"

// writeHeader writes the header that the options ask for (EXI 1.0 §5).
func writeHeader(w *bits.Writer, o *Options) error {
	w.SetAligned(false)
	if o.Cookie {
		w.Octets(cookie)
	}
	w.Bits(2, 2) // distinguishing bits
	options := o.OptionsInHeader || o.Canonical
	w.Bool(options)
	w.Bits(0, 5) // final version 1
	if options {
		if err := writeOptions(w, o); err != nil {
			return err
		}
	}
	if o.Alignment != BitPacked {
		w.Align()
		w.SetAligned(true)
	}
	return nil
}

// readHeader reads a header. Without an options document the out-of-band
// options o stay in force.
func readHeader(r *bits.Reader, o *Options) (Options, bool, error) {
	r.SetAligned(false)
	head := func(what string) error {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrHeader, err)
		}
		return fmt.Errorf("%w: %s", ErrHeader, what)
	}
	first := r.Bits(8)
	if first == uint64(cookie[0]) {
		for i := 1; i < len(cookie); i++ {
			if r.Bits(8) != uint64(cookie[i]) {
				return *o, false, head("the cookie is wrong")
			}
		}
		first = r.Bits(8)
	}
	switch {
	case r.Err() != nil:
		return *o, false, head("")
	case first>>6 != 2:
		return *o, false, head("no distinguishing bits")
	case first>>4&1 != 0:
		return *o, false, head("a preview version")
	case first&15 != 0:
		return *o, false, head("a later version")
	}
	got, changed := *o, false
	if first>>5&1 != 0 {
		var err error
		if got, err = readOptions(r, o); err != nil {
			return got, false, err
		}
		changed = true
	}
	if got.Alignment != BitPacked {
		r.Align()
	}
	return got, changed, r.Err()
}

// HeaderLen returns how many octets the header of a stream occupies. The body
// of a bit-packed stream may begin within the last of them.
func HeaderLen(stream []byte, o Options) (int, error) {
	if err := o.complete(); err != nil {
		return 0, err
	}
	var r bits.Reader
	r.Reset(stream)
	if _, _, err := readHeader(&r, &o); err != nil {
		return 0, err
	}
	return int((r.Pos() + 7) / 8), nil
}
