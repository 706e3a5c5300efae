package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ViewFile runs f with the state that is in the file at path and changes
// nothing: it neither recovers nor compacts, and makes no file. It is for
// commands that look at the store of a daemon that does not run; while one
// does it returns ErrLocked. Damage that is met on the way is an error that
// wraps ErrDamaged.
func ViewFile(path string, f func(*Tx) error) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("store: %w", err) // bbolt would make one
	}
	b, err := openFile(path, time.Second, true)
	if err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, fenced(b.Close)) }()
	return fenced(func() error {
		return b.View(func(tx *bolt.Tx) error { return f(&Tx{tx}) })
	})
}
