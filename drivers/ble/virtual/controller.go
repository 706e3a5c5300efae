package virtual

import (
	"encoding/binary"
	"io"
	"sync"
	"time"
)

var le = binary.LittleEndian

// Interval is how often each device advertises, if its air says nothing else.
const Interval = 20 * time.Millisecond

// settle is how long a connection takes. go-ble loses one that comes faster.
const settle = 30 * time.Millisecond

// handle is that of the one connection that a controller can have.
const handle = 0x40

// Controller is the host's end of a simulated controller: Write takes a packet
// of the host, Read gives one of the controller. It is safe for concurrent use.
type Controller struct {
	air     *Air
	address [6]byte
	out     chan []byte
	closed  chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu       sync.Mutex
	deaf     bool
	stalled  bool
	stop     chan struct{} // of the scan that runs
	active   bool
	data     []byte // what it advertises itself
	response []byte
	on       bool
	device   *Device     // it is connected to
	peer     *Controller // it is connected to
}

// NewController puts a controller into the air.
func NewController(air *Air, address [6]byte) *Controller {
	c := &Controller{air: air, address: address, out: make(chan []byte, 1024), closed: make(chan struct{})}
	air.mu.Lock()
	air.controllers = append(air.controllers, c)
	air.mu.Unlock()
	return c
}

// Deafen makes the controller hear nothing, as after a firmware fault, until it
// is reset by the host.
func (c *Controller) Deafen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = true
}

// Stall makes the controller report nothing until the host starts its scan
// anew.
func (c *Controller) Stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = true
}

// Stalled tells whether it still does.
func (c *Controller) Stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled
}

// Read implements io.Reader.
func (c *Controller) Read(b []byte) (int, error) {
	select {
	case p := <-c.out:
		return copy(b, p), nil
	case <-c.closed:
		return 0, io.EOF
	}
}

// Close ends the controller.
func (c *Controller) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.scan(false, false)
		c.air.mu.Lock()
		for i, x := range c.air.controllers {
			if x == c {
				c.air.controllers = append(c.air.controllers[:i], c.air.controllers[i+1:]...)
				break
			}
		}
		c.air.mu.Unlock()
	})
	c.wg.Wait()
	return nil
}

// send gives a packet to the host; one that does not read loses them.
func (c *Controller) send(p []byte) {
	select {
	case c.out <- p:
	default:
	}
}

func (c *Controller) event(code byte, params ...byte) {
	c.send(append([]byte{4, code, byte(len(params))}, params...))
}

func (c *Controller) complete(op uint16, ret ...byte) {
	c.event(0x0e, append([]byte{1, byte(op), byte(op >> 8)}, ret...)...)
}

func (c *Controller) status(op uint16, code byte) { c.event(0x0f, code, 1, byte(op), byte(op>>8)) }

// Write implements io.Writer.
func (c *Controller) Write(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	switch {
	case len(p) >= 4 && p[0] == 1 && len(p) >= 4+int(p[3]):
		c.command(le.Uint16(p[1:]), append([]byte(nil), p[4:4+int(p[3])]...))
	case len(p) >= 5 && p[0] == 2:
		c.acl(append([]byte(nil), p...))
	}
	return len(p), nil
}

// command executes one; the numbers are group and command, 7.1 to 7.8.
func (c *Controller) command(op uint16, arg []byte) {
	zeros := func(n int) []byte { return make([]byte, n+1) } // a status of 0 in front
	switch op {
	case 0x0c03: // Reset
		c.scan(false, false)
		c.mu.Lock()
		c.deaf, c.on = false, false
		c.mu.Unlock()
		c.complete(op, 0)
	case 0x1001: // Read Local Version Information: 5.4
		c.complete(op, 0, 13, 0, 0, 13, 0x3f, 0, 0, 0)
	case 0x1002: // Read Local Supported Commands: those the kernel asks for
		s := zeros(64)
		s[1+5], s[1+14], s[1+25], s[1+26], s[1+27], s[1+28] = 0xc0, 0x20, 0xff, 0xff, 0xff, 0x0f
		c.complete(op, s...)
	case 0x1003: // Read Local Supported Features: LE, no BR/EDR
		c.complete(op, 0, 0, 0, 0, 0, 0x60, 0, 0, 0)
	case 0x1005: // Read Buffer Size
		c.complete(op, 0, 0xfb, 0, 0, 8, 0, 0, 0)
	case 0x1009: // Read BD_ADDR
		a := reversed(c.address)
		c.complete(op, append([]byte{0}, a[:]...)...)
	case 0x2002: // LE Read Buffer Size: 8 packets of 27 octets
		c.complete(op, 0, 27, 0, 8)
	case 0x2003, 0x201c: // LE Read Local Supported Features, Supported States
		c.complete(op, zeros(8)...)
	case 0x2007, 0x200f: // LE Read Advertising Channel Tx Power, White List Size
		c.complete(op, 0, 4)
	case 0x2008, 0x2009, 0x200a:
		c.advertise(op, arg)
	case 0x200b: // LE Set Scan Parameters
		c.mu.Lock()
		c.active = len(arg) > 0 && arg[0] == 1
		c.mu.Unlock()
		c.complete(op, 0)
	case 0x200c: // LE Set Scan Enable
		c.mu.Lock()
		active := c.active
		c.mu.Unlock()
		c.scan(len(arg) > 0 && arg[0] == 1, active)
		c.complete(op, 0)
	case 0x200d: // LE Create Connection
		c.status(op, 0)
		if len(arg) >= 12 {
			c.wg.Go(func() { c.connect(reversed([6]byte(arg[6:12]))) })
		}
	case 0x200e: // LE Create Connection Cancel: with what comes of it
		c.complete(op, 0)
		c.event(0x3e, append([]byte{1, 0x02}, make([]byte, 17)...)...)
	case 0x0406: // Disconnect
		c.status(op, 0)
		c.disconnect(0x16)
	default:
		c.complete(op, 0)
	}
}

