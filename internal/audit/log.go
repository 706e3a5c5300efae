package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postern/internal/store"
)

// Config says how a Log is kept. Zero fields have the documented meaning.
type Config struct {
	DB *store.DB // required
	// Keep and KeepRefused are how many records are kept; 0 stands for 10,000
	// and 2,000.
	Keep, KeepRefused uint64
	Logger            *slog.Logger // nil discards
}

const (
	// gather is how long what need not be durable at once waits for company.
	gather = 100 * time.Millisecond
	// refusalsEvery is the least time between two commits of refusals.
	refusalsEvery = time.Minute
	// retryEvery is how long after a failed commit the next is tried.
	retryEvery = 10 * time.Second
	// maxSenders bounds the refused senders that are told apart in a minute,
	// maxPending the records that wait for the disk.
	maxSenders = 32
	maxPending = 1000
)

// Log adds records to the chains. It is safe for concurrent use.
type Log struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	pending []Record // of the chain of commands, not in the store yet
	lost    int      // records that pending had no room for
	refused refusals
	stats   Stats
}

// Stats tells how the commits went since the start.
type Stats struct {
	Commits, Failures uint64
	Took, Last        time.Duration // all commits together; the last
	Pending           int           // records that wait for the disk
	Err               error         // of the last commit, nil when it was good
}

// refusals are grouped by sender until they are committed.
type refusals struct {
	senders   map[string]*Record
	order     []string
	others    Record // what the senders beyond maxSenders did
	committed time.Time
}

// New returns a Log. It starts nothing; run it with Run.
func New(cfg Config) *Log {
	if cfg.Keep == 0 {
		cfg.Keep = 10_000
	}
	if cfg.KeepRefused == 0 {
		cfg.KeepRefused = 2_000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Log{cfg: cfg, wake: make(chan struct{}, 1), refused: refusals{senders: map[string]*Record{}}}
}

// Add appends a record to the chain of commands, with what waits, and returns
// its number once it is durable.
func (l *Log) Add(r Record) (number uint64, err error) {
	waiting, lost := l.take()
	err = l.commit(func(tx *store.Tx) error {
		n, err := add(tx, Commands, l.cfg.Keep, append(withLost(waiting, lost), r)...)
		number = n + uint64(len(waiting))
		if lost > 0 {
			number++
		}
		return err
	})
	if err != nil {
		l.putBack(waiting, lost)
		return 0, err
	}
	return number, nil
}

// Later appends a record to the chain of commands without waiting for the
// disk: Run commits it soon, an Add with its own.
func (l *Log) Later(r Record) {
	l.mu.Lock()
	if len(l.pending) < maxPending {
		l.pending = append(l.pending, r.bounded())
	} else {
		l.lost++
	}
	l.mu.Unlock()
	l.kick()
}

// Refuse notes a refusal. Those of one sender within a minute become one
// record, and all of a minute one commit: whoever is refused cannot wear the
// flash. A power cut loses the last minute's.
func (l *Log) Refuse(sender string, r Record) {
	r = r.bounded()
	r.Outcome, r.Count = Refused, 1
	l.mu.Lock()
	l.refused.add(sender, r)
	l.mu.Unlock()
	l.kick()
}

func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run commits what need not be durable at once, until ctx is done. What comes
// after that waits for Flush.
func (l *Log) Run(ctx context.Context) error {
	for {
		wait := l.wait()
		t := time.NewTimer(wait)
		if wait < 0 { // nothing to do
			t.Stop()
		}
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-l.wake:
			t.Stop()
			continue
		case <-t.C:
		}
		if err := errors.Join(l.FlushCommands(), l.flushRefusals(false)); err != nil {
			l.cfg.Logger.Error("the audit record cannot be written; it waits in memory: see that there is room on the disk", "err", err)
			select {
			case <-time.After(retryEvery):
			case <-ctx.Done():
			}
		}
	}
}

// wait returns after which time there is something to commit; negative for
// nothing.
func (l *Log) wait() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.pending) > 0 || l.lost > 0:
		return gather
	case len(l.refused.order) == 0:
		return -1
	case l.refused.committed.IsZero():
		return gather
	}
	return max(gather, refusalsEvery-time.Since(l.refused.committed))
}

