package modbus

import (
	"cmp"
	"math"
	"strings"
	"sync"
	"time"

	"postern/drivers"
)

// Image is what a simulated unit holds: the four tables. Addresses that were
// never set do not exist. It is safe for concurrent use; modbus/slave serves
// it.
type Image struct {
	mu    sync.Mutex
	bits  [2]map[uint16]bool   // coils, discretes
	words [2]map[uint16]uint16 // inputs, holdings
	moves []move
}

// move is a register of the image that drifts by itself.
type move struct {
	point *point
	drift drivers.Drift
	count bool // only upwards: a counter that gains drift.Base an hour
	start time.Time
}

// NewImage returns a unit without any address.
func NewImage() *Image {
	return &Image{
		bits:  [2]map[uint16]bool{{}, {}},
		words: [2]map[uint16]uint16{{}, {}},
	}
}

// SetBits makes coils or discrete inputs exist and gives them values.
func (m *Image) SetBits(t Table, addr uint16, bits ...bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range bits {
		m.bits[t][addr+uint16(i)] = b
	}
}

// SetRegisters makes input or holding registers exist and gives them values.
func (m *Image) SetRegisters(t Table, addr uint16, regs ...uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(t, addr, regs)
}

func (m *Image) set(t Table, addr uint16, regs []uint16) {
	for i, r := range regs {
		m.words[t-Inputs][addr+uint16(i)] = r
	}
}

// Bits returns n coils or discrete inputs; ok is false when one of them does
// not exist.
func (m *Image) Bits(t Table, addr uint16, n int) (bits []bool, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n {
		b, ok := m.bits[t][addr+uint16(i)]
		if !ok || int(addr)+i > math.MaxUint16 {
			return nil, false
		}
		bits = append(bits, b)
	}
	return bits, true
}

// Registers returns n input or holding registers; ok is false when one of them
// does not exist.
func (m *Image) Registers(t Table, addr uint16, n int) (regs []uint16, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drift(time.Now())
	for i := range n {
		r, ok := m.words[t-Inputs][addr+uint16(i)]
		if !ok || int(addr)+i > math.MaxUint16 {
			return nil, false
		}
		regs = append(regs, r)
	}
	return regs, true
}

func (m *Image) drift(now time.Time) {
	for _, v := range m.moves {
		x := v.drift.At(now)
		if v.count {
			x = v.drift.Base*now.Sub(v.start).Hours() + v.drift.Amplitude
		}
		if regs, ok := v.point.simulated(x); ok {
			m.set(v.point.table, uint16(v.point.Address), regs)
		}
	}
}

// simulated returns the registers for the quantity x.
func (p *point) simulated(x float64) ([]uint16, bool) {
	raw := (x - p.offset.Float64()) / p.scale.Float64()
	switch p.Type {
	case "float32":
		return p.registers(uint64(math.Float32bits(float32(raw)))), true
	case "float64":
		return p.registers(math.Float64bits(raw)), true
	}
	lo, hi := p.limits()
	n := min(max(math.Round(raw), lo.Float64()), hi.Float64())
	if n >= math.MaxInt64 {
		return nil, false
	}
	v := p.fromWhole(int64(n))
	if p.hasInvalid && v == p.invalid {
		v ^= 1
	}
	return p.registers(v << p.lo), true
}

// Typical quantities by unit. Counters of energy and volume grow.
var typical = map[string]drivers.Drift{
	"V":    {Base: 230.5, Amplitude: 3, Period: 7 * time.Minute},
	"A":    {Base: 4.2, Amplitude: 1.5, Period: 3 * time.Minute},
	"W":    {Base: 950, Amplitude: 300, Period: 3 * time.Minute},
	"kW":   {Base: 0.95, Amplitude: 0.3, Period: 3 * time.Minute},
	"VA":   {Base: 1010, Amplitude: 300, Period: 3 * time.Minute},
	"var":  {Base: 210, Amplitude: 90, Period: 3 * time.Minute},
	"Hz":   {Base: 50, Amplitude: 0.02, Period: time.Minute},
	"°C":   {Base: 21, Amplitude: 1.5, Period: 30 * time.Minute},
	"%":    {Base: 48, Amplitude: 9, Period: 20 * time.Minute},
	"%RH":  {Base: 45, Amplitude: 5, Period: 40 * time.Minute},
	"hPa":  {Base: 1013, Amplitude: 4, Period: 6 * time.Hour},
	"bar":  {Base: 2.4, Amplitude: 0.2, Period: 10 * time.Minute},
	"m³/h": {Base: 1.2, Amplitude: 0.4, Period: 5 * time.Minute},
}

