package modbus

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"postern/drivers"
)

// ErrNoValue: the unit says by a special raw value that it has none.
var ErrNoValue = errors.New("the unit has no value for this")

// point is a Register ready for use.
type point struct {
	Register
	table         Table
	size          int // registers, or 1 bit
	kind          drivers.Kind
	scale, offset drivers.Number
	scaleFrom     int // index of the point with the power of ten, or −1
	lo, width     int // bit field; width 0: the whole
	invalid       uint64
	hasInvalid    bool
	min, max      drivers.Number
	bounded       bool
	safe          drivers.Value // KindNone: nothing but a command moves it
}

var typeSizes = map[string]int{
	"bool": 1, "uint16": 1, "int16": 1, "bcd16": 1, "uint32": 2, "int32": 2, "float32": 2,
	"bcd32": 2, "uint64": 4, "int64": 4, "float64": 4, "string": 0,
}

var channelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// compile checks the registers of a unit, all of them, and returns every
// problem at once.
func compile(regs []Register) ([]point, error) {
	points := make([]point, len(regs))
	byName := map[string]int{}
	var problems []error
	if len(regs) == 0 {
		problems = append(problems, errors.New("registers: none; name a model or a description, or list the registers"))
	}
	for i, r := range regs {
		p, err := compileOne(r)
		if err != nil {
			problems = append(problems, fmt.Errorf("registers[%d] %s: %w", i, r.Name, err))
		}
		if _, ok := byName[r.Name]; ok {
			problems = append(problems, fmt.Errorf("registers[%d] %s: the name is used twice", i, r.Name))
		}
		byName[r.Name] = i
		points[i] = p
	}
	for i := range points {
		if from := points[i].ScaleFrom; from != "" {
			j, ok := byName[from]
			if !ok || points[j].Type != "int16" {
				problems = append(problems, fmt.Errorf("registers[%d] %s: scale_from: there is no int16 register %q", i, points[i].Name, from))
				continue
			}
			points[i].scaleFrom = j
		}
	}
	return points, errors.Join(problems...)
}

// withDefaults fills what was left out.
func (r Register) withDefaults() Register {
	r.Table = cmp.Or(r.Table, tableNames[Holdings])
	r.Order, r.Scale, r.Offset = cmp.Or(r.Order, "abcd"), cmp.Or(r.Scale, "1"), cmp.Or(r.Offset, "0")
	if t, _ := tableOf(r.Table); r.Type == "" {
		r.Type = "uint16"
		if t.Bits() {
			r.Type = "bool"
		}
	}
	return r
}

