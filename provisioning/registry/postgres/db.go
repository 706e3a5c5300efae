//go:build fleet

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/provisioning/registry/state"
)

// Errors. All but ErrAway need somebody to do something.
var (
	// ErrAway: the database cannot be reached now. Nothing was changed, or it
	// will be taken back before anything else is.
	ErrAway = errors.New("postgres: the database is away")
	// ErrTaken: another registry serves the database.
	ErrTaken = errors.New("postgres: another registry serves this database")
	// ErrSuperseded: another registry has served the database since, or it was
	// put back to an older state. What is in memory is not what is kept.
	ErrSuperseded = errors.New("postgres: the database was changed by somebody else; the registry has to be started again to read it anew")
	// ErrNewer: the tables are of a newer program.
	ErrNewer = errors.New("postgres: the database is of a newer program")
	// ErrUnfit: the server or database cannot be used.
	ErrUnfit = errors.New("postgres: the database cannot be used")
	// ErrEmpty: no registry has ever used the database.
	ErrEmpty = errors.New("postgres: there is no state of a registry in the database")

	errPassword = errors.New("postgres: the password cannot be read")
	errClosed   = errors.New("postgres: closed")
)

// Options say which database, and how it is used.
type Options struct {
	// Address is postgres://USER@HOST/DATABASE with the settings that libpq
	// takes, but without a password.
	Address string
	// Password gives the password, anew for each connection. nil: PGPASSFILE,
	// ~/.pgpass and PGPASSWORD count, as usual, or the server wants none.
	Password func() (string, error)
	// ReadOnly is for View alone. It takes no lock, so it works beside a
	// registry that serves.
	ReadOnly bool
	// Timeout is for one exchange with the server, connecting included; 0
	// means 10 s.
	Timeout time.Duration
	Logger  *slog.Logger // nil discards

	steps []string // of the tables, for tests
}

// DB is a state.DB. It reconnects by itself.
type DB struct {
	o    Options
	log  *slog.Logger
	name string

	// mu is held for a whole transaction; there is one connection.
	mu      sync.Mutex
	s       *session // nil while away
	epoch   int64
	commits int64
	// undo takes back a commit of which nobody knows whether it took place:
	// the database has then one commit more than commits.
	undo *undo
	end  error         // nothing works any more
	wait time.Duration // until the next try to connect
	next time.Time

	errMu sync.Mutex
	err   error // why the database is away
}

var _ state.DB = (*DB)(nil)

// Open connects, makes the tables or brings them up to date, and takes the
// lock. errors.Is(err, ErrAway) says that trying again makes sense.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.steps == nil {
		o.steps = steps
	}
	db := &DB{o: o, log: o.Logger}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	// At most 63 octets count.
	db.name = fmt.Sprintf("postern registry on %.16s, process %d, %.8s", host, os.Getpid(), rand.Text())
	s, err := db.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	db.s = s
	return db, nil
}

// connect opens a session. again is set after the first.
func (db *DB) connect(ctx context.Context, again bool) (*session, error) {
	c, err := parse(db.o.Address, db.o.ReadOnly)
	if err != nil {
		return nil, err
	}
	if db.o.Password != nil {
		if c.Password, err = db.o.Password(); err != nil {
			return nil, fmt.Errorf("%w: %w", errPassword, err)
		}
	}
	// A registry whose machine is gone does not hold the lock for longer than
	// about 30 s, and an open transaction not for longer than a minute.
	for k, v := range map[string]string{"application_name": db.name, "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5",
		"tcp_keepalives_count": "4", "idle_in_transaction_session_timeout": "60000"} {
		c.RuntimeParams[k] = v
	}
	ctx, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	s := &session{name: db.name, readOnly: db.o.ReadOnly, timeout: db.o.Timeout}
	if s.conn, err = pgconn.ConnectConfig(ctx, c); err == nil {
		if err = db.begin(ctx, s, again); err != nil {
			s.close()
		}
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, ErrSuperseded):
		db.end = err
		return nil, err
	case final(err):
		return nil, fmt.Errorf("%w%s", err, advice(err, c.User, c.Database))
	}
	// Not wrapped: a time-out of the database is none of the request.
	return nil, fmt.Errorf("%w: %s%s", ErrAway, oneLine(err), advice(err, c.User, c.Database))
}

