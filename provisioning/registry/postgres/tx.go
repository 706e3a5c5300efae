//go:build fleet

package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/provisioning/registry/state"
)

// tx is a transaction. Changes are gathered and sent together, at the latest
// before the commit, so that most transactions take two exchanges.
type tx struct {
	db       *DB
	readOnly bool
	begun    bool
	pending  []write
	old      []write // what the changes so far replaced, in their order
	cursors  int
	err      error // the first of the connection or the server: nothing works after it
}

// write is a change; without a value it deletes.
type write struct {
	bucket, key string
	value       []byte
}

// undo is what an open commit replaced.
type undo struct {
	old    []write
	wanted bool // it took place, and nobody knows
	tried  bool // it may have been taken back
}

// Bounds of one exchange.
const (
	maxPending = 500
	fetchRows  = 500
)

var (
	errReadOnly = errors.New("postgres: writing within a View")
	errKey      = fmt.Errorf("postgres: a key has 1 to %d octets", state.MaxKey)
	errOver     = errors.New("postgres: the transaction is over")
)

// View implements state.DB.
func (db *DB) View(f func(state.Tx) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.ready(); err != nil {
		return err
	}
	t := &tx{db: db, readOnly: true}
	defer t.rollback()
	if err := t.flush(); err != nil {
		return err
	}
	return t.call(f)
}

// call runs f. What went wrong counts although f may not care.
func (t *tx) call(f func(state.Tx) error) error {
	if err := f(t); err != nil {
		return err
	}
	return t.err
}

