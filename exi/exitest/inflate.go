package exitest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"

	"postern/exi"
)

// inflateAll returns the octets of all compressed streams behind the header,
// one after the other.
func inflateAll(stream []byte, o *exi.Options) ([]byte, error) {
	n, err := exi.HeaderLen(stream, *o)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(bytes.NewReader(stream[n:]))
	out := append([]byte(nil), stream[:n]...)
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return out, nil
		}
		p, err := io.ReadAll(flate.NewReader(r))
		if err != nil {
			return nil, fmt.Errorf("inflating: %w", err)
		}
		out = append(append(out, p...), '|')
	}
}
