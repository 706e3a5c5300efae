//go:build fleet

package postgres

import (
	"context"
	"fmt"
)

// base makes the table that says what else there is. It runs under
// baseLock, for two that come at once.
const base = `create table if not exists postern_registry_meta (
	one boolean primary key default true check (one),
	version integer not null default 0,
	epoch bigint not null default 0,
	commits bigint not null default 0
);
insert into postern_registry_meta default values on conflict do nothing`

// steps lead from each version of the tables to the next: version n is there
// after the first n. What has been released is not changed.
//
// The key of the index is a digest because keys may be longer than what an
// index takes, about 2,700 octets.
var steps = []string{
	`create table postern_registry (
		bucket text collate "C" not null,
		key bytea not null,
		value json not null,
		digest bytea generated always as (sha256(key)) stored,
		primary key (bucket, digest)
	);
	comment on table postern_registry is 'things, rules and the rest of a Postern registry; changed while one runs, it would not notice'`,
}

// Advisory locks: baseLock in its transaction, serveLock, together with the
// table's object id, while a registry serves.
const ( // 1347375956 is "POST" in ASCII
	baseLock  = "select pg_advisory_xact_lock(1347375956::bigint << 32)"
	serveLock = "select pg_try_advisory_lock((1347375956::bigint << 32) | 'postern_registry_meta'::regclass::oid::bigint)::text"
)

// makeBase makes the first table where it is missing.
func (s *session) makeBase(ctx context.Context) error {
	there, err := s.text(ctx, "select coalesce(to_regclass('postern_registry_meta')::text, '')")
	if err != nil || there != "" {
		return err
	}
	if s.readOnly {
		return ErrEmpty
	}
	return s.run(ctx, "begin; "+baseLock+"; "+base+"; commit")
}

// version checks the version of the tables and brings them up to date. The
// session holds the lock, unless it only reads.
func (s *session) migrate(ctx context.Context, steps []string) error {
	var v int
	text, err := s.text(ctx, "select version::text from postern_registry_meta")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(text, &v); err != nil {
		return fmt.Errorf("postgres: the version of the tables is %q: %w", text, err)
	}
	switch {
	case v == len(steps):
		return nil
	case v > len(steps):
		return fmt.Errorf("%w: its tables have version %d, this program knows up to %d; use the newer program, or a back-up from before it",
			ErrNewer, v, len(steps))
	case s.readOnly && v == 0:
		return ErrEmpty
	case s.readOnly:
		return fmt.Errorf("postgres: the tables have version %d, this program wants %d: start the registry once, it brings them up to date", v, len(steps))
	}
	for ; v < len(steps); v++ {
		if err := s.run(ctx, fmt.Sprintf("begin; %s; update postern_registry_meta set version = %d; commit", steps[v], v+1)); err != nil {
			return fmt.Errorf("postgres: bringing the tables to version %d: %w", v+1, err)
		}
	}
	return nil
}
