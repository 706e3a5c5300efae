package exi

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// attribute reads an AT event, and changes the grammar for xsi:type and
// xsi:nil.
func (d *decoder) attribute(ev *Event, top *frame, st *state, p *prod, onePart bool) error {
	id := p.name
	if p.match != Exact {
		var err error
		if id, err = d.qname(p); err != nil {
			return err
		}
	}
	info := d.names.name(id)
	ev.Name = info.name
	if d.o.Preserve.Prefixes && !d.b.strict {
		prefix, err := d.prefix(info.uri, true)
		if err != nil {
			return err
		}
		ev.Prefix = prefix
	}
	isType := id == d.b.xsiType && !p.untyped
	if p.match != Exact && st.learns != fixedGrammar && !onePart {
		r := plain
		if isType {
			r = xsiType
		}
		if err := d.learn(st, AT, id, r); err != nil {
			return err
		}
	}
	switch {
	case isType && (st.learns != fixedGrammar || p.role == xsiType):
		return d.xsiTypeValue(ev, top, st, p)
	case p.role == xsiNil:
		return d.xsiNilValue(ev, top, st, p)
	}
	top.st = st.follow(p)
	dt := p.dt
	if p.untyped {
		dt = nil
	} else if p.match != Exact && st.learns == fixedGrammar {
		dt = d.b.attrs[id]
	}
	return d.value(ev, dt, id)
}

// xsiTypeValue reads the value of xsi:type, always from the structure.
func (d *decoder) xsiTypeValue(ev *Event, top *frame, st *state, p *prod) error {
	top.st = st.follow(p)
	if d.o.Preserve.LexicalValues {
		if err := d.stringValue(ev, nil, d.b.xsiType); err != nil {
			return err
		}
		prefix, local, found := strings.Cut(ev.Value.str, ":")
		if !found {
			prefix, local = "", ev.Value.str
		}
		space, ok := d.resolve(prefix)
		if !ok {
			return nil
		}
		if t := d.b.typeNamed(N(space, local)); t != nil {
			top.st = t
		}
		if found || space != "" {
			ev.Value = NameValue(space, ev.Value.String())
		}
		return nil
	}
	uri, err := d.uri()
	if err != nil {
		return err
	}
	id, err := d.local(uri)
	if err != nil {
		return err
	}
	info := d.names.name(id)
	text := info.local
	if d.o.Preserve.Prefixes && !d.b.strict {
		prefix, err := d.prefix(uri, true)
		if err != nil {
			return err
		}
		if prefix != "" {
			text = prefix + ":" + text
		}
	}
	ev.Value = NameValue(d.names.uris[uri].uri, text)
	if t := d.b.typ(id); t != nil {
		top.st = t
	}
	return nil
}

func (d *decoder) resolve(prefix string) (string, bool) {
	for i := len(d.ns) - 1; i >= 0; i-- {
		if d.ns[i].prefix == prefix {
			return d.ns[i].uri, true
		}
	}
	return "", prefix == ""
}

func (d *decoder) xsiNilValue(ev *Event, top *frame, st *state, p *prod) error {
	read := d.direct
	if d.o.Preserve.LexicalValues {
		read = d.lexicalNil
	}
	if err := read(ev, d.b.boolean, d.b.xsiNil); err != nil {
		return err
	}
	top.st = st.follow(p)
	if isNil, ok := ev.Value.Bool(); ok && isNil && st.empty != nil {
		top.st = st.empty
	}
	return nil
}

