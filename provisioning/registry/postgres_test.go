//go:build fleet

package registry

import (
	"context"
	"os"
	"testing"

	"postern/internal/peertest"
	"postern/provisioning/registry/postgres"
)

var cluster peertest.PostgresPool

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// kept is a state that can be opened again and again; open closes what was open
// before. This one is a database of PostgreSQL; without the tag fleet the whole
// suite has files.
type kept struct {
	t   *testing.T
	url string
	db  *postgres.DB
}

func newKept(t *testing.T) *kept {
	server, name := cluster.Database(t)
	k := &kept{t: t, url: server.URL(name)}
	t.Cleanup(k.close)
	return k
}

func (k *kept) open() DB {
	k.t.Helper()
	k.close()
	var err error
	if k.db, err = postgres.Open(context.Background(), postgres.Options{Address: k.url}); err != nil {
		k.t.Fatal(err)
	}
	return k.db
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
