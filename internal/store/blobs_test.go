package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestBlobs(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	b := Blobs{"blobs"}
	key := func(i int) []byte { return fmt.Appendf(nil, "%04d", i) }
	err := db.Update(func(tx *Tx) error {
		for i := range 100 {
			if err := b.Put(tx, key(i), bytes.Repeat([]byte{byte(i)}, i)); err != nil {
				return err
			}
		}
		return b.Delete(tx, key(50))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *Tx) error {
		n := 49
		for c := b.Cursor(tx, key(49)); c.Valid(); c.Next() {
			if n == 50 {
				n++
			}
			v, err := c.Value()
			if err != nil || !bytes.Equal(c.Key(), key(n)) || len(v) != n || c.Len() != n || len(c.Peek(60)) != min(n, 60) {
				t.Fatalf("%d: %s, %d octets, %v", n, c.Key(), len(v), err)
			}
			n++
		}
		if n != 100 {
			t.Errorf("ended at %d", n)
		}
		if (Blobs{"none"}).Cursor(tx, nil).Valid() {
			t.Error("a cursor over nothing is valid")
		}
		if err := b.Put(tx, key(1), nil); !errors.Is(err, ErrReadOnly) {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A flipped bit is found.
	err = db.s.Load().b.Update(func(tx *bolt.Tx) error {
		v := bytes.Clone(tx.Bucket([]byte("blobs")).Get(key(60)))
		v[7] ^= 1
		return tx.Bucket([]byte("blobs")).Put(key(60), v)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.View(func(tx *Tx) error { _, err := b.Cursor(tx, key(60)).Value(); return err }); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if err := db.Update(b.Clear); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(b.Clear); err != nil {
		t.Error("clearing what is clear:", err)
	}
}
