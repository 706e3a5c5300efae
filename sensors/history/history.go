package history

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
)

// History keeps readings. Make one with Open, hand it the changes of a
// live.Store with Observe, and Run it. It is safe for concurrent use.
type History struct {
	cfg Config

	// writing serialises what changes the store: commits, roll-ups. It is taken
	// before mu.
	writing sync.Mutex
	next    uint64        // number of the next block; writing
	rolled  int64         // roll-ups are done up to here, ms; writing and mu
	dayDone int64         // days are done up to here, ms; writing and mu
	used    [levels]int64 // octets in the store; writing and mu

	urgent chan struct{}

	// landing is held while a group moves from memory into the store, and by
	// readers while they look at both. It is taken after writing, before mu.
	landing sync.RWMutex

	mu      sync.Mutex
	fields  map[field][]*series
	byID    map[uint32]*series
	fresh   []*series // not in the store yet
	buf     group     // not committed
	flying  group     // being committed; still shown to readers
	count   int       // samples in buf
	since   time.Time // when the oldest of buf came
	last    map[field]time.Time
	waiting []undated // until the clock is sane
	stats   Status
	alarms  int // commits at once that are still allowed
}

// undated is a reading from before the clock could be believed.
type undated struct {
	field field
	rd    live.Reading
}

const (
	undatedMost = 20_000
	seriesMost  = 50_000
	// alarmsMost commits may follow each other at once; then one for each
	// Config.Offline: a contact that chatters must not wear out the card.
	alarmsMost = 10
)

// Open reads what the store holds. It starts nothing.
func Open(cfg Config) (*History, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	h := &History{
		cfg: cfg, urgent: make(chan struct{}, 1), alarms: alarmsMost,
		fields: make(map[field][]*series), byID: make(map[uint32]*series),
		buf: make(group), last: make(map[field]time.Time),
	}
	return h, cfg.DB.View(h.load)
}

// load fills in what Open finds.
func (h *History) load(tx *store.Tx) error {
	for e := range seriesTable().All(tx, "") {
		if e.Err != nil {
			h.cfg.Logger.Warn("a series of the history is lost", "err", e.Err)
			continue
		}
		h.enter(&e.Value)
	}
	for l := range levels {
		for c := l.blobs().Cursor(tx, nil); c.Valid(); c.Next() {
			if len(c.Key()) != keyLen {
				continue
			}
			_, number := parseKey(c.Key())
			h.next = max(h.next, number+1)
			h.used[l] += weight(c.Len())
		}
	}
	var err error
	if h.rolled, _, err = marks().Get(tx, "rolled"); err != nil {
		h.cfg.Logger.Warn("roll-ups begin anew", "err", err)
	}
	if h.dayDone, _, err = marks().Get(tx, "day"); err != nil {
		h.cfg.Logger.Warn("days begin anew", "err", err)
	}
	return nil
}

func (h *History) enter(s *series) {
	h.byID[s.ID] = s
	h.fields[s.field()] = append(h.fields[s.field()], s)
}

// Keys are the instant of a block's first sample and a number that no other
// block has.
const keyLen = 16

func makeKey(ms int64, number uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, keyLen), uint64(ms)+1<<63)
	return binary.BigEndian.AppendUint64(k, number)
}

func parseKey(k []byte) (ms int64, number uint64) {
	return int64(binary.BigEndian.Uint64(k) - 1<<63), binary.BigEndian.Uint64(k[8:])
}

// weight is about what a value takes in the file: key, checksum, the place in
// a page, and a share of pages that are not full.
func weight(n int) int64 { return int64(n+keyLen+4+16) * 5 / 4 }

// Observe lets the history follow the store of latest readings until cancel is
// called.
func (h *History) Observe(l *live.Store) (cancel func()) {
	return l.Observe(func(c live.Change) { h.Add(c.Ref, c.Name, c.Old, c.New) })
}

