package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Blobs names a part of the store whose values are octets of the caller's own
// encoding, each with a CRC-32C over key and value behind it. It is meant for
// keys that rise with time: pages are filled to the brim. Like a Bucket it
// holds no state.
type Blobs struct{ Name string }

// fillPercent is how full pages become when keys are appended: what is split is never
// inserted into again.
const fillPercent = 0.95

// Put sets the value of a key.
func (b Blobs) Put(tx *Tx, key, value []byte) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb, err := tx.made(b.Name)
	if err != nil {
		return fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	tx.look(bb, key, 0)
	bb.FillPercent = fillPercent
	sealed := make([]byte, 0, len(value)+crcLen)
	sealed = append(sealed, value...)
	sealed = binary.BigEndian.AppendUint32(sealed, checksum(string(key), value))
	if err := bb.Put(key, sealed); err != nil {
		return fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	return nil
}

// Delete removes a key; one that is not there is no error.
func (b Blobs) Delete(tx *Tx, key []byte) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	bb := tx.bucket(b.Name)
	if bb == nil {
		return nil
	}
	tx.look(bb, key, beside)
	if err := bb.Delete(key); err != nil {
		return fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	return nil
}

// Clear removes everything.
func (b Blobs) Clear(tx *Tx) error {
	if !tx.tx.Writable() {
		return ErrReadOnly
	}
	tx.lookAtBucket(b.Name)
	if err := tx.tx.DeleteBucket([]byte(b.Name)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		return fmt.Errorf("store: bucket %s: %w", b.Name, err)
	}
	return nil
}

// Last returns the greatest key, nil where there is none. It must not be
// changed, and is valid within the transaction only.
func (b Blobs) Last(tx *Tx) []byte {
	bb := tx.bucket(b.Name)
	if bb == nil {
		return nil
	}
	tx.look(bb, nil, toEnd|beside)
	k, _ := bb.Cursor().Last()
	return k
}

// Cursor walks the keys in order. It is valid within its transaction only, and
// not after a change to its bucket.
type Cursor struct {
	c    *bolt.Cursor
	way  steps
	name string
	key  []byte
	val  []byte
}

// Cursor returns a cursor that stands before the first key that is not less
// than from.
func (b Blobs) Cursor(tx *Tx, from []byte) *Cursor {
	c := &Cursor{name: b.Name}
	if bb := tx.bucket(b.Name); bb != nil {
		c.way = stepsFrom(tx.tx, uint64(bb.Root()), from)
		c.c = bb.Cursor()
		c.key, c.val = c.c.Seek(from)
	}
	return c
}

// Valid reports whether the cursor stands on a key.
func (c *Cursor) Valid() bool { return c.key != nil }

// Next moves to the next key.
func (c *Cursor) Next() {
	c.way.leave(c.key)
	c.key, c.val = c.c.Next()
}

// Key returns the key. It must not be changed or kept.
func (c *Cursor) Key() []byte { return c.key }

// Len returns the length of the value without looking at it.
func (c *Cursor) Len() int { return max(0, len(c.val)-crcLen) }

// Peek returns the first octets of the value, n at most, unchecked: good for
// deciding whether Value is worth its time.
func (c *Cursor) Peek(n int) []byte { return c.val[:min(n, c.Len())] }

// Value returns the value, or an error that wraps ErrDamaged. It must not be
// changed or kept.
func (c *Cursor) Value() ([]byte, error) {
	v, err := unseal(c.key, c.val)
	if err != nil {
		return nil, fmt.Errorf("store: bucket %s: %w", c.name, err)
	}
	return v, nil
}
