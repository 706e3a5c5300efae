package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"postern/provisioning"
)

// Stats count what the service keeps.
type Stats struct {
	Things, Claimed, Listed int // in all, owned, and seen by searches
	Devices                 int // that asked for rights or registered
	Behind                  int // devices that have not acknowledged the last change
	Rules, Questions        int
	ClaimsRefused           uint64 // for coming too fast, since the start
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{Things: len(s.things), Listed: len(s.listed), Devices: len(s.contacts), Questions: len(s.questions), ClaimsRefused: s.refused.Load()}
	for _, r := range s.things {
		if r.Owner != "" {
			st.Claimed++
		}
	}
	for _, c := range s.contacts {
		if c.Dirty != 0 {
			st.Behind++
		}
	}
	for _, r := range s.rules {
		st.Rules += len(r)
	}
	return st
}

// Thing is what the service knows about a thing, for its owner and for
// operators. Its KEY is left out.
type Thing struct {
	provisioning.Ref
	JID     string // bare
	Owner   string // bare; empty while unclaimed
	Private bool
	Removed bool // taken out of the registry by its owner
	Claimed time.Time
	Tags    []provisioning.Tag
	Online  bool // as far as is known
	Told    bool // it knows of its owner
}

// Things returns things in the order of their addresses: those of an owner, or
// all where owner is empty. At most limit of them behind the key after, which
// is that of the last one returned before; next is empty behind the last.
func (s *Server) Things(owner, after string, limit int) (list []Thing, next string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for k, r := range s.things {
		if k > after && (owner == "" || r.Owner == owner) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if len(keys) > limit {
		keys = keys[:limit]
		next = keys[limit-1]
	}
	for _, k := range keys {
		r := s.things[k]
		t := Thing{Ref: r.Ref, JID: r.JID, Owner: r.Owner, Private: r.Private, Removed: r.Removed, Claimed: r.Claimed, Tags: public(r.Tags), Told: r.Owner != "" && !r.TellOwner}
		if c := s.contacts[r.JID]; c != nil {
			t.Online = c.Full != ""
		}
		list = append(list, t)
	}
	return list, next
}

// Line is one line of an export: a value of a bucket.
type Line struct {
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value"`
}

// Export writes the whole state as JSON, one value a line. It holds the
// secrets of things that are not claimed yet.
func Export(db DB, w io.Writer) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	err := db.View(func(tx Tx) error {
		for _, name := range Buckets() {
			for e := range tx.All(name) {
				if e.Err != nil {
					return fmt.Errorf("registry: %w; postern store check tells more", e.Err)
				}
				if err := enc.Encode(Line{name, e.Key, e.Value}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, b.Flush())
}

// maxLine bounds a line of an import.
const maxLine = 1 << 20

// Import reads what Export wrote into a state that must be empty, all or
// nothing, and returns the number of values.
func Import(db DB, r io.Reader) (n int, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	err = db.Update(func(tx Tx) error {
		for _, name := range Buckets() {
			for range tx.All(name) {
				return errors.New("registry: there is a state already; an import needs an empty one")
			}
		}
		for sc.Scan() {
			if len(sc.Bytes()) == 0 {
				continue
			}
			var l Line
			if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
				return fmt.Errorf("registry: line %d is not of an export: %w", n+1, err)
			}
			if err := checkLine(l); err != nil {
				return fmt.Errorf("registry: line %d: %w", n+1, err)
			}
			if err := tx.Put(l.Bucket, l.Key, l.Value); err != nil {
				return err
			}
			n++
		}
		return sc.Err()
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// checkLine checks that a value is one of its bucket.
func checkLine(l Line) error {
	check := lineChecks()[l.Bucket]
	if check == nil {
		return fmt.Errorf("there is no bucket %q", l.Bucket)
	}
	if l.Key == "" {
		return errors.New("the key is missing")
	}
	return check(l)
}

func checkOf[T any](b bucket[T]) func(Line) error {
	return func(l Line) error { _, err := b.decode(l.Key, l.Value); return err }
}

func lineChecks() map[string]func(Line) error {
	return map[string]func(Line) error{
		secretBucket.Name: checkOf(secretBucket), thingBucket.Name: checkOf(thingBucket), ruleBucket.Name: checkOf(ruleBucket),
		contactBucket.Name: checkOf(contactBucket), questionBucket.Name: checkOf(questionBucket),
		tokenBucket.Name: checkOf(tokenBucket), serviceBucket.Name: checkOf(serviceBucket),
	}
}
