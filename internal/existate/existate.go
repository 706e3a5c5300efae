// Package existate keeps EXI configurations (XEP-0322 §2.5) in a program's
// store, so that the quick setup of a stream survives restarts of either end.
package existate

import (
	"log/slog"
	"time"

	"postern/internal/store"
	"postern/xmpp/compress"
)

// Configurations implements compress.Configurations over a store. A store that
// fails costs a full proposal and a line in the log, nothing else. Safe for
// concurrent use.
type Configurations struct {
	db     *store.DB
	bucket store.Bucket[compress.Configuration]
	log    *slog.Logger
	now    func() time.Time
}

// MaxConfigurations bounds what is kept; the ones used longest ago go first.
const MaxConfigurations = 4096

// New returns the configurations in the bucket of that name. log may be nil.
func New(db *store.DB, name string, log *slog.Logger) *Configurations {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Configurations{db: db, bucket: store.Bucket[compress.Configuration]{Name: name}, log: log, now: time.Now}
}

// Configuration implements compress.Configurations.
func (c *Configurations) Configuration(id string) (conf compress.Configuration, ok bool) {
	err := c.db.View(func(tx *store.Tx) (err error) {
		conf, ok, err = c.bucket.Get(tx, id)
		return err
	})
	if err != nil {
		c.log.Warn("an EXI configuration cannot be read; it will be negotiated anew", "err", err)
		return conf, false
	}
	return conf, ok
}

// fresh is how old the note of the last use may be: a device that reconnects
// often must not write to its flash each time.
const fresh = 24 * time.Hour

// Remember implements compress.Configurations.
func (c *Configurations) Remember(id string, conf compress.Configuration) {
	old, ok := c.Configuration(id)
	if ok && conf.Used.Sub(old.Used) < fresh && old.ID == conf.ID && old.Params == conf.Params && len(old.Schemas) == len(conf.Schemas) {
		return
	}
	err := c.db.Update(func(tx *store.Tx) error {
		if err := c.prune(tx); err != nil {
			return err
		}
		return c.bucket.Put(tx, id, conf)
	})
	if err != nil {
		c.log.Warn("an EXI configuration cannot be kept; it will be negotiated anew", "err", err)
	}
}

// prune removes what expired, and the oldest when there are too many.
func (c *Configurations) prune(tx *store.Tx) error {
	var drop []string
	oldest, when, n := "", time.Time{}, 0
	for e := range c.bucket.All(tx, "") {
		n++
		switch {
		case e.Err != nil || c.now().Sub(e.Value.Used) > compress.Expiry:
			drop = append(drop, e.Key)
		case oldest == "" || e.Value.Used.Before(when):
			oldest, when = e.Key, e.Value.Used
		}
	}
	if n-len(drop) >= MaxConfigurations {
		drop = append(drop, oldest)
	}
	for _, id := range drop {
		if err := c.bucket.Delete(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Forget implements compress.Configurations.
func (c *Configurations) Forget(id string) {
	err := c.db.Update(func(tx *store.Tx) error { return c.bucket.Delete(tx, id) })
	if err != nil {
		c.log.Warn("an EXI configuration cannot be forgotten", "err", err)
	}
}
