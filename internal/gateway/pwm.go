package gateway

import (
	"context"
	"fmt"

	"postern/drivers"
	"postern/drivers/pwm"
)

// pwmOutput is the kind of the kernel's PWM channels.
func pwmOutput(name, doc string) kind {
	k := base[pwm.Config](name, doc, "")
	k.open = func(ctx context.Context, e env, cfg any) (drivers.Device, error) {
		return device(e.pwmChannel(ctx, *cfg.(*pwm.Config)))
	}
	k.Claims = func(cfg any) (what, key string) { return pwmPlace(*cfg.(*pwm.Config)), "channel" }
	return k.describing()
}

func pwmPlace(c pwm.Config) string { return fmt.Sprintf("PWM channel %d of %s", c.Channel, c.Chip) }

func (p *plant) pwmChannel(ctx context.Context, cfg pwm.Config) (*pwm.Device, error) {
	return pwm.Open(ctx, cfg)
}

func (b *bench) pwmChannel(_ context.Context, cfg pwm.Config) (*pwm.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	place := pwmPlace(cfg)
	if b.pwm[place] == nil {
		b.pwm[place] = new(pwm.Sim)
	}
	return pwm.OpenSim(b.pwm[place], cfg)
}