// Add takes a reading. Of a field that keeps failing only the first failure is
// kept. A change of state for the worse or the better is committed at once.
func (h *History) Add(ref node.Ref, name string, old, rd live.Reading) {
	if rd.Value.Kind() == drivers.KindNone || rd.Err != nil && old.Err != nil {
		return
	}
	f := field{ref, name}
	now := h.cfg.Now()
	if rd.Err != nil {
		rd.Time = now // the value's own time is that of the reading before
	}
	const grave = live.Missing | live.Error | live.Warning | live.PowerFailure
	alarm := (old.Quality^rd.Quality)&grave != 0 && old.Quality != 0
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last[f].Equal(rd.Time) {
		return // the same reading again
	}
	h.last[f] = rd.Time
	if !h.cfg.ClockSane() {
		if len(h.waiting) >= undatedMost {
			h.waiting = h.waiting[:copy(h.waiting, h.waiting[1:])]
			h.stats.Lost++
		}
		h.waiting = append(h.waiting, undated{f, rd})
		return
	}
	h.date(now)
	h.put(f, rd, now)
	if alarm || h.count >= h.cfg.Pending {
		select {
		case h.urgent <- struct{}{}:
		default:
		}
	}
}

// date gives the waiting readings their time, now that the clock is sane: the
// monotonic clock tells how long ago they were. mu is held.
func (h *History) date(now time.Time) {
	for _, w := range h.waiting {
		if w.rd.Time != w.rd.Time.Round(0) {
			w.rd.Time = now.Add(w.rd.Time.Sub(now))
			w.rd.Quality &^= live.TimeOffset
		}
		h.put(w.field, w.rd, now)
	}
	h.waiting = nil
}

// put adds a reading to what waits for the next commit. mu is held.
func (h *History) put(f field, rd live.Reading, now time.Time) {
	s := h.series(f, rd)
	if s == nil {
		h.stats.Lost++
		return
	}
	if h.count == 0 {
		h.since = now
	}
	if h.count >= 2*h.cfg.Pending {
		h.shed()
	}
	h.buf.of(s).add(rd.Time.UnixMilli(), rd.Value, rd.Quality)
	h.count++
	h.stats.Samples++
}

// shed drops the older half of what waits. mu is held.
func (h *History) shed() {
	for _, p := range h.buf {
		n := (len(p.times) + 1) / 2
		p.dropFirst(n)
		h.count -= n
		h.stats.Lost += uint64(n)
	}
}

// series returns the series that a reading belongs to. mu is held.
func (h *History) series(f field, rd live.Reading) *series {
	num, _ := rd.Value.Number()
	kind := rd.Value.Kind()
	for _, s := range h.fields[f] {
		if s.Kind == kind && s.Unit == rd.Unit && s.Exp == num.Exp {
			return s
		}
	}
	if len(h.byID) >= seriesMost {
		return nil
	}
	s := &series{Node: f.ref, Name: f.name, Kind: kind, Unit: rd.Unit, Exp: num.Exp, MaxAge: rd.MaxAge}
	for s.ID = uint32(len(h.byID)); h.byID[s.ID] != nil; {
		s.ID++
	}
	h.enter(s)
	h.fresh = append(h.fresh, s)
	return s
}

// Run commits until ctx is done, then commits the rest.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(h.tick())
	defer tick.Stop()
	refill := time.NewTicker(h.cfg.Offline)
	defer refill.Stop()
	failed := false
	for {
		atOnce := false
		select {
		case <-ctx.Done():
			return h.Flush()
		case <-refill.C:
			h.mu.Lock()
			h.alarms = min(h.alarms+1, alarmsMost)
			h.mu.Unlock()
			continue
		case <-h.urgent:
			atOnce = true
		case <-tick.C:
		}
		err := h.step(atOnce)
		if err != nil && !failed {
			h.cfg.Logger.Error("the history cannot be written; readings wait in memory", "err", err)
		} else if err == nil && failed {
			h.cfg.Logger.Info("the history is written again")
		}
		failed = err != nil
	}
}

