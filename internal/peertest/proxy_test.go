package peertest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"postern/internal/peertest"
)

// echo serves one octet stream back per connection.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

func roundTrip(c net.Conn, text string, limit time.Duration) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, len(text))
	_, err := io.ReadFull(c, buf)
	return err
}

func TestProxyFreezeAndResume(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := roundTrip(c, "one", time.Second*5); err != nil {
		t.Fatal(err)
	}
	p.Freeze()
	if err := roundTrip(c, "two", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("frozen: %v", err)
	}
	p.Resume()
	if err := roundTrip(c, "", 0); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 3)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "two" {
		t.Fatalf("after resume: %q, %v", buf, err)
	}
}

func TestProxyCutAndRefuse(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := roundTrip(c, "one", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := roundTrip(c, "two", 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("cut: %v", err)
	}
	p.Refuse()
	if c, err := net.Dial("tcp", p.Addr); err == nil {
		if err := roundTrip(c, "x", 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("refused: %v", err)
		}
		c.Close()
	}
	p.Resume()
	d, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := roundTrip(d, "three", 5*time.Second); err != nil {
		t.Fatalf("after resume: %v", err)
	}
	if n := p.Accepted(); n != 3 {
		t.Errorf("accepted %d connections, want 3", n)
	}
}