var growing = map[string]drivers.Drift{ // per hour, from
	"kWh": {Base: 0.95, Amplitude: 12345.6},
	"Wh":  {Base: 950, Amplitude: 12345600},
	"MWh": {Base: 0.00095, Amplitude: 12.3},
	"m³":  {Base: 0.12, Amplitude: 678.9},
	"h":   {Base: 1, Amplitude: 4321},
}

// Simulate returns a unit that has the registers of cfg with plausible values
// that drift; what is writable holds what is written to it. Unused addresses
// between them can be read and are zero. It returns an empty unit for a
// configuration that Open refuses.
func Simulate(cfg Config) *Image {
	m := NewImage()
	points, err := compile(cfg.Registers)
	if err != nil {
		return m
	}
	cfg.MaxRegisters, cfg.MaxBits = cmp.Or(cfg.MaxRegisters, maxReadRegisters), cmp.Or(cfg.MaxBits, maxReadBits)
	for _, b := range plan(points, all(points), cfg) {
		if b.Table.Bits() {
			m.SetBits(b.Table, uint16(b.Address), make([]bool, b.Count)...)
		} else {
			m.SetRegisters(b.Table, uint16(b.Address), make([]uint16, b.Count)...)
		}
	}
	powers := map[int]bool{}
	for i := range points {
		powers[points[i].scaleFrom] = true
	}
	start := time.Now()
	for i := range points {
		p := &points[i]
		switch {
		case p.table.Bits(), powers[i]:
		case p.Type == "string":
			m.simulateText(p)
		case p.kind == drivers.KindEnum:
			m.SetRegisters(p.table, uint16(p.Address), p.registers(p.fromWhole(p.Values[0].Raw)<<p.lo)...)
		case p.Writable:
			if regs, ok := p.simulated(middle(p)); ok {
				m.SetRegisters(p.table, uint16(p.Address), regs...)
			}
		case p.width == 0:
			m.simulateNumber(p, start)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drift(start)
	return m
}

// middle is a value within what may be written.
func middle(p *point) float64 {
	if p.Min == "" && p.Max == "" {
		return p.offset.Float64()
	}
	return (p.min.Float64() + p.max.Float64()) / 2
}

func (m *Image) simulateNumber(p *point, start time.Time) {
	if d, ok := growing[p.Unit]; ok {
		m.moves = append(m.moves, move{point: p, drift: d, count: true, start: start})
		return
	}
	d, ok := typical[p.Unit]
	if !ok {
		// Not near a limit of the register, and changing by some steps.
		step := p.scale.Float64()
		d = drivers.Drift{Base: p.offset.Float64() + 100*step, Amplitude: 10 * step, Period: 5 * time.Minute}
	}
	d.Phase = float64(p.Address%10) / 10
	m.moves = append(m.moves, move{point: p, drift: d, start: start})
}

func (m *Image) simulateText(p *point) {
	text := strings.ToUpper(p.Name)
	text += strings.Repeat("\x00", max(2*p.size-len(text), 0))
	regs := make([]uint16, p.size)
	for i := range regs {
		regs[i] = uint16(text[2*i])<<8 | uint16(text[2*i+1])
		if p.Order == "badc" || p.Order == "dcba" {
			regs[i] = regs[i]<<8 | regs[i]>>8
		}
	}
	m.SetRegisters(p.table, uint16(p.Address), regs...)
}
