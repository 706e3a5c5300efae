package provisioning

import (
	"fmt"
	"sync"
	"time"

	"postern/internal/store"
)

// Claim is what a thing knows about itself.
type Claim struct {
	Key     string `json:",omitempty"` // secret for the owner; gone once claimed
	Owner   string `json:",omitempty"` // bare JID; empty while unclaimed
	Private bool   `json:",omitempty"`
	Removed bool   `json:",omitempty"` // no longer in the registry (XEP-0347 §3.9)
	Blanked bool   `json:",omitempty"` // the registry has forgotten KEY
	Since   time.Time
}

// sameOwner reports whether nothing was claimed or disowned between two claims.
func (c Claim) sameOwner(o Claim) bool { return c.Owner == o.Owner && c.Since.Equal(o.Since) }

var claimBucket = store.Bucket[Claim]{Name: "provisioning.claim"}

func refKey(r Ref) string { return "n" + r.ID + "\x00" + r.Source + "\x00" + r.Cache }

// claims are the claims of all nodes, in memory as on the disk. Their methods
// are safe for concurrent use.
type claims struct {
	db  *store.DB
	now func() time.Time

	changing sync.Mutex // held while a change is committed; before mu

	mu    sync.Mutex
	byRef map[Ref]Claim
}

// loadClaims reads the claims of nodes, and makes the secrets that are missing.
func loadClaims(db *store.DB, now func() time.Time, nodes []Node) (*claims, error) {
	k := &claims{db: db, now: now, byRef: make(map[Ref]Claim)}
	err := db.Update(func(tx *store.Tx) error {
		for _, n := range nodes {
			c, ok, err := claimBucket.Get(tx, refKey(n.Ref))
			if err == nil && !ok {
				c = k.fresh(n)
				err = claimBucket.Put(tx, refKey(n.Ref), c)
			}
			if err != nil {
				return fmt.Errorf("provisioning: %w", err)
			}
			k.byRef[n.Ref] = c
		}
		return nil
	})
	return k, err
}

// fresh is the claim of a node that is nobody's.
func (k *claims) fresh(n Node) Claim {
	c := Claim{Since: k.now().UTC()}
	if !n.SelfOwned {
		c.Key = NewKey()
	}
	return c
}

func (k *claims) get(r Ref) (Claim, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.byRef[r]
	return c, ok
}

// change commits a claim and shows it then.
func (k *claims) change(r Ref, f func(c *Claim)) (old Claim, err error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	old, _ = k.get(r)
	c := old
	f(&c)
	if c == old {
		return old, nil
	}
	if c.Owner != old.Owner {
		c.Since = k.now().UTC()
	}
	if err := k.db.Update(func(tx *store.Tx) error { return claimBucket.Put(tx, refKey(r), c) }); err != nil {
		return old, fmt.Errorf("provisioning: the claim cannot be kept: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byRef[r] = c
	return old, nil
}
