// Package history keeps what the gateway measured: every reading, compressed,
// in blocks that a group of readings is committed in, and what the minutes,
// hours and days came to. XEP-0323's historical values are served from it.
//
// A power cut loses at most the readings since the last commit: Config.Online
// or Config.Offline worth of them. Alarms are committed at once.
package history

import (
	"errors"
	"log/slog"
	"time"

	"postern/internal/node"
	"postern/internal/store"
)

// Config says what is kept and how. Zero fields take the default in brackets.
type Config struct {
	DB *store.DB // required
	// Online tells whether the gateway is connected; nil: never. While it is,
	// whoever subscribes has the readings too, so they are committed less often.
	Connected func() bool
	// Online and Offline are the intervals between commits while the gateway is
	// connected and while it is not: what a power cut may lose [5 min, 30 s].
	Online, Offline time.Duration
	// Raw, Minute, Hour and Day are how long readings and roll-ups are kept
	// [90, 400 and 4000 days, for ever].
	Raw, Minute, Hour, Day time.Duration
	// Cap bounds the history's part of the store in octets, oldest readings
	// dropped first, then the oldest minutes, hours, days [64 MiB]. The file
	// also holds pages that are free; they are used again.
	Cap int64
	// Pending bounds the readings that wait in memory; as many are committed
	// early, and while the disk refuses, twice as many are kept, then the
	// oldest are dropped [100000].
	Pending int
	// Policy says which readings of a field are kept; nil: each of them. It is
	// called under the history's lock.
	Policy func(ref node.Ref, name string) Policy
	// Location is the zone of hours and days [time.Local].
	Location *time.Location
	// ClockSane tells whether the wall clock can be believed. Until then
	// readings wait in memory and get their time afterwards. Nil: always.
	ClockSane func() bool
	Now       func() time.Time // [time.Now]
	Logger    *slog.Logger     // nil discards
}

const day = 24 * time.Hour

func (c Config) checked() (Config, error) {
	if c.DB == nil {
		return c, errors.New("history: Config.DB is missing")
	}
	or := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	or(&c.Online, 5*time.Minute)
	or(&c.Offline, 30*time.Second)
	or(&c.Raw, 90*day)
	or(&c.Minute, 400*day)
	or(&c.Hour, 4000*day)
	if c.Cap <= 0 {
		c.Cap = 64 << 20
	}
	if c.Pending <= 0 {
		c.Pending = 100_000
	}
	if c.Policy == nil {
		c.Policy = func(node.Ref, string) Policy { return Policy{} }
	}
	if c.Connected == nil {
		c.Connected = func() bool { return false }
	}
	if c.ClockSane == nil {
		c.ClockSane = func() bool { return true }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Level is what a record stands for.
type Level uint8

// The levels. What is coarser than a day is put together from days. Readings
// are found in two forms: as committed, and packed, an hour's in one block. These
// have a bucket of their own, since a commit writes the whole page that it adds
// to, with all that is on it.
const (
	packed Level = iota
	Raw
	Minute
	Hour
	Day
	levels
)

// blobs of a level, and the small buckets.
var (
	levelNames = [levels]string{"history-packed", "history", "history-minute", "history-hour", "history-day"}
)

func (l Level) blobs() store.Blobs { return store.Blobs{Name: levelNames[l]} }

const (
	seriesBucket = "history-series"
	marksBucket  = "history-marks"
)

func seriesTable() store.Bucket[series] { return store.Bucket[series]{Name: seriesBucket} }
func marks() store.Bucket[int64]        { return store.Bucket[int64]{Name: marksBucket} }

// keep is how long records of a level are kept; 0 for ever.
func (c *Config) keep(l Level) time.Duration {
	return [levels]time.Duration{c.Raw, c.Raw, c.Minute, c.Hour, c.Day}[l]
}