func compileOne(r Register) (point, error) {
	r = r.withDefaults()
	p := point{Register: r, scaleFrom: -1}
	if !channelName.MatchString(r.Name) {
		return p, fmt.Errorf("name: %q is not lower case letters, digits and hyphens", r.Name)
	}
	t, ok := tableOf(r.Table)
	if !ok {
		return p, fmt.Errorf("table: %q is none of %s", r.Table, strings.Join(tableNames[:], ", "))
	}
	p.table = t
	size, ok := typeSizes[r.Type]
	switch {
	case !ok:
		return p, fmt.Errorf("type: %q is unknown", r.Type)
	case t.Bits() != (r.Type == "bool"):
		return p, fmt.Errorf("type: %s does not fit table %s; coils and discrete inputs are bool, registers are not (a single bit of one: bits)", r.Type, t)
	case r.Type == "string" && (r.Length < 1 || r.Length > maxReadRegisters):
		return p, errors.New("length: a string needs its number of registers, 1 to 125")
	case r.Type == "string":
		size = r.Length
	}
	p.size = size
	if r.Address < 0 || r.Address+size > 65536 {
		return p, fmt.Errorf("address: %d is not in 0..%d", r.Address, 65536-size)
	}
	if !strings.Contains("abcd badc cdab dcba", r.Order) || len(r.Order) != 4 {
		return p, fmt.Errorf("order: %q is none of abcd, badc, cdab, dcba", r.Order)
	}
	for _, step := range []func() error{p.compileNumbers, p.compileBits, p.compileInvalid, p.compileKind, p.compileBounds, p.compileWritable, p.compileSafe} {
		if err := step(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func tableOf(name string) (Table, bool) {
	for i, n := range tableNames {
		if n == name {
			return Table(i), true
		}
	}
	return Holdings, false
}

func (p *point) compileNumbers() (err error) {
	if p.scale, err = drivers.ParseNumber(p.Scale); err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	if p.scale.Mant == 0 {
		return errors.New("scale: 0 makes every value 0")
	}
	if p.offset, err = drivers.ParseNumber(p.Offset); err != nil {
		return fmt.Errorf("offset: %w", err)
	}
	return nil
}

func (p *point) integer() bool {
	return strings.HasPrefix(p.Type, "int") || strings.HasPrefix(p.Type, "uint") || strings.HasPrefix(p.Type, "bcd")
}

func (p *point) compileBits() error {
	if p.Bits == "" {
		return nil
	}
	if !strings.HasPrefix(p.Type, "uint") {
		return fmt.Errorf("bits: needs type uint16, uint32 or uint64, not %s", p.Type)
	}
	lo, hi, ranged := strings.Cut(p.Bits, "-")
	if !ranged {
		hi = lo
	}
	l, errL := strconv.Atoi(lo)
	h, errH := strconv.Atoi(hi)
	if errL != nil || errH != nil || l < 0 || h < l || h >= 16*p.size {
		return fmt.Errorf("bits: %q is not a bit or LOW-HIGH within 0..%d", p.Bits, 16*p.size-1)
	}
	p.lo, p.width = l, h-l+1
	return nil
}

func (p *point) compileInvalid() error {
	if p.Invalid == "" {
		return nil
	}
	if v, err := strconv.ParseUint(p.Invalid, 0, 16*p.size); err == nil {
		p.invalid, p.hasInvalid = v, true
		return nil
	}
	v, err := strconv.ParseInt(p.Invalid, 0, 16*p.size)
	if err != nil || p.Type == "string" || p.table.Bits() {
		return fmt.Errorf("invalid: %q is no value of %s", p.Invalid, p.Type)
	}
	p.invalid, p.hasInvalid = uint64(v)&p.mask(), true
	return nil
}

func (p *point) mask() uint64 { return math.MaxUint64 >> (64 - 16*p.size) }

func (p *point) compileKind() error {
	whole := p.scale == drivers.Num(1, 0) && p.offset.Exp == 0 && p.offset.Mant == 0 && p.ScaleFrom == ""
	switch {
	case len(p.Values) > 0:
		if !p.integer() {
			return fmt.Errorf("values: type %s has no names", p.Type)
		}
		seen := map[string]bool{}
		for _, v := range p.Values {
			if v.Name == "" || seen[v.Name] {
				return fmt.Errorf("values: name %q is empty or used twice", v.Name)
			}
			seen[v.Name] = true
		}
		p.kind = drivers.KindEnum
	case p.Type == "string":
		p.kind = drivers.KindString
	case p.table.Bits(), p.width == 1:
		p.kind = drivers.KindBool
	case p.integer() && whole:
		p.kind = drivers.KindInt
		if p.size > 1 && p.width == 0 && p.Type != "int32" || p.width >= 32 {
			p.kind = drivers.KindLong
		}
	default:
		p.kind = drivers.KindNumber
	}
	return nil
}

// limits returns the smallest and largest raw value of the register or field.
func (p *point) limits() (lo, hi drivers.Number) {
	bits := 16 * p.size
	if p.width > 0 {
		bits = p.width
	}
	switch {
	case strings.HasPrefix(p.Type, "int"):
		return drivers.Num(math.MinInt64>>(64-bits), 0), drivers.Num(math.MaxInt64>>(64-bits), 0)
	case p.Type == "bcd16":
		return drivers.Num(0, 0), drivers.Num(9999, 0)
	case p.Type == "bcd32":
		return drivers.Num(0, 0), drivers.Num(99999999, 0)
	case bits >= 63:
		return drivers.Num(0, 0), drivers.Num(math.MaxInt64, 0) // what a value can hold
	}
	return drivers.Num(0, 0), drivers.Num(1<<bits-1, 0)
}

// compileBounds finds what a written value may be: the configured bounds, or
// what the register holds.
func (p *point) compileBounds() error {
	if p.kind == drivers.KindNumber || p.kind == drivers.KindInt || p.kind == drivers.KindLong {
		if p.integer() && p.ScaleFrom == "" {
			lo, hi := p.limits()
			a, errA := p.scaled(lo)
			b, errB := p.scaled(hi)
			if errA == nil && errB == nil {
				p.min, p.max, p.bounded = a, b, true
				if a.Cmp(b) > 0 {
					p.min, p.max = b, a
				}
			}
		}
	}
	for _, c := range []struct {
		text string
		to   *drivers.Number
		key  string
	}{{p.Min, &p.min, "min"}, {p.Max, &p.max, "max"}} {
		if c.text == "" {
			continue
		}
		n, err := drivers.ParseNumber(c.text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.key, err)
		}
		*c.to = n
	}
	if p.Min != "" && p.Max != "" {
		p.bounded = true
	} else if (p.Min != "" || p.Max != "") && !p.bounded {
		return errors.New("min, max: give both for a value whose range does not follow from its type")
	}
	if p.bounded && p.min.Cmp(p.max) > 0 {
		return fmt.Errorf("min %s is above max %s", p.min, p.max)
	}
	return nil
}

func (p *point) compileWritable() error {
	switch {
	case !p.Writable:
		return nil
	case p.table != Coils && p.table != Holdings:
		return fmt.Errorf("writable: table %s cannot be written", p.table)
	case p.ScaleFrom != "":
		return errors.New("writable: not with scale_from")
	case p.width > 0 && p.size > 1:
		return errors.New("writable: bit fields only in 16-bit registers")
	case p.Type == "string":
		return errors.New("writable: strings cannot be written")
	}
	return nil
}

// compileSafe takes the safe state as a value of the channel.
func (p *point) compileSafe() (err error) {
	if p.Safe == "" {
		return nil
	}
	if !p.Writable {
		return errors.New("safe: only for what is writable")
	}
	switch p.kind {
	case drivers.KindBool:
		if p.Safe != "on" && p.Safe != "off" {
			return fmt.Errorf("safe: %q is neither on nor off", p.Safe)
		}
		p.safe = drivers.Bool(p.Safe == "on")
	case drivers.KindEnum:
		p.safe = drivers.Enum(p.Safe)
	default:
		n, err := drivers.ParseNumber(p.Safe)
		if err == nil && p.kind != drivers.KindNumber {
			given := n
			if n, err = n.Rescale(0); err == nil && n.Cmp(given) != 0 {
				err = fmt.Errorf("%s is not a whole number", given)
			}
		}
		if err == nil && p.bounded && (n.Cmp(p.min) < 0 || n.Cmp(p.max) > 0) {
			err = fmt.Errorf("%s is not in %s..%s", n, p.min, p.max)
		}
		if err != nil {
			return fmt.Errorf("safe: %w", err)
		}
		switch p.kind {
		case drivers.KindInt:
			p.safe = drivers.Int(int32(n.Mant))
		case drivers.KindLong:
			p.safe = drivers.Long(n.Mant)
		default:
			p.safe = drivers.Decimal(n)
		}
	}
	if _, err = p.encode(p.safe); err != nil {
		return fmt.Errorf("safe: %w", err)
	}
	return nil
}

// scaled is raw × scale + offset.
func (p *point) scaled(raw drivers.Number) (drivers.Number, error) {
	n, err := raw.Mul(p.scale)
	if err != nil || p.offset.Mant == 0 {
		return n, err
	}
	return n.Add(p.offset)
}

// swap brings registers from or into the order of the wire.
func (p *point) swap(regs []uint16) []uint16 {
	out := make([]uint16, len(regs))
	for i, r := range regs {
		j := i
		if p.Order == "cdab" || p.Order == "dcba" {
			j = len(regs) - 1 - i
		}
		if p.Order == "badc" || p.Order == "dcba" {
			r = r<<8 | r>>8
		}
		out[j] = r
	}
	return out
}

// raw is the register's value as one unsigned number.
func (p *point) raw(regs []uint16) uint64 {
	var v uint64
	for _, r := range p.swap(regs) {
		v = v<<16 | uint64(r)
	}
	return v
}

// value turns registers into a value; exp is the power of ten of scale_from.
func (p *point) value(regs []uint16, exp int64) (drivers.Value, error) {
	if p.Type == "string" {
		return p.text(regs)
	}
	raw := p.raw(regs)
	if p.hasInvalid && raw == p.invalid {
		return drivers.Value{}, ErrNoValue
	}
	if p.width > 0 {
		raw = raw >> p.lo & (math.MaxUint64 >> (64 - p.width))
		if p.kind == drivers.KindBool {
			return drivers.Bool(raw != 0), nil
		}
	}
	if p.Type == "float32" || p.Type == "float64" {
		return p.float(raw)
	}
	n, err := p.whole(raw)
	if err != nil {
		return drivers.Value{}, err
	}
	if p.kind == drivers.KindEnum {
		for _, v := range p.Values {
			if v.Raw == n.Mant {
				return drivers.Enum(v.Name), nil
			}
		}
		return drivers.Value{}, garbage("raw value %d has no name", n.Mant)
	}
	if exp < -18 || exp > 18 {
		return drivers.Value{}, garbage("scale factor 10^%d", exp)
	}
	n.Exp += int32(exp)
	if n, err = p.scaled(n); err != nil {
		return drivers.Value{}, err
	}
	switch p.kind {
	case drivers.KindInt:
		return drivers.Int(int32(n.Mant)), nil
	case drivers.KindLong:
		return drivers.Long(n.Mant), nil
	}
	return drivers.Decimal(n), nil
}

// whole interprets raw as the whole number that the type says.
func (p *point) whole(raw uint64) (drivers.Number, error) {
	switch p.Type {
	case "int16":
		return drivers.Num(int64(int16(raw)), 0), nil
	case "int32":
		return drivers.Num(int64(int32(raw)), 0), nil
	case "int64":
		return drivers.Num(int64(raw), 0), nil
	case "bcd16", "bcd32":
		n := int64(0)
		for shift := 16*p.size - 4; shift >= 0; shift -= 4 {
			d := int64(raw >> shift & 15)
			if d > 9 {
				return drivers.Number{}, garbage("0x%x is not binary coded decimal", raw)
			}
			n = 10*n + d
		}
		return drivers.Num(n, 0), nil
	}
	if raw > math.MaxInt64 {
		return drivers.Number{}, fmt.Errorf("raw value %d: %w", raw, drivers.ErrRange)
	}
	return drivers.Num(int64(raw), 0), nil
}

func (p *point) float(raw uint64) (drivers.Value, error) {
	f, bits := math.Float64frombits(raw), 64
	if p.Type == "float32" {
		f, bits = float64(math.Float32frombits(uint32(raw))), 32
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return drivers.Value{}, ErrNoValue
	}
	// The shortest decimal number that is this float: 230.1 and not
	// 230.10000610351562.
	n, err := p.decimal(strconv.FormatFloat(f, 'e', -1, bits))
	if errors.Is(err, drivers.ErrRange) {
		// The 17 digits that a float64 may have leave no room for a scale, nor
		// for zeros in front: twelve, and twelve decimals, do.
		format, digits := byte('e'), 11
		if math.Abs(f) < 1 {
			format, digits = 'f', 12
		}
		n, err = p.decimal(strconv.FormatFloat(f, format, digits, bits))
	}
	if err == nil && p.Decimals >= 0 {
		n, err = n.Rescale(-p.Decimals)
	}
	if err == nil && n.Exp > 0 {
		n, err = n.Rescale(0)
	}
	return drivers.Decimal(n), err
}

func (p *point) decimal(text string) (drivers.Number, error) {
	n, err := drivers.ParseNumber(text)
	if err != nil {
		return n, err
	}
	if n.Mant == 0 {
		n.Exp = 0
	}
	return p.scaled(n)
}

// text cuts a string at its first NUL and drops trailing spaces.
func (p *point) text(regs []uint16) (drivers.Value, error) {
	b := make([]byte, 0, 2*len(regs))
	for _, r := range regs {
		if p.Order == "badc" || p.Order == "dcba" {
			r = r<<8 | r>>8
		}
		b = binary.BigEndian.AppendUint16(b, r)
	}
	s, _, _ := strings.Cut(string(b), "\x00")
	s = strings.TrimRight(s, " ")
	for _, c := range s {
		if c < ' ' || c == 0xfffd {
			return drivers.Value{}, garbage("text % x holds control characters", head(b))
		}
	}
	return drivers.String(s), nil
}

// encode is the way back: the raw value of v, or drivers.ErrValue.
func (p *point) encode(v drivers.Value) (uint64, error) {
	refuse := func(why string) (uint64, error) {
		return 0, fmt.Errorf("%q: %s: %w", v, why, drivers.ErrValue)
	}
	switch p.kind {
	case drivers.KindBool:
		on, ok := v.Bool()
		if !ok {
			return refuse("not a boolean")
		}
		if on {
			return 1, nil
		}
		return 0, nil
	case drivers.KindEnum:
		s, ok := v.Text()
		for _, e := range p.Values {
			if ok && e.Name == s {
				return p.fromWhole(e.Raw), nil
			}
		}
		return refuse("none of the names of this register")
	}
	n, ok := v.Number()
	if !ok {
		return refuse("not a number")
	}
	if p.bounded && (n.Cmp(p.min) < 0 || n.Cmp(p.max) > 0) {
		return refuse(fmt.Sprintf("not in %s..%s", p.min, p.max))
	}
	if p.Type == "float32" || p.Type == "float64" {
		return p.fromFloat(n)
	}
	off, err := p.offset.Neg()
	if err == nil {
		n, err = n.Add(off)
	}
	if err != nil {
		return refuse("out of range")
	}
	q, exact, err := n.Quo(p.scale, 0)
	if err != nil {
		return refuse("out of range")
	}
	if !exact {
		return refuse("finer than the register's step of " + p.scale.String())
	}
	if lo, hi := p.limits(); q.Cmp(lo) < 0 || q.Cmp(hi) > 0 {
		return refuse("does not fit into the register")
	}
	return p.fromWhole(q.Mant), nil
}

func (p *point) fromWhole(n int64) uint64 {
	if !strings.HasPrefix(p.Type, "bcd") {
		return uint64(n) & p.mask()
	}
	var raw uint64
	for shift := 0; n > 0; shift += 4 {
		raw |= uint64(n%10) << shift
		n /= 10
	}
	return raw
}

func (p *point) fromFloat(n drivers.Number) (uint64, error) {
	f := (n.Float64() - p.offset.Float64()) / p.scale.Float64()
	if p.Type == "float64" {
		return math.Float64bits(f), nil
	}
	g := float32(f)
	if math.IsInf(float64(g), 0) {
		return 0, fmt.Errorf("%s does not fit into a float32: %w", n, drivers.ErrValue)
	}
	return uint64(math.Float32bits(g)), nil
}

// registers splits a raw value into registers in the order of the wire.
func (p *point) registers(raw uint64) []uint16 {
	regs := make([]uint16, p.size)
	for i := range regs {
		regs[i] = uint16(raw >> (16 * (p.size - 1 - i)))
	}
	return p.swap(regs)
}

func (p *point) channel() drivers.Channel {
	c := drivers.Channel{Name: p.Name, Kind: p.kind, Unit: p.Unit, Doc: p.Doc, Writable: p.Writable, Safe: p.safe}
	if c.Doc == "" {
		c.Doc = fmt.Sprintf("%s register %d", p.table, p.Address)
	}
	if p.Writable && p.bounded {
		c.Min, c.Max, c.HasMin, c.HasMax = p.min, p.max, true, true
	}
	for _, v := range p.Values {
		c.Options = append(c.Options, v.Name)
	}
	return c
}
