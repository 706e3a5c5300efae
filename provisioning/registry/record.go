package registry

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
)

// record is one thing, or one node behind an address. Records do not change:
// a change puts a new one into the tables.
//
//	unclaimed (Owner empty) --mine--> claimed --remove--> tombstone (Removed)
//	claimed, tombstone --disown--> unclaimed without tags
type record struct {
	JID     string // bare
	Ref     provisioning.Ref
	Owner   string    `json:",omitempty"` // bare; the thing itself where it owns itself
	Private bool      `json:",omitempty"`
	Removed bool      `json:",omitempty"` // tombstone (0347-D1)
	Claimed time.Time `json:",omitzero"`
	Tags    []provisioning.Tag
	Claim   []byte `json:",omitempty"` // digest of the tags that claim it
	// Offer is whom the owner offers the thing to, until OfferEnds.
	Offer     string    `json:",omitempty"`
	OfferEnds time.Time `json:",omitzero"`

	TellOwner bool `json:",omitempty"` // the thing does not know yet that it was claimed
	TellGone  bool `json:",omitempty"` // the thing does not know yet that it was removed

	ix provisioning.Index // of what is listed
}

func keyOf(bare string, r provisioning.Ref) string {
	return bare + "\x00" + r.ID + "\x00" + r.Source + "\x00" + r.Cache
}

func (r *record) key() string { return keyOf(r.JID, r.Ref) }

// isListed reports whether searches see the thing (0347-R39).
func (r *record) isListed() bool { return r.Owner != "" && !r.Private && !r.Removed }

// compare orders search results (0347-D19).
func (r *record) compare(o *record) int {
	if c := r.Claimed.Compare(o.Claimed); c != 0 {
		return c
	}
	return strings.Compare(r.key(), o.key())
}

func (r *record) addr() jid.JID { j, _ := jid.Parse(r.JID); return j }

func address(s string) jid.JID { j, _ := jid.Parse(s); return j }

// claimDigest identifies a set of tags, whatever their order and the case of
// their names; numbers count by value (0347-R17, D7). It is keyed, so nothing
// about how far a guess is right shows in the time that looking it up takes
// (0347-R21), and a tombstone does not keep the tags.
func (s *Server) claimDigest(tags []provisioning.Tag) []byte {
	items := make([][]byte, 0, len(tags))
	for _, t := range tags {
		b := append([]byte(provisioning.FoldTag(t.Name)), 0)
		if t.Numeric {
			f := t.Float()
			if f == 0 {
				f = 0 // no negative zero
			}
			b = binary.BigEndian.AppendUint64(append(b, 1), math.Float64bits(f))
		} else {
			b = append(append(b, 2), t.Value...)
		}
		items = append(items, b)
	}
	sort.Slice(items, func(i, j int) bool { return bytes.Compare(items[i], items[j]) < 0 })
	h := hmac.New(sha256.New, s.secret)
	for _, b := range items {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	return h.Sum(nil)
}

var (
	thingBucket    = bucket[record]{Name: "registry.things"}
	secretBucket   = bucket[[]byte]{Name: "registry.secret"}
	contactBucket  = bucket[contact]{Name: "registry.contacts"}
	ruleBucket     = bucket[Rule]{Name: "registry.rules"}
	questionBucket = bucket[Question]{Name: "registry.questions"}
)

// Buckets are the service's buckets in the order in which they are saved from
// a damaged store.
func Buckets() []string {
	return []string{secretBucket.Name, thingBucket.Name, ruleBucket.Name, contactBucket.Name, questionBucket.Name, tokenBucket.Name, serviceBucket.Name}
}

func (s *Server) load() error {
	err := s.cfg.Store.Update(func(tx Tx) (err error) {
		var ok bool
		if s.secret, ok, err = secretBucket.Get(tx, "claim"); ok || err != nil {
			return err
		}
		s.secret = make([]byte, 32)
		_, _ = rand.Read(s.secret) // never fails
		return secretBucket.Put(tx, "claim", s.secret)
	})
	if err != nil {
		return err
	}
	return s.cfg.Store.View(func(tx Tx) error {
		for e := range thingBucket.All(tx) {
			if e.Err != nil {
				s.log.Error("a thing is lost", "key", e.Key, "err", e.Err)
				continue
			}
			r := e.Value
			s.index(nil, &r, false)
		}
		slices.SortFunc(s.listed, (*record).compare)
		return s.loadRules(tx)
	})
}

// index replaces old by now in the tables; either may be nil. s.mu is held or
// not needed yet. sorted keeps the list in order; otherwise it is appended to.
func (s *Server) index(old, now *record, sorted bool) {
	if old != nil {
		k := old.key()
		delete(s.things, k)
		delete(s.byJID[old.JID], k)
		if len(s.byJID[old.JID]) == 0 {
			delete(s.byJID, old.JID)
		}
		if c := string(old.Claim); c != "" {
			s.claims[c] = slices.DeleteFunc(s.claims[c], func(r *record) bool { return r == old })
			if len(s.claims[c]) == 0 {
				delete(s.claims, c)
			}
		}
		if old.isListed() {
			if i, ok := slices.BinarySearchFunc(s.listed, old, (*record).compare); ok {
				s.listed = slices.Delete(s.listed, i, i+1)
			}
		}
	}
	if now == nil {
		return
	}
	k := now.key()
	s.things[k] = now
	if s.byJID[now.JID] == nil {
		s.byJID[now.JID] = make(map[string]*record)
	}
	s.byJID[now.JID][k] = now
	if c := string(now.Claim); c != "" {
		s.claims[c] = append(s.claims[c], now)
	}
	if !now.isListed() {
		return
	}
	now.ix = provisioning.IndexTags(now.Tags)
	if !sorted {
		s.listed = append(s.listed, now)
		return
	}
	i, _ := slices.BinarySearchFunc(s.listed, now, (*record).compare)
	s.listed = slices.Insert(s.listed, i, now)
}

// get returns a thing, nil when it is not known.
func (s *Server) get(bare string, r provisioning.Ref) *record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.things[keyOf(bare, r)]
}

// replace commits a change and then shows it; either record may be nil. The
// caller holds s.writing and got old under it. The devices have to clear their
// caches.
func (s *Server) replace(old, now *record, devices ...string) error {
	return s.commit(devices, func(tx Tx) error { return putOrDelete(tx, old, now) }, func() { s.index(old, now, true) })
}

func putOrDelete(tx Tx, old, now *record) error {
	if now == nil {
		return thingBucket.Delete(tx, old.key())
	}
	return thingBucket.Put(tx, now.key(), *now)
}
