package hci

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-ble/ble/linux/hci/cmd"

	"postern/drivers"
)

// Conn is a connection to one device, which carries attribute packets. It is
// safe for concurrent use.
type Conn struct {
	host   *Host
	handle uint16
	in     chan []byte
	done   chan struct{}

	out int // credits that it has out; guarded by the host's mu

	mu  sync.Mutex
	err error // why it ended

	frames frames // of the reader
	send   sync.Mutex
}

// backlog is how many packets of the far end wait for their reader. A device
// that sends faster loses the newest ones.
const backlog = 32

// Connect connects to a device that listens for it. Only one Connect runs at a
// time, and no scan may run beside it.
func (h *Host) Connect(ctx context.Context, addr [6]byte, random bool) (*Conn, error) {
	p := cmd.LECreateConnection{
		LEScanInterval: 96, LEScanWindow: 96, // 60 ms of every 60 ms
		PeerAddress:     reversed(addr[:]),
		ConnIntervalMin: 24, ConnIntervalMax: 40, SupervisionTimeout: 400, // 30 to 50 ms, 4 s
	}
	if random {
		p.PeerAddressType = 1
	}
	made, failed := make(chan *Conn, 1), make(chan byte, 1)
	h.mu.Lock()
	h.connected, h.failed = made, failed
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.connected, h.failed = nil, nil
		h.mu.Unlock()
	}()
	if _, err := h.do(ctx, &p); err != nil {
		return nil, err
	}
	select {
	case c := <-made:
		return c, nil
	case status := <-failed:
		return nil, fmt.Errorf("%w: %w", ErrStatus(status), drivers.ErrGone)
	case <-h.done:
		return nil, h.lost()
	case <-ctx.Done():
	}
	// The controller goes on trying until it is told; it may just have made it.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandLimit)
	defer cancel()
	_, _ = h.do(stop, &cmd.LECreateConnectionCancel{})
	select {
	case c := <-made:
		_ = c.Close()
	case <-failed:
	case <-stop.Done():
	}
	return nil, fmt.Errorf("bluetooth: the device does not answer the call to connect; is it near and awake? %w", drivers.ErrTimeout)
}

// made takes an LE Connection Complete event without its subevent code
// (7.7.65.1): status, handle, role and more.
func (h *Host) made(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.connected == nil {
		return // nobody asked
	}
	if p[0] != 0 {
		select {
		case h.failed <- p[0]:
		default:
		}
		return
	}
	c := &Conn{host: h, handle: le.Uint16(p[1:]) & 0x0fff, in: make(chan []byte, backlog), done: make(chan struct{})}
	select {
	case h.connected <- c:
		h.conns[c.handle] = c
	default:
	}
}

func (h *Host) disconnected(handle uint16, reason ErrStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.conns[handle&0x0fff]; c != nil {
		delete(h.conns, c.handle)
		h.refund(c, c.out)
		c.finish(fmt.Errorf("%w: %w", reason, drivers.ErrGone))
	}
}

// data takes an ACL packet: handle and flags, length, payload (5.4.2).
func (h *Host) data(b []byte) {
	handle, size := le.Uint16(b), int(le.Uint16(b[2:]))
	if len(b) < 4+size {
		return
	}
	h.mu.Lock()
	c := h.conns[handle&0x0fff]
	h.mu.Unlock()
	if c == nil {
		return
	}
	if whole := c.frames.add(handle>>12&3 != 1, b[4:4+size]); whole != nil {
		select {
		case c.in <- append([]byte(nil), whole...):
		default:
		}
	}
}

func (c *Conn) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// Err returns why the connection ended, or nil while it is up.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Read returns the next attribute packet of the far end.
func (c *Conn) Read(ctx context.Context) ([]byte, error) {
	select {
	case b := <-c.in:
		return b, nil
	default:
	}
	select {
	case b := <-c.in:
		return b, nil
	case <-c.done:
		return nil, c.Err()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Write sends one attribute packet.
func (c *Conn) Write(ctx context.Context, b []byte) error {
	c.send.Lock()
	defer c.send.Unlock()
	p := make([]byte, 4, 4+len(b))
	le.PutUint16(p, uint16(len(b)))
	le.PutUint16(p[2:], channelATT)
	p = append(p, b...)
	for first := true; len(p) > 0; first = false {
		n := min(len(p), c.host.size)
		if err := c.fragment(ctx, first, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *Conn) fragment(ctx context.Context, first bool, b []byte) error {
	select {
	case <-c.host.credit:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.host.mu.Lock()
	if c.host.conns[c.handle] == c {
		c.out++
	} else {
		c.host.credit <- struct{}{}
	}
	c.host.mu.Unlock()
	flags := uint16(1) << 12 // a continuation
	if first {
		flags = 0
	}
	p := make([]byte, 5, 5+len(b))
	p[0] = packetData
	le.PutUint16(p[1:], c.handle|flags)
	le.PutUint16(p[3:], uint16(len(b)))
	if _, err := c.host.rw.Write(append(p, b...)); err != nil {
		return fmt.Errorf("bluetooth: %v: %w", err, drivers.ErrGone)
	}
	return nil
}

// Close disconnects and waits, at most a second, until the controller says so.
func (c *Conn) Close() error {
	if c.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	const userEnded = 0x13
	_, err := c.host.do(ctx, &cmd.Disconnect{ConnectionHandle: c.handle, Reason: userEnded})
	select {
	case <-c.done:
	case <-time.After(time.Second):
		c.host.disconnected(c.handle, userEnded)
	case <-c.host.done:
	}
	return err
}
