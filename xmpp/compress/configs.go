package compress

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// Configuration is what a configurationId stands for: options and schemas
// (XEP-0322 §2.5).
type Configuration struct {
	ID      string // the server's name for it; a client's note
	Params  Params
	Schemas []Ref
	Used    time.Time // when it was last agreed on
}

// Configurations keeps configurations by id, for a server those it agreed to,
// for a client the one of each server. Implementations are safe for concurrent
// use; a store that forgets is allowed, it costs a full proposal.
type Configurations interface {
	Configuration(id string) (Configuration, bool)
	Remember(id string, c Configuration)
	Forget(id string)
}

// Expiry is how long an unused configuration is kept (decision D26).
const Expiry = 90 * 24 * time.Hour

// Memory is a Configurations that a restart empties. It keeps the newest
// MemorySize. The zero Memory is ready to use.
type Memory struct {
	mu sync.Mutex
	m  map[string]Configuration
}

// MemorySize is the number of configurations a Memory keeps.
const MemorySize = 1024

// Configuration implements Configurations.
func (m *Memory) Configuration(id string) (Configuration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.m[id]
	return c, ok
}

// Remember implements Configurations.
func (m *Memory) Remember(id string, c Configuration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = make(map[string]Configuration)
	}
	if _, known := m.m[id]; !known && len(m.m) >= MemorySize {
		oldest := ""
		for k, v := range m.m {
			if oldest == "" || v.Used.Before(m.m[oldest].Used) {
				oldest = k
			}
		}
		delete(m.m, oldest)
	}
	m.m[id] = c
}

// Forget implements Configurations.
func (m *Memory) Forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, id)
}

// newID returns a configurationId nobody can guess.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
