package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	bolt "go.etcd.io/bbolt"
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
	bb := tx.tx.Bucket([]byte(b.Name))
	if bb == nil {
		return v, false, nil
	}
	sealed := bb.Get([]byte(key))
	if sealed == nil {
		return v, false, nil
	}
	v, err = b.decode([]byte(key), sealed)
	return v, err == nil, err
}

func (b Bucket[T]) decode(key, sealed []byte) (v T, err error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return v, fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return v, fmt.Errorf("store: bucket %s: value of %q: %w", b.Name, key, err)
	}
	return v, nil
}

// Put sets the value of a key.
func (b Bucket[T]) Put(tx *Tx, key string, v T) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb, err := tx.tx.CreateBucketIfNotExists([]byte(b.Name))
	if err != nil {
		return fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: bucket %s: value of %q: %w", b.Name, key, err)
	}
	if err := bb.Put([]byte(key), seal(key, value)); err != nil {
		return fmt.Errorf("store: bucket %s: %q: %w", b.Name, key, err)
	}
	return nil
}

// Delete removes a key; one that is not there is no error.
func (b Bucket[T]) Delete(tx *Tx, key string) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb := tx.tx.Bucket([]byte(b.Name))
	if bb == nil {
		return nil
	}
	if err := bb.Delete([]byte(key)); err != nil {
		return fmt.Errorf("store: bucket %s: %q: %w", b.Name, key, err)
	}
	return nil
}

// DeletePrefix removes all keys that begin with prefix.
func (b Bucket[T]) DeletePrefix(tx *Tx, prefix string) error {
	var keys []string
	if bb := tx.tx.Bucket([]byte(b.Name)); bb != nil {
		for k := range scan(bb, prefix) {
			keys = append(keys, string(k))
		}
	}
	for _, k := range keys {
		if err := b.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
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
		bb := tx.tx.Bucket([]byte(b.Name))
		if bb == nil {
			return
		}
		for k, sealed := range scan(bb, prefix) {
			v, err := b.decode(k, sealed)
			if !yield(Entry[T]{string(k), v, err}) {
				return
			}
		}
	}
}

// Count returns the number of keys that begin with prefix.
func (b Bucket[T]) Count(tx *Tx, prefix string) (n int) {
	if bb := tx.tx.Bucket([]byte(b.Name)); bb != nil {
		for range scan(bb, prefix) {
			n++
		}
	}
	return n
}

func scan(bb *bolt.Bucket, prefix string) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		c := bb.Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix; k, v = c.Next() {
			if v != nil && !yield(k, v) {
				return
			}
		}
	}
}

// Sequence returns a number that the bucket has not given out before.
func (b Bucket[T]) Sequence(tx *Tx) (uint64, error) {
	if !tx.tx.Writable() {
		return 0, ErrReadOnly
	}
	bb, err := tx.tx.CreateBucketIfNotExists([]byte(b.Name))
	if err != nil {
		return 0, fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	return bb.NextSequence()
}
