package exi

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"math/big"
	"strings"

	"postern/exi/internal/bits"
)

// parsed is a value brought into the form that its representation writes
// (EXI 1.0 §7.1). It is reused: lists keep their items' memory.
type parsed struct {
	codec Codec
	neg   bool
	zone  bool
	n     uint64   // integer magnitude, integral part, enumeration or n-bit number
	frac  uint64   // fraction with its digits reversed
	big   *big.Int // instead of n
	bigFr *big.Int // instead of frac
	mant  int64
	exp   int32
	year  int64
	md    uint32 // month × 32 + day
	tod   uint32 // (hour × 64 + minute) × 64 + second
	tz    uint32
	text  string // strings
	raw   []byte // binary
	items []parsed
	buf   []byte // text of typed values

	keepFloats bool
	keepSpace  bool
	w          bits.Writer
}

// set brings v into the form of d. It reports whether d can represent v.
func (p *parsed) set(d *dtype, v *Value) bool {
	if d.isString() {
		p.codec = CodecString
		p.text = p.textOf(v)
		return true
	}
	p.codec = d.codec
	switch d.codec {
	case CodecEnumeration:
		return p.setEnum(d, v)
	case CodecBoolean, CodecBooleanPattern:
		return p.setBool(v)
	case CodecInteger, CodecUnsigned, CodecNBit:
		return p.setInteger(d, v)
	case CodecDecimal:
		return p.setDecimal(v)
	case CodecFloat:
		return p.setFloat(v)
	case CodecBase64, CodecHex:
		return p.setBinary(d.codec, v)
	case CodecList:
		return p.setList(d, v)
	case codecUnknown:
		return false
	}
	return p.setCalendar(d.codec, v)
}

// textOf returns the text of v without copying where it can; typed values are
// rendered into p's buffer.
func (p *parsed) textOf(v *Value) string {
	if v.kind == Lexical {
		return v.str
	}
	p.buf = v.AppendText(p.buf[:0])
	return view(p.buf)
}

// key returns the encoded form of v, by which enumerated values are compared.
func (p *parsed) key(d *dtype, v *Value) (string, bool) {
	if !p.set(d, v) {
		return "", false
	}
	p.w.Reset(p.raw[:0:0])
	p.write(&p.w, d)
	return string(p.w.Bytes()), true
}

func (p *parsed) setEnum(d *dtype, v *Value) bool {
	text := p.textOf(v)
	i, ok := d.byText[text]
	if !ok && (d.ws == WSCollapse || !d.enumOf.isString()) {
		i, ok = d.byText[trimSpace(text)]
	}
	if !ok && d.byValue != nil {
		var own parsed
		var key string
		if key, ok = own.key(d.enumOf, v); ok {
			i, ok = d.byValue[key]
		}
	}
	p.n = uint64(i)
	return ok
}

func (p *parsed) setBool(v *Value) bool {
	if v.kind == Bool {
		p.n = uint64(v.num) * 2
		return true
	}
	switch trimSpace(p.textOf(v)) {
	case "false":
		p.n = 0
	case "0":
		p.n = 1
	case "true":
		p.n = 2
	case "1":
		p.n = 3
	default:
		return false
	}
	return true
}

func (p *parsed) setInteger(d *dtype, v *Value) bool {
	p.big = nil
	if v.kind == Int {
		p.neg, p.n = v.num < 0, magnitude(v.num)
	} else if !p.integerText(trimSpace(p.textOf(v))) {
		return false
	}
	if p.n == 0 && p.big == nil {
		p.neg = false
	}
	switch d.codec {
	case CodecUnsigned:
		return !p.neg
	case CodecNBit:
		if d.offset != nil {
			return p.setOffset(d)
		}
		if p.big != nil || p.n > math.MaxInt64 {
			return false
		}
		n := int64(p.n)
		if p.neg {
			n = -n
		}
		if n < d.min || n > d.max {
			return false
		}
		p.n = uint64(n - d.min)
	}
	return true
}

// setOffset is for bounds outside of int64.
func (p *parsed) setOffset(d *dtype) bool {
	x := new(big.Int).SetUint64(p.n)
	if p.big != nil {
		x.Set(p.big)
	}
	if p.neg {
		x.Neg(x)
	}
	x.Sub(x, d.offset)
	if !x.IsInt64() || x.Int64() < 0 || x.Int64() > d.max {
		return false
	}
	p.n, p.big = x.Uint64(), nil
	return true
}

