package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/store"
	"postern/provisioning/registry"
)

// registryDatabase is a database for a registry's state.
type registryDatabase struct {
	Address  string        `yaml:"address,omitempty" doc:"postgres://USER@HOST/NAME, without a password" example:"postgres://postern-registry@/postern?host=/run/postgresql"`
	Password config.Secret `yaml:"password,omitempty" doc:"where its password is kept; without, PGPASSFILE and ~/.pgpass count, or it needs none"`
}

// registryDB is the opened state of a registry.
type registryDB struct {
	registry.DB
	run     func(context.Context) error // looks after it until ctx is done
	problem func() error                // why it cannot be used now
	close   func() error
}

// purpose is what a state is opened for.
type purpose int

const (
	forService purpose = iota
	forExport          // beside a registry that serves, where that is possible
	forImport          // into a state that need not be there
)

// openRegistryDB opens the state where the configuration says it is.
func openRegistryDB(ctx context.Context, f *registryFile, log *slog.Logger) (*registryDB, error) {
	if f.Database.Address != "" {
		return openDatabase(ctx, f.Database, forService, log.With("part", "database"))
	}
	dir, err := gateway.StateDirectory(f.State.Directory, "postern-registry")
	if err != nil {
		return nil, err
	}
	return openRegistryFile(ctx, dir, log)
}

// registryStore is the name of a registry's store.
const registryStore = "registry.db"

// openRegistryFile opens the store of a registry in dir.
func openRegistryFile(ctx context.Context, dir string, log *slog.Logger) (*registryDB, error) {
	o := store.Options{Logger: log, Order: registry.Buckets()}
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == "postern" {
		o.Check = store.ChildCheck(exe, "store", "check")
	}
	db, err := store.Open(ctx, filepath.Join(dir, registryStore), o)
	if err != nil {
		return nil, err
	}
	return &registryDB{
		DB:      registry.Bolt(db),
		run:     func(ctx context.Context) error { <-ctx.Done(); return nil },
		problem: func() error { return nil }, close: db.Close,
	}, nil
}

// withState runs f on the state of a registry that does not run.
func (o *registryOptions) withState(ctx context.Context, env *cli.Env, what purpose, f func(registry.DB) error) error {
	conf, err := o.load(env)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	var db *registryDB
	if conf.Database.Address != "" {
		db, err = openDatabase(ctx, conf.Database, what, log)
	} else {
		db, err = openUnused(ctx, conf, what, log)
	}
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.close())
}

// openUnused opens the file of a registry that does not run.
func openUnused(ctx context.Context, conf *registryFile, what purpose, log *slog.Logger) (*registryDB, error) {
	dir, err := gateway.StateDirectory(conf.State.Directory, "postern-registry")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, registryStore)); err != nil && what == forExport {
		return nil, fmt.Errorf("%w in %s; name its directory with --state", errNoState, dir)
	}
	db, err := openRegistryFile(ctx, dir, log)
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("a registry is running on %s: stop it first", dir)
	}
	return db, err
}
