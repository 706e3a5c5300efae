// Package serial opens serial ports as readers and writers with deadlines that
// come back by themselves after the adapter was unplugged.
package serial

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	bug "go.bug.st/serial"
	"golang.org/x/sys/unix"

	"postern/drivers"
)

// slice bounds one wait of Read, so that Close and a new deadline take effect
// in time: the library's read cannot be woken.
const slice = 40 * time.Millisecond

// reopenPause is the least time between two attempts to open the device.
const reopenPause = 250 * time.Millisecond

// Port is a serial port. One goroutine reads and one writes; Close and
// SetReadDeadline may be called from anywhere.
type Port struct {
	cfg Config
	log *slog.Logger

	use sync.Mutex // held while dev is used; never waits longer than slice

	mu       sync.Mutex // guards the rest; taken after use
	dev      bug.Port   // nil while the device is away
	retry    time.Time  // not before this is it opened again
	lastErr  error
	deadline time.Time
	closed   bool
}

// Open checks the configuration and opens the port. A device that is not there
// or cannot be opened is no failure here: Read and Write say so
// (drivers.ErrGone) and try again.
func Open(cfg Config, log *slog.Logger) (*Port, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("serial: %w", err)
	}
	p := &Port{cfg: cfg, log: log}
	if w := Unstable(cfg.Port); w != "" {
		log.Warn("serial port has no stable name", "port", cfg.Port, "advice", w)
	}
	p.use.Lock()
	defer p.use.Unlock()
	if _, err := p.device(); err != nil {
		log.Warn("serial port cannot be opened yet", "port", cfg.Port, "error", err)
	}
	return p, nil
}

var unstable = regexp.MustCompile(`^/dev/tty(USB|ACM)[0-9]+$`)

// Unstable returns advice when a port's name can change with the order of
// plugging, or nothing.
func Unstable(port string) string {
	if !unstable.MatchString(port) {
		return ""
	}
	links, _ := filepath.Glob("/dev/serial/by-id/*")
	for _, l := range links {
		if to, err := filepath.EvalSymlinks(l); err == nil && to == port {
			return "use " + l
		}
	}
	return "use its name below /dev/serial/by-id, or usb:VID:PID:SERIAL"
}

// device returns the open device. The caller holds use.
func (p *Port) device() (bug.Port, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, drivers.ErrClosed
	case p.dev != nil:
		return p.dev, nil
	case time.Now().Before(p.retry):
		return nil, p.lastErr
	}
	dev, err := open(p.cfg)
	if err != nil {
		p.retry, p.lastErr = time.Now().Add(reopenPause), err
		return nil, err
	}
	if p.lastErr != nil {
		p.log.Info("serial port is back", "port", p.cfg.Port)
	}
	p.dev, p.lastErr = dev, nil
	return dev, nil
}

func open(cfg Config) (bug.Port, error) {
	path, err := Resolve("/", cfg.Port)
	if err != nil {
		return nil, err
	}
	if cfg.RS485.Enabled {
		if err := setRS485(path, cfg.RS485); err != nil {
			return nil, err
		}
	}
	dev, err := bug.Open(path, &bug.Mode{
		BaudRate: cfg.Baud, DataBits: cfg.DataBits,
		Parity: parities[cfg.Parity], StopBits: stopBits[cfg.StopBits],
	})
	if err == nil {
		return dev, nil
	}
	var pe *bug.PortError
	switch {
	case errors.As(err, &pe) && pe.Code() == bug.PermissionDenied:
		return nil, fmt.Errorf("serial: open %s: permission denied; put the user in the group that owns it (usually dialout): %w", path, drivers.ErrGone)
	case errors.As(err, &pe) && pe.Code() == bug.PortBusy:
		return nil, fmt.Errorf("serial: open %s: another program has it open (ModemManager, a console?): %w", path, drivers.ErrGone)
	case errors.As(err, &pe) && pe.Code() == bug.InvalidSerialPort:
		return nil, fmt.Errorf("serial: open %s: %v: %w", path, err, drivers.ErrGone)
	}
	return nil, fmt.Errorf("serial: open %s: %v; is it plugged in? %w", path, err, drivers.ErrGone)
}

// lose closes a device that failed. The caller holds use.
func (p *Port) lose(what string, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return drivers.ErrClosed
	}
	err = fmt.Errorf("serial: %s %s: %v: %w", what, p.cfg.Port, err, drivers.ErrGone)
	if p.dev != nil {
		_ = p.dev.Close() // it failed already
		p.dev = nil
		p.log.Warn("serial port was lost", "port", p.cfg.Port, "error", err)
	}
	p.retry, p.lastErr = time.Now().Add(reopenPause), err
	return err
}

