package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"postern/drivers"
)

const consumer = "postern"

// Open finds a line of this machine by CHIPLABEL:NAME or CHIPLABEL:OFFSET. The
// line is requested from the kernel by Input or Output and not touched before.
// When its chip goes away (USB), calls return drivers.ErrGone until Input or
// Output is called again with success.
func Open(line string) (Line, error) {
	ref, err := ParseRef(line)
	if err != nil {
		return nil, fmt.Errorf("gpio: %w", err)
	}
	l := &cdevLine{ref: ref}
	if _, l.offset, err = find(ref); err != nil {
		return nil, err
	}
	return l, nil
}

// Adopt continues with a line whose descriptor a former process left behind
// (Handover). Its level and direction are not touched; closing f is up to the
// line from then on.
func Adopt(line string, f *os.File) (Line, error) {
	ref, err := ParseRef(line)
	if err != nil {
		return nil, fmt.Errorf("gpio: adopt: %w", err)
	}
	l := &cdevLine{ref: ref, adopted: true}
	if _, l.offset, err = find(ref); err != nil {
		return nil, err
	}
	if err := l.attach(int(f.Fd())); err != nil {
		return nil, err
	}
	_ = f.Close() // attach took a duplicate
	if _, err := l.Level(); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("gpio: adopt %s: this descriptor is no line: %w", line, err)
	}
	return l, nil
}

// cdevLine is a line of the character device (uAPI v2, Linux ≥ 5.10).
type cdevLine struct {
	ref     Ref
	offset  int
	adopted bool // the line came configured: the first Output keeps the request

	mu     sync.Mutex
	file   *os.File // of the line request; nil while not requested
	raw    syscall.RawConn
	fd     int
	closed bool
	edges  Edges
	seqno  uint32 // of the last edge seen
}

// chip opens the chip with a label. Two chips with one label cannot be told
// apart and are refused.
func chip(label string) (*os.File, uapi.ChipInfo, error) {
	paths, _ := filepath.Glob("/dev/gpiochip*")
	var found *os.File
	var info uapi.ChipInfo
	var have []string
	var denied error
	for _, p := range paths {
		if st, err := os.Lstat(p); err != nil || st.Mode()&fs.ModeSymlink != 0 {
			continue // aliases such as the Pi 5's gpiochip4
		}
		f, err := os.OpenFile(p, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			denied = err
			continue
		}
		ci, err := uapi.GetChipInfo(f.Fd())
		name := uapi.BytesToString(ci.Label[:])
		have = append(have, name)
		if err != nil || name != label {
			_ = f.Close()
			continue
		}
		if found != nil {
			_ = f.Close()
			_ = found.Close()
			return nil, info, fmt.Errorf("gpio: two chips have the label %q; such lines cannot be named", label)
		}
		found, info = f, ci
	}
	switch {
	case found != nil:
		return found, info, nil
	case errors.Is(denied, fs.ErrPermission):
		return nil, info, fmt.Errorf("gpio: no chip %q: %w; put the user in the group that owns /dev/gpiochip* (usually gpio)", label, denied)
	case have == nil:
		return nil, info, fmt.Errorf("gpio: no chip %q: this machine offers no GPIO chip: %w", label, drivers.ErrGone)
	}
	return nil, info, fmt.Errorf("gpio: no chip %q; there are %q: %w", label, have, drivers.ErrGone)
}

// find opens the chip and returns it closed again, with the line's offset.
func find(ref Ref) (uapi.LineInfoV2, int, error) {
	f, info, err := chip(ref.Chip)
	if err != nil {
		return uapi.LineInfoV2{}, 0, err
	}
	defer f.Close()
	if ref.Name == "" {
		if ref.Offset >= int(info.Lines) {
			return uapi.LineInfoV2{}, 0, fmt.Errorf("gpio: %s: the chip has lines 0 to %d", ref, int(info.Lines)-1)
		}
		li, err := uapi.GetLineInfoV2(f.Fd(), ref.Offset)
		return li, ref.Offset, err
	}
	for i := range int(info.Lines) {
		li, err := uapi.GetLineInfoV2(f.Fd(), i)
		if err == nil && uapi.BytesToString(li.Name[:]) == ref.Name {
			return li, i, nil
		}
	}
	return uapi.LineInfoV2{}, 0, fmt.Errorf("gpio: %s: the chip has no line of that name; postern scan gpio lists them", ref)
}

