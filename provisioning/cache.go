package provisioning

import (
	"container/list"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/internal/store"
)

// cache keeps answers until the server clears them (XEP-0324 §3.11); the one
// that was not used for longest goes first.
type cache struct {
	size int
	age  time.Duration
	db   *store.DB

	disk sync.Mutex // held while the kept copy changes; before mu

	mu      sync.Mutex
	byKey   map[string]*list.Element
	order   *list.List // of entry, last used in front
	gen     uint64     // counts clearings
	changed bool       // since the last save
	kept    bool       // there is a copy on the disk
}

type entry struct {
	Server string
	Key    string
	Answer Answer
	At     time.Time
}

var cacheBucket = store.Bucket[[]entry]{Name: "provisioning.cache"}

const cacheKeyName = "answers"

func newCache(size int, age time.Duration, db *store.DB) *cache {
	return &cache{size: size, age: age, db: db, byKey: make(map[string]*list.Element), order: list.New()}
}

// cacheKey names a question to a server (0324-D14). Every part is quoted, so
// that none can pretend to be two.
func cacheKey(server string, q Question) string {
	var nodes []string
	for _, n := range q.Nodes {
		nodes = append(nodes, fmt.Sprintf("%q", []string{n.ID, n.Source, n.Cache}))
	}
	names := slices.Clone(q.Names)
	slices.Sort(nodes)
	slices.Sort(names)
	return fmt.Sprintf("%q %t %q %q %q %d", []string{server, q.JID.Bare().String()}, q.Control,
		[]string{q.ServiceToken, q.DeviceToken, q.UserToken}, nodes, names, q.Types&AllTypes)
}

// get returns an answer, and the generation that put needs.
func (c *cache) get(key string, now time.Time) (a Answer, ok bool, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byKey[key]
	if el == nil {
		return a, false, c.gen
	}
	e := el.Value.(*entry)
	// An answer of the future shows that the clock is wrong, as on a board that
	// starts in 1970: how old it is, nobody knows.
	if d := now.Sub(e.At); c.age > 0 && (d > c.age || d < 0) {
		c.drop(el)
		return a, false, c.gen
	}
	c.order.MoveToFront(el)
	return e.Answer, true, c.gen
}

// put keeps an answer, unless the cache was cleared since it was asked for: it
// may be from before the change.
func (c *cache) put(server, key string, a Answer, now time.Time, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen != c.gen || c.size == 0 {
		return
	}
	c.changed = true
	if el := c.byKey[key]; el != nil {
		el.Value = &entry{server, key, a, now}
		c.order.MoveToFront(el)
		return
	}
	for c.order.Len() >= c.size {
		c.drop(c.order.Back())
	}
	c.byKey[key] = c.order.PushFront(&entry{server, key, a, now})
}

func (c *cache) drop(el *list.Element) {
	delete(c.byKey, el.Value.(*entry).Key)
	c.order.Remove(el)
}

// clear forgets everything, on the disk too.
func (c *cache) clear() error {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	c.gen++
	clear(c.byKey)
	c.order.Init()
	c.changed = false
	kept := c.kept
	c.mu.Unlock()
	if !kept {
		return nil
	}
	err := c.db.Update(func(tx *store.Tx) error { return cacheBucket.Delete(tx, cacheKeyName) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.changed = true // the next save writes over it
		return fmt.Errorf("provisioning: cached permissions cannot be removed: %w", err)
	}
	c.kept = false
	return nil
}

// save writes the cache if it has changed.
func (c *cache) save() error {
	if c.db == nil {
		return nil
	}
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	if !c.changed {
		c.mu.Unlock()
		return nil
	}
	var all []entry
	for el := c.order.Front(); el != nil; el = el.Next() {
		all = append(all, *el.Value.(*entry))
	}
	c.changed, c.kept = false, true
	c.mu.Unlock()
	err := c.db.Update(func(tx *store.Tx) error { return cacheBucket.Put(tx, cacheKeyName, all) })
	if err != nil {
		c.mu.Lock()
		c.changed = true
		c.mu.Unlock()
	}
	return err
}

// load reads what was saved of the servers that are still trusted.
func (c *cache) load(trusted func(server string) bool) error {
	if c.db == nil {
		return nil
	}
	return c.db.View(func(tx *store.Tx) error {
		all, ok, err := cacheBucket.Get(tx, cacheKeyName)
		if !ok || err != nil {
			c.kept = err != nil
			return err
		}
		c.kept = true
		for _, e := range all {
			if trusted(e.Server) && c.order.Len() < c.size {
				c.byKey[e.Key] = c.order.PushBack(&e)
			}
		}
		return nil
	})
}
