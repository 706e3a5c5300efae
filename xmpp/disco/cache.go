package disco

import (
	"container/list"
	"context"
	"sync"

	"mellium.im/xmpp/jid"
)

// Cache remembers what verified capabilities stand for (XEP-0115 §5.4), the
// most recently used first. An answer that does not match its hash is used for
// the one who gave it and never kept. The zero Cache holds 100 entries. Safe
// for concurrent use.
type Cache struct {
	Limit int // entries; 0: 100

	mu      sync.Mutex
	entries map[Caps]*list.Element
	order   list.List
	asking  map[Caps]chan struct{}
}

type entry struct {
	caps Caps
	info Info
}

// Info returns what full, whose presence had c, can do, and asks it when that
// is not known. One request at a time is made for the same capabilities.
func (k *Cache) Info(ctx context.Context, q Querier, full jid.JID, c Caps) (Info, error) {
	if c.Hash != "sha-1" {
		// An unknown hash, or none: plain discovery for this address.
		return AskInfo(ctx, q, full, "")
	}
	key := Caps{Hash: c.Hash, Ver: c.Ver}
	for {
		info, wait := k.begin(key)
		if wait == nil {
			if info != nil {
				return *info, nil
			}
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Info{}, ctx.Err()
		}
	}
	info, err := AskInfo(ctx, q, full, c.Node+"#"+c.Ver)
	verified := false
	if err == nil {
		ver, verr := Verification(info)
		verified = verr == nil && ver == c.Ver
	}
	k.end(key, info, verified)
	return info, err
}

// begin returns what is known; or a channel to wait on, when somebody is
// asking; or neither, and the caller must ask and call end.
func (k *Cache) begin(key Caps) (*Info, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[key]; e != nil {
		k.order.MoveToFront(e)
		return &e.Value.(*entry).info, nil
	}
	if ch := k.asking[key]; ch != nil {
		return nil, ch
	}
	if k.asking == nil {
		k.asking = make(map[Caps]chan struct{})
	}
	k.asking[key] = make(chan struct{})
	return nil, nil
}

func (k *Cache) end(key Caps, info Info, verified bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.asking[key])
	delete(k.asking, key)
	if !verified {
		return
	}
	if k.entries == nil {
		k.entries = make(map[Caps]*list.Element)
	}
	k.entries[key] = k.order.PushFront(&entry{key, info})
	limit := k.Limit
	if limit <= 0 {
		limit = 100
	}
	for k.order.Len() > limit {
		old := k.order.Remove(k.order.Back()).(*entry)
		delete(k.entries, old.caps)
	}
}
