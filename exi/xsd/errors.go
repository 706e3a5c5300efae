package xsd

import (
	"errors"
	"fmt"
)

// Error is a fault in a schema document.
type Error struct {
	File      string // as the Resolver named it
	Line      int    // from 1; 0 where the whole document is meant
	Construct string // the element of XML Schema, such as "complexType Fields"
	Msg       string
}

func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, e.Line)
	}
	if e.Construct != "" {
		s += ": " + e.Construct
	}
	return s + ": " + e.Msg
}

// ErrNotFound is what a Resolver returns, wrapped or not, for a location that
// it has no document for.
var ErrNotFound = errors.New("xsd: no such schema document")

// The bounds of one compilation. Real schemas stay far below them: the largest
// of the OASIS and W3C families need some 10,000 nodes and states.
const (
	maxDocuments = 512
	maxOctets    = 16 << 20  // of all documents together
	maxNodes     = 1 << 18   // elements of all documents together
	maxDepth     = 200       // of nested elements in a document
	maxLeaves    = 1 << 14   // particles of one content model after expansion
	maxStates    = 1 << 16   // of all grammars together
	maxProds     = 1 << 19   // of all grammars together
	maxWork      = 1 << 22   // steps of the construction of all content models
	maxErrors    = 20        // reported at once
	exactOccurs  = 1<<15 - 1 // a greater maxOccurs counts as unbounded
)

// fail records a fault found at n. The compilation goes on, so that one run
// shows every fault, and gives no Schema in the end.
func (c *compiler) fail(n *node, format string, args ...any) {
	if len(c.errs) >= maxErrors {
		return
	}
	e := &Error{Msg: fmt.Sprintf(format, args...)}
	if n != nil {
		e.File, e.Line, e.Construct = n.doc.name, n.line, n.String()
	}
	for _, old := range c.errs {
		if old.Error() == e.Error() {
			return
		}
	}
	c.errs = append(c.errs, e)
}

// overBudget records that a bound was passed, once, and tells the loops that
// build grammars to stop.
func (c *compiler) overBudget(n *node, format string, args ...any) {
	if !c.exhausted {
		c.fail(n, format, args...)
	}
	c.exhausted = true
}

func (c *compiler) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	all := make([]error, len(c.errs))
	for i, e := range c.errs {
		all[i] = e
	}
	return errors.Join(all...)
}