// request takes the line from the kernel with a configuration.
func (l *cdevLine) request(cfg uapi.LineConfig) error {
	if l.closed {
		return drivers.ErrClosed
	}
	if l.file != nil {
		if err := uapi.SetLineConfigV2(uintptr(l.fd), &cfg); err == nil {
			return nil
		}
		l.drop()
	}
	f, _, err := chip(l.ref.Chip)
	if err != nil {
		return err
	}
	defer f.Close()
	r := uapi.LineRequest{Config: cfg, Lines: 1, EventBufferSize: 64}
	r.Offsets[0] = uint32(l.offset)
	copy(r.Consumer[:], consumer)
	if err := uapi.GetLine(f.Fd(), &r); err != nil {
		if errors.Is(err, unix.EBUSY) {
			li, _ := uapi.GetLineInfoV2(f.Fd(), l.offset)
			return fmt.Errorf("gpio: %s is in use by %q; free it there or choose another line: %w", l.ref, uapi.BytesToString(li.Consumer[:]), err)
		}
		return fmt.Errorf("gpio: request %s: %w", l.ref, err)
	}
	err = l.attach(int(r.Fd))
	_ = unix.Close(int(r.Fd)) // attach took a duplicate
	return err
}

// attach puts a duplicate of a line's descriptor under the runtime's poller.
func (l *cdevLine) attach(fd int) error {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("gpio: %s: %w", l.ref, err)
	}
	if err := unix.SetNonblock(dup, true); err != nil {
		_ = unix.Close(dup)
		return fmt.Errorf("gpio: %s: %w", l.ref, err)
	}
	l.file, l.fd = os.NewFile(uintptr(dup), l.ref.String()), dup
	l.raw, err = l.file.SyscallConn()
	return err
}

func (l *cdevLine) drop() {
	if l.file != nil {
		_ = l.file.Close()
		l.file, l.raw, l.fd = nil, nil, -1
	}
}

// Input implements Line.
func (l *cdevLine) Input(o InputOptions) error {
	bias, ok := biases[o.Bias]
	if !ok {
		return fmt.Errorf("gpio: bias %q is unknown", o.Bias)
	}
	var cfg uapi.LineConfig
	cfg.Flags = uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth | bias
	if o.Debounce > 0 {
		cfg.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(o.Debounce).Encode(), Mask: 1})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop() // counting starts anew, and so do the kernel's numbers
	l.edges, l.seqno = Edges{}, 0
	return l.request(cfg)
}

// Output implements Line.
func (l *cdevLine) Output(drive string, level Level) error {
	flags, ok := drives[drive]
	if !ok {
		return fmt.Errorf("gpio: drive %q is unknown", drive)
	}
	var cfg uapi.LineConfig
	cfg.Flags = uapi.LineFlagV2Output | flags
	values := uapi.OutputValues(0)
	if level {
		values = 1
	}
	cfg.AddAttribute(uapi.LineConfigAttribute{Attr: values.Encode(), Mask: 1})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.request(cfg)
}

// Level implements Line.
func (l *cdevLine) Level() (Level, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return Low, err
	}
	v := uapi.LineValues{Mask: 1}
	if err := uapi.GetLineValuesV2(uintptr(l.fd), &v); err != nil {
		return Low, l.fault("read", err)
	}
	return v.Bits&1 != 0, nil
}

func (l *cdevLine) usable() error {
	switch {
	case l.closed:
		return drivers.ErrClosed
	case l.file == nil:
		return fmt.Errorf("gpio: %s: %w", l.ref, drivers.ErrGone)
	}
	return nil
}

func (l *cdevLine) fault(what string, err error) error {
	if errors.Is(err, unix.ENODEV) {
		l.drop()
		return fmt.Errorf("gpio: %s %s: its chip went away: %w", what, l.ref, drivers.ErrGone)
	}
	return fmt.Errorf("gpio: %s %s: %w", what, l.ref, err)
}

