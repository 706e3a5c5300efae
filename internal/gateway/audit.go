package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"postern/control"
	"postern/internal/store"
	"postern/xmpp"
)

// auditBucket holds one record per command, by increasing number.
var auditBucket = store.Bucket[auditRecord]{Name: "audit"}

// keepAudit is how many records are kept.
const keepAudit = 10_000

// auditRecord says who wanted what and what became of it.
type auditRecord struct {
	At      time.Time `json:"at"`
	Origin  string    `json:"origin"`
	From    string    `json:"from,omitempty"`
	ID      string    `json:"id,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Nodes   []string  `json:"nodes,omitempty"`
	Set     []string  `json:"set,omitempty"` // name=value
	Outcome string    `json:"outcome"`       // begun, done, failed, refused
	Written int       `json:"written,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// auditor keeps the record of commands in the store. It is a control.Auditor.
type auditor struct {
	db  *store.DB
	log *slog.Logger

	mu      sync.Mutex
	open    map[*control.Command]string // key of the record of a command under way
	refusal budget
}

func newAuditor(db *store.DB, log *slog.Logger) *auditor {
	return &auditor{db: db, log: log, open: map[*control.Command]string{}, refusal: budget{most: 60, every: time.Minute}}
}

// Begin implements control.Auditor: the record is durable when it returns nil.
func (a *auditor) Begin(_ context.Context, c *control.Command) error {
	key, err := a.add(record(c, "begun", nil))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.mu.Lock()
	a.open[c] = key
	a.mu.Unlock()
	return nil
}

// End implements control.Auditor.
func (a *auditor) End(_ context.Context, c *control.Command, r control.Result, err error) {
	a.mu.Lock()
	key, ok := a.open[c]
	delete(a.open, c)
	a.mu.Unlock()
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	rec := record(c, outcome, err)
	rec.Written = r.Written
	a.tell(rec)
	if !ok {
		_, err = a.add(rec) // a move into safety does not wait for its record
	} else {
		err = a.db.Update(func(tx *store.Tx) error { return auditBucket.Put(tx, key, rec) })
	}
	if err != nil {
		a.log.Error("the outcome of a command is not in the audit record", "err", err)
	}
}

// Refused implements control.Auditor. Strangers can cause refusals at will, so
// only so many are written; all are logged.
func (a *auditor) Refused(_ context.Context, c *control.Command, why *xmpp.Error) {
	rec := record(c, "refused", why)
	a.tell(rec)
	a.mu.Lock()
	ok := a.refusal.take(time.Now())
	a.mu.Unlock()
	if !ok {
		return
	}
	if _, err := a.add(rec); err != nil {
		a.log.Error("a refusal is not in the audit record", "err", err)
	}
}

func (a *auditor) tell(r auditRecord) {
	level := slog.LevelInfo
	if r.Outcome != "done" {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "command "+r.Outcome, "from", r.From, "origin", r.Origin,
		"nodes", strings.Join(r.Nodes, " "), "set", strings.Join(r.Set, " "), "err", r.Error)
}

// add writes a record under the next number and forgets the oldest.
func (a *auditor) add(r auditRecord) (key string, err error) {
	err = a.db.Update(func(tx *store.Tx) error {
		n, err := auditBucket.Sequence(tx)
		if err != nil {
			return err
		}
		key = auditKey(n)
		if n > keepAudit {
			if err := auditBucket.Delete(tx, auditKey(n-keepAudit)); err != nil {
				return err
			}
		}
		return auditBucket.Put(tx, key, r)
	})
	return key, err
}

func auditKey(n uint64) string { return fmt.Sprintf("%016x", n) }

func record(c *control.Command, outcome string, err error) auditRecord {
	r := auditRecord{At: c.At, Origin: string(c.Origin), From: c.From, ID: c.ID, Reason: c.Reason, Outcome: outcome}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	for _, n := range c.Nodes {
		r.Nodes = append(r.Nodes, n.String())
	}
	for _, s := range c.Assignments {
		v := s.Value.String()
		if len(v) > 200 {
			v = v[:200] + "…"
		}
		r.Set = append(r.Set, s.Name+"="+v)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// budget lets most things happen in each period.
type budget struct {
	most  int
	every time.Duration
	since time.Time
	used  int
}

func (b *budget) take(now time.Time) bool {
	if now.Sub(b.since) >= b.every {
		b.since, b.used = now, 0
	}
	b.used++
	return b.used <= b.most
}
