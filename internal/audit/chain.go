package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"postern/internal/store"
)

// The chains.
const (
	Commands = "commands"
	Refusals = "refused"
)

// A value in the store is the record's hash and its octets. The hash is
//
//	SHA-256(hash of the record before ‖ number, 8 octets ‖ octets)
//
// The first record's predecessor is the anchor: 32 zero octets, or the hash of
// the last record that was dropped. Keys are the numbers, 8 octets, rising by
// one from 1.
type hash [sha256.Size]byte

func link(prev hash, number uint64, octets []byte) hash {
	b := make([]byte, 0, len(prev)+8+len(octets))
	b = append(b, prev[:]...)
	b = binary.BigEndian.AppendUint64(b, number)
	return sha256.Sum256(append(b, octets...))
}

// MarshalText writes the hash in hexadecimal digits.
func (h hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *hash) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(h) {
		return errors.New("no hash")
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// span is where a chain begins and ends. It is kept beside the records, so
// that records cut off at either end are missed.
type span struct {
	First  uint64 `json:"first"`  // number of the oldest record kept
	Last   uint64 `json:"last"`   // of the newest; First-1 while there is none
	Anchor hash   `json:"anchor"` // hash of the record before First
	Head   hash   `json:"head"`   // hash of the newest
}

var spans = store.Bucket[span]{Name: "audit-state"}

// Buckets are the parts of the store that hold the chains, in the order in
// which they should be saved from a damaged file.
func Buckets() []string {
	return []string{spans.Name, records(Commands).Name, records(Refusals).Name}
}

func records(chain string) store.Blobs { return store.Blobs{Name: "audit-" + chain} }

func key(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// load returns the span of a chain. One that is lost, with the records still
// there, is made anew from them; Verify tells.
func load(tx *store.Tx, chain string) (span, error) {
	s, ok, err := spans.Get(tx, chain)
	if ok {
		return s, nil
	}
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return s, err
	}
	s = span{First: 1}
	for c := records(chain).Cursor(tx, nil); c.Valid(); c.Next() {
		v, err := c.Value()
		if err != nil || len(c.Key()) != 8 || len(v) < len(s.Head) {
			continue
		}
		n := binary.BigEndian.Uint64(c.Key())
		if s.Last == 0 {
			s.First = n
		}
		s.Last = n
		s.Head = hash(v[:len(s.Head)])
	}
	return s, nil
}

// add appends records to a chain and drops the oldest beyond keep. It returns
// the number of the first one added.
func add(tx *store.Tx, chain string, keep uint64, rs ...Record) (number uint64, err error) {
	s, err := load(tx, chain)
	if err != nil {
		return 0, err
	}
	b := records(chain)
	number = s.Last + 1
	for i := range rs {
		octets, err := json.Marshal(rs[i].bounded())
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		s.Last++
		s.Head = link(s.Head, s.Last, octets)
		if err := b.Put(tx, key(s.Last), append(s.Head[:], octets...)); err != nil {
			return 0, err
		}
	}
	for s.Last-s.First+1 > keep {
		if h, ok := stored(tx, b, s.First); ok {
			s.Anchor = h
		}
		if err := b.Delete(tx, key(s.First)); err != nil {
			return 0, err
		}
		s.First++
	}
	return number, spans.Put(tx, chain, s)
}

// stored returns the hash of a record as it is stored.
func stored(tx *store.Tx, b store.Blobs, number uint64) (h hash, ok bool) {
	c := b.Cursor(tx, key(number))
	if !c.Valid() || !bytes.Equal(c.Key(), key(number)) {
		return h, false
	}
	v, err := c.Value()
	if err != nil || len(v) < len(h) {
		return h, false
	}
	return hash(v[:len(h)]), true
}

// Break is where a chain does not hold.
type Break struct {
	Record string `json:"record"` // name of the first record that is wrong or missing
	Why    string `json:"why"`
}

// Finding is what Verify found of one chain.
type Finding struct {
	Chain   string `json:"chain"`
	Records int    `json:"records"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	// Head is the hash of the newest record. Who notes it elsewhere can tell
	// later whether the whole chain was made anew.
	Head   string `json:"head"`
	Broken *Break `json:"broken,omitempty"`
}

// Verify walks both chains and names the first record of each that was
// changed, cut out, put in or damaged.
func Verify(tx *store.Tx) []Finding {
	return []Finding{verify(tx, Commands), verify(tx, Refusals)}
}

func verify(tx *store.Tx, chain string) Finding {
	f := Finding{Chain: chain}
	s, ok, _ := spans.Get(tx, chain)
	if !ok {
		var err error
		if s, err = load(tx, chain); err != nil || s.Last > 0 {
			f.Broken = &Break{nameOf(chain, s.First), "it is not kept any more where the chain begins and ends, so nothing can be compared"}
		}
	}
	f.First, f.Last, f.Head = s.First, s.Last, hex.EncodeToString(s.Head[:])
	if f.Broken != nil || !ok {
		return f
	}
	prev, next := s.Anchor, s.First
	for c := records(chain).Cursor(tx, nil); c.Valid(); c.Next() {
		if f.Records++; next > s.Last {
			f.Broken = &Break{nameOf(chain, next), "it was added from elsewhere"}
			return f
		}
		number, h, why := examine(c, prev, next)
		if why != "" {
			f.Broken = &Break{nameOf(chain, number), why}
			return f
		}
		prev, next = h, next+1
	}
	switch {
	case next <= s.Last:
		f.Broken = &Break{nameOf(chain, next), "it is missing, with all that came after it"}
	case prev != s.Head:
		f.Broken = &Break{nameOf(chain, s.Last), "it is not the record that the chain ended with"}
	}
	return f
}

// examine checks the record at the cursor against its predecessor's hash and
// the number that has to come. why is empty when it is right.
func examine(c *store.Cursor, prev hash, next uint64) (number uint64, h hash, why string) {
	if len(c.Key()) != 8 {
		return next, h, "its key is none of this chain"
	}
	switch number = binary.BigEndian.Uint64(c.Key()); {
	case number > next:
		return next, h, "it is missing"
	case number < next:
		return number, h, "it was put in from elsewhere"
	}
	v, err := c.Value()
	if err != nil || len(v) < len(h) {
		return number, h, "it is damaged: its checksum is wrong"
	}
	h = hash(v[:len(h)])
	var r Record
	switch {
	case link(prev, number, v[len(h):]) != h:
		return number, h, "it, or the record before it, was changed: the hash is wrong"
	case json.Unmarshal(v[len(h):], &r) != nil:
		return number, h, "it cannot be read"
	}
	return number, h, ""
}

// Ends tells how many records each chain has, and its head, without verifying
// anything.
func Ends(tx *store.Tx) []Finding {
	var out []Finding
	for _, chain := range []string{Commands, Refusals} {
		f := Finding{Chain: chain}
		if s, err := load(tx, chain); err == nil && s.Last > 0 {
			f.First, f.Last, f.Head = s.First, s.Last, hex.EncodeToString(s.Head[:])
			f.Records = int(s.Last - s.First + 1)
		}
		out = append(out, f)
	}
	return out
}
