package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
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

	_ = b.(interface{ Unwrap() net.Conn }).Unwrap().(*net.TCPConn).SetLinger(0)
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