// begin makes a connection fit for use and finds out where the database stands.
func (db *DB) begin(ctx context.Context, s *session, again bool) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.makeBase(ctx); err != nil {
		return err
	}
	if s.readOnly {
		return errors.Join(s.migrate(ctx, db.o.steps), s.prepare(ctx))
	}
	if err := s.lock(ctx, again); err != nil {
		return err
	}
	if err := s.migrate(ctx, db.o.steps); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if !again {
		at, err := s.text(ctx, "update postern_registry_meta set epoch = epoch + 1 returning concat_ws(' ', epoch, commits)")
		if err == nil {
			_, err = fmt.Sscan(at, &db.epoch, &db.commits)
		}
		return err
	}
	at, err := s.text(ctx, "select concat_ws(' ', epoch, commits) from postern_registry_meta")
	if err != nil {
		return err
	}
	var epoch, commits int64
	if _, err := fmt.Sscan(at, &epoch, &commits); err != nil {
		return err
	}
	switch {
	case epoch != db.epoch:
		return ErrSuperseded
	case commits == db.commits: // an open commit did not take place
		db.undo = nil
	case db.undo != nil && commits == db.commits+1:
		db.undo.wanted = true
	case db.undo != nil && db.undo.tried && commits == db.commits+2: // it was taken back, only the answer was lost
		db.commits, db.undo = commits, nil
	default:
		return ErrSuperseded
	}
	return nil
}

// ready returns with a session that is in order, or says why there is none.
// While the database is away it is tried again after 0.25 s to 5 s.
func (db *DB) ready() error {
	if db.end != nil {
		return db.end
	}
	if db.s == nil || db.s.conn.IsClosed() {
		if time.Now().Before(db.next) {
			return db.Err()
		}
		if err := db.reconnect(); err != nil {
			return err
		}
	}
	if db.undo != nil && db.undo.wanted {
		if err := db.takeBack(); err != nil {
			return db.lost(err)
		}
	}
	return nil
}

// reconnect makes a new session.
func (db *DB) reconnect() error {
	db.drop()
	s, err := db.connect(context.Background(), true)
	if err != nil {
		db.wait = min(max(2*db.wait, 250*time.Millisecond), 5*time.Second)
		db.next = time.Now().Add(db.wait)
		if !errors.Is(err, ErrAway) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
		db.note(err)
		return err
	}
	db.s, db.wait, db.next = s, 0, time.Time{}
	db.note(nil)
	return nil
}

// drop ends the session.
func (db *DB) drop() {
	if db.s != nil {
		db.s.close()
		db.s = nil
	}
}

// lost handles an error of a session: one of the connection ends it.
func (db *DB) lost(err error) error {
	var p *pgconn.PgError
	switch {
	case errors.Is(err, ErrSuperseded):
		db.end = err
		db.drop()
		db.note(err)
		return err
	case errors.As(err, &p) && p.SeverityUnlocalized == "ERROR" && db.s != nil && !db.s.conn.IsClosed():
		return fmt.Errorf("postgres: %w", err)
	}
	db.drop()
	err = fmt.Errorf("%w: %s", ErrAway, oneLine(err))
	db.note(err)
	return err
}

// note keeps and logs that the database went, why it does not come, and that
// it is back; each once.
func (db *DB) note(err error) {
	db.errMu.Lock()
	before := db.err
	db.err = err
	db.errMu.Unlock()
	switch {
	case err == nil && before != nil:
		db.log.Info("the database is back")
	case err != nil && (before == nil || before.Error() != err.Error()):
		db.log.Error("the database cannot be used; it is tried again", "err", err)
	}
}

// Err returns why the database cannot be used, nil while it can as far as is
// known. It does not wait.
func (db *DB) Err() error {
	db.errMu.Lock()
	defer db.errMu.Unlock()
	return db.err
}

// pingEvery is how often an idle connection is looked at.
const pingEvery = 10 * time.Second

// Run looks after the connection until ctx is done: it notices that the
// database is away or back although nobody asks, and returns ErrSuperseded
// when somebody else has taken over.
func (db *DB) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := db.look(now.Sub(last) >= pingEvery); err != nil {
				return err
			}
			if now.Sub(last) >= pingEvery {
				last = now
			}
		}
	}
}

// look is one look of Run.
func (db *DB) look(ping bool) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.ready() == nil && ping {
		ctx, cancel := db.s.exchange()
		defer cancel()
		if err := db.s.conn.Ping(ctx); err != nil {
			_ = db.lost(err)
		}
	}
	if errors.Is(db.end, errClosed) {
		return nil
	}
	return db.end
}

// Close ends the connection, and with it the lock, once the transaction that
// runs is over.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.end == nil {
		db.end = errClosed
	}
	if db.s != nil && !db.o.ReadOnly && !db.s.conn.IsClosed() {
		ctx, cancel := db.s.exchange()
		defer cancel()
		_, _ = db.s.text(ctx, "select pg_advisory_unlock_all()") // so that a successor need not wait for the server to notice
	}
	db.drop()
	return nil
}
