package registry

import (
	"encoding/json"
	"fmt"
	"iter"

	"postern/internal/store"
	"postern/provisioning/registry/state"
)

// Where the state is kept: Bolt is the DB for a single machine, package postgres
// has the one for a fleet.
type (
	DB  = state.DB
	Tx  = state.Tx
	Raw = state.Raw
)

// bucket is a part of the store whose values are of type T.
type bucket[T any] struct{ Name string }

// Get returns the value of a key; ok is false when there is none.
func (b bucket[T]) Get(tx Tx, key string) (v T, ok bool, err error) {
	raw, ok, err := tx.Get(b.Name, key)
	if !ok || err != nil {
		return v, false, err
	}
	v, err = b.decode(key, raw)
	return v, err == nil, err
}

func (b bucket[T]) decode(key string, raw []byte) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("registry: bucket %s: value of %q: %w", b.Name, key, err)
	}
	return v, nil
}

// Put sets the value of a key.
func (b bucket[T]) Put(tx Tx, key string, v T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("registry: bucket %s: value of %q: %w", b.Name, key, err)
	}
	return tx.Put(b.Name, key, raw)
}

// Delete removes a key; one that is not there is no error.
func (b bucket[T]) Delete(tx Tx, key string) error { return tx.Delete(b.Name, key) }

// All iterates over all values.
func (b bucket[T]) All(tx Tx) iter.Seq[store.Entry[T]] {
	return func(yield func(store.Entry[T]) bool) {
		for r := range tx.All(b.Name) {
			e := store.Entry[T]{Key: r.Key, Err: r.Err}
			if r.Err == nil {
				e.Value, e.Err = b.decode(r.Key, r.Value)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// Bolt is a DB in a program's store.
func Bolt(db *store.DB) DB { return boltDB{db} }

type boltDB struct{ db *store.DB }

func (b boltDB) View(f func(Tx) error) error {
	return b.db.View(func(tx *store.Tx) error { return f(boltTx{tx}) })
}

func (b boltDB) Update(f func(Tx) error) error {
	return b.db.Update(func(tx *store.Tx) error { return f(boltTx{tx}) })
}

type boltTx struct{ tx *store.Tx }

func raw(name string) store.Bucket[json.RawMessage] {
	return store.Bucket[json.RawMessage]{Name: name}
}

func (t boltTx) Get(bucket, key string) ([]byte, bool, error) { return raw(bucket).Get(t.tx, key) }

func (t boltTx) Put(bucket, key string, value []byte) error { return raw(bucket).Put(t.tx, key, value) }

func (t boltTx) Delete(bucket, key string) error { return raw(bucket).Delete(t.tx, key) }

func (t boltTx) All(bucket string) iter.Seq[Raw] {
	return func(yield func(Raw) bool) {
		for e := range raw(bucket).All(t.tx, "") {
			if !yield(Raw{Key: e.Key, Value: e.Value, Err: e.Err}) {
				return
			}
		}
	}
}
