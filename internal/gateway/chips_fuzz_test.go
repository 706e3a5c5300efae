package gateway

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/physic"

	"postern/drivers/i2c"
	"postern/internal/config"
)

// babble is a bus at which each chip answers with the same octets over and
// over, whatever it was asked.
type babble struct {
	says []byte
	at   int
}

func (b *babble) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = b.says[b.at%len(b.says)]
		b.at++
	}
	return nil
}

func (*babble) SetSpeed(physic.Frequency) error { return nil }
func (*babble) String() string                  { return "babble" }

// babbling is a bench with such a bus.
type babbling struct {
	paper
	bus *babble
}

func (b babbling) i2cBus(string, uint16, func() i2c.Slave) (i2c.Bus, error) { return b.bus, nil }

// FuzzEveryChip lets the driver of each I2C chip read octets of any kind, the
// calibration of sensors among them: whatever comes, a reading ends, with one
// sample for each channel or an error.
func FuzzEveryChip(f *testing.F) {
	var chips []kind
	for _, k := range kinds() {
		if k.Bus == "i2c" {
			chips = append(chips, k)
		}
	}
	for i := range chips {
		for _, id := range []byte{0x00, 0x50, 0x55, 0x58, 0x60, 0x61, 0xff} {
			f.Add(uint8(i), []byte{id})
		}
		f.Add(uint8(i), []byte{0xbe, 0xef, 0x92}) // a word and its checksum
		f.Add(uint8(i), []byte{0x01, 0x17, 0x54, 0x49, 0x22, 0x60})
	}
	f.Fuzz(func(t *testing.T, which uint8, says []byte) {
		if len(says) == 0 || len(says) > 512 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			k := chips[int(which)%len(chips)]
			cfg := k.New()
			config.Defaults(cfg)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			d, err := k.open(ctx, babbling{paper{newBench()}, &babble{says: says}}, cfg)
			if err != nil {
				return
			}
			for range 2 {
				got, err := d.Read(ctx, nil)
				if want := len(d.(described).Channels()); err == nil && len(got) != want || err != nil && len(got) != 0 {
					t.Errorf("%s: %d samples of %d, %v", k.Name, len(got), want, err)
				}
				for _, s := range got {
					_ = fmt.Sprint(s.Value)
				}
			}
			if ctx.Err() != nil {
				t.Errorf("%s: a reading does not end", k.Name)
			}
			if err := d.Close(); err != nil {
				_ = err // an output cannot be made safe on such a bus
			}
		})
	})
}
