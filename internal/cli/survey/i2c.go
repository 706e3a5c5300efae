package survey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	"postern/drivers/i2c"
)

// I2COptions say where and how to look.
type I2COptions struct {
	Buses    []string // as i2c.Open takes them; none: all that the kernel offers
	Deep     bool     // see i2c.ScanOptions
	Progress func(bus string, addr int)
	// Open opens a bus; nil is i2c.Open.
	Open func(name string) (i2c.BusCloser, error)
}

// I2C looks at each address of I2C buses. Addresses that a driver of the kernel
// has are left alone. root is the file system's root.
func I2C(ctx context.Context, root fs.FS, o I2COptions) (*Report, error) {
	if o.Open == nil {
		o.Open = i2c.Open
	}
	names := o.Buses
	if len(names) == 0 {
		all, err := i2c.List(root)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			names = append(names, strconv.Itoa(a.Number))
		}
	}
	r := &Report{}
	if len(names) == 0 {
		r.Notes = append(r.Notes, "there is no I2C bus; postern doctor tells what to enable")
		return r, nil
	}
	var errs []error
	for _, name := range names {
		if err := r.i2cBus(ctx, root, name, o); err != nil {
			errs = append(errs, fmt.Errorf("bus %s: %w", name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return r, errors.Join(errs...)
}

func (r *Report) i2cBus(ctx context.Context, root fs.FS, name string, o I2COptions) error {
	bus, err := o.Open(name)
	if err != nil {
		return err
	}
	defer bus.Close()
	n, err := i2c.Find(root, name)
	numbered := err == nil
	so := i2c.ScanOptions{Deep: o.Deep}
	if numbered {
		so.Driven = func(addr int) bool { return driven(root, n, addr) }
	}
	if o.Progress != nil {
		so.Progress = func(addr int) { o.Progress(name, addr) }
	}
	found, err := i2c.Scan(ctx, bus, so)
	for _, f := range found {
		r.Findings = append(r.Findings, i2cFinding(name, f))
	}
	return err
}

// driven tells whether a driver of the kernel is bound to an address.
func driven(root fs.FS, bus, addr int) bool {
	_, err := fs.ReadLink(root, path.Join("sys/bus/i2c/devices", fmt.Sprintf("%d-%04x", bus, addr), "driver"))
	return err == nil
}

func i2cFinding(bus string, f i2c.Found) Finding {
	out := Finding{Where: fmt.Sprintf("0x%02x", f.Addr), On: "I2C bus " + bus, Guesses: []Guess{}}
	if f.Driven {
		out.Detail = "a driver of the kernel has it: see kind hwmon or iio"
		return out
	}
	for _, g := range f.Guess {
		out.Guesses = append(out.Guesses, Guess{g.Kind, g.Chip, g.Confidence})
	}
	if kind := out.Kind(); kind != "" {
		out.node = []string{"  bus: " + quoted(bus), "  address: " + out.Where}
		switch kind { // what only a person knows, as something that moves nothing
		case "expander":
			out.node = append(out.node, "  chip: mcp23017   # or which it is", "  lines: [{line: 0, name: line-0, use: input}]")
		case "pca9685":
			out.node = append(out.node, "  outputs: [{output: 0, name: output-0}]")
		}
		out.sure = out.confidence(kind) >= sureFrom
	}
	return out
}
