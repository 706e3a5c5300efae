package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/store"
)

func open(t testing.TB) (*store.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.db")
	db, err := store.Open(context.Background(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, path
}

// fill adds n commands, each begun and done.
func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		r := Record{At: time.Now(), Outcome: Begun, Origin: "iq", From: "alice@example.org/desk", Nodes: []string{"pump"}, Set: []string{"state=true"}}
		of, err := l.Add(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Outcome, r.Of, r.Written = Done, of, i+1
		l.Later(r)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
}

// broken returns the first break in the chain of commands.
func broken(t testing.TB, db *store.DB) string {
	t.Helper()
	var f []Finding
	if err := db.View(func(tx *store.Tx) error { f = Verify(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	if f[1].Broken != nil {
		t.Errorf("refusals: %+v", f[1])
	}
	if f[0].Broken == nil {
		return ""
	}
	return f[0].Broken.Record + " " + f[0].Broken.Why
}

// change lets f change the store and returns what Verify then says; afterwards
// the store is as before.
func change(t testing.TB, db *store.DB, f func(tx *store.Tx) error) string {
	t.Helper()
	saved := map[string][]byte{}
	b := records(Commands)
	var s span
	err := db.Update(func(tx *store.Tx) error {
		for c := b.Cursor(tx, nil); c.Valid(); c.Next() {
			v, err := c.Value()
			if err != nil {
				return err
			}
			saved[string(c.Key())] = slices.Clone(v)
		}
		s, _, _ = spans.Get(tx, Commands)
		return f(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := broken(t, db)
	err = db.Update(func(tx *store.Tx) error {
		if err := b.Clear(tx); err != nil {
			return err
		}
		for k, v := range saved {
			if err := b.Put(tx, []byte(k), v); err != nil {
				return err
			}
		}
		return spans.Put(tx, Commands, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func value(t testing.TB, tx *store.Tx, n uint64) []byte {
	t.Helper()
	v, err := records(Commands).Cursor(tx, key(n)).Value()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(v)
}

// Every octet of a record, its hash included, changed with a good checksum, is
// found, and the record named.
func TestVerifyNamesAChangedRecord(t *testing.T) {
	db, _ := open(t)
	fill(t, New(Config{DB: db}), 3)
	if got := broken(t, db); got != "" {
		t.Fatal(got)
	}
	var n int
	if err := db.View(func(tx *store.Tx) error { n = len(value(t, tx, 3)); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		got := change(t, db, func(tx *store.Tx) error {
			v := value(t, tx, 3)
			v[i] ^= 1
			return records(Commands).Put(tx, key(3), v)
		})
		if !strings.HasPrefix(got, "3 ") {
			t.Fatalf("octet %d: %q", i, got)
		}
	}
	t.Logf("%d octets changed one by one", n)
	// With its own hash made to fit, the next one betrays it.
	got := change(t, db, func(tx *store.Tx) error {
		v := bytes.Replace(value(t, tx, 3), []byte("state=true"), []byte("state=TRUE"), 1)
		h := link(hash(value(t, tx, 2)[:32]), 3, v[32:])
		return records(Commands).Put(tx, key(3), append(h[:], v[32:]...))
	})
	if !strings.HasPrefix(got, "4 it, or the record before it") {
		t.Error(got)
	}
	// The last one's next is the head.
	got = change(t, db, func(tx *store.Tx) error {
		v := bytes.Replace(value(t, tx, 6), []byte("state=true"), []byte("state=TRUE"), 1)
		h := link(hash(value(t, tx, 5)[:32]), 6, v[32:])
		return records(Commands).Put(tx, key(6), append(h[:], v[32:]...))
	})
	if !strings.HasPrefix(got, "6 ") {
		t.Error(got)
	}
}

// Every octet of a record changed in the file itself.
func TestVerifyNamesADamagedRecord(t *testing.T) {
	db, path := open(t)
	fill(t, New(Config{DB: db}), 3)
	var v []byte
	if err := db.View(func(tx *store.Tx) error { v = value(t, tx, 3); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Pages that are no longer used hold the record as well: change all.
	var at []int
	for i := 0; ; {
		j := bytes.Index(file[i:], v)
		if j < 0 {
			break
		}
		at = append(at, i+j)
		i += j + len(v)
	}
	for i := range v {
		bad := slices.Clone(file)
		for _, a := range at {
			bad[a+i] ^= 0x20
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		var f []Finding
		if err := store.ViewFile(path, func(tx *store.Tx) error { f = Verify(tx); return nil }); err != nil {
			t.Fatal(err)
		}
		if f[0].Broken == nil || f[0].Broken.Record != "3" {
			t.Fatalf("octet %d: %+v", i, f[0])
		}
	}
	t.Logf("%d octets, %d copies in the file", len(v), len(at))
}

func TestVerifyFindsWhatIsCutOut(t *testing.T) {
	db, _ := open(t)
	fill(t, New(Config{DB: db, Keep: 8}), 6) // 5 to 12 are left
	if got := broken(t, db); got != "" {
		t.Fatal(got)
	}
	b := records(Commands)
	for _, c := range []struct {
		what, want string
		f          func(tx *store.Tx) error
	}{
		{"the first", "5 it is missing", func(tx *store.Tx) error { return b.Delete(tx, key(5)) }},
		{"one within", "8 it is missing", func(tx *store.Tx) error { return b.Delete(tx, key(8)) }},
		{"the last", "12 it is missing, with all that came after it", func(tx *store.Tx) error { return b.Delete(tx, key(12)) }},
		{"all", "5 it is missing, with all", func(tx *store.Tx) error { return b.Clear(tx) }},
		{"one too many", "13 it was added from elsewhere", func(tx *store.Tx) error { return b.Put(tx, key(13), value(t, tx, 12)) }},
		{"an old one", "4 it was put in from elsewhere", func(tx *store.Tx) error { return b.Put(tx, key(4), value(t, tx, 5)) }},
		{"two exchanged", "7 it, or the record before it", func(tx *store.Tx) error {
			x, y := value(t, tx, 7), value(t, tx, 8)
			if err := b.Put(tx, key(7), y); err != nil {
				return err
			}
			return b.Put(tx, key(8), x)
		}},
		{"the first, with the span made to fit", "6 it, or", func(tx *store.Tx) error {
			s, _, _ := spans.Get(tx, Commands)
			s.First = 6
			if err := spans.Put(tx, Commands, s); err != nil {
				return err
			}
			return b.Delete(tx, key(5))
		}},
		{"the span", "5 it is not kept any more", func(tx *store.Tx) error { return spans.Delete(tx, Commands) }},
		{"a key of another length", "5 its key is none", func(tx *store.Tx) error { return b.Put(tx, []byte{0, 0, 0, 0}, []byte("x")) }},
	} {
		if got := change(t, db, c.f); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q", c.what, got)
		}
	}
	if got := broken(t, db); got != "" {
		t.Error(got)
	}
}

// A chain whose span was lost goes on, and what came after is still verified.
func TestGoesOnWithoutItsSpan(t *testing.T) {
	db, _ := open(t)
	l := New(Config{DB: db})
	fill(t, l, 2)
	if err := db.Update(func(tx *store.Tx) error { return spans.Delete(tx, Commands) }); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Add(Record{Outcome: Begun}); err != nil || n != 5 {
		t.Fatal(n, err)
	}
	if got := broken(t, db); got != "" { // the whole chain was there
		t.Error(got)
	}
}

// A storm of refusals from a thousand senders: bounded memory, one commit a
// minute, every refusal counted.
func TestStormOfRefusals(t *testing.T) {
	db, _ := open(t)
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{DB: db})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		long := strings.Repeat("x", 10_000)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const minutes, senders = 10, 1000
		for range minutes * 60 {
			for i := range senders {
				l.Refuse(fmt.Sprintf("s%d@example.net", i), Record{At: time.Now(), From: long, Error: "forbidden", Set: []string{long}})
			}
			time.Sleep(time.Second)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Flush(); err != nil {
			t.Error(err)
		}
		st := l.Stats()
		if st.Commits > minutes+2 {
			t.Errorf("%d commits in %d minutes", st.Commits, minutes)
		}
		grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		if grown > 1<<20 {
			t.Errorf("%d octets more in memory", grown)
		}
		var total, most int
		var rs []Entry
		if err := db.View(func(tx *store.Tx) error { rs, _ = List(tx, Query{Limit: 100_000}); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			total += r.Count
			most = max(most, len(r.From)+len(r.Set))
		}
		if total != minutes*60*senders {
			t.Errorf("%d refusals are counted, not %d", total, minutes*60*senders)
		}
		if most > 300 {
			t.Errorf("a record of %d octets", most)
		}
		t.Logf("%d refusals from %d senders in %d minutes: %d commits, %d records, memory %+d KiB",
			minutes*60*senders, senders, minutes, st.Commits, len(rs), grown>>10)
	})
	if got := broken(t, db); got != "" {
		t.Error(got)
	}
}

// The chain of refusals drops its oldest and leaves the commands alone.
func TestRefusalsDoNotPushOutCommands(t *testing.T) {
	db, _ := open(t)
	l := New(Config{DB: db, KeepRefused: 10})
	fill(t, l, 2)
	for i := range 100 {
		l.Refuse(fmt.Sprint("s", i), Record{At: time.Now(), Error: "forbidden"})
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	var f []Finding
	if err := db.View(func(tx *store.Tx) error { f = Verify(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	if f[0].Records != 4 || f[1].Records != 10 || f[1].Broken != nil || f[0].Broken != nil || f[1].First != 91 {
		t.Errorf("%+v", f)
	}
}

func TestList(t *testing.T) {
	db, _ := open(t)
	l := New(Config{DB: db})
	day := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	for i := range 10 {
		node := "pump"
		if i%2 == 1 {
			node = "hall/fan#x"
		}
		if _, err := l.Add(Record{At: day.Add(time.Duration(i) * time.Hour), Outcome: Begun, Nodes: []string{node}}); err != nil {
			t.Fatal(err)
		}
	}
	l.Refuse("x", Record{At: day.Add(150 * time.Minute), Nodes: []string{"pump"}})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	list := func(q Query) string {
		var names []string
		if err := db.View(func(tx *store.Tx) error {
			es, more := List(tx, q)
			for i := range es {
				names = append(names, es[i].Name())
			}
			if more {
				names = append([]string{"…"}, names...)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "1 2 3 r1 4 5 6 7 8 9 10"},
		{Query{Limit: 3}, "… 8 9 10"},
		{Query{Node: "fan"}, "2 4 6 8 10"},
		{Query{Node: "pump", Since: day.Add(2 * time.Hour), Before: day.Add(6 * time.Hour)}, "3 r1 5"},
	} {
		if got := list(c.q); got != c.want {
			t.Errorf("%+v: %s", c.q, got)
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	r := Record{From: long, Reason: long, Error: long, Nodes: make([]string, 5000), Set: []string{long}}.bounded()
	if len(r.From) > 210 || len(r.Error) > 610 || len(r.Nodes) != 17 || r.Nodes[16] != "… and 4984 more" || len(r.Set[0]) > 210 {
		t.Errorf("%+v", r)
	}
	if f := Fingerprint("service", "secret"); !strings.HasPrefix(f, "service:") || strings.Contains(f, "secret") {
		t.Error(f)
	}
}

// Of several refusals in one record the values are of the first and the error
// is of the last; the line says so.
func TestTextOfSeveralRefusals(t *testing.T) {
	r := Record{Outcome: Refused, Nodes: []string{"fan"}, Set: []string{"stat=true"}, From: "a@example.org/x", Origin: "iq", Error: "conflict"}
	if got, want := r.Text(), "refused fan stat=true by a@example.org/x via iq error: conflict"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.Count = 6
	if got, want := r.Text(), "refused fan stat=true by a@example.org/x via iq last error: conflict (6 times)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
