package xmpp

import (
	"errors"

	"postern/exi"
)

var (
	nameStreamError = exi.N(NSStream, "error")
	nameStreamText  = exi.N(NSStreams, "text")
	nameFeatures    = exi.N(NSStream, "features")
)

// NewStreamError returns a fault that this side found.
func NewStreamError(condition, text string) *StreamError {
	return &StreamError{Condition: condition, Text: text, Local: true}
}

// ParseStreamError reads a received error element; ok is false for any other
// element. A missing condition reads as undefined-condition.
func ParseStreamError(c exi.Cursor) (e *StreamError, ok bool) {
	if c.Name() != nameStreamError {
		return nil, false
	}
	e = &StreamError{Condition: "undefined-condition", Elem: c}
	for k := range c.Children() {
		switch q := k.Name(); {
		case q == nameStreamText:
			e.Text = k.Text().String()
		case q.Value().Space == NSStreams:
			e.Condition = q.Value().Local
			if e.Condition == "see-other-host" {
				e.Text = k.Text().String()
			}
		}
	}
	return e, true
}

// AppendEvents writes the error element.
func (e *StreamError) AppendEvents(d *exi.Doc) {
	d.Start(nameStreamError)
	d.Start(exi.N(NSStreams, e.Condition))
	d.End()
	if e.Text != "" {
		d.Element(nameStreamText, exi.Str(e.Text))
	}
	if e.App != nil {
		e.App.AppendEvents(d)
	}
	d.End()
}

// Is makes errors.Is(err, &StreamError{Condition: X}) compare conditions.
func (e *StreamError) Is(target error) bool {
	t, ok := target.(*StreamError)
	return ok && t.Condition == e.Condition
}

// EndWith ends a stream for the reason err: a *StreamError that this side found
// is told to the peer first (RFC 6120 §4.9.1). Nobody else may be using c.
func EndWith(c Conn, err error) error {
	var se *StreamError
	if errors.As(err, &se) && se.Local {
		var d exi.Doc
		se.AppendEvents(&d)
		if werr := c.WriteElements(&d); werr != nil {
			return errors.Join(werr, c.Close())
		}
	}
	return c.Close()
}

// EncodeError is returned by Conn.WriteElements for an element that the wire
// cannot carry, such as text with a control character. The elements before
// Index have been sent, the stream goes on without this one and those behind.
type EncodeError struct {
	Index int
	Err   error
}

// Error makes *EncodeError an error.
func (e *EncodeError) Error() string { return "xmpp: an element cannot be sent: " + e.Err.Error() }

// Unwrap returns the codec's error.
func (e *EncodeError) Unwrap() error { return e.Err }
