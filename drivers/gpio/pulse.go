package gpio

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/drivers"
)

// PulseConfig is the configuration of a pulse output: the S0 interface of an
// energy meter, a water meter, a flow sensor, an anemometer.
type PulseConfig struct {
	Line      string        `yaml:"line" doc:"GPIO line: chip label, colon, line name or offset; on boards with a known header also a name such as pin 11 or GPIO17" example:"pinctrl-bcm2711:GPIO17"`
	ActiveLow bool          `yaml:"active_low" default:"true" doc:"a pulse pulls the line low, as S0 outputs and reed contacts do"`
	Bias      string        `yaml:"bias" default:"pull-up" oneof:"as-is|pull-up|pull-down|disabled" doc:"resistor inside the chip"`
	Debounce  time.Duration `yaml:"debounce" default:"2ms" min:"0s" max:"1s" doc:"a level counts once it is stable for this long; S0 pulses last at least 30 ms"`
	PerPulse  string        `yaml:"per_pulse" default:"1" doc:"amount of one pulse in the unit: 0.001 for 1000 pulses per kWh" example:"0.001"`
	Unit      string        `yaml:"unit" default:"" doc:"unit of the amount" example:"kWh"`
	Start     string        `yaml:"start" default:"0" doc:"reading of the meter when it was connected"`
	RateUnit  string        `yaml:"rate_unit,omitempty" doc:"unit of the rate; without it there is no rate" example:"kW"`
	RateOf    time.Duration `yaml:"rate_of" default:"1h" min:"1s" max:"24h" doc:"time that the rate is about: 1h makes kWh to kW and m³ to m³/h, 1s pulses to Hz"`
}

// Validate reports what the tags cannot express.
func (c PulseConfig) Validate() error {
	if err := (ContactConfig{Line: c.Line, Bias: c.Bias}).Validate(); err != nil {
		return err
	}
	per, err := drivers.ParseNumber(c.PerPulse)
	if err != nil || per.Mant <= 0 {
		return fmt.Errorf("per_pulse: %q is not a number above 0", c.PerPulse)
	}
	if _, err := drivers.ParseNumber(c.Start); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if c.RateUnit != "" && c.RateOf <= 0 {
		return fmt.Errorf("rate_of: %v is not above 0", c.RateOf)
	}
	return nil
}

// Pulse counts pulses into an amount and a rate. It counts in the kernel
// without being woken, so idle meters cost nothing.
type Pulse struct {
	cfg        PulseConfig
	contact    *Contact
	per, start drivers.Number

	mu     sync.Mutex // guards the rate
	count  uint64
	last   time.Time     // of the latest pulse
	period time.Duration // of one pulse, as last measured; 0: not known
}

// OpenPulse makes line an input. The meter owns the line from then on, also
// when OpenPulse fails.
func OpenPulse(ctx context.Context, line Line, cfg PulseConfig) (*Pulse, error) {
	if err := cfg.Validate(); err != nil {
		_ = line.Close()
		return nil, fmt.Errorf("pulse: %w", err)
	}
	c, err := OpenContact(ctx, line, ContactConfig{Line: cfg.Line, ActiveLow: cfg.ActiveLow, Bias: cfg.Bias, Debounce: cfg.Debounce})
	if err != nil {
		return nil, fmt.Errorf("pulse: %w", err)
	}
	p := &Pulse{cfg: cfg, contact: c}
	p.per, _ = drivers.ParseNumber(cfg.PerPulse) // checked by Validate
	p.start, _ = drivers.ParseNumber(cfg.Start)
	return p, nil
}

// Channels implements drivers.Describer.
func (p *Pulse) Channels() []drivers.Channel {
	cs := []drivers.Channel{
		{Name: "total", Kind: drivers.KindNumber, Unit: p.cfg.Unit, Doc: "amount since the start, on top of the configured reading"},
		{Name: "count", Kind: drivers.KindLong, Doc: "pulses since the start"},
	}
	if p.cfg.RateUnit != "" {
		cs = append(cs, drivers.Channel{Name: "rate", Kind: drivers.KindNumber, Unit: p.cfg.RateUnit, Doc: "amount per time, from the distance of the latest pulses"})
	}
	return cs
}

// Read implements drivers.Device.
func (p *Pulse) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	_, n, last, err := p.contact.sense()
	if err != nil {
		return dst, fmt.Errorf("pulse: %w", err)
	}
	now := time.Now()
	total, err := drivers.Num(int64(n), 0).Mul(p.per)
	if err == nil {
		total, err = total.Add(p.start)
	}
	if err != nil {
		return dst, fmt.Errorf("pulse: total: %w", err)
	}
	dst = append(dst,
		drivers.Sample{Channel: "total", Value: drivers.Decimal(total), Unit: p.cfg.Unit, Time: now},
		drivers.Sample{Channel: "count", Value: drivers.Long(int64(n)), Time: now},
	)
	if p.cfg.RateUnit != "" {
		dst = append(dst, p.rate(n, last, now))
	}
	return dst, nil
}

// rate is that of the pulses since the reading before: their number by the
// time between the first and the last of them. Without a new one it is at most
// what the silence since the last one leaves, and falls to zero.
func (p *Pulse) rate(n uint64, last, now time.Time) drivers.Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.count && !last.IsZero() {
		if !p.last.IsZero() && last.After(p.last) {
			p.period = last.Sub(p.last) / time.Duration(n-p.count)
		}
		p.count, p.last = n, last
	}
	s := drivers.Sample{Channel: "rate", Unit: p.cfg.RateUnit, Time: now}
	period := p.period
	if !p.last.IsZero() {
		period = max(period, now.Sub(p.last))
	}
	if p.period == 0 || now.Sub(p.last) > 20*p.period && now.Sub(p.last) > time.Minute {
		// Nothing is known yet, or it has stopped: no flow.
		s.Value = drivers.Decimal(drivers.Num(0, -3))
		return s
	}
	v, err := drivers.FromFloat(p.per.Float64()*float64(p.cfg.RateOf)/float64(period), 3)
	if err != nil {
		s.Unit, s.Err = "", fmt.Errorf("pulse: rate: %w", err)
		return s
	}
	s.Value = drivers.Decimal(v)
	return s
}

// Close implements drivers.Device.
func (p *Pulse) Close() error { return p.contact.Close() }

var (
	_ drivers.Device    = (*Pulse)(nil)
	_ drivers.Describer = (*Pulse)(nil)
)
