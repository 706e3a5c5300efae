// Package statetest tests implementations of state.DB.
package statetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/provisioning/registry/state"
)

// Opener opens a DB. The first call gives an empty one; a further one closes
// what was open before and opens the same state again.
type Opener func() state.DB

// Test runs everything that a DB owes as sub-tests. open is called once for
// each of them and gives openers of states of their own.
func Test(t *testing.T, open func(t *testing.T) Opener) {
	for name, f := range map[string]func(*testing.T, Opener){
		"values": values, "order": order, "within": within, "rollback": rollback, "view": view,
		"keys": keys, "json": jsonOnly, "concurrent": concurrent, "many": many, "nested": nested,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

var errAny = errors.New("any")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, db state.DB, bucket, key, value string) {
	t.Helper()
	must(t, db.Update(func(tx state.Tx) error { return tx.Put(bucket, key, []byte(value)) }))
}

// list returns a bucket as one text.
func list(t *testing.T, db state.DB, bucket string) string {
	t.Helper()
	var b strings.Builder
	must(t, db.View(func(tx state.Tx) error {
		for r := range tx.All(bucket) {
			if r.Err != nil {
				return r.Err
			}
			fmt.Fprintf(&b, "%q=%s ", r.Key, r.Value)
		}
		return nil
	}))
	return strings.TrimSpace(b.String())
}

func want(t *testing.T, db state.DB, bucket, text string) {
	t.Helper()
	if got := list(t, db, bucket); got != text {
		t.Errorf("%s holds %s, not %s", bucket, got, text)
	}
}

// Values are there after they were put, in their bucket only, replaced by a
// second one, gone when deleted; and after the state was opened again.
func values(t *testing.T, open Opener) {
	db := open()
	put(t, db, "a", "k", `{"x":1}`)
	put(t, db, "a", "k2", `"<é\u0000>"`)
	put(t, db, "b", "k", `[1, 2.50]`)
	put(t, db, "a", "k", `{"x":2}`)
	must(t, db.Update(func(tx state.Tx) error { return tx.Delete("a", "none") }))
	must(t, db.Update(func(tx state.Tx) error { return tx.Delete("none", "none") }))
	for range 2 {
		want(t, db, "a", `"k"={"x":2} "k2"="\u003cé\u0000\u003e"`)
		want(t, db, "b", `"k"=[1,2.50]`)
		want(t, db, "c", "")
		db = open()
	}
	must(t, db.Update(func(tx state.Tx) error { return tx.Delete("a", "k") }))
	want(t, open(), "a", `"k2"="\u003cé\u0000\u003e"`)
}

// Keys are ordered by their octets, whatever they mean.
func order(t *testing.T, open Opener) {
	db := open()
	all := []string{"\x00", "\x00\x00", "\x00a", " ", "-", "A", "B", "Z", "_", "a", "a\x00b", "a b", "a-b", "aB", "ab", "b", "é", "ü", "\xff", "\xff\x00"}
	must(t, db.Update(func(tx state.Tx) error {
		for i := range all {
			if err := tx.Put("o", all[(i*7)%len(all)], []byte("1")); err != nil {
				return err
			}
		}
		return nil
	}))
	var text []string
	for _, k := range all {
		text = append(text, fmt.Sprintf("%q=1", k))
	}
	want(t, db, "o", strings.Join(text, " "))
}

// A transaction sees what it wrote.
func within(t *testing.T, open Opener) {
	db := open()
	put(t, db, "a", "old", "1")
	must(t, db.Update(func(tx state.Tx) error {
		must(t, tx.Put("a", "new", []byte("2")))
		must(t, tx.Put("a", "old", []byte("3")))
		if v, ok, err := tx.Get("a", "old"); string(v) != "3" || !ok || err != nil {
			t.Errorf("%s, %v, %v", v, ok, err)
		}
		must(t, tx.Delete("a", "old"))
		if v, ok, err := tx.Get("a", "old"); v != nil || ok || err != nil {
			t.Errorf("%s, %v, %v", v, ok, err)
		}
		n := 0
		for r := range tx.All("a") {
			if n++; r.Key != "new" || string(r.Value) != "2" || r.Err != nil {
				t.Errorf("%+v", r)
			}
		}
		if n != 1 {
			t.Errorf("%d values", n)
		}
		return nil
	}))
	want(t, db, "a", `"new"=2`)
}

// An error, or a panic, undoes everything.
func rollback(t *testing.T, open Opener) {
	db := open()
	put(t, db, "a", "k", "1")
	change := func(tx state.Tx) {
		must(t, tx.Put("a", "k", []byte("2")))
		if _, _, err := tx.Get("a", "k"); err != nil { // brings it to where it is kept
			t.Error(err)
		}
		must(t, tx.Put("a", "l", []byte("2")))
		must(t, tx.Delete("a", "k"))
	}
	if err := db.Update(func(tx state.Tx) error { change(tx); return errAny }); !errors.Is(err, errAny) {
		t.Error(err)
	}
	want(t, db, "a", `"k"=1`)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic is lost")
			}
		}()
		_ = db.Update(func(tx state.Tx) error { change(tx); panic("any") })
	}()
	want(t, db, "a", `"k"=1`)
	put(t, db, "a", "k", "3")
	want(t, open(), "a", `"k"=3`)
}

