// Package i2c opens the I2C buses of a Linux board and simulates one at the
// level of registers. Its seam is periph's i2c.Bus, so that every chip of
// periph.io/x/devices works on both.
package i2c

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/host/v3/sysfs"

	"postern/drivers"
)

// Bus and BusCloser are periph's: drivers take a Bus, its owner a BusCloser.
type (
	Bus       = i2c.Bus
	BusCloser = i2c.BusCloser
)

// ContextBus is a Bus whose transactions can be broken off. A kernel bus
// cannot: there a transaction lasts until the adapter's own time-out, usually
// below a second.
type ContextBus interface {
	Bus
	TxContext(ctx context.Context, addr uint16, w, r []byte) error
}

// Open opens a bus of this machine: "1", "i2c-1", "I2C1", "/dev/i2c-1" or the
// adapter's name as in /sys/class/i2c-dev/i2c-N/name. The bus is safe for
// concurrent use and one transaction runs at a time. When the adapter goes
// away (USB), it is opened again at the next transaction.
//
// The bus is opened directly by its number and not through periph's registry,
// which enumerates only once and so never sees an adapter that comes later.
func Open(name string) (BusCloser, error) {
	n, err := Find(os.DirFS("/"), name)
	if err != nil {
		return nil, err
	}
	k := &kernelBus{number: n}
	if _, err := k.open(); err != nil {
		return nil, err
	}
	return k, nil
}

// Adapter is one I2C bus that the kernel offers.
type Adapter struct {
	Number int
	Name   string // of the adapter, for example "bcm2835 (i2c@7e804000)"
}

// List returns the buses below root (the file system's root), by number.
func List(root fs.FS) ([]Adapter, error) {
	entries, err := fs.ReadDir(root, "sys/class/i2c-dev")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("i2c: list buses: %w", err)
	}
	var found []Adapter
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "i2c-"))
		if err != nil {
			continue
		}
		name, _ := fs.ReadFile(root, path.Join("sys/class/i2c-dev", e.Name(), "name"))
		found = append(found, Adapter{n, strings.TrimSpace(string(name))})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Number < found[j].Number })
	return found, nil
}

// Find turns a name that Open accepts into a bus number. A number is not
// checked against the buses that exist.
func Find(root fs.FS, name string) (int, error) {
	short := strings.TrimPrefix(strings.ToLower(strings.TrimPrefix(name, "/dev/")), "i2c")
	if short != strings.ToLower(name) { // "-1" alone is no bus
		short = strings.TrimPrefix(short, "-")
	}
	if n, err := strconv.ParseUint(short, 10, 16); err == nil {
		return int(n), nil
	}
	adapters, err := List(root)
	if err != nil {
		return 0, err
	}
	var have []string
	for _, a := range adapters {
		if a.Name == name {
			return a.Number, nil
		}
		have = append(have, fmt.Sprintf("%d (%s)", a.Number, a.Name))
	}
	if have == nil {
		return 0, fmt.Errorf("i2c: no bus %q: this machine offers none; enable I2C in the board's settings and load i2c-dev: %w", name, drivers.ErrGone)
	}
	return 0, fmt.Errorf("i2c: no bus %q; there are %s: %w", name, strings.Join(have, ", "), drivers.ErrGone)
}

// kernelBus is a bus of the kernel that survives the adapter's coming and
// going and speaks drivers' errors.
type kernelBus struct {
	number int

	mu     sync.Mutex // held through a transaction
	dev    *sysfs.I2C // nil while the adapter is away
	closed bool
}

func (k *kernelBus) String() string { return fmt.Sprintf("i2c-%d", k.number) }

func (k *kernelBus) open() (*sysfs.I2C, error) {
	if k.dev != nil {
		return k.dev, nil
	}
	d, err := sysfs.NewI2C(k.number)
	switch {
	case err == nil:
		k.dev = d
		return d, nil
	case hasErrno(err, syscall.EACCES):
		return nil, fmt.Errorf("i2c: open %s: permission denied; put the user in the group that owns /dev/i2c-%d (usually i2c): %w", k, k.number, fs.ErrPermission)
	case hasErrno(err, syscall.ENOENT), hasErrno(err, syscall.ENODEV), hasErrno(err, syscall.ENXIO):
		return nil, fmt.Errorf("i2c: open %s: there is no such bus; enable it in the board's settings (on a Raspberry Pi dtparam=i2c_arm=on): %w", k, drivers.ErrGone)
	}
	return nil, fmt.Errorf("i2c: open %s: %w", k, err)
}

// Tx implements periph's i2c.Bus.
func (k *kernelBus) Tx(addr uint16, w, r []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return drivers.ErrClosed
	}
	d, err := k.open()
	if err != nil {
		return err
	}
	err = d.Tx(addr, w, r)
	if hasErrno(err, syscall.EAGAIN) { // lost arbitration: the kernel leaves the second try to us
		err = d.Tx(addr, w, r)
	}
	if hasErrno(err, syscall.ENODEV) || hasErrno(err, syscall.ESHUTDOWN) {
		_ = d.Close() // the adapter is gone, nothing can be lost
		k.dev = nil
	}
	return classify(k.String(), addr, err)
}

// SetSpeed implements periph's i2c.Bus; Linux sets the speed in the device
// tree, so it fails.
func (k *kernelBus) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("i2c: %s: the speed is set in the device tree, not by programs", k)
}

// Close releases the bus; closing twice is allowed.
func (k *kernelBus) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.dev == nil {
		return nil
	}
	err := k.dev.Close()
	k.dev = nil
	return err
}

// classify adds the sentinel that tells what a failed transaction means. See
// the kernel's Documentation/i2c/fault-codes.
func classify(bus string, addr uint16, err error) error {
	if err == nil {
		return nil
	}
	kind, hint := error(nil), ""
	switch {
	case hasErrno(err, syscall.ENXIO), hasErrno(err, syscall.EREMOTEIO):
		kind, hint = drivers.ErrGone, "nothing acknowledges this address; check power, wiring and address"
	case hasErrno(err, syscall.ENODEV), hasErrno(err, syscall.ESHUTDOWN):
		kind, hint = drivers.ErrGone, "the bus adapter is gone"
	case hasErrno(err, syscall.ETIMEDOUT):
		kind, hint = drivers.ErrTimeout, "a line is held low; power-cycle the chip"
	case hasErrno(err, syscall.EIO), hasErrno(err, syscall.EBADMSG), hasErrno(err, syscall.EPROTO), hasErrno(err, syscall.EAGAIN):
		kind, hint = drivers.ErrProtocol, "the transfer was disturbed; check cable length and pull-ups"
	default:
		return fmt.Errorf("i2c: tx 0x%02x on %s: %w", addr, bus, err)
	}
	return fmt.Errorf("i2c: tx 0x%02x on %s: %w: %s (%v)", addr, bus, kind, hint, err)
}

// hasErrno also looks at the text: periph's sysfs package formats the errno
// away.
func hasErrno(err error, no syscall.Errno) bool {
	return err != nil && (errors.Is(err, no) || strings.HasSuffix(err.Error(), ": "+no.Error()))
}
