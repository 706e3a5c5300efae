//go:build !fleet

package registry

import (
	"context"
	"path/filepath"
	"testing"

	"postern/internal/store"
)

// kept is a state that can be opened again and again; open closes what was open
// before. This one is a file; with the tag fleet the whole suite has a database
// of PostgreSQL.
type kept struct {
	t    *testing.T
	path string
	db   *store.DB
}

func newKept(t *testing.T) *kept {
	k := &kept{t: t, path: filepath.Join(t.TempDir(), "r.db")}
	t.Cleanup(k.close)
	return k
}

func (k *kept) open() DB {
	k.t.Helper()
	k.close()
	var err error
	if k.db, err = store.Open(context.Background(), k.path, store.Options{}); err != nil {
		k.t.Fatal(err)
	}
	return Bolt(k.db)
}

func (k *kept) close() {
	if k.db == nil {
		return
	}
	if err := k.db.Close(); err != nil {
		k.t.Error(err)
	}
	k.db = nil
}

// disturb does nothing to a file: nobody but its process has it.
func (k *kept) disturb() (stop func()) { return func() {} }

// others are empty states of all kinds.
func others(t *testing.T) map[string]DB { return map[string]DB{"bolt": newKept(t).open()} }