// Read reads what has come, at least one octet, until the read deadline; then
// it returns os.ErrDeadlineExceeded.
func (p *Port) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err := p.readSlice(b)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (p *Port) readSlice(b []byte) (int, error) {
	p.use.Lock()
	defer p.use.Unlock()
	dev, err := p.device()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	wait := slice
	if !p.deadline.IsZero() {
		wait = min(wait, time.Until(p.deadline))
	}
	p.mu.Unlock()
	expired := wait <= 0
	if err := dev.SetReadTimeout(max(wait, 0)); err != nil {
		return 0, p.lose("read", err)
	}
	n, err := dev.Read(b)
	switch {
	case err != nil:
		return 0, p.lose("read", err)
	case n == 0 && expired:
		return 0, os.ErrDeadlineExceeded
	}
	return n, nil
}

// Write sends b.
func (p *Port) Write(b []byte) (int, error) {
	p.use.Lock()
	defer p.use.Unlock()
	dev, err := p.device()
	if err != nil {
		return 0, err
	}
	n, err := dev.Write(b)
	if err != nil {
		return n, p.lose("write", err)
	}
	return n, nil
}

// Flush forgets what came in and was not read, and what was written and could
// not be sent: without it a far end that does not take anything (a USB gadget,
// a pseudo terminal) would let Write wait for ever once the buffer is full.
func (p *Port) Flush() error {
	p.use.Lock()
	defer p.use.Unlock()
	dev, err := p.device()
	if err != nil {
		return err
	}
	if err := errors.Join(dev.ResetInputBuffer(), dev.ResetOutputBuffer()); err != nil {
		return p.lose("flush", err)
	}
	return nil
}

// SetReadDeadline sets when Read gives up; the zero time is never. A Read that
// is waiting follows within 40 ms.
func (p *Port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

// Close closes the port for good; closing twice is allowed. A waiting Read
// returns drivers.ErrClosed within 40 ms.
func (p *Port) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.use.Lock()
	defer p.use.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dev == nil {
		return nil
	}
	err := p.dev.Close()
	p.dev = nil
	return err
}

// String returns the configured name.
func (p *Port) String() string { return p.cfg.Port }

// Resolve turns a configured port into a device path: usb:VID:PID:SERIAL is
// looked up below root, other names are given back. The serial number may be
// left out where one such adapter is plugged in.
func Resolve(root, port string) (string, error) {
	id, ok := strings.CutPrefix(port, "usb:")
	if !ok {
		return port, nil
	}
	parts := strings.SplitN(id, ":", 3)
	if len(parts) < 2 {
		return "", fmt.Errorf("serial: %q is not usb:VID:PID or usb:VID:PID:SERIAL", port)
	}
	ttys, _ := filepath.Glob(filepath.Join(root, "sys/class/tty/*"))
	var found []string
	for _, tty := range ttys {
		dir, err := filepath.EvalSymlinks(filepath.Join(tty, "device"))
		if err == nil && usbMatches(dir, parts) {
			found = append(found, "/dev/"+filepath.Base(tty))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("serial: no USB adapter %s is plugged in: %w", id, drivers.ErrGone)
	}
	return "", fmt.Errorf("serial: %s is any of %s; add the serial number or use a name below /dev/serial/by-path", port, strings.Join(found, ", "))
}

// usbMatches climbs from a tty's interface to its USB device.
func usbMatches(dir string, want []string) bool {
	for range 4 {
		vendor, err := os.ReadFile(filepath.Join(dir, "idVendor"))
		if err != nil {
			dir = filepath.Dir(dir)
			continue
		}
		product, _ := os.ReadFile(filepath.Join(dir, "idProduct"))
		number, _ := os.ReadFile(filepath.Join(dir, "serial"))
		return strings.EqualFold(strings.TrimSpace(string(vendor)), want[0]) &&
			strings.EqualFold(strings.TrimSpace(string(product)), want[1]) &&
			(len(want) == 2 || strings.TrimSpace(string(number)) == want[2])
	}
	return false
}

// rs485 is the kernel's struct serial_rs485 (Linux
// Documentation/driver-api/serial/serial-rs485).
type rs485 struct {
	flags       uint32
	delayBefore uint32 // ms
	delayAfter  uint32 // ms
	_           [5]uint32
}

const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1
	rs485RTSAfterSend = 1 << 2
)

// setRS485 works on a descriptor of its own, because the library keeps its one
// to itself; the setting stays with the UART.
func setRS485(path string, c RS485Config) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("serial: open %s: %v: %w", path, err, drivers.ErrGone)
	}
	defer unix.Close(fd)
	r := rs485{flags: rs485Enabled | rs485RTSOnSend}
	if c.ActiveLow {
		r.flags = rs485Enabled | rs485RTSAfterSend
	}
	r.delayBefore = uint32(c.DelayBefore.Milliseconds())
	r.delayAfter = uint32(c.DelayAfter.Milliseconds())
	if err := ioctlRS485(fd, &r); err != nil {
		return fmt.Errorf("serial: %s: its driver has no RS-485 direction control (%v); use an adapter that switches by itself and leave rs485 out", path, err)
	}
	return nil
}
