// Package state is the seam between the thing registry and what keeps its
// data: JSON values by key, in buckets, and transactions over them. Package
// registry keeps them in a bbolt file, package postgres in a database. What
// every implementation owes is in statetest.
package state

import "iter"

// DB keeps values. Its methods are safe for concurrent use.
type DB interface {
	// View runs f once with a consistent state. It fails if a part of that
	// state could not be had, even if f found no error.
	View(f func(Tx) error) error
	// Update runs f at most once and commits what it wrote, all of it or, on
	// error, nothing. When it returns nil, the changes survive a power cut.
	Update(f func(Tx) error) error
}

// Tx is a transaction; only the function that View or Update called may use it.
type Tx interface {
	// Get returns the value of a key; ok is false when there is none.
	Get(bucket, key string) (value []byte, ok bool, err error)
	// Put sets the value of a key, which must be JSON. Keys have 1 to MaxKey
	// octets. Within a View it fails.
	Put(bucket, key string, value []byte) error
	// Delete removes a key; one that is not there is no error.
	Delete(bucket, key string) error
	// All iterates over a bucket in the order of the keys' octets. The loop may
	// use the transaction, but must not change the bucket.
	All(bucket string) iter.Seq[Raw]
}

// MaxKey is the greatest length of a key in octets. An address without its
// resource has at most 2,047 of them.
const MaxKey = 32 << 10

// Raw is one value of a bucket, or the reason why it cannot be read.
type Raw struct {
	Key   string
	Value []byte
	Err   error
}
