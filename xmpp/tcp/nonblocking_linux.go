package tcp

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Nonblocking returns nc with reads and writes of its own, if it is a TCP
// connection, and else nc itself.
//
// Around a system call Go's runtime prepares for one that blocks, and wakes its
// monitor thread if the program was idle. A socket's calls do not wait for the
// peer: the runtime does that elsewhere. For a program that is idle between
// stanzas, waking that thread, on a core that somebody else may need just then,
// costs more than a small stanza does (docs/benchmarks.md). So these calls go
// past the scheduler. It cannot stop the goroutine while one lasts, not even
// for a collection that all others wait for already; maxCall keeps them short.
//
// The socket must stay in nonblocking mode: nobody may call nc.File().Fd().
func Nonblocking(nc net.Conn) net.Conn {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	rc, err := t.SyscallConn()
	if err != nil { // it is closed: reading will say so
		return nc
	}
	c := &nonblocking{Conn: nc}
	c.in.wait, c.in.try = rc.Read, c.in.read
	c.out.wait, c.out.try = rc.Write, c.out.write
	return c
}

// nonblocking is a net.Conn for concurrent use.
type nonblocking struct {
	net.Conn
	in, out transfer
}

// transfer is the read or the write under way. It holds what a closure would
// have to be made for each time.
type transfer struct {
	wait func(try func(fd uintptr) bool) error // until try has returned true
	try  func(fd uintptr) bool                 // done with p, or failed

	mu  sync.Mutex
	p   []byte // what is left of the caller's
	n   int
	err error
}

func (t *transfer) read(fd uintptr) bool {
	n, again := t.call(sysRead, fd)
	if again {
		return false
	}
	if t.n = n; n == 0 && t.err == nil {
		t.err = io.EOF
	}
	return true
}

func (t *transfer) write(fd uintptr) bool {
	for len(t.p) > 0 {
		n, again := t.call(sysWrite, fd)
		if again {
			return false
		}
		if t.err != nil {
			return true
		}
		t.n += n
		t.p = t.p[n:]
	}
	return true
}

// maxCall bounds what the kernel copies in one call, in octets.
const maxCall = 64 << 10

// call makes one system call for t.p, which is not empty.
func (t *transfer) call(sys func(fd uintptr, p []byte) (int, syscall.Errno), fd uintptr) (n int, again bool) {
	for {
		n, errno := sys(fd, t.p[:min(len(t.p), maxCall)])
		switch errno {
		case 0:
			return n, false
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true
		default:
			t.err = errno
			return 0, false
		}
	}
}

// do transfers p.
func (t *transfer) do(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, nil
	err := t.wait(t.try)
	t.p = nil // not kept alive by an idle connection
	if err == nil {
		err = t.err
	}
	return t.n, err
}

// Unwrap returns the connection that it was made from.
func (c *nonblocking) Unwrap() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *nonblocking) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.do(p)
	return n, c.named("read", err)
}

// Write implements net.Conn.
func (c *nonblocking) Write(p []byte) (int, error) {
	n, err := c.out.do(p)
	return n, c.named("write", err)
}

// named gives err the form that package net gives it.
func (c *nonblocking) named(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	switch e := err.(type) {
	case syscall.Errno:
		err = os.NewSyscallError(op, e)
	case *net.OpError: // of RawConn
		err = e.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
