package modbus

import (
	"context"
	"errors"

	"postern/drivers"
)

// FoundUnit is a unit that answers.
type FoundUnit struct {
	Unit byte
	// ID is what it says about itself; empty for most units.
	ID Identification
	// Answers tells which of the first addresses it has: holding register 0,
	// input register 0.
	Holdings, Inputs bool
}

// Scan asks units from..to, each once, for a register, which moves nothing; an
// exception is an answer, too. A unit that is not there costs the line's
// time-out. progress is called before each unit and may be nil.
func Scan(ctx context.Context, c *Client, from, to byte, progress func(unit byte)) ([]FoundUnit, error) {
	var found []FoundUnit
	for u := int(from); u <= int(to); u++ {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		if progress != nil {
			progress(byte(u))
		}
		f := FoundUnit{Unit: byte(u)}
		err := c.probe(ctx, f.Unit, fnReadHolding)
		switch {
		case ctx.Err() != nil:
			return found, context.Cause(ctx)
		case err == nil:
			f.Holdings = true
		case errors.Is(err, drivers.ErrGone), errors.Is(err, drivers.ErrClosed):
			return found, err // the line itself
		case errors.Is(err, drivers.ErrTimeout), !isException(err):
			continue
		}
		f.Inputs = c.probe(ctx, f.Unit, fnReadInput) == nil
		if id, err := c.Identify(ctx, f.Unit); err == nil {
			f.ID = id
		}
		found = append(found, f)
	}
	return found, nil
}

func isException(err error) bool {
	var ex Exception
	return errors.As(err, &ex)
}

// probe reads one register, once.
func (c *Client) probe(ctx context.Context, unit, fn byte) error {
	pdu, err := c.transact(ctx, unit, request(fn, 0, 1), true)
	if err != nil {
		return err
	}
	_, err = counted(fn, pdu, 2)
	return err
}