// A View writes nothing.
func view(t *testing.T, open Opener) {
	db := open()
	put(t, db, "a", "k", "1")
	must(t, db.View(func(tx state.Tx) error {
		if tx.Put("a", "k", []byte("2")) == nil || tx.Delete("a", "k") == nil {
			t.Error("a View writes")
		}
		if v, ok, err := tx.Get("a", "k"); string(v) != "1" || !ok || err != nil {
			t.Errorf("%s, %v, %v", v, ok, err)
		}
		return nil
	}))
	if err := db.View(func(state.Tx) error { return errAny }); !errors.Is(err, errAny) {
		t.Error(err)
	}
	want(t, db, "a", `"k"=1`)
}

// Keys may be long, but not empty.
func keys(t *testing.T, open Opener) {
	db := open()
	var long [state.MaxKey]byte
	for i, x := 0, uint32(1); i < len(long); i++ { // nothing that could be compressed
		x = x*1664525 + 1013904223
		long[i] = byte(x >> 24)
	}
	other := long
	other[state.MaxKey-1]++
	put(t, db, "a", string(long[:]), "1")
	put(t, db, "a", string(other[:]), "2")
	want(t, db, "a", fmt.Sprintf("%q=1 %q=2", long, other))
	for _, bad := range []string{"", string(long[:]) + "x"} {
		if err := db.Update(func(tx state.Tx) error { return tx.Put("a", bad, []byte("1")) }); err == nil {
			t.Errorf("a key of %d octets is taken", len(bad))
		}
		if err := db.View(func(tx state.Tx) error {
			_, ok, err := tx.Get("a", bad)
			if ok {
				t.Errorf("there is a key of %d octets", len(bad))
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}

// What is no JSON is not kept.
func jsonOnly(t *testing.T, open Opener) {
	db := open()
	for _, bad := range []string{"", "{", "nothing", "1 2", "\x00"} {
		if err := db.Update(func(tx state.Tx) error { return tx.Put("a", "k", []byte(bad)) }); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	want(t, db, "a", "")
}

// Transactions at the same time do not see halves of each other, and none is
// lost.
func concurrent(t *testing.T, open Opener) {
	db := open()
	put(t, db, "n", "n", "0")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				err := db.Update(func(tx state.Tx) error {
					v, _, err := tx.Get("n", "n")
					if err != nil {
						return err
					}
					var n int
					if _, err := fmt.Sscan(string(v), &n); err != nil {
						return err
					}
					text := []byte(fmt.Sprint(n + 1))
					if err := tx.Put("n", "n", text); err != nil {
						return err
					}
					return tx.Put("n", "m", text)
				})
				if err != nil {
					t.Error(err)
				}
				err = db.View(func(tx state.Tx) error {
					n, _, err1 := tx.Get("n", "n")
					m, _, err2 := tx.Get("n", "m")
					if string(n) != string(m) {
						t.Errorf("%s and %s", n, m)
					}
					return errors.Join(err1, err2)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want(t, db, "n", `"m"=200 "n"=200`)
}

// Buckets may be larger than what is read or written at once.
func many(t *testing.T, open Opener) {
	db := open()
	const n = 5000
	must(t, db.Update(func(tx state.Tx) error {
		for i := range n {
			if err := tx.Put("a", fmt.Sprintf("%06d", (i*7)%n), []byte(fmt.Sprint((i*7)%n))); err != nil {
				return err
			}
		}
		return nil
	}))
	count := func(tx state.Tx) (i int) {
		for r := range tx.All("a") {
			if r.Err != nil || r.Key != fmt.Sprintf("%06d", i) || string(r.Value) != fmt.Sprint(i) {
				t.Fatalf("%d: %+v", i, r)
			}
			if i++; i == n-1 {
				break // the loop may be left
			}
		}
		return i
	}
	must(t, db.View(func(tx state.Tx) error {
		for range 2 {
			if got := count(tx); got != n-1 {
				t.Errorf("%d values", got)
			}
		}
		return nil
	}))
}

// A loop over a bucket may use the transaction, and hold another loop.
func nested(t *testing.T, open Opener) {
	db := open()
	for _, k := range []string{"1", "2", "3"} {
		put(t, db, "a", k, k)
	}
	must(t, db.Update(func(tx state.Tx) error {
		for r := range tx.All("a") {
			sum := string(r.Value)
			for q := range tx.All("a") {
				v, ok, err := tx.Get("a", q.Key)
				if !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
				sum += string(v)
			}
			if err := tx.Put("b", r.Key, []byte(sum)); err != nil {
				return err
			}
		}
		return nil
	}))
	want(t, db, "b", `"1"=1123 "2"=2123 "3"=3123`)
}