// lexicalNil reads xsi:nil as text. §7 would have it with the restricted
// character set of booleans, as EXIficient writes it; OpenEXI and this codec
// write it without. The first character tells which it is.
func (d *decoder) lexicalNil(ev *Event, dt *dtype, name int32) error {
	n := d.r.Uint()
	if n <= 2 {
		return d.stringRest(ev, n, nil, name)
	}
	n -= 2
	if n > 64 {
		return formatErr("xsi:nil with %d characters", n)
	}
	set := dt.charset
	first := d.r.NBit(set.bits)
	text := make([]byte, 0, 16)
	var err error
	switch bare := d.o.Alignment == BitPacked; {
	case !bare && first >= 0x20:
		text = append(text, byte(first&0x7f))
		set = nil
	case bare && (first == 't'>>4 || first == 'f'>>4 || first == '1'>>4 && n == 1):
		text = append(text, byte(first<<4|d.r.Bits(4)))
		set = nil
	case first >= uint64(len(set.runes)):
		return formatErr("character %d of a set of %d", first, len(set.runes))
	default:
		text = append(text, byte(set.runes[first]))
	}
	if set == nil {
		text, err = d.chars(text, n-1)
	} else {
		text, err = d.restricted(text, n-1, set)
	}
	if err != nil {
		return err
	}
	ev.Value = d.keep(Lexical, text)
	if d.vals.takes(int(n)) {
		d.vals.add(string(text), name, true)
	}
	return d.r.Err()
}

// value reads the content of AT or CH now, or notes that it is in a channel.
func (d *decoder) value(ev *Event, dt *dtype, name int32) error {
	if d.chans != nil {
		return d.chans.add(dt, name)
	}
	return d.direct(ev, dt, name)
}

func (d *decoder) direct(ev *Event, dt *dtype, name int32) error {
	switch {
	case dt == nil:
		return d.stringValue(ev, nil, name)
	case dt.isString():
		return d.stringValue(ev, dt.charset, name)
	}
	return d.typed(ev, dt, name)
}

// stringValue reads a hit or a miss of the value partitions (§7.3.3).
func (d *decoder) stringValue(ev *Event, set *charset, name int32) error {
	return d.stringRest(ev, d.r.Uint(), set, name)
}

// stringRest is stringValue behind the number that tells hits and misses apart.
func (d *decoder) stringRest(ev *Event, n uint64, set *charset, name int32) error {
	switch n {
	case 0:
		count := d.vals.localCount(name)
		id := int(d.r.NBit(bitsFor(count)))
		s, ok := d.vals.local(name, id)
		if !ok {
			return d.noValue("local", id, count)
		}
		ev.Value = Value{str: s, borrowed: true}
		return nil
	case 1:
		id := int(d.r.NBit(bitsFor(len(d.vals.ents))))
		if id >= len(d.vals.ents) {
			return d.noValue("global", id, len(d.vals.ents))
		}
		ev.Value = Value{str: d.vals.ents[id].s, borrowed: true}
		return nil
	}
	s, err := d.valueText(n-2, set)
	if err != nil {
		return err
	}
	ev.Value = Value{str: s, borrowed: true}
	if d.vals.takes(int(n - 2)) {
		if err := d.room(); err != nil {
			return err
		}
		d.vals.add(s, name, d.stable)
	}
	return nil
}

func (d *decoder) noValue(which string, id, n int) error {
	if err := d.r.Err(); err != nil {
		return err
	}
	return formatErr("%s value %d of %d", which, id, n)
}

// valueText reads a literal into the Doc's arena, or into a buffer that lasts
// until the next event.
func (d *decoder) valueText(n uint64, set *charset) (string, error) {
	dst := &d.text
	start := 0
	if d.doc != nil {
		dst = &d.doc.arena
		start = len(*dst)
	} else if d.chans == nil {
		*dst = (*dst)[:0]
	} else {
		start = len(*dst)
	}
	var err error
	if set == nil {
		*dst, err = d.chars(*dst, n)
	} else {
		*dst, err = d.restricted(*dst, n, set)
	}
	return view((*dst)[start:]), err
}