// tick is how often Run looks; it is taken off the intervals so that these are
// bounds.
func (h *History) tick() time.Duration {
	return max(min(h.cfg.Offline, h.cfg.Online, 20*time.Second)/4, 10*time.Millisecond)
}

// step does what is due.
func (h *History) step(atOnce bool) error {
	now := h.cfg.Now()
	every := h.cfg.Offline
	if h.cfg.Connected() {
		every = h.cfg.Online
	}
	h.mu.Lock()
	if len(h.waiting) > 0 && h.cfg.ClockSane() {
		h.date(now)
	}
	full := h.count >= h.cfg.Pending
	due := h.count > 0 && now.Sub(h.since)+h.tick() >= every
	if atOnce && h.count > 0 && !full && !due && h.alarms > 0 {
		h.alarms--
		due = true
	}
	h.mu.Unlock()
	if due || full {
		if err := h.commit(); err != nil {
			return err
		}
	}
	return h.roll(now)
}

// Flush commits everything, also readings without a time that can be believed.
func (h *History) Flush() error {
	h.mu.Lock()
	now := h.cfg.Now()
	if h.cfg.ClockSane() {
		h.date(now)
	}
	for _, w := range h.waiting {
		w.rd.Quality |= live.TimeOffset
		h.put(w.field, w.rd, now)
	}
	h.waiting = nil
	h.mu.Unlock()
	return h.commit()
}

// commit writes what waits. After an error it waits on.
func (h *History) commit() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.land()
}

// land is commit; writing is held.
func (h *History) land() error {
	h.mu.Lock()
	g, fresh, since := h.buf, h.fresh, h.since
	if h.count == 0 {
		h.mu.Unlock()
		return nil
	}
	h.buf, h.flying, h.fresh, h.count = make(group), g, nil, 0
	// Readers look at flying under mu only, and sorting happens here.
	for _, p := range g {
		p.sort()
	}
	h.mu.Unlock()

	blocks := g.blocks(func(ms int64) int64 { return h.hourEnd(ms) })
	c := change{h: h, add: map[Level][][]byte{Raw: blocks}, series: fresh, trim: true}
	h.landing.Lock()
	defer h.landing.Unlock()
	err := c.apply()

	h.mu.Lock()
	defer h.mu.Unlock()
	h.flying = nil
	if err != nil {
		h.takeBack(g, fresh, since)
		h.stats.Err = err
		return err
	}
	h.stats.Err, h.stats.LastCommit = nil, h.cfg.Now()
	return nil
}

// takeBack puts a group that could not be committed in front of what came
// meanwhile. mu is held.
func (h *History) takeBack(g group, fresh []*series, since time.Time) {
	for id, p := range h.buf {
		g.of(h.byID[id]).take(p, 0, len(p.times))
	}
	h.buf, h.fresh, h.since, h.count = g, append(fresh, h.fresh...), since, 0
	for _, p := range g {
		h.count += len(p.times)
	}
	if h.count > 2*h.cfg.Pending {
		h.shed()
	}
}

// change is one transaction.
type change struct {
	h      *History
	add    map[Level][][]byte
	remove [][]byte // keys of raw blocks
	freed  int64    // their weight
	series []*series
	marks  map[string]int64
	trim   bool // also drop what is too old or too much

	used    [levels]int64
	next    uint64
	dropped uint64
	expired uint64
}

