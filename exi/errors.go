package exi

import (
	"errors"
	"fmt"
)

// Causes of an Error. Compare with errors.Is.
var (
	// ErrFormat: the stream breaks the format's rules.
	ErrFormat = errors.New("not a valid EXI stream")
	// ErrHeader: what should be an EXI header is none, or asks for a version
	// that does not exist.
	ErrHeader = errors.New("not an EXI header of version 1")
	// ErrLimit: one of Options.Limits was reached.
	ErrLimit = errors.New("limit reached")
	// ErrOptions: the options contradict each other or need something that is
	// not there, such as a schema.
	ErrOptions = errors.New("unusable EXI options")
	// ErrContent: the grammar in force cannot represent the event; with strict
	// grammars that is a deviation from the schema.
	ErrContent = errors.New("cannot be represented")
	// ErrSequence: events came in an order that is no document.
	ErrSequence = errors.New("misplaced event")
)

// Error is what encoders and decoders return: where, and why.
type Error struct {
	Op   string // "decode" or "encode"
	Bit  int64  // bits from the start of the stream or body
	Path string // open elements, outermost first: /message/body
	Err  error
}

func (e *Error) Error() string {
	path := e.Path
	if path == "" {
		path = "/"
	}
	return fmt.Sprintf("exi: %s: bit %d, in %s: %v", e.Op, e.Bit, path, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func formatErr(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}

func limitErr(what string, limit int) error {
	return fmt.Errorf("%w: more than %d %s", ErrLimit, limit, what)
}

func contentErr(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrContent)...)
}
