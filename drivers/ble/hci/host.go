// Package hci is the host side of a Bluetooth LE controller: scanning, and
// connections that carry attribute packets. It works on whatever passes whole
// packets: the kernel's user channel, or a simulated controller.
//
// The commands are go-ble's. Its host layer is not used: it can be put on
// nothing but the kernel, loses a descriptor whenever the adapter cannot be
// opened, starts a goroutine for each advertisement, and its parsers trust
// lengths that come over the air.
//
// Source: Bluetooth Core Specification 5.4, volume 4, part E.
package hci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-ble/ble/linux/hci/cmd"

	"postern/drivers"
)

// Host talks to one controller. It is safe for concurrent use.
type Host struct {
	rw     io.ReadWriteCloser
	report func(Report)
	done   chan struct{} // closed when the reader has ended

	turn    chan struct{}      // one token: the right to give a command
	answers chan commandResult // of the command that runs

	mu        sync.Mutex
	running   int // opcode of the command that runs, −1: none
	err       error
	conns     map[uint16]*Conn
	connected chan *Conn // what a Connect waits for; nil: nobody
	failed    chan byte  // status of a connection that was not made
	size      int        // octets of a data packet that the controller takes
	credit    chan struct{}
}

type commandResult struct {
	status bool // only a status came, the parameters follow later
	data   []byte
}

// commandLimit is how long a controller may take for a command.
const commandLimit = 2 * time.Second

// ErrStatus is what a controller said to a command that it did not execute
// (volume 1, part F).
type ErrStatus byte

func (e ErrStatus) Error() string {
	text := map[ErrStatus]string{0x02: "no such connection", 0x0c: "not allowed now", 0x08: "connection timed out",
		0x12: "wrong parameters", 0x13: "ended by the far end", 0x3e: "connection not established"}[e]
	return fmt.Sprintf("bluetooth: the controller says 0x%02x %s", byte(e), text)
}

// New resets the controller and makes it ready. report is called for each
// advertisement, on the reader's goroutine; it must not block. The Host owns
// rw.
func New(ctx context.Context, rw io.ReadWriteCloser, report func(Report)) (*Host, error) {
	h := &Host{
		rw: rw, report: report, done: make(chan struct{}), turn: make(chan struct{}, 1),
		answers: make(chan commandResult, 1), running: -1, conns: map[uint16]*Conn{},
	}
	h.turn <- struct{}{}
	go h.read()
	if err := h.init(ctx); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Host) init(ctx context.Context) error {
	for _, c := range []command{
		&cmd.Reset{}, &cmd.SetEventMask{EventMask: 0x3dbff807fffbffff}, &cmd.LESetEventMask{LEEventMask: 0x1f},
	} {
		if _, err := h.do(ctx, c); err != nil {
			return err
		}
	}
	size, err := h.do(ctx, &cmd.LEReadBufferSize{})
	if err != nil {
		return err
	}
	h.size = 27 // what every controller takes
	n := 1
	if len(size) >= 4 && size[3] > 0 {
		h.size, n = max(27, int(le.Uint16(size[1:]))), int(size[3])
	}
	h.credit = make(chan struct{}, n)
	for range n {
		h.credit <- struct{}{}
	}
	return nil
}

// command is what go-ble's commands have.
type command interface {
	OpCode() int
	Len() int
	Marshal([]byte) error
}

// do gives one command and returns its return parameters, the status first.
func (h *Host) do(ctx context.Context, c command) ([]byte, error) {
	select {
	case <-h.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-h.done:
		return nil, h.lost()
	}
	defer func() { h.turn <- struct{}{} }()
	b := make([]byte, 4+c.Len())
	b[0], b[3] = packetCommand, byte(c.Len())
	le.PutUint16(b[1:], uint16(c.OpCode()))
	if err := c.Marshal(b[4:]); err != nil {
		return nil, fmt.Errorf("bluetooth: %w", err)
	}
	select {
	case <-h.answers: // of a command that was given up
	default:
	}
	h.mu.Lock()
	h.running = c.OpCode()
	h.mu.Unlock()
	if _, err := h.rw.Write(b); err != nil {
		return nil, fmt.Errorf("bluetooth: %v: %w", err, drivers.ErrGone)
	}
	t := time.NewTimer(commandLimit)
	defer t.Stop()
	select {
	case a := <-h.answers:
		if len(a.data) < 1 {
			return nil, fmt.Errorf("bluetooth: command 0x%04x: empty answer: %w", c.OpCode(), drivers.ErrProtocol)
		}
		if a.data[0] != 0 {
			return a.data, ErrStatus(a.data[0])
		}
		return a.data, nil
	case <-t.C:
		return nil, fmt.Errorf("bluetooth: the controller does not answer command 0x%04x: %w", c.OpCode(), drivers.ErrTimeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-h.done:
		return nil, h.lost()
	}
}

func (h *Host) lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(h.err, drivers.ErrClosed) {
		return h.err
	}
	return fmt.Errorf("bluetooth: the adapter is gone: %v: %w", h.err, drivers.ErrGone)
}

