// Package control serves XEP-0325 Control: it checks what peers want to set,
// writes it to the devices in order and tells the truth about the result. Its
// Client sets things elsewhere the same way.
package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// NS is the namespace of XEP-0325 and its feature in service discovery.
const NS = "urn:xmpp:iot:control"

// Sender sends stanzas in order with one write; *xmpp.Session is one.
type Sender interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
}

// Setup is the part of the configuration that may change while the service
// runs.
type Setup struct {
	Tree    *node.Tree
	Devices map[string]Device // by Node.Device, those with parameters at least
	Access  node.Access
	// Rules are the limits and interlocks of outputs that have some.
	Rules map[Output]Rules
	// Passing: a step on the way to another Setup. What is missing may come
	// back with that, so who holds it at the machine goes on holding it, and what
	// has to be made safe still has to.
	Passing bool
}

// Device is a driver that can be set.
type Device struct {
	// Device must be a drivers.Setter for its parameters to work.
	Device drivers.Device
	// Instance is another one each time the device is opened; nil stands for
	// Device itself. It is compared with ==.
	Instance any
	// Timeout bounds one write, and the reading back after it; 0 stands for
	// 2 s.
	Timeout time.Duration
	// NoReadBack leaves out reading the device after writing it; the state
	// published is then an estimate.
	NoReadBack bool
}

// Config says what a Service serves. Zero fields have the documented meaning.
type Config struct {
	Setup
	Live   *live.Store // required
	Sender Sender      // required: answers follow the writing
	// Auditor keeps the record of commands; nil keeps none.
	Auditor Auditor
	// Guards may refuse commands: interlocks, limits, confirmations. All of
	// them are asked, for the whole command, before anything is written.
	Guards []Guard
	Logger *slog.Logger // nil discards
	// Now is the clock, nil for time.Now.
	Now func() time.Time
	// ClockSane tells whether the wall clock can be believed; while it cannot,
	// no delayed command is acted on. Nil: always.
	ClockSane func() bool
	// Expiry is the age from which a command is refused, whether it was
	// delayed on the way or waited here; 0 stands for 30 s.
	Expiry time.Duration
	// MaxWaiting bounds the commands that wait for their outputs or are being
	// carried out; 0 stands for 64.
	MaxWaiting int
	// Location is the device's time zone; nil for time.Local.
	Location *time.Location
	// NoMerge refuses forms over several nodes (0325-R21).
	NoMerge bool
	// MaxNames bounds nodes and parameters of one request; 0 stands for 200.
	MaxNames int
}

// Features are the features that the service adds to service discovery.
func Features() []string {
	return []string{NS, nsData, nsValidate, nsLayout, nsDynamic}
}

// Namespaces of the forms.
const (
	nsData     = "jabber:x:data"
	nsValidate = "http://jabber.org/protocol/xdata-validate"
	nsLayout   = "http://jabber.org/protocol/xdata-layout"
	nsDynamic  = "urn:xmpp:xdata:dynamic"
	nsColor    = "urn:xmpp:xdata:color"
)

func (c Config) checked() (Config, error) {
	switch {
	case c.Tree == nil:
		return c, errors.New("control: Config.Tree is missing")
	case c.Access == nil:
		return c, errors.New("control: Config.Access is missing")
	case c.Live == nil:
		return c, errors.New("control: Config.Live is missing")
	case c.Sender == nil:
		return c, errors.New("control: Config.Sender is missing")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Auditor == nil {
		c.Auditor = noAudit{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ClockSane == nil {
		c.ClockSane = func() bool { return true }
	}
	if c.Expiry <= 0 {
		c.Expiry = 30 * time.Second
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.MaxNames <= 0 {
		c.MaxNames = 200
	}
	if c.MaxWaiting <= 0 {
		c.MaxWaiting = 64
	}
	return c, nil
}

type noAudit struct{}

func (noAudit) Begin(context.Context, *Command) error          { return nil }
func (noAudit) End(context.Context, *Command, Result, error)   {}
func (noAudit) Overridden(*Command, bool)                      {}
func (noAudit) Refused(context.Context, *Command, *xmpp.Error) {}
