//go:build fleet

package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/peertest"
	"postern/provisioning/registry/state"
)

// network is a database over TCP, through addr.
func network(name, addr string) Options {
	return Options{Address: fmt.Sprintf("postgres://postern@%s/%s", addr, name), Timeout: 2 * time.Second,
		Password: func() (string, error) { return peertest.PostgresPassword, nil }}
}

// soon tries something that works again in a while.
func soon(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within 20 s: %v", what, err)
}

// A server that stops, or crashes, is said to be away at once, and used again
// when it is back.
func TestAwayWhileItRuns(t *testing.T) {
	server := peertest.NewPostgres(t)
	db := open(t, Options{Address: server.URL("postgres")})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	n := 0
	for _, end := range []func(){server.Stop, server.Kill} {
		n++
		if err := put(db, "k", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		end()
		soon(t, "away", func() error { // a session of a crashed server may serve for a moment longer
			if put(db, "k", fmt.Sprint(n)) == nil {
				return errors.New("it serves")
			}
			return nil
		})
		for range 100 {
			start := time.Now()
			err := put(db, "k", "9")
			if !errors.Is(err, ErrAway) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		}
		if db.View(func(state.Tx) error { return nil }) == nil || db.Err() == nil {
			t.Error("it does not say that the database is away")
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		// Nobody asks, and yet it comes back.
		soon(t, "back", db.Err)
		if got := list(t, db); got != "k="+fmt.Sprint(n) {
			t.Error(got)
		}
	}
	// A restart between two changes is not noticed.
	server.Stop()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "a change after a restart", func() error { return put(db, "k", "5") })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A session that an administrator ends is replaced without anybody noticing.
func TestEndedSessions(t *testing.T) {
	server, name := cluster.Database(t)
	db := open(t, Options{Address: server.URL(name)})
	for i := range 5 {
		if err := server.SQL(name, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'postern registry%' and datname = current_database()"); err != nil {
			t.Fatal(err)
		}
		if err := put(db, "k", fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
	}
	// In the middle of a transaction it is noticed.
	err := db.Update(func(tx state.Tx) error {
		if err := tx.Put("b", "l", []byte("1")); err != nil {
			return err
		}
		if _, _, err := tx.Get("b", "l"); err != nil {
			return err
		}
		if err := server.SQL(name, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'postern registry%' and datname = current_database()"); err != nil {
			t.Error(err)
		}
		_ = tx.Put("b", "m", []byte("1"))
		_, _, err := tx.Get("b", "m")
		if err == nil {
			t.Error("a broken transaction goes on")
		}
		return nil // although it knows better
	})
	if !errors.Is(err, ErrAway) {
		t.Errorf("%v", err)
	}
	// Nor does a list end early as if that were all.
	for i := range 3 * fetchRows {
		if i%maxPending == 0 {
			err = db.Update(func(tx state.Tx) error {
				for j := i; j < i+maxPending; j++ {
					if err := tx.Put("many", fmt.Sprint(j), []byte("1")); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	err = db.View(func(tx state.Tx) error {
		i := 0
		for range tx.All("many") {
			if i++; i == 1 {
				_ = server.SQL(name, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'postern registry%' and datname = current_database()")
			}
		}
		return nil
	})
	if !errors.Is(err, ErrAway) {
		t.Errorf("a list that broke off: %v", err)
	}
	if got := list(t, db); got != "k=4" {
		t.Error(got)
	}
}

// A pulled plug: the server believes that the connection is there, and keeps
// the lock for it.
func TestFrozenNetwork(t *testing.T) {
	server, name := cluster.Database(t)
	proxy := peertest.NewProxy(t, server.Addr)
	o := network(name, proxy.Addr)
	o.Timeout = 500 * time.Millisecond
	db := open(t, o)
	if err := put(db, "k", "1"); err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	start := time.Now()
	if err := put(db, "k", "2"); !errors.Is(err, ErrAway) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	// Another link, while the old one stays as it is.
	second := peertest.NewProxy(t, server.Addr)
	db.mu.Lock()
	db.o.Address = network(name, second.Addr).Address
	db.mu.Unlock()
	soon(t, "over another link", func() error { return put(db, "k", "3") })
	if got := list(t, db); got != "k=3" {
		t.Error(got)
	}
	proxy.Resume()
	if err := put(db, "k", "4"); err != nil {
		t.Error(err)
	}
}

// Somebody who took over meanwhile makes an end of it.
func TestSuperseded(t *testing.T) {
	server, name := cluster.Database(t)
	proxy := peertest.NewProxy(t, server.Addr)
	first := open(t, network(name, proxy.Addr))
	if err := put(first, "k", "1"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- first.Run(context.Background()) }()
	proxy.Refuse()
	proxy.Cut()
	if err := put(first, "k", "2"); !errors.Is(err, ErrAway) {
		t.Errorf("%v", err)
	}
	second := open(t, Options{Address: server.URL(name)})
	if err := put(second, "k", "3"); err != nil {
		t.Fatal(err)
	}
	for _, whileItServes := range []bool{true, false} {
		if !whileItServes {
			_ = second.Close()
		}
		proxy.Resume()
		soon(t, "superseded", func() error {
			if err := put(first, "k", "4"); !errors.Is(err, ErrSuperseded) {
				return fmt.Errorf("%w; superseded is wanted", err)
			}
			return nil
		})
	}
	select {
	case err := <-done:
		if !errors.Is(err, ErrSuperseded) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it runs on")
	}
	third := open(t, Options{Address: server.URL(name)})
	if got := list(t, third); got != "k=3" {
		t.Error(got)
	}
}

// middle stands between and breaks connections at a commit.
type middle struct {
	ln     net.Listener
	target string

	mu     sync.Mutex
	before bool // break before the server gets the commit
	after  bool // break before the client gets its answer
	shut   bool // break new connections
	once   bool // break one commit only
}

var commitMessage = []byte("Q\x00\x00\x00\x0bcommit\x00")

func newMiddle(t *testing.T, target string) *middle {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{ln: ln, target: target}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return m
}

func (m *middle) set(f func(*middle)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

func (m *middle) serve(c net.Conn) {
	defer c.Close()
	m.mu.Lock()
	shut := m.shut
	m.mu.Unlock()
	if shut {
		return
	}
	up, err := net.Dial("tcp", m.target)
	if err != nil {
		return
	}
	defer up.Close()
	var swallow sync.Mutex // held while answers must not get through
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := up.Read(buf)
			swallow.Lock()
			if n > 0 {
				_, _ = c.Write(buf[:n])
			}
			swallow.Unlock()
			if err != nil {
				c.Close()
				return
			}
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		if bytes.Equal(buf[:n], commitMessage) {
			m.mu.Lock()
			before, after := m.before, m.after
			if m.once && (before || after) {
				m.before, m.after = false, false
			}
			m.mu.Unlock()
			if before {
				return
			}
			if after {
				swallow.Lock() // until the end of the connection
				_, _ = up.Write(buf[:n])
				// The server answers nothing to this, but ends the connection
				// after the commit.
				_, _ = up.Write([]byte("X\x00\x00\x00\x04"))
				time.Sleep(100 * time.Millisecond)
				c.Close()
				swallow.Unlock()
				return
			}
		}
		if n > 0 {
			_, _ = up.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// Whatever becomes of a commit whose answer is lost, what Update says is what
// holds in the end.
func TestCommitsWithoutAnAnswer(t *testing.T) {
	server, name := cluster.Database(t)
	m := newMiddle(t, server.Addr)
	var log bytes.Buffer
	o := network(name, m.ln.Addr().String())
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	db := open(t, o)
	change := func(n string) error {
		return db.Update(func(tx state.Tx) error {
			return errors.Join(tx.Put("b", "changed", []byte(n)), tx.Put("b", "new"+n, []byte(n)), tx.Delete("b", "gone"), tx.Put("b", "changed", []byte(n+"0")))
		})
	}
	first := func() {
		t.Helper()
		err := db.Update(func(tx state.Tx) error {
			return errors.Join(tx.Put("b", "changed", []byte("1")), tx.Put("b", "gone", []byte("1")), tx.Delete("b", "new2"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const before, after = "changed=1 gone=1", "changed=20 new2=2"
	inDatabase := func(want string) {
		t.Helper()
		got, err := server.Query(name, "select string_agg(convert_from(key, 'UTF8') || '=' || value, ' ' order by key) from postern_registry")
		if got != want || err != nil {
			t.Errorf("the database has %s, %v; not %s", got, err, want)
		}
	}

	first()
	m.set(func(m *middle) { m.before, m.once = true, true })
	if err := change("2"); !errors.Is(err, ErrAway) {
		t.Errorf("a commit that did not arrive: %v", err)
	}
	if got := list(t, db); got != before {
		t.Error(got)
	}

	m.set(func(m *middle) { m.after = true })
	if err := change("2"); err != nil {
		t.Errorf("a commit whose answer was lost: %v", err)
	}
	if got := list(t, db); got != after {
		t.Error(got)
	}

	// The answer is lost, and the database away: it has the change for a while.
	first()
	m.set(func(m *middle) { m.after, m.shut = true, true })
	if err := change("2"); !errors.Is(err, ErrAway) {
		t.Errorf("a commit of unknown fate: %v", err)
	}
	inDatabase(after)
	if err := change("3"); !errors.Is(err, ErrAway) {
		t.Errorf("while it is away: %v", err)
	}
	// What takes it back loses its answer, too.
	m.set(func(m *middle) { m.after, m.shut = true, false })
	soon(t, "back", func() error { return db.View(func(state.Tx) error { return nil }) })
	if got := list(t, db); got != before {
		t.Error(got)
	}
	inDatabase(before)
	if !strings.Contains(log.String(), "the database is back") {
		t.Error(log.String())
	}
	if err := change("2"); err != nil {
		t.Error(err)
	}
	inDatabase(after)

	// The same without a second loss.
	first()
	m.set(func(m *middle) { m.after, m.shut = true, true })
	if err := change("2"); !errors.Is(err, ErrAway) {
		t.Errorf("a commit of unknown fate: %v", err)
	}
	m.set(func(m *middle) { m.shut = false })
	soon(t, "back", func() error { return db.View(func(state.Tx) error { return nil }) })
	inDatabase(before)
	if !strings.Contains(log.String(), "a change that had failed was taken back") {
		t.Error(log.String())
	}
}

// A server that is killed again and again while changes are made has in the
// end exactly those that were acknowledged, each whole.
func TestKilledWhileCommitting(t *testing.T) {
	server := peertest.NewPostgres(t)
	db := open(t, Options{Address: server.URL("postgres"), Timeout: 2 * time.Second})
	stop, done := make(chan struct{}), make(chan struct{})
	acknowledged, failed := 0, 0
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			v := []byte(fmt.Sprint(n))
			err := db.Update(func(tx state.Tx) error {
				return errors.Join(tx.Put("b", "first", v), tx.Put("b", "second", v), tx.Put("b", "n"+string(v), v))
			})
			switch {
			case err == nil:
				acknowledged = n
			case errors.Is(err, ErrAway):
				failed++
				time.Sleep(time.Millisecond)
			default:
				t.Error(err)
				return
			}
		}
	}()
	for range 4 {
		time.Sleep(time.Duration(50+rand.IntN(150)) * time.Millisecond)
		server.Kill()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	close(stop)
	<-done
	soon(t, "back", func() error { return db.View(func(state.Tx) error { return nil }) })
	if failed == 0 {
		t.Log("no change met a killed server")
	}
	err := db.View(func(tx state.Tx) error {
		for _, key := range []string{"first", "second", fmt.Sprint("n", acknowledged)} {
			if v, _, err := tx.Get("b", key); string(v) != fmt.Sprint(acknowledged) || err != nil {
				t.Errorf("%s is %s, %v; acknowledged was %d", key, v, err, acknowledged)
			}
		}
		if _, ok, err := tx.Get("b", fmt.Sprint("n", acknowledged+1)); ok || err != nil {
			t.Errorf("a change is there that failed, %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d changes were tried, %d failed", acknowledged, failed)
}

// Over TLS the certificate has to be for the server's name, by an authority
// that is trusted.
func TestTLS(t *testing.T) {
	server := peertest.NewPostgres(t)
	ca, err := server.UseTLS("db.example")
	if err != nil {
		t.Fatal(err)
	}
	address := func(more string) Options {
		o := network("postgres", server.Addr)
		o.Address += "?" + more
		return o
	}
	db := open(t, address("sslmode=verify-ca&sslrootcert="+ca))
	if on, err := server.Query("postgres", "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'postern registry%'"); on != "t" || err != nil {
		t.Errorf("%s, %v", on, err)
	}
	_ = db.Close()
	for _, more := range []string{"sslmode=verify-full&sslrootcert=" + ca, "sslmode=verify-full"} {
		if _, err := Open(context.Background(), address(more)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", more, err)
		}
	}
}
