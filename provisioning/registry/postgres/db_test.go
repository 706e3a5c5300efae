//go:build fleet

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
	"postern/provisioning/registry/state"
	"postern/provisioning/registry/state/statetest"
)

var cluster peertest.PostgresPool

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// open opens a database until the test ends.
func open(t *testing.T, o Options) *DB {
	t.Helper()
	db, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func put(db state.DB, key, value string) error {
	return db.Update(func(tx state.Tx) error { return tx.Put("b", key, []byte(value)) })
}

// list returns the bucket b as one text.
func list(t *testing.T, db state.DB) string {
	t.Helper()
	var b strings.Builder
	err := db.View(func(tx state.Tx) error {
		for r := range tx.All("b") {
			fmt.Fprintf(&b, "%s=%s ", r.Key, r.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestState(t *testing.T) {
	statetest.Test(t, func(t *testing.T) statetest.Opener {
		server, name := cluster.Database(t)
		var db *DB
		t.Cleanup(func() { _ = db.Close() })
		return func() state.DB {
			if db != nil {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
			db = open(t, Options{Address: server.URL(name)})
			return db
		}
	})
}

// A second registry is refused and told who serves; reading is possible.
func TestOneRegistryServes(t *testing.T) {
	server, name := cluster.Database(t)
	first := open(t, Options{Address: server.URL(name)})
	if err := put(first, "k", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Options{Address: server.URL(name)})
	if !errors.Is(err, ErrTaken) || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "another registry serves this database (postern registry on ") ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("%v", err)
	}
	reader := open(t, Options{Address: server.URL(name), ReadOnly: true})
	if got := list(t, reader); got != "k=1" {
		t.Error(got)
	}
	if err := put(reader, "k", "2"); err == nil {
		t.Error("a reader writes")
	}
	if err := put(first, "k", "3"); err != nil {
		t.Error(err)
	}
	// Another schema is another database.
	if err := server.SQL(name, "create schema other"); err != nil {
		t.Fatal(err)
	}
	other := open(t, Options{Address: server.URL(name) + "&search_path=other"})
	if got := list(t, other); got != "" {
		t.Error(got)
	}
	_ = first.Close()
	open(t, Options{Address: server.URL(name)})
	if err := put(first, "k", "4"); err == nil {
		t.Error("a closed one writes")
	}
}

func TestVersionsOfTheTables(t *testing.T) {
	server, name := cluster.Database(t)
	o := Options{Address: server.URL(name)}
	read := o
	read.ReadOnly = true
	if _, err := Open(context.Background(), read); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty database: %v", err)
	}
	db := open(t, o)
	if err := put(db, "k", "1"); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()

	newer := o
	newer.steps = append(steps[:len(steps):len(steps)], "alter table postern_registry add more integer default 7")
	read.steps = newer.steps
	if _, err := Open(context.Background(), read); err == nil || !strings.Contains(err.Error(), "version 1, this program wants 2") {
		t.Errorf("%v", err)
	}
	// A step that fails leaves everything as it was.
	bad := o
	bad.steps = append(newer.steps[:2:2], "create table t (n int); select nonsense")
	if _, err := Open(context.Background(), bad); err == nil || !strings.Contains(err.Error(), "to version 3") {
		t.Errorf("%v", err)
	}
	if out, err := server.Query(name, "select version, to_regclass('t') is null from postern_registry_meta"); out != "2|t" || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	db = open(t, newer)
	if got := list(t, db); got != "k=1" {
		t.Error(got)
	}
	if out, err := server.Query(name, "select more from postern_registry"); out != "7" || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	_ = db.Close()
	for _, o := range []Options{o, {Address: o.Address, ReadOnly: true}} {
		_, err := Open(context.Background(), o)
		if !errors.Is(err, ErrNewer) || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "tables have version 2, this program knows up to 1") {
			t.Errorf("%v", err)
		}
	}
}

// What somebody has to mend is told as such, and not tried again.
func TestUnfitDatabases(t *testing.T) {
	server, name := cluster.Database(t)
	if err := server.SQL("postgres", "create database latin encoding 'LATIN1' template template0"); err != nil {
		t.Fatal(err)
	}
	if err := server.SQL("postgres", "create role poor login"); err != nil {
		t.Fatal(err)
	}
	url := server.URL(name)
	for address, want := range map[string]string{
		server.URL("latin"):                            "encoding is LATIN1",
		server.URL("none"):                             "createdb --owner=postern none",
		strings.Replace(url, "postern@", "poor@", 1):   "alter database",
		strings.Replace(url, "postern@", "nobody@", 1): `role "nobody" does not exist`,
	} {
		_, err := Open(context.Background(), Options{Address: address})
		if err == nil || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Over the network a password is needed: from where it is given, or from the
// usual file; and it shows nowhere.
func TestPasswords(t *testing.T) {
	server, name := cluster.Database(t)
	address := fmt.Sprintf("postgres://postern@%s/%s", server.Addr, name)
	dir := t.TempDir()
	t.Setenv("PGPASSFILE", filepath.Join(dir, "none"))
	_, err := Open(context.Background(), Options{Address: address})
	if err == nil || errors.Is(err, ErrAway) {
		t.Errorf("without: %v", err)
	}
	_, err = Open(context.Background(), Options{Address: address, Password: func() (string, error) { return "wrong-7731", nil }})
	if err == nil || errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "is the password of the role postern right?") || strings.Contains(err.Error(), "7731") {
		t.Errorf("wrong: %v", err)
	}
	missing := errors.New("no such file")
	if _, err = Open(context.Background(), Options{Address: address, Password: func() (string, error) { return "", missing }}); !errors.Is(err, missing) || errors.Is(err, ErrAway) {
		t.Errorf("missing: %v", err)
	}
	db := open(t, Options{Address: address, Password: func() (string, error) { return peertest.PostgresPassword, nil }})
	if err := put(db, "k", "1"); err != nil {
		t.Error(err)
	}
	_ = db.Close()
	file := filepath.Join(dir, "pgpass")
	host, port, _ := strings.Cut(server.Addr, ":")
	if err := os.WriteFile(file, []byte(host+":"+port+":*:postern:"+peertest.PostgresPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", file)
	open(t, Options{Address: address})
}

// What passes by itself is told as such, in one line and in time.
func TestAwayAtTheStart(t *testing.T) {
	start := time.Now()
	_, err := Open(context.Background(), Options{Address: "postgres://postern@/x?host=" + t.TempDir(), Timeout: time.Second})
	if !errors.Is(err, ErrAway) || time.Since(start) > 5*time.Second || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
