package peertest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP link to a server that can be made to fail: cut off, frozen
// as by a pulled plug, refused. Its methods are safe for concurrent use.
type Proxy struct {
	// Addr is where clients connect.
	Addr string

	target string
	ln     net.Listener
	wg     sync.WaitGroup

	mu       sync.Mutex
	thaw     chan struct{} // closed while data flows
	refuse   bool
	closed   bool
	conns    map[net.Conn]struct{}
	accepted int
	times    []time.Time
}

// NewProxy starts a link to target that passes everything on.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), target: target, ln: ln, thaw: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.thaw)
	p.wg.Add(1)
	go p.accept()
	tb.Cleanup(p.Close)
	return p
}

// Cut breaks every connection off with a reset. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tc, ok := c.(*net.TCPConn); ok {
			tc.SetLinger(0)
		}
		c.Close()
	}
}

// Freeze stops data in both directions and keeps the connections open, new
// ones included: the other end looks half-open.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thaw:
		p.thaw = make(chan struct{})
	default:
	}
}

// Resume ends Freeze and Refuse; what was held back flows on.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
	select {
	case <-p.thaw:
	default:
		close(p.thaw)
	}
}

// Refuse resets every new connection at once, until Resume.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
}

// Accepted returns how many connections were made so far, refused ones
// included.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// AcceptTimes returns when each connection was made.
func (p *Proxy) AcceptTimes() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.times...)
}

// Open returns how many connections from clients are open.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close ends the link.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.Resume()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		p.times = append(p.times, time.Now())
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			continue
		}
		p.wg.Add(1)
		go p.serve(c)
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer p.wg.Done()
	defer c.Close()
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		c.(*net.TCPConn).SetLinger(0)
		return
	}
	defer up.Close()
	if !p.add(c, up) {
		return
	}
	defer p.remove(c, up)
	ended := make(chan struct{}, 2)
	p.wg.Add(2)
	go p.pass(up, c, ended)
	go p.pass(c, up, ended)
	<-ended
	<-ended
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// pass copies one direction and hands the end of the data on.
func (p *Proxy) pass(dst, src net.Conn, ended chan<- struct{}) {
	defer p.wg.Done()
	defer func() { ended <- struct{}{} }()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		p.wait()
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				src.Close()
				return
			}
		}
		switch {
		case err == io.EOF:
			dst.(*net.TCPConn).CloseWrite()
			return
		case err != nil: // broken off on one side: break the other off as well
			dst.(*net.TCPConn).SetLinger(0)
			dst.Close()
			return
		}
	}
}

func (p *Proxy) wait() {
	p.mu.Lock()
	thaw := p.thaw
	p.mu.Unlock()
	<-thaw
}
