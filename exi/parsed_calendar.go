package exi

import (
	"math"
	"strconv"

	"postern/exi/internal/bits"
)

// Parts of the date and time representations (EXI 1.0 table 7-4).
const (
	hasYear = 1 << iota
	hasMonthDay
	hasTime
)

func calendarParts(c Codec) int {
	switch c {
	case CodecDateTime:
		return hasYear | hasMonthDay | hasTime
	case CodecDate, CodecGYearMonth:
		return hasYear | hasMonthDay
	case CodecTime:
		return hasTime
	case CodecGYear:
		return hasYear
	}
	return hasMonthDay
}

func calendarKind(c Codec) ValueKind {
	switch c {
	case CodecDateTime:
		return DateTime
	case CodecDate:
		return Date
	case CodecTime:
		return Time
	case CodecGYear:
		return GYear
	case CodecGYearMonth:
		return GYearMonth
	case CodecGMonth:
		return GMonth
	case CodecGMonthDay:
		return GMonthDay
	}
	return GDay
}

const zoneOffset = 14 * 64 // added to a zone so that it is not negative

func (p *parsed) setCalendar(codec Codec, v *Value) bool {
	if v.kind == calendarKind(codec) {
		c, _ := v.Calendar()
		return p.setFields(c)
	}
	s := calendarScanner{s: trimSpace(p.textOf(v)), p: p}
	p.year, p.md, p.tod, p.frac, p.bigFr, p.zone = 0, 0, 0, 0, nil, false
	switch codec {
	case CodecDateTime:
		s.year()
		s.lit('-')
		s.month()
		s.lit('-')
		s.day()
		s.lit('T')
		s.time()
	case CodecDate:
		s.year()
		s.lit('-')
		s.month()
		s.lit('-')
		s.day()
	case CodecTime:
		s.time()
	case CodecGYear:
		s.year()
	case CodecGYearMonth:
		s.year()
		s.lit('-')
		s.month()
	case CodecGMonth:
		s.lit('-')
		s.lit('-')
		s.month()
		if len(s.s) >= 2 && s.s[:2] == "--" { // the form of XML Schema's first edition
			s.s = s.s[2:]
		}
	case CodecGMonthDay:
		s.lit('-')
		s.lit('-')
		s.month()
		s.lit('-')
		s.day()
	case CodecGDay:
		s.lit('-')
		s.lit('-')
		s.lit('-')
		s.day()
	default:
		return false
	}
	s.zone()
	return !s.bad && s.s == ""
}

// setFields takes the fields of a typed value, within the ranges of §7.1.8.
func (p *parsed) setFields(c Calendar) bool {
	p.year = int64(c.Year)
	p.md = uint32(c.Month)*32 + uint32(c.Day)
	p.tod = (uint32(c.Hour)*64+uint32(c.Minute))*64 + uint32(c.Second)
	p.frac, p.bigFr = 0, nil
	f := c.Fraction
	for range c.Digits {
		p.frac = p.frac*10 + uint64(f%10)
		f /= 10
	}
	p.zone = c.HasZone
	z := int(c.ZoneMinutes)
	p.tz = uint32(z/60*64 + z%60 + zoneOffset)
	return c.Hour <= 24 && c.Minute <= 59 && c.Second <= 60 && z >= -840 && z <= 840
}

// calendarScanner reads text with the ranges that the representation has.
type calendarScanner struct {
	s   string
	p   *parsed
	bad bool
}

func (c *calendarScanner) lit(b byte) {
	if c.s == "" || c.s[0] != b {
		c.bad = true
		return
	}
	c.s = c.s[1:]
}

func (c *calendarScanner) two(lo, hi uint32) uint32 {
	if len(c.s) < 2 || c.s[0]-'0' > 9 || c.s[1]-'0' > 9 {
		c.bad = true
		return 0
	}
	n := uint32(c.s[0]-'0')*10 + uint32(c.s[1]-'0')
	c.s = c.s[2:]
	if n < lo || n > hi {
		c.bad = true
	}
	return n
}

func (c *calendarScanner) run() string {
	n := 0
	for n < len(c.s) && c.s[n]-'0' <= 9 {
		n++
	}
	d := c.s[:n]
	c.s = c.s[n:]
	return d
}

func (c *calendarScanner) year() {
	neg := c.s != "" && c.s[0] == '-'
	if neg {
		c.s = c.s[1:]
	}
	d := c.run()
	n, err := strconv.ParseInt(d, 10, 64)
	if len(d) < 4 || len(d) > 4 && d[0] == '0' || err != nil || n > math.MaxInt64/2 {
		c.bad = true
	}
	if neg {
		n = -n
	}
	c.p.year = n
}

// month takes what nine bits hold with the day: both reference codecs type
// dates with a month of 13, and one that cannot be typed costs more octets.
func (c *calendarScanner) month() { c.p.md |= c.two(1, 15) << 5 }
func (c *calendarScanner) day()   { c.p.md |= c.two(1, 31) }

func (c *calendarScanner) time() {
	h := c.two(0, 24)
	c.lit(':')
	m := c.two(0, 59)
	c.lit(':')
	s := c.two(0, 60)
	c.p.tod = (h*64+m)*64 + s
	if c.s != "" && c.s[0] == '.' {
		c.s = c.s[1:]
		d := c.run()
		if d == "" || !c.p.reversed(d, &c.p.frac, &c.p.bigFr) {
			c.bad = true
		}
	}
}

func (c *calendarScanner) zone() {
	if c.s == "" {
		return
	}
	c.p.zone = true
	switch c.s[0] {
	case 'Z':
		c.s = c.s[1:]
		c.p.tz = zoneOffset
	case '+', '-':
		neg := c.s[0] == '-'
		c.s = c.s[1:]
		h := c.two(0, 14)
		c.lit(':')
		m := c.two(0, 59)
		if h == 14 && m != 0 {
			c.bad = true
		}
		c.p.tz = zoneOffset + h*64 + m
		if neg {
			c.p.tz = zoneOffset - h*64 - m
		}
	default:
		c.bad = true
	}
}

func (p *parsed) writeCalendar(w *bits.Writer, codec Codec) {
	parts := calendarParts(codec)
	if parts&hasYear != 0 {
		writeInt(w, p.year-2000)
	}
	if parts&hasMonthDay != 0 {
		w.NBit(uint64(p.md), 9)
	}
	if parts&hasTime != 0 {
		w.NBit(uint64(p.tod), 17)
		frac := p.frac != 0 || p.bigFr != nil
		w.Bool(frac)
		if frac {
			writeBig(w, p.frac, p.bigFr)
		}
	}
	w.Bool(p.zone)
	if p.zone {
		w.NBit(uint64(p.tz), 11)
	}
}
