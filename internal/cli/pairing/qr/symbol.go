package qr

import (
	"errors"
	"unicode/utf8"

	"rsc.io/qr/coding"
)

// Quiet is the width of the empty margin that readers need, in modules
// (ISO/IEC 18004 §6.3.8). All drawings have it.
const Quiet = 4

// Symbol is a QR code: a square of black and white modules, without margin.
type Symbol struct{ code *coding.Code }

// ErrTooLong says that no QR code holds a text.
var ErrTooLong = errors.New("the text is too long for a QR code, which holds some 2,300 characters; leave tags out")

// Encode makes the smallest QR code for a text in UTF-8, with about 15 % of it
// to spare for dirt and scratches (level M). Of the eight masks it takes the
// one that readers see best.
func Encode(text string) (Symbol, error) {
	if !utf8.ValidString(text) {
		return Symbol{}, errors.New("the text is not UTF-8")
	}
	enc := []coding.Encoding{coding.String(text)}
	if !plain(text) {
		enc = append([]coding.Encoding{utf8Mark{}}, enc...)
	}
	v := coding.Version(coding.MinVersion)
	for bits(enc, v) > v.DataBytes(coding.M)*8 {
		if v++; v > coding.MaxVersion {
			return Symbol{}, ErrTooLong
		}
	}
	var best Symbol
	least := 0
	for mask := range coding.Mask(8) {
		plan, err := coding.NewPlan(v, coding.M, mask)
		if err != nil {
			return Symbol{}, err
		}
		code, err := plan.Encode(enc...)
		if err != nil {
			return Symbol{}, err
		}
		s := Symbol{code}
		if p := s.penalty(); mask == 0 || p < least {
			best, least = s, p
		}
	}
	return best, nil
}

// plain reports whether a text is the same in every character set that readers
// take one for: a backslash is a yen sign in Japan's.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf || text[i] == '\\' || text[i] == '~' {
			return false
		}
	}
	return true
}

func bits(enc []coding.Encoding, v coding.Version) (n int) {
	for _, e := range enc {
		n += e.Bits(v)
	}
	return n
}

// utf8Mark says that what follows is UTF-8 (ECI 26, ISO/IEC 18004 §7.4.2);
// without it readers guess.
type utf8Mark struct{}

func (utf8Mark) String() string                          { return "UTF-8" }
func (utf8Mark) Check() error                            { return nil }
func (utf8Mark) Bits(coding.Version) int                 { return 12 }
func (utf8Mark) Encode(b *coding.Bits, _ coding.Version) { b.Write(7, 4); b.Write(26, 8) }

// Size is the number of modules of a side: 21 to 177.
func (s Symbol) Size() int { return s.code.Size }

// Black tells the colour of a module; what lies outside is white.
func (s Symbol) Black(x, y int) bool { return s.code.Black(x, y) }

// penalty says how much there is in a symbol that readers may stumble over
// (ISO/IEC 18004 §7.8.3).
func (s Symbol) penalty() (points int) {
	size, dark := s.Size(), 0
	for i := range size {
		points += linePenalty(size, func(k int) bool { return s.Black(k, i) })
		points += linePenalty(size, func(k int) bool { return s.Black(i, k) })
		for k := range size {
			c := s.Black(k, i)
			if c {
				dark++
			}
			if k > 0 && i > 0 && s.Black(k-1, i) == c && s.Black(k, i-1) == c && s.Black(k-1, i-1) == c {
				points += 3 // a block of 2 × 2
			}
		}
	}
	// 10 for each 5 % that the share of black differs from one half.
	off := 100*dark/(size*size) - 50
	return points + max(off, -off)/5*10
}

// finder looks, with white on either side of it, like a corner of the symbol.
const finder = 0b1011101

// linePenalty is for one row or column: long runs of one colour, and what
// looks like a finder pattern.
func linePenalty(size int, black func(int) bool) (points int) {
	run, window := 0, 0
	for k := range size {
		c := black(k)
		if k > 0 && c == black(k-1) {
			run++
		} else {
			run = 1
		}
		switch {
		case run == 5:
			points += 3
		case run > 5:
			points++
		}
		window = window << 1 & 0x7ff
		if c {
			window |= 1
		}
		if k >= 10 && (window == finder<<4 || window == finder) {
			points += 40
		}
	}
	return points
}