// Out implements periph's gpio.PinOut. The line must be an output already, or
// becomes a push-pull one.
func (l *cdevLine) Out(level Level) error {
	l.mu.Lock()
	requested := l.file != nil
	l.mu.Unlock()
	if !requested {
		return l.Output("push-pull", level)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	v := uapi.LineValues{Mask: 1}
	if level {
		v.Bits = 1
	}
	if err := uapi.SetLineValuesV2(uintptr(l.fd), v); err != nil {
		return l.fault("set", err)
	}
	return nil
}

// eventSize is that of the kernel's struct gpio_v2_line_event.
const eventSize = int(unsafe.Sizeof(uapi.LineEvent{}))

// Edges implements Line. The kernel keeps the latest 64 events and drops older
// ones, but numbers all of them, so nothing is lost from the count and nobody
// has to wait for edges to count them.
func (l *cdevLine) Edges() (Edges, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return Edges{}, err
	}
	var buf [16 * eventSize]byte
	for {
		n, err := unix.Read(l.fd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return l.edges, nil
		}
		if err != nil {
			return Edges{}, l.fault("read edges of", err)
		}
		for b := buf[:max(n, 0)]; len(b) >= eventSize; b = b[eventSize:] {
			l.count(b)
		}
		if n < len(buf) {
			return l.edges, nil
		}
	}
}

// count takes one event: struct gpio_v2_line_event is timestamp u64, id u32,
// offset u32, seqno u32, line_seqno u32, padding.
func (l *cdevLine) count(b []byte) {
	at := binary.NativeEndian.Uint64(b)
	id := binary.NativeEndian.Uint32(b[8:])
	seq := binary.NativeEndian.Uint32(b[20:])
	l.edges.add(uint64(seq-l.seqno), id == uint32(uapi.LineEventRisingEdge), fromMonotonic(at))
	l.seqno = seq
}

// fromMonotonic turns the kernel's clock into a time with both readings.
func fromMonotonic(ns uint64) time.Time {
	var ts unix.Timespec
	now := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return now
	}
	return now.Add(-time.Duration(uint64(ts.Nano()) - ns))
}

// Wait implements Line.
func (l *cdevLine) Wait(ctx context.Context) error {
	l.mu.Lock()
	if err := l.usable(); err != nil {
		l.mu.Unlock()
		return err
	}
	file, raw := l.file, l.raw
	l.mu.Unlock()
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("gpio: %s: %w", l.ref, err)
	}
	moved := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(moved)
		_ = file.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-moved // or it would hit the next Wait
		}
	}()
	ready := func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	}
	err := raw.Read(ready)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrClosed):
		return drivers.ErrClosed
	}
	return fmt.Errorf("gpio: wait for %s: %w", l.ref, err)
}

// Close implements Line.
func (l *cdevLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.drop()
	return nil
}

// Handover returns a duplicate of the line's descriptor and closes the line
// without moving it: as long as the descriptor is open somewhere (systemd's
// store), the kernel keeps the output as it is.
func (l *cdevLine) Handover() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("gpio: hand over %s: %w", l.ref, err)
	}
	l.closed = true
	l.drop()
	return os.NewFile(uintptr(dup), l.ref.String()), nil
}

// The rest of periph's gpio.PinIO.

func (l *cdevLine) String() string   { return l.ref.String() }
func (l *cdevLine) Name() string     { return l.ref.String() }
func (l *cdevLine) Number() int      { return l.offset }
func (l *cdevLine) Function() string { return "GPIO" }
func (l *cdevLine) Halt() error      { return nil }

func (l *cdevLine) In(pull gpio.Pull, _ gpio.Edge) error {
	return l.Input(InputOptions{Bias: pullBias(pull)})
}

func (l *cdevLine) Read() gpio.Level {
	v, _ := l.Level() // periph's interface has no place for the error
	return v
}

func (l *cdevLine) WaitForEdge(timeout time.Duration) bool { return waitForEdge(l, timeout) }
func (l *cdevLine) Pull() gpio.Pull                        { return gpio.PullNoChange }
func (l *cdevLine) DefaultPull() gpio.Pull                 { return gpio.PullNoChange }
func (l *cdevLine) PWM(gpio.Duty, physic.Frequency) error  { return errPWM }

func pullBias(p gpio.Pull) string {
	switch p {
	case gpio.PullUp:
		return "pull-up"
	case gpio.PullDown:
		return "pull-down"
	case gpio.Float:
		return "disabled"
	}
	return "as-is"
}

// waitForEdge is periph's call: true with an edge, false with the time-out;
// negative waits for ever.
func waitForEdge(l Line, timeout time.Duration) bool {
	ctx := context.Background()
	if timeout >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if l.Wait(ctx) != nil {
		return false
	}
	_, err := l.Edges()
	return err == nil
}

var _ Line = (*cdevLine)(nil)
