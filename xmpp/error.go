package xmpp

import (
	"context"
	"errors"

	"postern/exi"
)

// Condition is a stanza error condition (RFC 6120 §8.3.3).
type Condition string

// The defined conditions.
const (
	BadRequest            Condition = "bad-request"
	Conflict              Condition = "conflict"
	FeatureNotImplemented Condition = "feature-not-implemented"
	Forbidden             Condition = "forbidden"
	Gone                  Condition = "gone"
	InternalServerError   Condition = "internal-server-error"
	ItemNotFound          Condition = "item-not-found"
	JIDMalformed          Condition = "jid-malformed"
	NotAcceptable         Condition = "not-acceptable"
	NotAllowed            Condition = "not-allowed"
	NotAuthorized         Condition = "not-authorized"
	PolicyViolation       Condition = "policy-violation"
	RecipientUnavailable  Condition = "recipient-unavailable"
	Redirect              Condition = "redirect"
	RegistrationRequired  Condition = "registration-required"
	RemoteServerNotFound  Condition = "remote-server-not-found"
	RemoteServerTimeout   Condition = "remote-server-timeout"
	ResourceConstraint    Condition = "resource-constraint"
	ServiceUnavailable    Condition = "service-unavailable"
	SubscriptionRequired  Condition = "subscription-required"
	UndefinedCondition    Condition = "undefined-condition"
	UnexpectedRequest     Condition = "unexpected-request"
)

// Error types: what the receiver of an error may do (RFC 6120 §8.3.2).
const (
	Auth     = "auth"
	Cancel   = "cancel"
	Continue = "continue"
	Modify   = "modify"
	Wait     = "wait"
)

// Error is a stanza error. As a Payload it writes the error element, followed
// by Following, the elements that old peers expect beside it.
type Error struct {
	Condition Condition
	Type      string  // empty takes the condition's usual type
	Text      string  // for people
	Lang      string  // xml:lang of Text
	App       Payload // application elements inside the error
	Following Payload // elements behind the error, see XEP-0323's old rejected

	// Elem is the received error element, valid like Stanza.Elem.
	Elem exi.Cursor
}

// NewError returns an error of the given condition with its usual type.
func NewError(c Condition, text string) *Error { return &Error{Condition: c, Text: text} }

// WithType returns a copy of e with another error type.
func (e *Error) WithType(typ string) *Error {
	c := *e
	c.Type = typ
	return &c
}

// Error makes *Error an error.
func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Text
}

// Is makes errors.Is(err, &Error{Condition: X}) compare conditions.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Condition == e.Condition
}

func (c Condition) usualType() string {
	switch c {
	case BadRequest, JIDMalformed, NotAcceptable, PolicyViolation, Redirect:
		return Modify
	case NotAuthorized, RegistrationRequired, SubscriptionRequired:
		return Auth
	case RecipientUnavailable, RemoteServerTimeout, ResourceConstraint, UnexpectedRequest:
		return Wait
	}
	// forbidden is "cancel" here: that is what the IoT XEPs print.
	return Cancel
}

var (
	nameError = exi.N(NSClient, "error")
	nameText  = exi.N(NSStanzas, "text")
)

// AppendEvents writes the error element.
func (e *Error) AppendEvents(d *exi.Doc) {
	typ := e.Type
	if typ == "" {
		typ = e.Condition.usualType()
	}
	d.Start(nameError)
	d.Attr(attrType, exi.Str(typ))
	d.Start(exi.N(NSStanzas, string(e.Condition)))
	d.End()
	if e.Text != "" {
		d.Start(nameText)
		appendAttr(d, attrLang, e.Lang)
		d.Text(exi.Str(e.Text))
		d.End()
	}
	if e.App != nil {
		e.App.AppendEvents(d)
	}
	d.End()
	if e.Following != nil {
		e.Following.AppendEvents(d)
	}
}

// AsError returns the *Error in err's chain, or one that hides internals
// from the peer: a time-out or an internal server error.
func AsError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return NewError(RemoteServerTimeout, "the gateway did not finish in time").WithType(Wait)
	}
	return NewError(InternalServerError, "").WithType(Wait)
}

// Err returns the error that a received stanza of type error carries, and nil
// for other stanzas. A missing or unknown condition reads as
// undefined-condition (RFC 6120 §8.3.3).
func (st *Stanza) Err() *Error {
	if st.Type != TypeError {
		return nil
	}
	c := st.Elem.Child(nameError)
	e := &Error{Condition: UndefinedCondition, Type: Cancel, Elem: c}
	if typ, ok := c.Attr(attrType); ok {
		e.Type = typ.String()
	}
	for k := range c.Children() {
		q := k.Name()
		switch {
		case q == nameText:
			e.Text = k.Text().String()
			if l, ok := k.Attr(attrLang); ok {
				e.Lang = l.String()
			}
		case q.Value().Space == NSStanzas:
			e.Condition = Condition(q.Value().Local)
		}
	}
	return e
}

// StreamError ends a stream (RFC 6120 §4.9).
type StreamError struct {
	Condition string // for example "not-well-formed"
	Text      string
	App       Payload
	// Local is set when this side detected the fault, so that it must be sent;
	// errors that the peer sent have it clear.
	Local bool
	// Elem is the received element, valid until the next read.
	Elem exi.Cursor
	// Err is the underlying fault of a local error.
	Err error
}

// Error makes *StreamError an error.
func (e *StreamError) Error() string {
	s := "xmpp: stream error " + e.Condition
	if !e.Local {
		s = "xmpp: the peer ended the stream: " + e.Condition
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the underlying fault.
func (e *StreamError) Unwrap() error { return e.Err }
