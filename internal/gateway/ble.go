package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"postern/drivers"
	"postern/drivers/ble"
	"postern/drivers/ble/virtual"
	"postern/internal/config"
)

// broadcaster is a kind heard or connected to by a Bluetooth adapter; its
// configuration has the fields Bus and Address.
func broadcaster[C any, D described](name, doc string, open func(context.Context, *ble.Radio, C) (D, error), sim func(C) *virtual.Device) kind {
	return onRadio(base[C](name, doc, "ble"),
		func(ctx context.Context, r *ble.Radio, cfg any) (described, error) { return open(ctx, r, *cfg.(*C)) },
		func(cfg any) *virtual.Device { return sim(*cfg.(*C)) })
}

func onRadio(k kind, open func(context.Context, *ble.Radio, any) (described, error), sim func(any) *virtual.Device) kind {
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		r, err := e.bleRadio(textField(cfg, "Bus"), textField(cfg, "Address"), func() *virtual.Device { return sim(cfg) })
		if err != nil {
			return nil, err
		}
		return device(open(ctx, r, cfg))
	}
	return k.describing()
}

// radios are the adapters of a plant or a bench. They start when the first
// device needs them, so that a machine without Bluetooth devices has none.
type radios map[string]*radio

type radio struct {
	*ble.Radio
	config ble.AdapterConfig
	air    *virtual.Air // of a simulated one
	taken  map[string]bool
}

func (p *plant) bleRadio(name, _ string, _ func() *virtual.Device) (*ble.Radio, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.ble[name]; r != nil {
		return r.Radio, nil
	}
	c, ok := p.named[name].Config.(*ble.AdapterConfig)
	if !ok {
		return nil, fmt.Errorf("there is no Bluetooth adapter %q in the section buses", name)
	}
	r, err := ble.OpenRadio(*c, p.log.With("bus", name))
	if err != nil {
		return nil, fmt.Errorf("bus %s: %w", name, err)
	}
	p.ble[name] = &radio{Radio: r, config: *c}
	return r, nil
}

// drop closes the adapters that a new configuration has no more, or changed.
func (r radios) drop(named map[string]config.Bus, log *slog.Logger) {
	for name, x := range r {
		if c, ok := named[name].Config.(*ble.AdapterConfig); ok && *c == x.config {
			continue
		}
		if err := x.Close(); err != nil {
			log.Warn("an adapter was not closed cleanly", "bus", name, "err", err)
		}
		delete(r, name)
	}
}

// close closes all.
func (r radios) close() (errs []error) {
	for name, x := range r {
		errs = append(errs, x.Close())
		delete(r, name)
	}
	return errs
}

func (b *bench) bleRadio(name, address string, sim func() *virtual.Device) (*ble.Radio, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.ble[name]
	if r == nil {
		air := &virtual.Air{Every: time.Second}
		open := func() (io.ReadWriteCloser, error) {
			return virtual.NewController(air, [6]byte{0xc0, 0, 0, 0, 0, 1}), nil
		}
		cfg := ble.AdapterConfig{Adapter: "hci0", Scan: "passive", Silence: time.Minute}
		r = &radio{Radio: ble.NewRadio(cfg, open, slog.New(slog.DiscardHandler)), air: air, taken: map[string]bool{}}
		b.ble[name] = r
	}
	if !r.taken[address] {
		r.air.Add(sim())
		r.taken[address] = true
	}
	return r.Radio, nil
}

func (paper) bleRadio(string, string, func() *virtual.Device) (*ble.Radio, error) {
	return &ble.Radio{}, nil
}