// apply commits the change. writing is held.
func (c *change) apply() error {
	h := c.h
	err := h.cfg.DB.Update(func(tx *store.Tx) error {
		c.used, c.next, c.dropped, c.expired = h.used, h.next, 0, 0
		return c.write(tx)
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used, h.next = c.used, c.next
	h.stats.Dropped += c.dropped
	h.stats.Expired += c.expired
	if c.dropped > 0 {
		h.cfg.Logger.Warn("the history is full: the oldest is dropped", slog.Uint64("samples", c.dropped))
	}
	return nil
}

func (c *change) write(tx *store.Tx) error {
	for _, s := range c.series {
		if err := seriesTable().Put(tx, fmt.Sprintf("%08x", s.ID), *s); err != nil {
			return err
		}
	}
	for _, k := range c.remove {
		if err := Raw.blobs().Delete(tx, k); err != nil {
			return err
		}
	}
	c.used[Raw] -= c.freed
	for l := range levels {
		for _, b := range c.add[l] {
			hd, _, err := readHead(b)
			if err != nil {
				return err
			}
			if err := l.blobs().Put(tx, makeKey(hd.first, c.next), b); err != nil {
				return err
			}
			c.next++
			c.used[l] += weight(len(b))
		}
	}
	for name, v := range c.marks {
		if err := marks().Put(tx, name, v); err != nil {
			return err
		}
	}
	if c.trim && c.h.cfg.ClockSane() {
		return c.drop(tx)
	}
	return nil
}

// dropMost bounds the blocks dropped in one transaction.
const dropMost = 500

// drop removes what is older than it is kept, then the oldest until the rest
// is below the cap.
func (c *change) drop(tx *store.Tx) error {
	now := c.h.cfg.Now()
	for l := range levels {
		keep := c.h.cfg.keep(l)
		if keep == 0 {
			continue
		}
		before := now.Add(-keep).UnixMilli()
		if err := c.dropFrom(tx, l, &c.expired, func(first int64) bool { return first < before }); err != nil {
			return err
		}
	}
	for l := range levels {
		over := func(int64) bool { return c.total() > c.h.cfg.Cap }
		if err := c.dropFrom(tx, l, &c.dropped, over); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) total() (n int64) {
	for _, u := range c.used {
		n += u
	}
	return n
}

// dropFrom removes the oldest blocks of a level while want says so.
func (c *change) dropFrom(tx *store.Tx, l Level, samples *uint64, want func(first int64) bool) error {
	var keys [][]byte
	for cur := l.blobs().Cursor(tx, nil); cur.Valid() && len(keys) < dropMost; cur.Next() {
		if len(cur.Key()) != keyLen {
			continue
		}
		first, _ := parseKey(cur.Key())
		if !want(first) {
			break
		}
		if h, _, err := readHead(cur.Peek(headMost)); err == nil {
			*samples += uint64(h.samples)
		}
		keys = append(keys, append([]byte(nil), cur.Key()...))
		c.used[l] -= weight(cur.Len())
	}
	for _, k := range keys {
		if err := l.blobs().Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// Status is what the operator sees.
type Status struct {
	Series  int           // kept
	Pending int           // readings not committed yet
	Oldest  time.Duration // age of the oldest of them
	// Online and Offline are the bounds of what a power cut loses.
	Online, Offline time.Duration
	Octets          [4]int64 // in the store: readings, minutes, hours, days
	Cap             int64
	Samples         uint64 // taken since the start
	Dropped         uint64 // removed for the cap since the start
	Expired         uint64 // removed because of their age since the start
	Lost            uint64 // that memory had no room for since the start
	Damaged         uint64 // blocks that could not be read since the start
	LastCommit      time.Time
	Err             error // of the last commit
}

// Status returns the present state.
func (h *History) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Series, s.Pending, s.Cap = len(h.byID), h.count+len(h.waiting), h.cfg.Cap
	s.Octets = [4]int64{h.used[packed] + h.used[Raw], h.used[Minute], h.used[Hour], h.used[Day]}
	s.Online, s.Offline = h.cfg.Online, h.cfg.Offline
	if h.count > 0 {
		s.Oldest = h.cfg.Now().Sub(h.since)
	}
	return s
}

// damaged counts a block that cannot be read.
func (h *History) damaged(err error) {
	h.mu.Lock()
	h.stats.Damaged++
	first := h.stats.Damaged == 1
	h.mu.Unlock()
	if first {
		h.cfg.Logger.Error("a part of the history cannot be read and is left out", "err", err)
	}
}

const forever = math.MaxInt64
