package hub

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"mellium.im/xmpp/jid"

	"postern/internal/store"
	"postern/xmpp"
)

// account is a user's state in memory: the roster, read once, and the
// sessions.
type account struct {
	h    *Hub
	name string
	bare jid.JID
	mux  xmpp.Mux // iqs to the bare address

	mu       sync.Mutex
	gone     bool // the account was removed
	roster   map[string]*contact
	ver      uint64
	seq      uint64              // of presences
	sessions map[string]*session // by resource
}

// contact is one entry of a roster. Entries that only hold a request of the
// contact are hidden (IM-R25).
type contact struct {
	jid jid.JID
	contactRecord
}

type contactRecord struct {
	Sub     subscription
	Listed  bool     `json:",omitempty"` // the client has put it there
	Name    string   `json:",omitempty"`
	Groups  []string `json:",omitempty"`
	Request string   `json:",omitempty"` // the whole subscribe stanza, as XML
}

type versionRecord struct{ Ver uint64 }

var (
	rosterBox = store.Bucket[contactRecord]{Name: "roster"} // account NUL contact
	rosterVer = store.Bucket[versionRecord]{Name: "rosterver"}
)

func (c *contact) visible() bool {
	return c.Listed || c.Sub.To || c.Sub.From || c.Sub.Ask || c.Sub.Approved
}

// empty tells that nothing is worth keeping.
func (c *contact) empty() bool { return !c.visible() && !c.Sub.In }

// account returns the account of a localpart, nil when there is none.
func (h *Hub) account(name string) (*account, error) {
	h.mu.Lock()
	acc := h.accounts[name]
	h.mu.Unlock()
	if acc != nil {
		return acc, nil
	}
	bare, err := h.domain.WithLocal(name)
	if err != nil {
		return nil, nil // cannot be the name of an account
	}
	acc = &account{h: h, name: name, bare: bare, roster: make(map[string]*contact), sessions: make(map[string]*session)}
	acc.serveIQs()
	found := false
	err = h.cfg.Store.View(func(tx *store.Tx) error {
		if _, found, err = users.Get(tx, name); !found || err != nil {
			return err
		}
		rec, _, err := rosterVer.Get(tx, name)
		acc.ver = rec.Ver
		return errors.Join(err, acc.load(tx))
	})
	if err != nil {
		return nil, fmt.Errorf("hub: account %s: %w", name, err)
	}
	if !found {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.accounts[name]; other != nil {
		return other, nil
	}
	h.accounts[name] = acc
	return acc, nil
}

func (acc *account) load(tx *store.Tx) error {
	for e := range rosterBox.All(tx, acc.name+"\x00") {
		key := e.Key[len(acc.name)+1:]
		if e.Err != nil {
			return e.Err
		}
		j, err := xmpp.ParseJID(key)
		if err != nil { // of a time when addresses were checked less
			acc.h.log.Warn("a contact is left out", "account", acc.name, "contact", key, "err", err)
			continue
		}
		acc.roster[key] = &contact{jid: j, contactRecord: e.Value}
	}
	return nil
}

// save stores a contact, or deletes it when nothing of it is left. bump counts
// the roster's version up. acc.mu is held.
func (acc *account) save(key string, c *contact, bump bool) error {
	err := acc.h.cfg.Store.Update(func(tx *store.Tx) error {
		if bump {
			acc.ver++
			if err := rosterVer.Put(tx, acc.name, versionRecord{acc.ver}); err != nil {
				return err
			}
		}
		if c == nil || c.empty() {
			return rosterBox.Delete(tx, acc.name+"\x00"+key)
		}
		return rosterBox.Put(tx, acc.name+"\x00"+key, c.contactRecord)
	})
	if err != nil {
		return fmt.Errorf("hub: roster of %s: %w", acc.name, err)
	}
	if c == nil || c.empty() {
		delete(acc.roster, key)
	} else {
		acc.roster[key] = c
	}
	return nil
}

func (acc *account) version() string { return strconv.FormatUint(acc.ver, 10) }

// resources lists what is bound.
func (acc *account) resources() []string {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	var list []string
	for r := range acc.sessions {
		list = append(list, r)
	}
	slices.Sort(list)
	return list
}

func (acc *account) allSessions() []*session {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	var list []*session
	for _, s := range acc.sessions {
		list = append(list, s)
	}
	return list
}

// available returns the sessions that have sent initial presence, the most
// available first: by priority, then by the latest presence (D1). acc.mu is
// held.
func (acc *account) available() []*session {
	var list []*session
	for _, s := range acc.sessions {
		if s.presence != nil {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *session) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(b.seq, a.seq))
	})
	return list
}

// sees reports whether who may see the account's presence: a contact with
// From, or the account itself.
func (acc *account) sees(who jid.JID) bool {
	if who.Bare().Equal(acc.bare) {
		return true
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	c := acc.roster[who.Bare().String()]
	return c != nil && c.Sub.From
}

// contactsWith returns the contacts with From, or with To. The account is
// locked.
func (acc *account) contactsWith(from bool) []jid.JID {
	var list []jid.JID
	for _, c := range acc.roster {
		if from && c.Sub.From || !from && c.Sub.To {
			list = append(list, c.jid)
		}
	}
	return list
}
