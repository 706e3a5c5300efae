package exi

import (
	"bufio"
)

// Encoder turns Docs into EXI bodies. Its string tables and learned grammars
// live as long as the encoder is told to keep them. Not safe for concurrent
// use.
type Encoder struct {
	opts Options
}

// Decoder turns EXI bodies into Docs. Not safe for concurrent use.
type Decoder struct {
	opts Options
}

// NewEncoder returns an encoder for the given options.
func NewEncoder(o Options) (*Encoder, error) { return nil, errUnfinished }

// NewDecoder returns a decoder for the given options, which are the
// out-of-band ones: a header's options document overrides them.
func NewDecoder(o Options) (*Decoder, error) { return nil, errUnfinished }

// Append encodes d as one EXI stream body and appends it to dst. On error dst
// is returned unchanged and the string tables are as before.
func (e *Encoder) Append(dst []byte, d *Doc) ([]byte, error) { return dst, errUnfinished }

// Decode reads exactly one body from r into d, which it resets first, and
// stops behind its end.
func (x *Decoder) Decode(r *bufio.Reader, d *Doc) error { return errUnfinished }
