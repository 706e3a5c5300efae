package history

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/live"
)

// Values of one series share kind, unit and exponent; what changes starts
// another series of the same field. So a value comes down to one whole number:
// the mantissa, 0 or 1, or, for texts, a place in a list of the texts that the
// chunk holds.
//
// The body of a chunk is its quality, its texts where the kind has them, and a
// column of these numbers.

// isText reports whether values of kind k are kept as text.
func isText(k drivers.Kind) bool {
	switch k {
	case drivers.KindBool, drivers.KindInt, drivers.KindLong, drivers.KindNumber:
		return false
	}
	return true
}

// text returns a value of a kind that is kept as text.
func text(v drivers.Value) string {
	if t, ok := v.Time(); ok {
		return t.UTC().Format(time.RFC3339Nano)
	}
	return v.String()
}

// textMost bounds what is kept of a text; longer ones are cut.
const textMost = 1 << 10

// value is the inverse of number and text.
func (s *series) value(n int64, text string) drivers.Value {
	switch s.Kind {
	case drivers.KindBool:
		return drivers.Bool(n != 0)
	case drivers.KindInt:
		return drivers.Int(int32(n))
	case drivers.KindLong:
		return drivers.Long(n)
	case drivers.KindNumber:
		return drivers.Decimal(drivers.Number{Mant: n, Exp: s.Exp})
	case drivers.KindTime:
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return drivers.Time(t)
		}
		return drivers.String(text)
	}
	return drivers.Text(s.Kind, text)
}

// number returns what stands for a value that is not kept as text.
func number(v drivers.Value) int64 {
	if b, ok := v.Bool(); ok {
		if b {
			return 1
		}
		return 0
	}
	n, _ := v.Number()
	return n.Mant
}

// appendQuality writes runs of equal flags; all of the ordinary kind take one
// octet.
func appendQuality(dst []byte, q []live.Quality) []byte {
	type run struct {
		n int
		q live.Quality
	}
	var runs []run
	for _, f := range q {
		if n := len(runs); n > 0 && runs[n-1].q == f {
			runs[n-1].n++
		} else {
			runs = append(runs, run{1, f})
		}
	}
	if len(runs) == 1 && runs[0].q == live.AutomaticReadout {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(runs)))
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, uint64(r.n))
		dst = binary.AppendUvarint(dst, uint64(r.q))
	}
	return dst
}

func readQuality(dst []live.Quality, src []byte, n int) ([]live.Quality, []byte, error) {
	runs, src, err := uvarint(src)
	if err != nil || runs > uint64(n) {
		return dst, nil, errDamaged
	}
	if runs == 0 {
		for range n {
			dst = append(dst, live.AutomaticReadout)
		}
		return dst, src, nil
	}
	var count, q uint64
	for range runs {
		if count, src, err = uvarint(src); err != nil || count > uint64(n) {
			return dst, nil, errDamaged
		}
		if q, src, err = uvarint(src); err != nil || q >= 1<<live.NumFlags {
			return dst, nil, errDamaged
		}
		n -= int(count)
		for range count {
			dst = append(dst, live.Quality(q))
		}
	}
	if n != 0 {
		return dst, nil, errDamaged
	}
	return dst, src, nil
}

// texts gives each text of a chunk a number.
type texts struct {
	list  []string
	index map[string]int64
}

func (t *texts) number(s string) int64 {
	if len(s) > textMost {
		s = strings.ToValidUTF8(s[:textMost], "")
	}
	n, ok := t.index[s]
	if !ok {
		if t.index == nil {
			t.index = make(map[string]int64)
		}
		n = int64(len(t.list))
		t.list, t.index[s] = append(t.list, s), n
	}
	return n
}

func appendTexts(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

func readTexts(src []byte) ([]string, []byte, error) {
	n, src, err := uvarint(src)
	if err != nil || n > uint64(len(src)) {
		return nil, nil, errDamaged
	}
	list := make([]string, 0, n)
	var size uint64
	for range n {
		if size, src, err = uvarint(src); err != nil || size > uint64(len(src)) {
			return nil, nil, errDamaged
		}
		list, src = append(list, string(src[:size])), src[size:]
	}
	return list, src, nil
}

// decoded is the content of a chunk. Its memory is used again.
type decoded struct {
	times   []int64
	nums    []int64
	quality []live.Quality
	texts   []string
}

// appendBody writes the body of a chunk of samples.
func (s *series) appendBody(dst []byte, nums []int64, quality []live.Quality, list []string) []byte {
	dst = appendQuality(dst, quality)
	if isText(s.Kind) {
		dst = appendTexts(dst, list)
	}
	return appendColumn(dst, nums)
}

// readBody is the inverse of appendBody.
func (s *series) readBody(d *decoded, b *block, p *part) (err error) {
	d.times, d.nums, d.quality, d.texts = d.times[:0], d.nums[:0], d.quality[:0], nil
	if d.times, err = b.times(d.times, p); err != nil {
		return err
	}
	n := len(d.times)
	rest := p.body
	if d.quality, rest, err = readQuality(d.quality, rest, n); err != nil {
		return err
	}
	if isText(s.Kind) {
		if d.texts, rest, err = readTexts(rest); err != nil {
			return err
		}
	}
	if d.nums, err = readColumn(d.nums, rest, n); err != nil {
		return err
	}
	if isText(s.Kind) {
		for _, i := range d.nums {
			if i < 0 || i >= int64(len(d.texts)) {
				return fmt.Errorf("%w: a text that is not there", errDamaged)
			}
		}
	}
	return nil
}

// at returns value i of the chunk.
func (s *series) at(d *decoded, i int) drivers.Value {
	if d.texts != nil {
		return s.value(0, d.texts[d.nums[i]])
	}
	return s.value(d.nums[i], "")
}