func (p *parsed) integerText(s string) bool {
	p.neg = false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		p.neg = s[0] == '-'
		s = s[1:]
	}
	return s != "" && p.digits(s, &p.n, &p.big)
}

// maxDigits bounds numbers of arbitrary magnitude: converting them costs the
// square of their length.
const maxDigits = 4000

// digits reads decimal digits into n, or into b when they do not fit 63 bits.
func (p *parsed) digits(s string, n *uint64, b **big.Int) bool {
	*n, *b = 0, nil
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	s = strings.TrimLeft(s, "0")
	if len(s) <= 18 {
		for i := range len(s) {
			*n = *n*10 + uint64(s[i]-'0')
		}
		return true
	}
	if len(s) > maxDigits {
		return false
	}
	x, ok := new(big.Int).SetString(s, 10)
	if ok && x.BitLen() <= 63 {
		*n = x.Uint64()
	} else {
		*b = x
	}
	return ok
}

// reversed reads the digits behind a point backwards, as §7.1.3 and §7.1.8
// want them.
func (p *parsed) reversed(s string, n *uint64, b **big.Int) bool {
	s = strings.TrimRight(s, "0")
	if len(s) <= 18 {
		*n, *b = 0, nil
		for i := len(s) - 1; i >= 0; i-- {
			if s[i]-'0' > 9 {
				return false
			}
			*n = *n*10 + uint64(s[i]-'0')
		}
		return true
	}
	if len(s) > maxDigits {
		return false
	}
	r := make([]byte, len(s))
	for i := range len(s) {
		r[len(s)-1-i] = s[i]
	}
	return p.digits(string(r), n, b)
}

func (p *parsed) setDecimal(v *Value) bool {
	p.big, p.bigFr = nil, nil
	if (v.kind == Int || v.kind == Decimal || v.kind == Float) && v.exp <= 0 && v.exp >= -18 {
		p.neg, p.n, p.frac = v.num < 0, magnitude(v.num), 0
		mod := uint64(1)
		for range -v.exp {
			mod *= 10
		}
		f := p.n % mod
		p.n /= mod
		for range -v.exp {
			p.frac = p.frac*10 + f%10
			f /= 10
		}
		return true
	}
	if !p.decimalText(v) {
		return false
	}
	if p.n|p.frac == 0 && p.big == nil && p.bigFr == nil && !p.keepFloats {
		p.neg = false // XML Schema knows one zero
	}
	return true
}

func (p *parsed) decimalText(v *Value) bool {
	s := trimSpace(p.textOf(v))
	p.neg = false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		p.neg = s[0] == '-'
		s = s[1:]
	}
	whole, frac, _ := strings.Cut(s, ".")
	if whole == "" && frac == "" {
		return false
	}
	return p.digits(whole, &p.n, &p.big) && p.reversed(frac, &p.frac, &p.bigFr)
}

func (p *parsed) setFloat(v *Value) bool {
	switch v.kind {
	case Int, Decimal, Float:
		p.mant, p.exp = v.num, v.exp
	default:
		if !p.floatText(trimSpace(p.textOf(v))) {
			return false
		}
	}
	if p.exp == ExpSpecial {
		return true
	}
	if !p.keepFloats {
		if p.mant == 0 {
			p.exp = 0
		}
		for p.mant != 0 && p.mant%10 == 0 {
			p.mant /= 10
			p.exp++
		}
	}
	return p.exp > ExpSpecial && p.exp < -ExpSpecial
}

func (p *parsed) floatText(s string) bool {
	switch s {
	case "INF":
		p.mant, p.exp = 1, ExpSpecial
		return true
	case "-INF":
		p.mant, p.exp = -1, ExpSpecial
		return true
	case "NaN":
		p.mant, p.exp = 0, ExpSpecial
		return true
	}
	body, e, has := s, "", false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		body, e, has = s[:i], s[i+1:], true
	}
	exp := 0
	if has {
		var x parsed
		if !x.integerText(e) || x.big != nil || x.n > 1<<20 {
			return false
		}
		exp = int(x.n)
		if x.neg {
			exp = -exp
		}
	}
	neg := body != "" && body[0] == '-'
	if body != "" && (body[0] == '-' || body[0] == '+') {
		body = body[1:]
	}
	whole, frac, _ := strings.Cut(body, ".")
	if whole == "" && frac == "" || !allDigits(whole) || !allDigits(frac) {
		return false
	}
	var buf [24]byte
	digits := append(append(buf[:0], whole...), frac...)
	exp -= len(frac)
	for len(digits) > 18 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		exp++
	}
	var m uint64
	for _, c := range digits {
		if m > (math.MaxUint64-9)/10 {
			return false
		}
		m = m*10 + uint64(c-'0')
	}
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	if m > limit || exp > 1<<20 || exp < -(1<<20) {
		return false
	}
	p.mant, p.exp = int64(m), int32(exp)
	if neg {
		p.mant = -p.mant
	}
	return true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