// Scan listens for advertisements: only listens when active is false; asks each
// device for its scan response otherwise, which costs the devices energy. It
// runs until StopScan.
func (h *Host) Scan(ctx context.Context, active bool) error {
	p := cmd.LESetScanParameters{LEScanInterval: 160, LEScanWindow: 160} // 100 ms of every 100 ms
	if active {
		p.LEScanType = 1
	}
	if _, err := h.do(ctx, &p); err != nil {
		return err
	}
	_, err := h.do(ctx, &cmd.LESetScanEnable{LEScanEnable: 1})
	return err
}

// StopScan ends Scan.
func (h *Host) StopScan(ctx context.Context) error {
	_, err := h.do(ctx, &cmd.LESetScanEnable{})
	if errors.Is(err, ErrStatus(0x0c)) {
		return nil // it was not scanning
	}
	return err
}

// Done is closed when the adapter is gone.
func (h *Host) Done() <-chan struct{} { return h.done }

// Close gives the adapter back and ends all connections.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.err == nil {
		h.err = drivers.ErrClosed
	}
	h.mu.Unlock()
	err := h.rw.Close()
	<-h.done
	return err
}

// read takes packets until the channel ends.
func (h *Host) read() {
	defer close(h.done)
	b := make([]byte, 4096)
	for {
		n, err := h.rw.Read(b)
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			h.end(err)
			return
		}
		h.packet(b[:n])
	}
}

func (h *Host) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	for handle, c := range h.conns {
		c.finish(fmt.Errorf("bluetooth: the adapter is gone: %w", drivers.ErrGone))
		delete(h.conns, handle)
	}
}

// packet takes one packet. What is malformed or not known is passed over: it
// comes from a controller, whose firmware may have events of its own.
func (h *Host) packet(b []byte) {
	switch {
	case len(b) >= 5 && b[0] == packetData:
		h.data(b[1:])
	case len(b) >= 3 && b[0] == packetEvent && len(b) >= 3+int(b[2]):
		h.event(b[1], b[3:3+int(b[2])])
	}
}

func (h *Host) event(code byte, p []byte) {
	switch {
	case code == eventCommandComplete && len(p) >= 3:
		h.answer(int(le.Uint16(p[1:])), commandResult{data: p[3:]})
	case code == eventCommandStatus && len(p) >= 4:
		h.answer(int(le.Uint16(p[2:])), commandResult{status: true, data: p[:1]})
	case code == eventHardwareError:
		_ = h.rw.Close() // the controller has to be set up anew
	case code == eventDisconnected && len(p) >= 4:
		h.disconnected(le.Uint16(p[1:]), ErrStatus(p[3]))
	case code == eventPacketsDone && len(p) >= 1:
		h.returned(p)
	case code == eventLE && len(p) >= 1 && p[0] == leReport:
		if h.report != nil {
			_ = parseReports(p[1:], h.report) // the whole ones were reported
		}
	case code == eventLE && len(p) >= 12 && p[0] == leConnected:
		h.made(p[1:])
	}
}

func (h *Host) answer(opcode int, a commandResult) {
	h.mu.Lock()
	mine := opcode == h.running
	if mine {
		h.running = -1
	}
	h.mu.Unlock()
	if mine {
		a.data = append([]byte(nil), a.data...)
		h.answers <- a // has room: one command runs at a time
	}
}

// returned takes back the credit of packets that the controller has sent
// (7.7.19).
func (h *Host) returned(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := int(p[0])
	for i := 0; i < n && len(p) >= 5+4*i; i++ {
		if c := h.conns[le.Uint16(p[1+4*i:])&0x0fff]; c != nil {
			h.refund(c, int(le.Uint16(p[3+4*i:])))
		}
	}
}

// refund gives n credits of a connection back, at most those it has out. The
// caller holds mu.
func (h *Host) refund(c *Conn, n int) {
	for ; n > 0 && c.out > 0; n-- {
		c.out--
		h.credit <- struct{}{} // has room: it was taken from there
	}
}