func (c *Controller) advertise(op uint16, arg []byte) {
	c.mu.Lock()
	switch {
	case op == 0x200a:
		c.on = len(arg) > 0 && arg[0] == 1
	case len(arg) > 0 && len(arg) > int(arg[0]):
		data := arg[1 : 1+arg[0]]
		if op == 0x2008 {
			c.data = data
		} else {
			c.response = data
		}
	}
	c.mu.Unlock()
	c.complete(op, 0)
}

func (c *Controller) advertised() (data, response []byte, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data, c.response, c.on
}

// scan starts and stops listening.
func (c *Controller) scan(on, active bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
	if !on {
		return
	}
	c.stalled = false
	stop := make(chan struct{})
	c.stop = stop
	every := c.air.Every
	if every <= 0 {
		every = Interval
	}
	c.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case now := <-t.C:
				c.hear(now, active)
			case <-stop:
				return
			}
		}
	})
}

func (c *Controller) hear(now time.Time, active bool) {
	c.mu.Lock()
	deaf := c.deaf || c.stalled
	c.mu.Unlock()
	if deaf {
		return
	}
	for _, h := range c.air.listen(c, now) {
		c.reportOne(h, 0, h.data)
		if active && h.response != nil {
			c.reportOne(h, 4, h.response)
		}
	}
}

func (c *Controller) reportOne(h heard, kind byte, data []byte) {
	a := reversed(h.address)
	p := []byte{2, 1, kind, 0}
	if h.random {
		p[3] = 1
	}
	p = append(append(append(p, a[:]...), byte(len(data))), data...)
	c.event(0x3e, append(p, 0xc4)...) // −60 dBm
}

func (c *Controller) connect(to [6]byte) {
	time.Sleep(settle)
	d, peer := c.air.find(to)
	c.mu.Lock()
	defer c.mu.Unlock()
	complete := func(x *Controller, role byte, far [6]byte) {
		a := reversed(far)
		p := append([]byte{1, 0, handle, 0, role, 0}, a[:]...)
		x.event(0x3e, append(p, 24, 0, 0, 0, 0x90, 1, 0)...)
	}
	switch {
	case d != nil:
		c.device = d
		d.mu.Lock()
		d.server = newServer(d.Services, func(att []byte) { c.deliver(att) })
		d.mu.Unlock()
		complete(c, 0, to)
	case peer != nil:
		c.peer = peer
		peer.mu.Lock()
		on := peer.on
		peer.peer, peer.on = c, false
		peer.mu.Unlock()
		if on {
			complete(peer, 1, c.address)
			complete(c, 0, to)
		}
	}
}

func (c *Controller) disconnect(reason byte) {
	c.mu.Lock()
	peer := c.peer
	if c.device != nil {
		c.device.mu.Lock()
		c.device.server = nil
		c.device.mu.Unlock()
	}
	c.device, c.peer = nil, nil
	c.mu.Unlock()
	c.event(0x05, 0, handle, 0, reason)
	if peer != nil {
		peer.mu.Lock()
		peer.peer = nil
		peer.mu.Unlock()
		peer.event(0x05, 0, handle, 0, 0x13)
	}
}

func reversed(b [6]byte) (a [6]byte) {
	for i := range a {
		a[i] = b[5-i]
	}
	return a
}