func (d *decoder) restricted(dst []byte, n uint64, set *charset) ([]byte, error) {
	if err := d.r.Err(); err != nil {
		return dst, err
	}
	if n > uint64(d.o.Limits.StringLen) {
		return dst, limitErr("characters in a string", d.o.Limits.StringLen)
	}
	for left := int(n); left > 0; left-- {
		var k int
		if dst, k = d.r.Set(dst, left, set.bits, set.octets); k == left {
			return dst, nil
		}
		left -= k
		i := int(d.r.NBit(set.bits))
		var err error
		switch {
		case i < len(set.runes):
			dst, err = d.rune(dst, uint64(set.runes[i]))
		case i > len(set.runes):
			err = formatErr("character %d of a set of %d", i, len(set.runes))
		default:
			dst, err = d.rune(dst, d.r.Uint())
		}
		if e := d.r.Err(); e != nil {
			return dst, e
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// keep puts text into the Doc's arena or a buffer and returns it as a value.
func (d *decoder) keep(kind ValueKind, text []byte) Value {
	v := Value{kind: kind, borrowed: true}
	if len(text) == 0 {
		v.borrowed = false
		return v
	}
	if d.doc != nil {
		b := d.doc.Borrow(text)
		b.kind = kind
		return b
	}
	v.str = string(text)
	return v
}

// typed reads a value by its representation (§7.1).
func (d *decoder) typed(ev *Event, dt *dtype, name int32) error {
	switch dt.codec {
	case CodecBoolean:
		ev.Value = BoolValue(d.r.Bool())
	case CodecBooleanPattern:
		ev.Value = Str([...]string{"false", "0", "true", "1"}[d.r.NBit(2)&3])
	case CodecEnumeration:
		i := int(d.r.NBit(dt.bits))
		if i >= len(dt.enum) {
			return formatErr("enumerated value %d of %d", i, len(dt.enum))
		}
		ev.Value = Str(dt.enum[i])
	case CodecNBit:
		n := int64(d.r.NBit(dt.bits))
		if dt.offset != nil {
			x := new(big.Int).Add(dt.offset, big.NewInt(n))
			ev.Value = d.keep(Lexical, x.Append(nil, 10))
			break
		}
		ev.Value = IntValue(dt.min + n)
	case CodecUnsigned:
		ev.Value = d.integer(false)
	case CodecInteger:
		ev.Value = d.integer(d.r.Bool())
	case CodecDecimal:
		ev.Value = d.decimal()
	case CodecFloat:
		m, e := d.int64(), d.int64()
		if e > -ExpSpecial || e < ExpSpecial {
			return formatErr("exponent %d of a float", e)
		}
		ev.Value = FloatValue(m, int(e))
	case CodecBase64, CodecHex:
		return d.binary(ev, dt.codec)
	case CodecList:
		return d.list(ev, dt, name)
	case codecUnknown:
		return formatErr("a value in a user-defined representation that is not known here")
	default:
		return d.calendar(ev, dt.codec)
	}
	return nil
}

// integer reads the magnitude of an integer whose sign is known (§7.1.5).
func (d *decoder) integer(neg bool) Value {
	n, b := d.r.UintBig()
	if b == nil && n < math.MaxInt64 {
		v := int64(n)
		if neg {
			v = -v - 1
		}
		return IntValue(v)
	}
	if b == nil {
		b = new(big.Int).SetUint64(n)
	}
	if neg {
		b.Add(b, big.NewInt(1)).Neg(b)
	}
	return d.keep(Lexical, b.Append(nil, 10))
}

func (d *decoder) int64() int64 {
	neg := d.r.Bool()
	n := int64(d.r.Uint())
	if neg {
		return -n - 1
	}
	return n
}

// decimal reads sign, integral part and reversed fraction (§7.1.3). Whole
// numbers keep one digit behind the point, the canonical form of XML Schema.
func (d *decoder) decimal() Value {
	neg := d.r.Bool()
	n, nb := d.r.UintBig()
	f, fb := d.r.UintBig()
	if nb == nil && fb == nil && n < 1<<31 && f < 100_000_000 && (!neg || n|f != 0) {
		m, exp := int64(n), 0
		for ok := true; ok; ok = f != 0 {
			m = m*10 + int64(f%10)
			f /= 10
			exp--
		}
		if neg {
			m = -m
		}
		return DecimalValue(m, exp)
	}
	text := make([]byte, 0, 64)
	if neg {
		text = append(text, '-')
	}
	text = appendBig(text, n, nb)
	text = append(text, '.')
	at := len(text)
	text = appendBig(text, f, fb)
	for i, j := at, len(text)-1; i < j; i, j = i+1, j-1 {
		text[i], text[j] = text[j], text[i]
	}
	return d.keep(Lexical, text)
}

func appendBig(dst []byte, n uint64, b *big.Int) []byte {
	if b != nil {
		return b.Append(dst, 10)
	}
	return strconv.AppendUint(dst, n, 10)
}

func (d *decoder) binary(ev *Event, codec Codec) error {
	n := d.r.Uint()
	if n > uint64(d.o.Limits.StringLen) {
		return limitErr("octets of binary content", d.o.Limits.StringLen)
	}
	kind := Base64
	if codec == CodecHex {
		kind = Hex
	}
	d.loc = d.r.Octets(d.loc[:0], int(n))
	ev.Value = d.keep(kind, d.loc)
	return d.r.Err()
}

// list reads the items and joins them with spaces (§7.1.11).
func (d *decoder) list(ev *Event, dt *dtype, name int32) error {
	n := d.r.Uint()
	var buf [256]byte
	text := buf[:0]
	var item Event
	for i := uint64(0); i < n; i++ {
		if err := d.direct(&item, dt.item, name); err != nil {
			return err
		}
		if err := d.r.Err(); err != nil {
			return err
		}
		if i > 0 {
			text = append(text, ' ')
		}
		text = item.Value.AppendText(text)
		if len(text) > d.o.Limits.StringLen || i > uint64(d.o.Limits.StringLen) {
			return limitErr("characters of a list", d.o.Limits.StringLen)
		}
	}
	ev.Value = d.keep(Lexical, text)
	return d.r.Err()
}

// calendar reads a date or time (§7.1.8).
func (d *decoder) calendar(ev *Event, codec Codec) error {
	parts := calendarParts(codec)
	var c Calendar
	year := int64(0)
	if parts&hasYear != 0 {
		year = d.int64() + 2000
	}
	if parts&hasMonthDay != 0 {
		md := d.r.NBit(9)
		c.Month, c.Day = uint8(md>>5), uint8(md&31)
	}
	var frac uint64
	var big *big.Int
	if parts&hasTime != 0 {
		t := d.r.NBit(17)
		c.Hour, c.Minute, c.Second = uint8(t>>12), uint8(t>>6&63), uint8(t&63)
		if d.r.Bool() {
			frac, big = d.r.UintBig()
		}
	}
	if d.r.Bool() {
		z := int(d.r.NBit(11)) - zoneOffset
		c.HasZone = true
		c.ZoneMinutes = int16(z/64*60 + z%64)
		if z < -zoneOffset || z > zoneOffset {
			return formatErr("time zone %d", z)
		}
	}
	if err := d.r.Err(); err != nil {
		return err
	}
	if c.Hour > 24 || c.Minute > 59 || c.Second > 60 {
		return formatErr("date or time out of range")
	}
	fits := big == nil
	var digits uint8
	for f := frac; f != 0; f /= 10 {
		if digits == 9 {
			fits = false
			break
		}
		c.Fraction = c.Fraction*10 + uint32(f%10)
		digits++
	}
	c.Digits = digits
	if year > math.MaxInt32 || year < math.MinInt32 {
		return formatErr("year %d", year)
	}
	c.Year = int32(year)
	if fits {
		ev.Value = CalendarValue(calendarKind(codec), c)
		return nil
	}
	ev.Value = d.longFraction(codec, c, frac, big)
	return nil
}

// longFraction renders a time with more digits than a Calendar holds.
func (d *decoder) longFraction(codec Codec, c Calendar, frac uint64, b *big.Int) Value {
	c.Digits, c.Fraction = 0, 0
	zone := c.HasZone
	c.HasZone = false
	text := CalendarValue(calendarKind(codec), c).AppendText(nil)
	text = append(text, '.')
	at := len(text)
	text = appendBig(text, frac, b)
	for i, j := at, len(text)-1; i < j; i, j = i+1, j-1 {
		text[i], text[j] = text[j], text[i]
	}
	if zone {
		z := CalendarValue(GDay, Calendar{Day: 1, HasZone: true, ZoneMinutes: c.ZoneMinutes}).AppendText(nil)
		text = append(text, z[len("---01"):]...)
	}
	return d.keep(Lexical, text)
}
