package outbox

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// state of a subscriber in the store.
type state struct {
	ID uint32
}

var (
	states = store.Bucket[state]{Name: "outbox-subscribers"}
	runs   = store.Bucket[run]{Name: "outbox-run"}
)

// subscriberPrefix marks names of subscribers among the keys to remove.
const subscriberPrefix = "jid:"

// run is the gateway's run that wrote last.
type run struct {
	Boot  string
	At    time.Time // of the last commit
	Clean bool      // nothing was left uncommitted
}

// load fills in what Open finds.
func (o *Outbox) load() error {
	var before run
	var ran bool
	err := o.cfg.DB.View(func(tx *store.Tx) error {
		byID := map[uint32]*subscriber{}
		for e := range states.All(tx, "") {
			if e.Err != nil {
				o.cfg.Logger.Warn("a subscriber is lost", "err", e.Err)
				continue
			}
			s := o.enter(e.Key, e.Value.ID)
			s.stored = true
			byID[s.id] = s
		}
		for e := range bucket.All(tx, "") {
			o.loadEntry(byID, e)
		}
		var err error
		before, ran, err = runs.Get(tx, "last")
		if err != nil {
			o.cfg.Logger.Warn("how the last run ended is not known", "err", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range o.subs {
		for c := range s.lanes {
			slices.SortStableFunc(s.lanes[c], func(a, b *entry) int { return cmp.Compare(a.order, b.order) })
		}
		if ran && !before.Clean {
			since := before.At
			if o.cfg.Alive != nil {
				if at := o.cfg.Alive(); at.After(since) {
					since = at
				}
			}
			o.append(&entry{sub: s, class: Alarm, at: since.UnixMilli(),
				gap: &Gap{Why: WhyRestart, Class: Momentary, From: since, To: o.cfg.Now()}})
		}
	}
	return nil
}

// loadEntry takes over an entry of the store.
func (o *Outbox) loadEntry(byID map[uint32]*subscriber, x store.Entry[record]) {
	if x.Err != nil || len(x.Key) != entryKeyLen {
		o.cfg.Logger.Warn("a message that waits for a subscriber is lost", "err", x.Err)
		o.removed = append(o.removed, x.Key)
		return
	}
	id, class, order := parseKey(x.Key)
	s := byID[id]
	if s == nil || class >= classes {
		o.removed = append(o.removed, x.Key)
		return
	}
	r := &x.Value
	e := &entry{sub: s, class: class, order: order, seq: Seq{r.Boot, r.N}, at: r.At, need: r.Need, text: r.Text, ref: r.Ref, gap: r.Gap, stored: true}
	o.order = max(o.order, order)
	o.place(e)
}

// hexDigits reads a number of a key; what is no digit makes it too large to fit
// anything.
func hexDigits(s string) (n uint64) {
	for _, c := range []byte(s) {
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 {
			return 1<<64 - 1
		}
		n = n<<4 | uint64(d)
	}
	return n
}

func parseKey(k string) (id uint32, class Class, order uint64) {
	return uint32(hexDigits(k[:8])), Class(k[8] - '0'), hexDigits(k[9:])
}

// Flush commits everything; what ended in order is known to be whole.
func (o *Outbox) Flush() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.commitLocked(true)
}

func (o *Outbox) commit() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.commitLocked(false)
}

// commitLocked writes what changed. writing is held.
func (o *Outbox) commitLocked(clean bool) error {
	if o.cfg.DB == nil {
		return nil
	}
	repairs := o.cfg.DB.Repairs()
	o.mu.Lock()
	// A repaired store may have lost what it had.
	all := repairs != o.repairs
	removed := o.removed
	var fresh []*entry
	var subs []*subscriber
	for _, s := range o.subs {
		if !s.stored || all {
			subs = append(subs, s)
		}
		for e := range s.all() {
			if !e.stored || e.again || all {
				fresh = append(fresh, e)
			}
		}
	}
	recs := make([]record, len(fresh))
	for i, e := range fresh {
		recs[i] = e.record()
		if g := e.gap; g != nil {
			c := *g // it may grow meanwhile
			recs[i].Gap = &c
		}
	}
	dirty, some := o.dirty, len(o.subs) > 0
	note := some && (clean || !o.noted || all)
	o.removed, o.dirty, o.urgent = nil, time.Time{}, false
	o.mu.Unlock()
	if len(removed)+len(fresh)+len(subs) == 0 && !note && (o.src == nil || !o.src.Unsaved()) {
		return nil // all that came was delivered before it was due
	}
	now := o.cfg.Now()
	saved := func() {}
	err := o.cfg.DB.Update(func(tx *store.Tx) error {
		if err := write(tx, removed, subs, fresh, recs); err != nil {
			return err
		}
		if o.src != nil {
			var err error
			if saved, err = o.src.Save(tx); err != nil {
				return err
			}
		}
		if !note && !some {
			return nil // nobody to tell about a run that does not end in order
		}
		return runs.Put(tx, "last", run{o.boot, now, clean})
	})
	if err == nil {
		saved()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = err
	if err != nil {
		o.removed = append(removed, o.removed...)
		if o.dirty.IsZero() || dirty.Before(o.dirty) {
			o.dirty = dirty
		}
		return err
	}
	o.last, o.noted, o.repairs = now, some && !clean, repairs
	for _, s := range subs {
		s.stored = true
	}
	for i, e := range fresh {
		switch {
		case e.gone:
			o.removed = append(o.removed, e.key())
			o.changed(false)
		case e.gap != nil && *e.gap != *recs[i].Gap:
			e.stored, e.again = true, true
			o.changed(false)
		default:
			e.stored, e.again = true, false
		}
		if e.class == History {
			e.sub.nudge()
		}
	}
	return nil
}

// nudge wakes the courier without asking the Source again.
func (s *subscriber) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func write(tx *store.Tx, removed []string, subs []*subscriber, fresh []*entry, recs []record) error {
	for _, k := range removed {
		if bare, ok := strings.CutPrefix(k, subscriberPrefix); ok {
			if err := states.Delete(tx, bare); err != nil {
				return err
			}
			continue
		}
		if err := bucket.Delete(tx, k); err != nil {
			return err
		}
	}
	for _, s := range subs {
		if err := states.Put(tx, s.bare, state{ID: s.id}); err != nil {
			return err
		}
	}
	for i, e := range fresh {
		if err := bucket.Put(tx, e.key(), recs[i]); err != nil {
			return err
		}
	}
	return nil
}
