//go:build fleet

package registry

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/peertest"
	"postern/internal/store"
	"postern/provisioning/registry/postgres"
)

var cluster peertest.PostgresPool

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// kept is a state that can be opened again and again; open closes what was open
// before. This one is a database of PostgreSQL; without the tag fleet the whole
// suite has files.
type kept struct {
	t      *testing.T
	server *peertest.Postgres
	name   string
	db     *postgres.DB
}

func newKept(t *testing.T) *kept {
	server, name := cluster.Database(t)
	k := &kept{t: t, server: server, name: name}
	t.Cleanup(k.close)
	return k
}

func (k *kept) open() DB {
	k.t.Helper()
	k.close()
	var err error
	if k.db, err = postgres.Open(context.Background(), postgres.Options{Address: k.server.URL(k.name)}); err != nil {
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

// disturb ends the registry's session again and again, wherever it stands.
func (k *kept) disturb() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
			}
			err := k.server.SQL(k.name, `do $$ begin for i in 1..5 loop
				perform pg_stat_clear_snapshot();
				perform pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
				perform pg_sleep(0.005 + 0.03 * random());
			end loop; end $$`)
			if err != nil {
				k.t.Error(err)
			}
		}
	}()
	return func() { close(end); <-done }
}

// others are empty states of all kinds.
func others(t *testing.T) map[string]DB {
	file, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "r.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return map[string]DB{"postgres": newKept(t).open(), "bolt": Bolt(file)}
}
