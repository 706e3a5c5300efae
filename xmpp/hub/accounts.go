package hub

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/xdg-go/scram"
	"golang.org/x/text/secure/precis"
	"mellium.im/xmpp/jid"

	"postern/internal/store"
	"postern/xmpp/saslprep"
)

// User is an account as the operator sees it.
type User struct {
	Name    string    `json:"name"` // localpart
	Created time.Time `json:"created"`
	Online  []string  `json:"online,omitempty"` // bound resources, hibernated ones included
	Offline int       `json:"offline"`          // messages that wait
}

// Errors of the account methods.
var (
	ErrExists   = errors.New("hub: there is an account of that name")
	ErrNoUser   = errors.New("hub: there is no account of that name")
	ErrPassword = errors.New("hub: the password is empty or has characters that cannot be typed reliably")
)

// userRecord is a stored account. There is no password in it, and nothing
// that a client could log in with (RFC 5802 §2.1).
type userRecord struct {
	Created time.Time
	SHA1    scramKeys
	SHA256  scramKeys
}

type scramKeys struct {
	Salt      []byte
	Iter      int
	StoredKey []byte
	ServerKey []byte
}

type hubRecord struct{ Value []byte }

var (
	users  = store.Bucket[userRecord]{Name: "users"}
	hubBox = store.Bucket[hubRecord]{Name: "hub"}
)

const (
	iterations = 10_000
	saltLen    = 16
)

// loadSecret returns the site's secret and makes it at first start.
func loadSecret(db *store.DB) (secret []byte, err error) {
	err = db.Update(func(tx *store.Tx) error {
		rec, ok, err := hubBox.Get(tx, "secret")
		if err != nil || ok {
			secret = rec.Value
			return err
		}
		secret = make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return err
		}
		return hubBox.Put(tx, "secret", hubRecord{secret})
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return secret, nil
}

// localName prepares the name of an account (RFC 7622 §3.3).
func (h *Hub) localName(name string) (string, error) {
	j, err := jid.New(name, h.domain.Domainpart(), "")
	if err != nil {
		return "", fmt.Errorf("hub: %q cannot be the name of an account: it has a blank or a sign that names must not have (%w)", name, err)
	}
	if j.Localpart() == "" {
		return "", errors.New("hub: an account needs a name")
	}
	return j.Localpart(), nil
}

// newRecord derives the keys of a password.
func newRecord(name, password string, created time.Time) (userRecord, error) {
	prepared, err := precis.OpaqueString.String(password)
	if err != nil || prepared != password || password == "" {
		return userRecord{}, ErrPassword
	}
	// Clients prepare both by SASLprep (RFC 5802 §2.2).
	saslName, err := saslprep.Prepare(name)
	if err != nil {
		return userRecord{}, fmt.Errorf("hub: the name of the account: %w", err)
	}
	saslPassword, err := saslprep.Prepare(password)
	if err != nil {
		return userRecord{}, fmt.Errorf("%w: %w", ErrPassword, err)
	}
	rec := userRecord{Created: created}
	for _, m := range []struct {
		hash scram.HashGeneratorFcn
		keys *scramKeys
	}{{scram.SHA1, &rec.SHA1}, {scram.SHA256, &rec.SHA256}} {
		salt := make([]byte, saltLen)
		if _, err := rand.Read(salt); err != nil {
			return rec, err
		}
		c, err := m.hash.NewClientUnprepped(saslName, saslPassword, "")
		if err != nil {
			return rec, fmt.Errorf("hub: SCRAM: %w", err)
		}
		got, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
		if err != nil {
			return rec, fmt.Errorf("hub: deriving keys: %w", err)
		}
		*m.keys = scramKeys{salt, iterations, got.StoredKey, got.ServerKey}
	}
	return rec, nil
}

// AddUser makes an account.
func (h *Hub) AddUser(name, password string) error {
	name, err := h.localName(name)
	if err != nil {
		return err
	}
	rec, err := newRecord(name, password, time.Now().UTC())
	if err != nil {
		return err
	}
	return h.cfg.Store.Update(func(tx *store.Tx) error {
		if _, ok, err := users.Get(tx, name); ok || err != nil {
			return errors.Join(err, ErrExists)
		}
		return users.Put(tx, name, rec)
	})
}

// SetPassword changes an account's password. Sessions go on.
func (h *Hub) SetPassword(name, password string) error {
	name, err := h.localName(name)
	if err != nil {
		return err
	}
	return h.cfg.Store.Update(func(tx *store.Tx) error {
		old, ok, err := users.Get(tx, name)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNoUser
		}
		rec, err := newRecord(name, password, old.Created)
		if err != nil {
			return err
		}
		return users.Put(tx, name, rec)
	})
}

// Users lists the accounts by name.
func (h *Hub) Users() ([]User, error) {
	var list []User
	err := h.cfg.Store.View(func(tx *store.Tx) error {
		for e := range users.All(tx, "") {
			if e.Err != nil {
				return e.Err
			}
			list = append(list, User{Name: e.Key, Created: e.Value.Created, Offline: offlineBox.Count(tx, e.Key+"\x00")})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	for i := range list {
		h.mu.Lock()
		acc := h.accounts[list[i].Name]
		h.mu.Unlock()
		if acc != nil {
			list[i].Online = acc.resources()
		}
	}
	return list, nil
}

// Remove ends an account's sessions, cancels its subscriptions, and deletes
// everything that is kept for it.
func (h *Hub) Remove(name string) error {
	name, err := h.localName(name)
	if err != nil {
		return err
	}
	acc, err := h.account(name)
	if err != nil {
		return err
	}
	if acc == nil {
		return ErrNoUser
	}
	for _, s := range acc.allSessions() {
		s.kick(notAuthorized)
	}
	acc.cancelAll()
	err = h.cfg.Store.Update(func(tx *store.Tx) error {
		return errors.Join(users.Delete(tx, name), rosterBox.DeletePrefix(tx, name+"\x00"),
			rosterVer.Delete(tx, name), offlineBox.DeletePrefix(tx, name+"\x00"))
	})
	h.mu.Lock()
	delete(h.accounts, name)
	h.mu.Unlock()
	if err != nil {
		return fmt.Errorf("hub: removing %s: %w", name, err)
	}
	return nil
}

// credentials looks a SCRAM account up. An unknown one gets a salt that is the
// same each time and keys that no password has, so that an attempt fails just
// like one with a wrong password (CORE-R74).
func (h *Hub) credentials(name string, sha256Keys bool) scramKeys {
	fake := scramKeys{
		Salt: h.derive("salt", name)[:saltLen], Iter: iterations,
		StoredKey: h.derive("stored", name), ServerKey: h.derive("server", name),
	}
	if !sha256Keys {
		fake.Salt = h.derive("salt-1", name)[:saltLen]
		fake.StoredKey, fake.ServerKey = fake.StoredKey[:20], fake.ServerKey[:20]
	}
	local, err := h.localName(name)
	if err != nil {
		return fake
	}
	keys := fake
	err = h.cfg.Store.View(func(tx *store.Tx) error {
		rec, ok, err := users.Get(tx, local)
		switch {
		case err != nil:
			return err
		case ok && sha256Keys:
			keys = rec.SHA256
		case ok:
			keys = rec.SHA1
		}
		return nil
	})
	if err != nil {
		h.log.Error("an account cannot be read", "account", local, "err", err)
		return fake
	}
	return keys
}

func (h *Hub) derive(use, name string) []byte {
	m := hmac.New(sha256.New, h.secret)
	m.Write([]byte(use + "\x00" + name))
	return m.Sum(nil)
}
