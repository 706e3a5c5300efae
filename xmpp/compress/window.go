package compress

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"postern/exi"
)

// window keeps one raw DEFLATE stream per direction over byte-aligned bodies.
//
// Each body is flushed to an octet boundary and loses the length of the empty
// stored block that the flush ends with, 00 00 FF FF; the three bits of the
// block's header remain. Nothing says where a body ends but the body: when its
// grammar has come to the end, a stored block is the flush; when it wants more,
// the block has its length and content.
//
//	bits    … symbols, end of block │ 000 │ padding │ next body …
type window struct {
	raw  []byte       // a body before DEFLATE
	buf  bytes.Buffer // what the deflater writes
	comp *flate.Writer

	in  inflater
	pos int           // how far the body has been read
	mem *bufio.Reader // of a window's Read
	err error         // of the inflater
}

// tail is what a flush ends with.
const tail = "\x00\x00\xff\xff"

func newWindow(lim exi.Limits) (*window, error) {
	w := &window{in: inflater{limit: int(lim.Octets)}}
	if w.in.limit <= 0 || w.in.limit > 16<<20 {
		w.in.limit = 16 << 20
	}
	w.mem = bufio.NewReaderSize(w, 512)
	var err error
	w.comp, err = flate.NewWriter(&w.buf, flate.BestCompression)
	return w, err
}

func (w *window) resetWrite() {
	w.buf.Reset()
	w.comp.Reset(&w.buf)
}

func (w *window) resetRead() { w.in.reset() }

// append encodes d and appends the packed body. A body that cannot be encoded
// leaves the window as it was.
func (w *window) append(dst []byte, enc *exi.Encoder, d *exi.Doc) ([]byte, error) {
	var err error
	if w.raw, err = enc.Append(w.raw[:0], d); err != nil {
		return dst, err
	}
	w.buf.Reset()
	if _, err = w.comp.Write(w.raw); err == nil {
		err = w.comp.Flush()
	}
	if err != nil {
		return dst, fmt.Errorf("compress: deflate: %w", err)
	}
	return append(dst, bytes.TrimSuffix(w.buf.Bytes(), []byte(tail))...), nil
}

// decode reads and unpacks one body and decodes it into d.
func (w *window) decode(r *bufio.Reader, dec *exi.Decoder, d *exi.Doc) error {
	w.in.begin(r)
	w.pos, w.err = w.in.start, w.in.upToStored()
	w.mem.Reset(w)
	err := w.err
	if err == nil {
		err = dec.Decode(w.mem, d)
	}
	if w.err != nil { // more telling than that the decoder had no octets
		err = w.err
	}
	if rest := w.mem.Buffered() + len(w.in.out) - w.pos; err == nil && rest > 0 {
		err = fmt.Errorf("%w: %d octets behind a body", errWindow, rest)
	}
	if errors.Is(err, errWindow) {
		err = &exi.Error{Op: "decode", Err: fmt.Errorf("%w: %w", exi.ErrFormat, err)}
	}
	return err
}

// Read gives the decoder what was unpacked. That it wants more says that the
// stored block that was met belongs to the body.
func (w *window) Read(p []byte) (int, error) {
	if w.pos == len(w.in.out) && w.err == nil {
		if w.err = w.in.stored(); w.err == nil {
			w.err = w.in.upToStored()
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	n := copy(p, w.in.out[w.pos:])
	w.pos += n
	return n, nil
}

// isConnection tells faults of the connection from those of what came over it.
func isConnection(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne)
}