// Flush commits everything that waits.
func (l *Log) Flush() error { return errors.Join(l.FlushCommands(), l.flushRefusals(true)) }

// FlushCommands commits what waits for the chain of commands; refusals keep to
// their minute.
func (l *Log) FlushCommands() error {
	waiting, lost := l.take()
	if len(waiting) == 0 && lost == 0 {
		return nil
	}
	err := l.commit(func(tx *store.Tx) error {
		_, err := add(tx, Commands, l.cfg.Keep, withLost(waiting, lost)...)
		return err
	})
	if err != nil {
		l.putBack(waiting, lost)
	}
	return err
}

func (l *Log) flushRefusals(now bool) error {
	l.mu.Lock()
	f := l.refused
	if len(f.order) == 0 || !now && !f.committed.IsZero() && time.Since(f.committed) < refusalsEvery {
		l.mu.Unlock()
		return nil
	}
	l.refused = refusals{senders: map[string]*Record{}, committed: time.Now()}
	l.mu.Unlock()
	rs := make([]Record, 0, len(f.order)+1)
	for _, s := range f.order {
		rs = append(rs, *f.senders[s])
	}
	if f.others.Count > 0 {
		rs = append(rs, f.others)
	}
	err := l.commit(func(tx *store.Tx) error {
		_, err := add(tx, Refusals, l.cfg.KeepRefused, rs...)
		return err
	})
	if err != nil {
		l.mu.Lock()
		l.refused.restore(f)
		l.mu.Unlock()
	}
	return err
}

// restore puts what could not be committed before what came since.
func (f *refusals) restore(old refusals) {
	since := *f
	f.senders, f.order, f.others = old.senders, old.order, old.others
	for _, s := range since.order {
		f.add(s, *since.senders[s])
	}
	if since.others.Count > 0 {
		f.add("", since.others)
	}
}

// add counts refusals of a sender, or of a further one.
func (f *refusals) add(sender string, r Record) {
	g := f.senders[sender]
	switch {
	case g == nil && sender != "" && len(f.order) < maxSenders:
		f.senders[sender], f.order = &r, append(f.order, sender)
		return
	case g == nil && f.others.Count == 0:
		f.others = Record{At: r.At, ClockUnset: r.ClockUnset, Outcome: Refused, From: "(further senders)", Error: r.Error, Count: r.Count, Until: r.Until}
		return
	case g == nil:
		g = &f.others
	}
	g.Count += r.Count
	g.Until, g.Error = r.At, r.Error
	if r.Until.After(r.At) {
		g.Until = r.Until
	}
}

func (l *Log) take() (waiting []Record, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, lost = l.pending, l.lost
	l.pending, l.lost = nil, 0
	return waiting, lost
}

func (l *Log) putBack(waiting []Record, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(waiting, l.pending...)
	l.lost += lost
	if n := len(l.pending) - maxPending; n > 0 {
		l.pending = l.pending[:maxPending]
		l.lost += n
	}
}

// withLost adds the record of how many are missing.
func withLost(rs []Record, lost int) []Record {
	if lost == 0 {
		return rs[:len(rs):len(rs)]
	}
	return append(rs[:len(rs):len(rs)], Record{
		At: time.Now(), Outcome: Lost, Count: lost, Error: "the disk could not be written for so long that memory had no room for more",
	})
}

// commit runs f in a transaction and measures it.
func (l *Log) commit(f func(*store.Tx) error) error {
	begin := time.Now()
	err := l.cfg.DB.Update(f)
	took := time.Since(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Err = err
	if err != nil {
		l.stats.Failures++
		return err
	}
	l.stats.Commits++
	l.stats.Took += took
	l.stats.Last = took
	return nil
}

// Stats tells how the commits went.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Pending = len(l.pending)
	return s
}

// Fingerprint stands for a token in a record: its kind and the first octets of
// its SHA-256. It tells whoever knows the token that it was this one, and
// others nothing that they could send themselves.
func Fingerprint(kind, token string) string {
	h := sha256.Sum256([]byte(token))
	return kind + ":" + hex.EncodeToString(h[:8])
}
