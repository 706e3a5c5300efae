// Package sensors serves XEP-0323 Sensor Data: it polls the devices, keeps the
// latest readings in internal/live and answers read-outs. Its Client reads
// other things the same way.
package sensors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/sensors/history"
	"postern/xmpp"
)

// NS is the namespace of XEP-0323 and its feature in service discovery.
const NS = "urn:xmpp:iot:sensordata"

// Sender sends stanzas in order with one write; *xmpp.Session is one.
type Sender interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
}

// Journal is the past of a node that is not measured: a record of what
// happened, for example. Implementations are safe for concurrent use.
type Journal interface {
	// Past returns the entries under the name of a field from one instant to
	// another, both inclusive and zero for no bound, the oldest first; of more
	// than most the newest.
	Past(field string, from, to time.Time, most int) ([]history.Point, error)
}

// Setup is the part of the configuration that may change while the service
// runs.
type Setup struct {
	Tree    *node.Tree
	Devices map[string]Device // by Node.Device
	Access  node.Access
}

// Config says what a Service serves. Zero fields have the documented meaning.
type Config struct {
	Setup
	Live *live.Store // required
	// History serves values of the past; nil: there are none.
	History *history.History
	// Journals are nodes whose past is kept elsewhere.
	Journals map[node.Ref]Journal
	Sender   Sender       // required
	Logger   *slog.Logger // nil discards
	// Now is the clock, nil for time.Now.
	Now func() time.Time
	// ClockSane tells whether the wall clock can be believed; until then
	// readings are flagged timeOffset. Nil: always.
	ClockSane func() bool
	// Location is the device's time zone, for requests that name none
	// (0323-D12). Nil for time.Local.
	Location *time.Location
	// LegacyPeers tells whether the old rejected element follows a stanza
	// error: true while the stream is XML and the option is on. Nil: never.
	LegacyPeers func() bool
	// RequireNodes refuses requests that name no node (0323-D23).
	RequireNodes bool
	// AllowNoType reads a request without any field type as one for all of
	// them instead of refusing it (0323-D11).
	AllowNoType bool
	Limits      Limits
}

// Limits bound what peers can make the gateway do. Zero fields take the
// default in brackets.
type Limits struct {
	PerPeer int           // queued read-outs of one JID [16] (0323-D13)
	Total   int           // read-outs under way or queued [256]
	Running int           // read-outs that wait for devices at a time [64]
	Names   int           // nodes and fields named in one request [1000]
	Octets  int           // size of one fields element as XML [10000] (0323-D17)
	Grace   time.Duration // how long an answer waits for data to go with it [20 ms]
	Ahead   time.Duration // how far ahead when may lie [31 days]
	Values  int           // of the past in one read-out [500000]
	Past    int           // read-outs that send values of the past at a time [4]
}

// Device is a driver with how the gateway reads it.
type Device struct {
	Device drivers.Device
	// Bus names what the device shares with others: devices of one bus are
	// read one after the other by one goroutine. Empty: it has its own.
	Bus string
	// Interval is the time between two polls; 0 reads on request only.
	Interval time.Duration
	// Timeout bounds one read; 0 stands for 2 s.
	Timeout time.Duration
	// Fresh is how old readings may be to answer a request without reading
	// the device again; 0 stands for 1 s, negative always reads.
	Fresh time.Duration
	// MaxAge is after what time a reading no longer stands for the present;
	// 0 stands for three intervals and one time-out, or a minute where the
	// device is not polled.
	MaxAge time.Duration
}

// Features are the features that the service adds to service discovery.
func Features() []string { return []string{NS} }

// checked returns the Config with its defaults filled in.
func (c Config) checked() (Config, error) {
	switch {
	case c.Tree == nil:
		return c, errors.New("sensors: Config.Tree is missing")
	case c.Access == nil:
		return c, errors.New("sensors: Config.Access is missing")
	case c.Live == nil:
		return c, errors.New("sensors: Config.Live is missing")
	case c.Sender == nil:
		return c, errors.New("sensors: Config.Sender is missing")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.LegacyPeers == nil {
		c.LegacyPeers = func() bool { return false }
	}
	if c.ClockSane == nil {
		c.ClockSane = func() bool { return true }
	}
	c.Limits.fill()
	return c, nil
}

func (l *Limits) fill() {
	or := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	or(&l.PerPeer, 16)
	or(&l.Total, 256)
	or(&l.Running, 64)
	or(&l.Names, 1000)
	or(&l.Octets, 10_000)
	or(&l.Values, 500_000)
	or(&l.Past, 4)
	if l.Grace <= 0 {
		l.Grace = 20 * time.Millisecond
	}
	if l.Ahead <= 0 {
		l.Ahead = 31 * 24 * time.Hour
	}
}
