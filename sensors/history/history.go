package history

import (
	"context"
	"encoding/binary"
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
	next    uint64         // number of the next block; writing
	rolled  int64          // roll-ups are done up to here, ms; writing and mu
	dayDone int64          // days are done up to here, ms; writing and mu
	used    [levels]int64  // octets in the store; writing and mu
	gone    int64          // readings were removed up to here, ms; writing and mu
	repairs uint64         // of the store, that it has got everything again after; writing
	tardy   map[int64]bool // hours that got readings after they were rolled up, by their beginning; writing

	urgent chan struct{}

	// landing is held while a group moves from memory into the store, and by
	// readers while they look at both. It is taken after writing, before mu.
	landing sync.RWMutex

	mu      sync.Mutex
	fields  map[field][]*series
	byID    map[uint32]*series
	fresh   []*series // not in the store yet
	nextID  uint32    // of the next series
	buf     group     // not committed
	flying  group     // being committed; still shown to readers
	count   int       // samples in buf
	oldest  int64     // instant of the first sample in buf or flying, ms; later than any where there is none
	since   time.Time // when the oldest of buf came
	last    map[field]*recent
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
		tardy: make(map[int64]bool),
		buf:   make(group), oldest: forever, last: make(map[field]*recent),
		repairs: cfg.DB.Repairs(),
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
	h.used, h.next = weigh(tx)
	if err := h.numberSeries(tx); err != nil {
		return err
	}
	var err error
	if h.rolled, _, err = marks().Get(tx, "rolled"); err != nil {
		h.cfg.Logger.Warn("roll-ups begin anew", "err", err)
	}
	h.loadTardy(tx)
	var ok bool
	if h.gone, ok, err = marks().Get(tx, "gone"); err != nil || !ok {
		h.gone = -forever
	}
	if h.dayDone, _, err = marks().Get(tx, "day"); err != nil {
		h.cfg.Logger.Warn("days begin anew", "err", err)
	}
	return nil
}

// weigh returns what the blocks of each level take in the store, and the number
// of the next block.
func weigh(tx *store.Tx) (used [levels]int64, next uint64) {
	for l := range levels {
		for c := l.blobs().Cursor(tx, nil); c.Valid(); c.Next() {
			if len(c.Key()) != keyLen {
				continue
			}
			_, number := parseKey(c.Key())
			next = max(next, number+1)
			used[l] += weight(c.Len())
		}
	}
	return used, next
}

// numberSeries finds the number of the next series. None may be given twice,
// also when the table of series was damaged: old readings would turn up under
// a new name.
func (h *History) numberSeries(tx *store.Tx) error {
	n, ok, err := marks().Get(tx, "series")
	for id := range h.byID {
		n = max(n, int64(id)+1)
	}
	if err == nil && ok || h.used == [levels]int64{} {
		h.nextID = uint32(n)
		return nil
	}
	h.cfg.Logger.Warn("the table of the history's series is damaged: readings of those that are missing cannot be shown", "err", err)
	var b block
	for l := range levels {
		for c := l.blobs().Cursor(tx, nil); c.Valid(); c.Next() {
			v, err := c.Value()
			if err != nil || b.read(v, nil) != nil {
				continue // it will not be shown either
			}
			for i := range b.parts {
				n = max(n, int64(b.parts[i].series)+1)
			}
		}
	}
	h.nextID = uint32(n)
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
	r := h.last[f]
	if r == nil {
		r = new(recent)
		h.last[f] = r
	}
	if r.seen.Equal(rd.Time) {
		return // the same reading again
	}
	r.seen = rd.Time
	pol := h.cfg.Policy(ref, name)
	if pol.Off {
		return
	}
	if !pol.keeps(r, &rd) {
		h.stats.Alike++
		return
	}
	r.kept, r.v, r.q = rd.Time, rd.Value, rd.Quality
	rd.MaxAge = pol.maxAge(rd.MaxAge)
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
	ms := rd.Time.UnixMilli()
	h.oldest = min(h.oldest, ms)
	h.buf.of(s).add(ms, rd.Value, rd.Quality)
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
	s.ID = h.nextID
	h.nextID++
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
	tardy := h.noteTardy(&c, g)
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
	if h.count == 0 { // else it is too early, which does no harm
		h.oldest = forever
	}
	h.stats.Err, h.stats.LastCommit = nil, h.cfg.Now()
	for _, from := range tardy {
		h.tardy[from] = true
	}
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
