package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
)

// Bucket names a part of the store whose values are of type T, kept as JSON
// with a CRC-32C over key and value behind it. Keys are ordered octet by octet
// and must not be empty. A Bucket holds no state: declare it where it is used.
type Bucket[T any] struct{ Name string }

// ErrReadOnly is returned when a View tries to write.
var ErrReadOnly = errors.New("store: writing within a View")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcLen = 4

// seal appends the checksum of key and value to value.
func seal(key string, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

func checksum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// unseal returns the value without its checksum.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - crcLen
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != checksum(string(key), sealed[:n]) {
		return nil, fmt.Errorf("%w: value of %q", ErrDamaged, key)
	}
	return sealed[:n], nil
}

// Get returns the value of a key; ok is false when there is none.
func (b Bucket[T]) Get(tx *Tx, key string) (v T, ok bool, err error) {
	ok, err = part(b.Name).get(tx, key, &v)
	return v, ok, err
}

// Put sets the value of a key.
func (b Bucket[T]) Put(tx *Tx, key string, v T) error { return part(b.Name).put(tx, key, v) }

// Delete removes a key; one that is not there is no error.
func (b Bucket[T]) Delete(tx *Tx, key string) error { return part(b.Name).delete(tx, key) }

// DeletePrefix removes all keys that begin with prefix.
func (b Bucket[T]) DeletePrefix(tx *Tx, prefix string) error {
	return part(b.Name).deletePrefix(tx, prefix)
}

// Entry is one key with its value, or with the reason why it cannot be read.
type Entry[T any] struct {
	Key   string
	Value T
	Err   error
}

// All iterates in order over the entries whose keys begin with prefix. The
// bucket must not be changed meanwhile.
func (b Bucket[T]) All(tx *Tx, prefix string) iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		part(b.Name).all(tx, prefix, func(k, sealed []byte) bool {
			e := Entry[T]{Key: string(k)}
			e.Err = part(b.Name).decode(k, sealed, &e.Value)
			return yield(e)
		})
	}
}

// Count returns the number of keys that begin with prefix.
func (b Bucket[T]) Count(tx *Tx, prefix string) (n int) {
	part(b.Name).all(tx, prefix, func(_, _ []byte) bool { n++; return true })
	return n
}

// Sequence returns a number that the bucket has not given out before.
func (b Bucket[T]) Sequence(tx *Tx) (uint64, error) { return part(b.Name).sequence(tx) }

// part is a Bucket by its name. What does not depend on the type is here: it is
// compiled once, and a Bucket's methods once for each type.
type part string

func (p part) get(tx *Tx, key string, v any) (ok bool, err error) {
	bb := tx.bucket(string(p))
	if bb == nil {
		return false, nil
	}
	tx.look(bb, []byte(key), 0)
	sealed := bb.Get([]byte(key))
	if sealed == nil {
		return false, nil
	}
	err = p.decode([]byte(key), sealed, v)
	return err == nil, err
}

// decode reads a value into what v points to.
func (p part) decode(key, sealed []byte, v any) error {
	value, err := unseal(key, sealed)
	if err != nil {
		return fmt.Errorf("store: bucket %s: %w", string(p), err)
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("store: bucket %s: value of %q: %w", string(p), key, err)
	}
	return nil
}

func (p part) put(tx *Tx, key string, v any) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb, err := tx.made(string(p))
	if err != nil {
		return fmt.Errorf("store: bucket %s: %w", string(p), err)
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: bucket %s: value of %q: %w", string(p), key, err)
	}
	tx.look(bb, []byte(key), 0)
	if err := bb.Put([]byte(key), seal(key, value)); err != nil {
		return fmt.Errorf("store: bucket %s: %q: %w", string(p), key, err)
	}
	return nil
}

func (p part) delete(tx *Tx, key string) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb := tx.bucket(string(p))
	if bb == nil {
		return nil
	}
	tx.look(bb, []byte(key), beside)
	if err := bb.Delete([]byte(key)); err != nil {
		return fmt.Errorf("store: bucket %s: %q: %w", string(p), key, err)
	}
	return nil
}

func (p part) deletePrefix(tx *Tx, prefix string) error {
	var keys []string
	p.all(tx, prefix, func(k, _ []byte) bool {
		keys = append(keys, string(k))
		return true
	})
	for _, k := range keys {
		if err := p.delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// all calls f for the keys that begin with prefix, until it returns false.
func (p part) all(tx *Tx, prefix string, f func(k, sealed []byte) bool) {
	bb := tx.bucket(string(p))
	if bb == nil {
		return
	}
	st := stepsFrom(tx.tx, uint64(bb.Root()), []byte(prefix))
	c := bb.Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix; k, v = c.Next() {
		if v != nil && !f(k, v) {
			return
		}
		st.leave(k)
	}
}

func (p part) sequence(tx *Tx) (uint64, error) {
	if !tx.tx.Writable() {
		return 0, ErrReadOnly
	}
	bb, err := tx.made(string(p))
	if err != nil {
		return 0, fmt.Errorf("store: bucket %s: %w", string(p), err)
	}
	tx.look(bb, nil, 0)
	return bb.NextSequence()
}
