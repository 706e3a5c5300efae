package exi

import "strconv"

func (v Value) appendCalendar(dst []byte) []byte {
	c, _ := v.Calendar()
	switch v.kind {
	case DateTime, Date, GYear, GYearMonth:
		dst = appendYear(dst, c.Year)
	case GMonth, GMonthDay:
		dst = append(dst, '-')
	case GDay:
		dst = append(dst, '-', '-')
	}
	switch v.kind {
	case DateTime, Date, GYearMonth, GMonth, GMonthDay:
		dst = append2(append(dst, '-'), c.Month)
	}
	switch v.kind {
	case DateTime, Date, GMonthDay, GDay:
		dst = append2(append(dst, '-'), c.Day)
	}
	if v.kind == DateTime {
		dst = append(dst, 'T')
	}
	if v.kind == DateTime || v.kind == Time {
		dst = append2(dst, c.Hour)
		dst = append2(append(dst, ':'), c.Minute)
		dst = append2(append(dst, ':'), c.Second)
		if c.Digits > 0 {
			dst = append(dst, '.')
			dst = appendPadded(dst, uint64(c.Fraction), int(c.Digits))
		}
	}
	if !c.HasZone {
		return dst
	}
	z := int(c.ZoneMinutes)
	if z == 0 {
		return append(dst, 'Z')
	}
	sign := byte('+')
	if z < 0 {
		sign, z = '-', -z
	}
	dst = append2(append(dst, sign), uint8(z/60))
	return append2(append(dst, ':'), uint8(z%60))
}

func appendYear(dst []byte, y int32) []byte {
	n := uint64(y)
	if y < 0 {
		dst = append(dst, '-')
		n = uint64(-int64(y))
	}
	return appendPadded(dst, n, 4)
}

func append2(dst []byte, n uint8) []byte { return append(dst, '0'+n/10%10, '0'+n%10) }

// appendPadded writes n with at least width digits.
func appendPadded(dst []byte, n uint64, width int) []byte {
	for p, w := uint64(10), 1; w < width; w++ {
		if n < p {
			dst = append(dst, '0')
		}
		p *= 10
	}
	return strconv.AppendUint(dst, n, 10)
}

// ParseDateTime parses xs:dateTime text. A fraction of more than nine digits,
// or a year outside int32, is not ok.
func ParseDateTime(s string) (c Calendar, ok bool) {
	p := calendarParser{s: s}
	c.Year = p.year()
	p.lit('-')
	c.Month = p.two(1, 12)
	p.lit('-')
	c.Day = p.two(1, 31)
	p.lit('T')
	p.timeOfDay(&c)
	p.zone(&c)
	return c, p.done()
}

// ParseDate parses xs:date text.
func ParseDate(s string) (c Calendar, ok bool) {
	p := calendarParser{s: s}
	c.Year = p.year()
	p.lit('-')
	c.Month = p.two(1, 12)
	p.lit('-')
	c.Day = p.two(1, 31)
	p.zone(&c)
	return c, p.done()
}

// ParseTime parses xs:time text.
func ParseTime(s string) (c Calendar, ok bool) {
	p := calendarParser{s: s}
	p.timeOfDay(&c)
	p.zone(&c)
	return c, p.done()
}

// calendarParser reads fixed-width fields and remembers the first failure.
type calendarParser struct {
	s   string
	bad bool
}

func (p *calendarParser) done() bool { return !p.bad && p.s == "" }

func (p *calendarParser) lit(b byte) {
	if p.s == "" || p.s[0] != b {
		p.bad = true
		return
	}
	p.s = p.s[1:]
}

func (p *calendarParser) digits() string {
	n := 0
	for n < len(p.s) && p.s[n]-'0' <= 9 {
		n++
	}
	d := p.s[:n]
	p.s = p.s[n:]
	return d
}

func (p *calendarParser) year() int32 {
	neg := p.s != "" && p.s[0] == '-'
	if neg {
		p.s = p.s[1:]
	}
	d := p.digits()
	n, err := strconv.ParseInt(d, 10, 32)
	if len(d) < 4 || len(d) > 4 && d[0] == '0' || err != nil || n == 0 {
		p.bad = true
	}
	if neg {
		n = -n
	}
	return int32(n)
}

func (p *calendarParser) two(lo, hi uint8) uint8 {
	if len(p.s) < 2 || p.s[0]-'0' > 9 || p.s[1]-'0' > 9 {
		p.bad = true
		return 0
	}
	n := (p.s[0]-'0')*10 + p.s[1] - '0'
	p.s = p.s[2:]
	if n < lo || n > hi {
		p.bad = true
	}
	return n
}

func (p *calendarParser) timeOfDay(c *Calendar) {
	c.Hour = p.two(0, 24)
	p.lit(':')
	c.Minute = p.two(0, 59)
	p.lit(':')
	c.Second = p.two(0, 59)
	if p.s != "" && p.s[0] == '.' {
		p.s = p.s[1:]
		d := p.digits()
		if d == "" || len(d) > 9 {
			p.bad = true
			return
		}
		n, _ := strconv.ParseUint(d, 10, 32)
		c.Fraction, c.Digits = uint32(n), uint8(len(d))
	}
	if c.Hour == 24 && (c.Minute != 0 || c.Second != 0 || c.Fraction != 0) {
		p.bad = true
	}
}

func (p *calendarParser) zone(c *Calendar) {
	if p.s == "" {
		return
	}
	c.HasZone = true
	switch p.s[0] {
	case 'Z':
		p.s = p.s[1:]
	case '+', '-':
		neg := p.s[0] == '-'
		p.s = p.s[1:]
		h := p.two(0, 14)
		p.lit(':')
		m := p.two(0, 59)
		if h == 14 && m != 0 {
			p.bad = true
		}
		c.ZoneMinutes = int16(h)*60 + int16(m)
		if neg {
			c.ZoneMinutes = -c.ZoneMinutes
		}
	default:
		p.bad = true
	}
}
