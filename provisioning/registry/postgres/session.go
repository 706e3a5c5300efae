//go:build fleet

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// session is one connection that is fit for use: with the lock, unless it only
// reads, and with tables of the right version.
type session struct {
	conn     *pgconn.PgConn
	name     string // application_name
	readOnly bool
	timeout  time.Duration // of one exchange
}

// What is prepared on each connection. The old value comes back with a change,
// so that it can be taken back.
var prepared = map[string]string{
	"guard": "update postern_registry_meta set commits = commits + 1 where epoch = $1::bigint and commits = $2::bigint",
	"get":   "select value from postern_registry where bucket = $1::text and digest = sha256($2::bytea)",
	"put": `with old as (select value from postern_registry where bucket = $1::text and digest = sha256($2::bytea))
		insert into postern_registry (bucket, key, value) values ($1::text, $2::bytea, $3::json)
		on conflict (bucket, digest) do update set value = excluded.value returning (select value from old)`,
	"delete": "delete from postern_registry where bucket = $1::text and digest = sha256($2::bytea) returning value",
}

// exchange gives one exchange with the server its time.
func (s *session) exchange() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.timeout)
}

// run runs statements that give nothing. On an error the transaction, if one
// is open, is rolled back.
func (s *session) run(ctx context.Context, statements string) error {
	_, err := s.conn.Exec(ctx, statements).ReadAll()
	if err != nil && s.conn.TxStatus() != 'I' && !s.conn.IsClosed() {
		_, rerr := s.conn.Exec(ctx, "rollback").ReadAll()
		err = errors.Join(err, rerr)
	}
	return err
}

// text runs a statement that gives one value as text.
func (s *session) text(ctx context.Context, statement string, args ...string) (string, error) {
	var params [][]byte
	for _, a := range args {
		params = append(params, []byte(a))
	}
	r := s.conn.ExecParams(ctx, statement, params, nil, nil, nil).Read()
	if r.Err != nil {
		return "", r.Err
	}
	if len(r.Rows) == 0 || len(r.Rows[0]) == 0 {
		return "", nil
	}
	return string(r.Rows[0][0]), nil
}

// check looks whether the server is one that can be used.
func (s *session) check(ctx context.Context) error {
	got, err := s.text(ctx, `select concat_ws(' ', pg_backend_pid(), current_setting('server_encoding'), current_setting('server_version_num'),
		current_setting('transaction_read_only'))`)
	if err != nil {
		return err
	}
	var pid uint32
	var encoding, readOnly string
	var version int
	if _, err := fmt.Sscan(got, &pid, &encoding, &version, &readOnly); err != nil {
		return fmt.Errorf("postgres: the server says %q about itself: %w", got, err)
	}
	switch {
	case version < 120000:
		return fmt.Errorf("%w: PostgreSQL 12 or newer is needed", ErrUnfit)
	case encoding != "UTF8":
		return fmt.Errorf("%w: its encoding is %s; make a database with createdb --encoding=UTF8 --template=template0", ErrUnfit, encoding)
	case pid != s.conn.PID() && !s.readOnly:
		return fmt.Errorf("%w: something such as PgBouncer stands between, and would lose the registry's lock; connect to the server itself", ErrUnfit)
	case readOnly == "on" && !s.readOnly:
		return errors.New("the server takes no changes; it may be a stand-by")
	}
	// What is acknowledged survives a power cut, whatever the role's default.
	_, err = s.text(ctx, "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'")
	return err
}

// lock takes the lock of the registry that serves. A registry that has just
// ended may hold it for a moment longer. again is set after a broken
// connection: the server may not have noticed yet that it is broken, and then
// the own former session holds the lock and is ended.
func (s *session) lock(ctx context.Context, again bool) error {
	for try := 0; ; try++ {
		got, err := s.text(ctx, serveLock)
		if err != nil || got == "true" {
			return err
		}
		if try == 20 {
			break
		}
		if again {
			if _, err := s.text(ctx, "select count(pg_terminate_backend(pid))::text "+holders+" and a.application_name = $1", s.name); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	who, err := s.text(ctx, "select concat_ws(', ', application_name, 'from ' || host(client_addr), 'since ' || to_char(backend_start, 'YYYY-MM-DD HH24:MI')) "+holders)
	if err != nil {
		return err
	}
	switch {
	case again && (who == "" || strings.Contains(who, s.name)):
		return errors.New("the server still holds the lock of the former connection")
	case again:
		return fmt.Errorf("%w: %w (%s)", ErrSuperseded, ErrTaken, who)
	}
	return fmt.Errorf("%w (%s): stop it, or give this one a database of its own", ErrTaken, who)
}

// holders is the part of a query that finds who has the lock.
const holders = `from pg_locks l join pg_stat_activity a using (pid)
	where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.classid = 1347375956
	and l.objid = 'postern_registry_meta'::regclass::oid and l.database = (select oid from pg_database where datname = current_database())
	and pid <> pg_backend_pid()`

// prepare makes the statements known.
func (s *session) prepare(ctx context.Context) error {
	for name, sql := range prepared {
		if _, err := s.conn.Prepare(ctx, name, sql, nil); err != nil {
			return err
		}
	}
	return nil
}

// close ends the connection, in order where that is quick.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // it is of no use any more, whatever comes of it
}

// advice says what to do about an error of the server.
func advice(err error, user, database string) string {
	var p *pgconn.PgError
	if !errors.As(err, &p) {
		return ""
	}
	switch p.Code {
	case "28000":
		return "; without a password the system's user has to be called like the role, " + user + ", and pg_hba.conf has to let it in"
	case "28P01":
		return "; is the password of the role " + user + " right?"
	case "3D000":
		return fmt.Sprintf("; make it: sudo -u postgres createdb --owner=%s %s", user, database)
	case "42501":
		return fmt.Sprintf("; the role %s has to own the database: sudo -u postgres psql -c 'alter database %q owner to %q'", user, database, user)
	case "53300":
		return "; raise max_connections, or end what has them"
	}
	return ""
}

// oneLine makes an error fit for a log.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// final reports whether trying again does not mend an error: somebody has to
// do something.
func final(err error) bool {
	for _, e := range []error{ErrAddress, ErrTaken, ErrNewer, ErrUnfit, ErrEmpty, ErrSuperseded, errPassword} {
		if errors.Is(err, e) {
			return true
		}
	}
	var p *pgconn.PgError
	if !errors.As(err, &p) || len(p.Code) != 5 {
		return false
	}
	switch p.Code[:2] {
	case "28", "3D", "42": // who one is, which database, what one may
		return true
	}
	return false
}
