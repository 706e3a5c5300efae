package audit

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"postern/internal/store"
)

// Query chooses records. Zero fields choose all.
type Query struct {
	Since, Before time.Time // of the record's wall clock: Since <= At < Before
	Node          string    // see Record.About
	// Limit is how many of the newest are returned; 0 stands for 1000.
	Limit int
}

// Page is an answer to a Query.
type Page struct {
	Records []Entry `json:"records"` // the oldest first
	More    bool    `json:"more"`    // there are older ones
}

// List returns the chosen records of both chains, the oldest first, and
// whether there are older ones. Records that cannot be read are left out:
// Verify names them.
func List(tx *store.Tx, q Query) (entries []Entry, more bool) {
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	var lists [2][]Entry
	for i, chain := range [...]string{Commands, Refusals} {
		for c := records(chain).Cursor(tx, nil); c.Valid(); c.Next() {
			e, ok := entry(chain, c)
			if !ok || !q.wants(&e.Record) {
				continue
			}
			if lists[i] = append(lists[i], e); len(lists[i]) >= 2*q.Limit {
				lists[i], more = newest(lists[i], q.Limit)
			}
		}
	}
	entries = merge(lists[0], lists[1])
	if len(entries) > q.Limit {
		return newest(entries, q.Limit)
	}
	return entries, more
}

// newest keeps the last n entries, in memory of their own.
func newest(l []Entry, n int) ([]Entry, bool) { return slices.Clone(l[len(l)-n:]), true }

// merge orders two chains by time. The records of one stay in the order of
// their numbers, whatever the clock did.
func merge(a, b []Entry) []Entry {
	out := make([]Entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].At.Before(a[0].At) {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}

func entry(chain string, c *store.Cursor) (e Entry, ok bool) {
	v, err := c.Value()
	if err != nil || len(c.Key()) != 8 || len(v) < len(hash{}) {
		return e, false
	}
	e.Chain, e.Number = chain, binary.BigEndian.Uint64(c.Key())
	return e, json.Unmarshal(v[len(hash{}):], &e.Record) == nil
}

func (q *Query) wants(r *Record) bool {
	last := r.At
	if r.Until.After(last) {
		last = r.Until
	}
	return !last.Before(q.Since) && (q.Before.IsZero() || r.At.Before(q.Before)) && (q.Node == "" || r.About(q.Node))
}
