package compress

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"postern/exi"
)

// window keeps one raw DEFLATE stream per direction over byte-aligned bodies:
//
//	┌──────────────┬──────────────────────────────────────────────┐
//	│ length (LEB) │ DEFLATE blocks, flushed, without 00 00 FF FF │
//	└──────────────┴──────────────────────────────────────────────┘
//
// Each body is flushed to an octet boundary and loses the empty stored block
// that the flush ends with (as RFC 7692 §7.2.1 does); the length in front, seven
// bits an octet, least significant first, says where it ends.
type window struct {
	limit int // octets of one body, before and after

	raw  []byte       // a body before DEFLATE
	buf  bytes.Buffer // what the deflater writes
	comp *flate.Writer

	packed  []byte
	plain   []byte
	dict    []byte // the last octets that were inflated
	inflate io.ReadCloser
}

const (
	windowSize = 32 << 10
	// tail is what a flush ends with; last ends the stream, so that the
	// inflater reports a clean end of each body.
	tail = "\x00\x00\xff\xff"
	last = "\x01\x00\x00\xff\xff"
)

var errWindow = errors.New("compress: the kept window is broken")

func newWindow(lim exi.Limits) (*window, error) {
	w := &window{limit: int(lim.Octets)}
	if w.limit <= 0 || w.limit > 16<<20 {
		w.limit = 16 << 20
	}
	var err error
	if w.comp, err = flate.NewWriter(&w.buf, flate.BestCompression); err != nil {
		return nil, err
	}
	w.inflate = flate.NewReader(bytes.NewReader(nil))
	return w, nil
}

func (w *window) resetWrite() {
	w.buf.Reset()
	w.comp.Reset(&w.buf)
}

func (w *window) resetRead() { w.dict = w.dict[:0] }

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
	body := bytes.TrimSuffix(w.buf.Bytes(), []byte(tail))
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...), nil
}

// decode reads and unpacks one body and decodes it into d.
func (w *window) decode(r *bufio.Reader, dec *exi.Decoder, d *exi.Doc) error {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return err
	}
	if n > uint64(w.limit) {
		return &exi.Error{Op: "decode", Err: fmt.Errorf("%w: a body of %d octets, limit %d", exi.ErrLimit, n, w.limit)}
	}
	w.packed = append(w.packed[:0], make([]byte, n)...)
	if _, err := io.ReadFull(r, w.packed); err != nil {
		return err
	}
	if err := w.unpack(); err != nil {
		return &exi.Error{Op: "decode", Err: fmt.Errorf("%w: %w", exi.ErrFormat, err)}
	}
	rest, err := dec.DecodeBytes(w.plain, d)
	if err == nil && len(rest) > 0 {
		err = &exi.Error{Op: "decode", Err: fmt.Errorf("%w: %d octets behind a body", exi.ErrFormat, len(rest))}
	}
	return err
}

func (w *window) unpack() error {
	w.packed = append(append(w.packed, tail...), last...)
	if err := w.inflate.(flate.Resetter).Reset(bytes.NewReader(w.packed), w.dict); err != nil {
		return err
	}
	w.plain = w.plain[:0]
	for {
		if len(w.plain) == cap(w.plain) {
			w.plain = append(w.plain, 0)[:len(w.plain)]
		}
		n, err := w.inflate.Read(w.plain[len(w.plain):cap(w.plain)])
		w.plain = w.plain[:len(w.plain)+n]
		if len(w.plain) > w.limit {
			return fmt.Errorf("%w: inflates to more than %d octets", errWindow, w.limit)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	w.remember(w.plain)
	return nil
}

// remember keeps the last octets of what was inflated.
func (w *window) remember(p []byte) {
	if len(p) >= windowSize {
		w.dict = append(w.dict[:0], p[len(p)-windowSize:]...)
		return
	}
	if drop := len(w.dict) + len(p) - windowSize; drop > 0 {
		w.dict = append(w.dict[:0], w.dict[drop:]...)
	}
	w.dict = append(w.dict, p...)
}

// isConnection tells faults of the connection from those of what came over it.
func isConnection(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne)
}