func (p *parsed) setBinary(codec Codec, v *Value) bool {
	if o, ok := v.Octets(); ok {
		p.raw = append(p.raw[:0], o...)
		return true
	}
	s := trimSpace(p.textOf(v))
	var err error
	if codec == CodecHex {
		p.raw, err = hex.AppendDecode(p.raw[:0], []byte(s))
		return err == nil
	}
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Join(strings.Fields(s), "")
	}
	p.raw, err = base64.StdEncoding.AppendDecode(p.raw[:0], []byte(s))
	return err == nil
}

func (p *parsed) setList(d *dtype, v *Value) bool {
	s := p.textOf(v)
	if p.keepSpace && !singleSpaced(s) {
		return false
	}
	// Strings need no other form: the text is enough, however many they are.
	p.text, p.n = s, 0
	texts := d.item.isString()
	for item, rest := firstItem(s); item != ""; item, rest = firstItem(rest) {
		if !texts && !p.setItem(d, item) {
			return false
		}
		p.n++
	}
	if !texts {
		p.items = p.items[:p.n]
	}
	return true
}

func (p *parsed) setItem(d *dtype, text string) bool {
	n := int(p.n)
	if n == len(p.items) {
		p.items = append(p.items, parsed{})
	}
	p.items[n].keepFloats = p.keepFloats
	item := Str(text)
	return p.items[n].set(d.item, &item)
}

// firstItem returns the first item of a list and what is behind it.
func firstItem(s string) (item, rest string) {
	s = strings.TrimLeft(s, xmlSpace)
	if end := strings.IndexAny(s, xmlSpace); end >= 0 {
		return s[:end], s[end:]
	}
	return s, ""
}

// xmlSpace is the white space of XML.
const xmlSpace = " \t\r\n"

// singleSpaced reports whether s is what a decoder makes of the items of s.
func singleSpaced(s string) bool {
	space := true // in front of the first item
	for i := range len(s) {
		switch s[i] {
		case '\t', '\r', '\n':
			return false
		case ' ':
			if space {
				return false
			}
			space = true
		default:
			space = false
		}
	}
	return !space || s == ""
}

// write writes what set prepared, except for strings, which need the tables.
func (p *parsed) write(w *bits.Writer, d *dtype) {
	switch d.codec {
	case CodecEnumeration:
		w.NBit(p.n, d.bits)
	case CodecBoolean:
		w.NBit(p.n>>1, 1)
	case CodecBooleanPattern:
		w.NBit(p.n, 2)
	case CodecNBit:
		w.NBit(p.n, d.bits)
	case CodecUnsigned:
		writeBig(w, p.n, p.big)
	case CodecInteger:
		p.writeInteger(w)
	case CodecDecimal:
		w.Bool(p.neg)
		writeBig(w, p.n, p.big)
		writeBig(w, p.frac, p.bigFr)
	case CodecFloat:
		writeInt(w, p.mant)
		writeInt(w, int64(p.exp))
	case CodecBase64, CodecHex:
		w.Uint(uint64(len(p.raw)))
		w.Octets(view(p.raw))
	default:
		p.writeCalendar(w, d.codec)
	}
}

func writeBig(w *bits.Writer, n uint64, b *big.Int) {
	if b != nil {
		w.UintBig(b)
		return
	}
	w.Uint(n)
}

func (p *parsed) writeInteger(w *bits.Writer) {
	w.Bool(p.neg)
	switch {
	case !p.neg:
		writeBig(w, p.n, p.big)
	case p.big != nil:
		w.UintBig(new(big.Int).Sub(p.big, big.NewInt(1)))
	default:
		w.Uint(p.n - 1)
	}
}

func writeInt(w *bits.Writer, n int64) {
	w.Bool(n < 0)
	if n < 0 {
		n = ^n
	}
	w.Uint(uint64(n))
}
