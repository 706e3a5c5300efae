package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// pair returns the two ends of a TCP connection, both made nonblocking.
func pair() (a, b net.Conn, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		a.Close()
		return nil, nil, nil, err
	}
	a, b = Nonblocking(a), Nonblocking(b)
	return a, b, func() { a.Close(); b.Close() }, nil
}

func mustPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	a, b, stop, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return a, b
}

// TestNonblockingIsANetConn runs the suite of golang.org/x/net for everything
// that package net promises of a connection.
func TestNonblockingIsANetConn(t *testing.T) {
	nettest.TestConn(t, pair)
}

func TestNonblockingTakesTCPOnly(t *testing.T) {
	a, _ := mustPair(t)
	if _, ok := a.(*net.TCPConn); ok {
		t.Error("a TCP connection stayed as it was")
	}
	if Nonblocking(a) != a {
		t.Error("it was wrapped twice")
	}
	p, _ := net.Pipe()
	defer p.Close()
	if Nonblocking(p) != p {
		t.Error("a pipe is no TCP connection")
	}
}

// TestNonblockingErrors compares the errors with those of package net.
func TestNonblockingErrors(t *testing.T) {
	a, b := mustPair(t)
	_ = a.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := a.Read(make([]byte, 1))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("past the deadline: %v", err)
	}
	_ = a.SetReadDeadline(time.Time{})
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}

	_ = raw(b).SetLinger(0)
	b.Close()
	if _, err = a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the peer: %v", err)
	}
	var of *net.OpError
	if !errors.As(err, &of) || of.Op != "read" || of.Addr == nil {
		t.Errorf("the error does not say what was done: %#v", err)
	}
	if _, err = b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestNonblockingWriteWaits fills the buffers between the two ends.
func TestNonblockingWriteWaits(t *testing.T) {
	a, b := mustPair(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	_ = a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := a.Write(data)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(data) {
		t.Fatalf("nobody reads: %d octets written, %v", n, err)
	}
	_ = a.SetWriteDeadline(time.Time{})
	go func() {
		_, _ = a.Write(data[n:])
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d octets arrived, as they were sent: %v, %v", len(got), len(data), bytes.Equal(got, data), err)
	}
}

func TestNonblockingAllocatesNothing(t *testing.T) {
	a, b := mustPair(t)
	buf := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = a.Write(buf)
		_, _ = io.ReadFull(b, buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNonblockingErrorsReadAsBefore compares whole texts: logs and what is
// searched in them stay the same.
func TestNonblockingErrorsReadAsBefore(t *testing.T) {
	failures := map[string]func(c, peer net.Conn) error{
		"reset": func(c, peer net.Conn) error {
			_ = raw(peer).SetLinger(0)
			peer.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"broken pipe": func(c, peer net.Conn) error {
			_ = raw(c).CloseWrite()
			_, err := c.Write([]byte("x"))
			return err
		},
		"closed": func(c, _ net.Conn) error {
			c.Close()
			_, err := c.Write([]byte("x"))
			return err
		},
		"nothing into a closed one": func(c, _ net.Conn) error {
			c.Close()
			_, err := c.Write(nil)
			return err
		},
		"too late": func(c, _ net.Conn) error {
			_ = c.SetDeadline(time.Unix(1, 0))
			_, err := c.Read(make([]byte, 1))
			return err
		},
	}
	for name, fail := range failures {
		a, b := mustPair(t)
		got := fail(a, b)
		a, b = mustPair(t)
		want := fail(raw(a), raw(b))
		if got == nil || want == nil || ports.ReplaceAllString(got.Error(), "") != ports.ReplaceAllString(want.Error(), "") {
			t.Errorf("%s: %v, package net says %v", name, got, want)
		}
		var sys *os.SyscallError
		if errors.As(got, &sys) != errors.As(want, &sys) {
			t.Errorf("%s: %#v, package net gives %#v", name, got, want)
		}
	}
}

var ports = regexp.MustCompile(`:\d+`)

// raw returns package net's connection.
func raw(c net.Conn) *net.TCPConn {
	if u, ok := c.(interface{ Unwrap() net.Conn }); ok {
		c = u.Unwrap()
	}
	return c.(*net.TCPConn)
}

// TestNonblockingIsAnEvent: what was done before sending is seen by who has
// received. The race detector judges it.
func TestNonblockingIsAnEvent(t *testing.T) {
	a, b := mustPair(t)
	told := ""
	go func() {
		told = "before"
		_, _ = a.Write([]byte("x"))
	}()
	if _, err := b.Read(make([]byte, 1)); err != nil || told != "before" {
		t.Errorf("%q, %v", told, err)
	}
}

// TestNonblockingWritesInOnePiece: writers share a connection, and each one's
// octets stay together, whatever the number of calls they take.
func TestNonblockingWritesInOnePiece(t *testing.T) {
	a, b := mustPair(t)
	const writers, size = 4, 3*maxCall + 1
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if n, err := a.Write(bytes.Repeat([]byte{byte('a' + i)}, size)); n != size || err != nil {
				t.Errorf("%d of %d octets, %v", n, size, err)
			}
		})
	}
	got := make([]byte, size)
	for range writers {
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(got, got[:1]) != size {
			t.Error("what two writers sent is mixed up")
		}
	}
	wg.Wait()
}

// TestNonblockingCloseEndsBoth: reading and writing both wait when the
// connection is closed.
func TestNonblockingCloseEndsBoth(t *testing.T) {
	a, _ := mustPair(t)
	ends := make(chan error, 2)
	go func() { _, err := a.Read(make([]byte, 1)); ends <- err }()
	go func() {
		var err error
		for err == nil {
			_, err = a.Write(make([]byte, 1<<20))
		}
		ends <- err
	}()
	time.Sleep(20 * time.Millisecond) // until the buffers are full
	a.Close()
	for range 2 {
		select {
		case err := <-ends:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed meanwhile: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("something still waits on a closed connection")
		}
	}
}