// Update implements state.DB.
func (db *DB) Update(f func(state.Tx) error) error {
	if db.o.ReadOnly {
		return errReadOnly
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.ready(); err != nil {
		return err
	}
	t := &tx{db: db}
	defer t.rollback()
	if err := t.call(f); err != nil {
		return err
	}
	if !t.begun && len(t.pending) == 0 {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.err = errOver
	return db.commit(t)
}

// commit ends a transaction and says whether it took place.
func (db *DB) commit(t *tx) error {
	sure, err := db.s.commit()
	if sure {
		t.begun = false
		if err == nil {
			db.commits++
			return nil
		}
		return db.lost(err)
	}
	// The connection broke: it took place, or not. The number of commits tells.
	t.begun = false
	db.undo = &undo{old: t.old}
	err = db.lost(err)
	if db.reconnect() != nil {
		return err
	}
	if db.undo != nil && db.undo.wanted {
		db.undo = nil
		db.commits++
		return nil
	}
	return err
}

// commit sends the end of a transaction; sure is false when nobody knows what
// came of it.
func (s *session) commit() (sure bool, err error) {
	ctx, cancel := s.exchange()
	defer cancel()
	res, err := s.conn.Exec(ctx, "commit").ReadAll()
	var p *pgconn.PgError
	switch {
	case err == nil && len(res) == 1 && res[0].CommandTag.String() == "COMMIT":
		return true, nil
	case err == nil:
		return true, errors.New("the server rolled the transaction back")
	case errors.As(err, &p) && p.SeverityUnlocalized == "ERROR":
		return true, err
	}
	return false, err
}

// takeBack undoes the open commit, of which the registry knows that it failed.
func (db *DB) takeBack() error {
	db.undo.tried = true
	t := &tx{db: db}
	back := slices.Clone(db.undo.old)
	slices.Reverse(back)
	for part := range slices.Chunk(back, maxPending) {
		if _, err := db.s.write(!t.begun, db.epoch, db.commits+1, part); err != nil {
			return errors.Join(err, db.s.rollback())
		}
		t.begun = true
	}
	if sure, err := db.s.commit(); err != nil {
		if !sure {
			return err
		}
		return errors.Join(err, db.s.rollback())
	}
	db.log.Warn("a change that had failed was taken back")
	db.commits, db.undo = db.commits+2, nil
	return nil
}

// flush begins the transaction if need be, and sends what is pending. A
// connection that turns out to be broken at the beginning is replaced.
func (t *tx) flush() error {
	if t.err != nil {
		return t.err
	}
	if t.begun && len(t.pending) == 0 {
		return nil
	}
	err := t.send()
	if err != nil && !t.begun {
		if err = t.db.lost(err); errors.Is(err, ErrAway) && t.db.ready() == nil {
			if err = t.send(); err != nil {
				err = t.db.lost(err)
			}
		}
	} else if err != nil {
		err = t.db.lost(err)
	}
	if t.err = err; err == nil {
		t.begun, t.pending = true, t.pending[:0]
	}
	return err
}

func (t *tx) send() error {
	s := t.db.s
	if t.readOnly {
		ctx, cancel := s.exchange()
		defer cancel()
		return s.run(ctx, "begin isolation level repeatable read read only")
	}
	old, err := s.write(!t.begun, t.db.epoch, t.db.commits, t.pending)
	if err != nil && !t.begun {
		return errors.Join(err, s.rollback())
	}
	t.old = append(t.old, old...)
	return err
}

// write sends changes, behind the beginning of a transaction if need be, and
// returns what they replaced.
func (s *session) write(begin bool, epoch, commits int64, changes []write) (old []write, err error) {
	ctx, cancel := s.exchange()
	defer cancel()
	b, first := new(pgconn.Batch), 0
	if begin {
		first = 2
		b.ExecParams("begin", nil, nil, nil, nil)
		b.ExecPrepared("guard", [][]byte{strconv.AppendInt(nil, epoch, 10), strconv.AppendInt(nil, commits, 10)}, nil, nil)
	}
	binary := []int16{0, 1, 1}
	for _, w := range changes {
		if w.value == nil {
			b.ExecPrepared("delete", [][]byte{[]byte(w.bucket), []byte(w.key)}, binary[:2], binary[1:2])
		} else {
			b.ExecPrepared("put", [][]byte{[]byte(w.bucket), []byte(w.key), w.value}, binary, binary[1:2])
		}
	}
	r := s.conn.ExecBatch(ctx, b)
	for i := 0; r.NextResult(); i++ {
		res := r.ResultReader().Read()
		switch {
		case res.Err != nil:
		case begin && i == 1 && res.CommandTag.RowsAffected() != 1:
			err = ErrSuperseded
		case i >= first:
			w := write{bucket: changes[i-first].bucket, key: changes[i-first].key}
			if len(res.Rows) == 1 && len(res.Rows[0]) == 1 {
				w.value = res.Rows[0][0]
			}
			old = append(old, w)
		}
	}
	return old, errors.Join(err, r.Close())
}

// rollback ends a transaction without its changes.
func (s *session) rollback() error {
	if s.conn.IsClosed() || s.conn.TxStatus() == 'I' {
		return nil
	}
	ctx, cancel := s.exchange()
	defer cancel()
	_, err := s.conn.Exec(ctx, "rollback").ReadAll()
	return err
}

// rollback ends what was not committed.
func (t *tx) rollback() {
	if t.begun && t.db.s != nil {
		if err := t.db.s.rollback(); err != nil {
			_ = t.db.lost(err)
		}
	}
	t.begun, t.err = false, errOver
}

// Get implements state.Tx.
func (t *tx) Get(bucket, key string) (value []byte, ok bool, err error) {
	if err := t.flush(); err != nil {
		return nil, false, err
	}
	ctx, cancel := t.db.s.exchange()
	defer cancel()
	r := t.db.s.conn.ExecPrepared(ctx, "get", [][]byte{[]byte(bucket), []byte(key)}, []int16{0, 1}, []int16{1}).Read()
	if r.Err != nil {
		return nil, false, t.fail(r.Err)
	}
	if len(r.Rows) == 0 {
		return nil, false, nil
	}
	return r.Rows[0][0], true, nil
}

// fail notes an error after which the transaction is over.
func (t *tx) fail(err error) error {
	t.err = t.db.lost(err)
	return t.err
}

// Put implements state.Tx.
func (t *tx) Put(bucket, key string, value []byte) error {
	if len(key) == 0 || len(key) > state.MaxKey {
		return errKey
	}
	value, err := json.Marshal(json.RawMessage(value)) // checked, and without blanks
	if err != nil {
		return fmt.Errorf("postgres: bucket %s: value of %q: %w", bucket, key, err)
	}
	return t.change(write{bucket, key, value})
}

// Delete implements state.Tx.
func (t *tx) Delete(bucket, key string) error { return t.change(write{bucket: bucket, key: key}) }

func (t *tx) change(w write) error {
	switch {
	case t.err != nil:
		return t.err
	case t.readOnly:
		return errReadOnly
	}
	if t.pending = append(t.pending, w); len(t.pending) < maxPending {
		return nil
	}
	return t.flush()
}

// All implements state.Tx.
func (t *tx) All(bucket string) iter.Seq[state.Raw] {
	return func(yield func(state.Raw) bool) {
		if err := t.flush(); err != nil {
			yield(state.Raw{Err: err})
			return
		}
		t.cursors++
		name := "c" + strconv.Itoa(t.cursors)
		params, formats := [][]byte{[]byte(bucket)}, []int16{1}
		_, err := t.rows("declare "+name+" no scroll cursor for select key, value from postern_registry where bucket = $1::text order by key", params, nil)
		for err == nil {
			var rows [][][]byte
			if rows, err = t.rows("fetch "+strconv.Itoa(fetchRows)+" from "+name, nil, formats); len(rows) == 0 {
				break
			}
			for _, r := range rows {
				if !yield(state.Raw{Key: string(r[0]), Value: r[1]}) {
					_, _ = t.rows("close "+name, nil, nil) // its error comes again at the end
					return
				}
			}
		}
		if err == nil {
			_, err = t.rows("close "+name, nil, nil)
		}
		if err != nil {
			yield(state.Raw{Err: err})
		}
	}
}

// rows runs a statement, after what is pending, with the formats of its result.
func (t *tx) rows(statement string, params [][]byte, formats []int16) ([][][]byte, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	ctx, cancel := t.db.s.exchange()
	defer cancel()
	r := t.db.s.conn.ExecParams(ctx, statement, params, nil, nil, formats).Read()
	if r.Err != nil {
		return nil, t.fail(r.Err)
	}
	return r.Rows, nil
}
