// Package picture writes PNG files. image/png would bring half a megabyte of
// binary with it, most of it for reading them.
package picture

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"hash/crc32"
)

// Indexed is a picture of at most 256 colours: one octet a pixel, the rows from
// the top down.
type Indexed struct {
	Width, Height int
	Pix           []byte
	Palette       [][3]byte // red, green, blue
}

// PNG returns the picture as a file.
func (p *Indexed) PNG() ([]byte, error) {
	if len(p.Pix) != p.Width*p.Height {
		return nil, fmt.Errorf("picture: %d pixels are not %d × %d", len(p.Pix), p.Width, p.Height)
	}
	palette := make([]byte, 0, 3*len(p.Palette))
	for _, c := range p.Palette {
		palette = append(palette, c[:]...)
	}
	return encode(p.Width, p.Height, p.Width, 8, palette, p.Pix)
}

// Grey returns a black and white picture as a file: one bit a pixel, 1 for
// white, each row filled up to whole octets.
func Grey(width, height int, rows []byte) ([]byte, error) {
	return encode(width, height, (width+7)/8, 1, nil, rows)
}

// encode makes a file of rows of stride octets (ISO/IEC 15948).
func encode(width, height, stride, depth int, palette, rows []byte) ([]byte, error) {
	if width < 1 || height < 1 || len(rows) != stride*height {
		return nil, fmt.Errorf("picture: %d octets are not %d rows of %d", len(rows), height, stride)
	}
	raw := make([]byte, 0, len(rows)+height)
	for y := range height {
		raw = append(raw, 0) // the row's filter: none
		raw = append(raw, rows[y*stride:(y+1)*stride]...)
	}
	data, err := Zlib(raw)
	if err != nil {
		return nil, err
	}
	kind := byte(0) // grey
	if palette != nil {
		kind = 3
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(width))
	head = binary.BigEndian.AppendUint32(head, uint32(height))
	head = append(head, byte(depth), kind, 0, 0, 0) // not interlaced
	out := chunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", head)
	if palette != nil {
		out = chunk(out, "PLTE", palette)
	}
	out = chunk(out, "IDAT", data)
	return chunk(out, "IEND", nil), nil
}

// chunk appends one chunk of a PNG (ISO/IEC 15948 §5.3).
func chunk(out []byte, name string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(append(out, name...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// Zlib compresses in the form of RFC 1950, which PNG and PDF use.
func Zlib(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Write([]byte{0x78, 0x9c}) // 32 KiB window, default effort
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint32(b.Bytes(), adler32.Checksum(raw)), nil
}
