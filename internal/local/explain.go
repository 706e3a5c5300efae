package local

import (
	"context"
	"time"
)

// ExplainRequest names the node to explain.
type ExplainRequest struct {
	Node string `json:"node"`
}

// Explanation is all that a gateway knows about the state of a node.
type Explanation struct {
	Node      string    `json:"node"`
	Label     string    `json:"label,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Simulated bool      `json:"simulated,omitempty"`
	Now       time.Time `json:"now"`
	Device    *Device   `json:"device,omitempty"` // nil where none is read
	// Octets are the last exchanges with the device, the oldest first; none
	// where there is no bus, or nothing went over it.
	Octets []Exchange `json:"octets,omitempty"`
	Fields []Why      `json:"fields"`
	// Error is why the device could not be opened.
	Error string `json:"error,omitempty"`
}

// Exchange is what went over a device's bus: octets in hexadecimal digits.
type Exchange struct {
	At    time.Time `json:"at"`
	Out   string    `json:"out,omitempty"`
	In    string    `json:"in,omitempty"`
	More  bool      `json:"more,omitempty"` // only the first octets are shown
	Error string    `json:"error,omitempty"`
}

// Device is how a node's device is read.
type Device struct {
	Bus      string     `json:"bus,omitempty"` // shared with others
	Interval float64    `json:"interval"`      // seconds; 0: on request only
	Reads    uint64     `json:"reads"`
	Failures uint64     `json:"failures"`
	InARow   int        `json:"failures_in_a_row,omitempty"`
	Took     float64    `json:"took"` // the last read, seconds
	LastTry  *time.Time `json:"last_try,omitempty"`
	LastOK   *time.Time `json:"last_ok,omitempty"`
	NextTry  *time.Time `json:"next_try,omitempty"`
	Error    string     `json:"error,omitempty"` // of the last try
}

// Why is where a field's value comes from.
type Why struct {
	Field
	Channel string `json:"channel"` // of the device; empty where none gives it
	// Computed says how it is calculated, Sources from what; empty where a
	// channel gives it.
	Computed    string   `json:"computed,omitempty"`
	Sources     []string `json:"sources,omitempty"`
	Raw         string   `json:"raw,omitempty"` // as measured, where it was calibrated
	Calibration string   `json:"calibration,omitempty"`
	// MaxAge is after how many seconds a reading no longer stands; 0: never.
	MaxAge  float64    `json:"max_age,omitempty"`
	History string     `json:"history,omitempty"` // what is kept of it
	Kept    *time.Time `json:"kept,omitempty"`    // the last reading that was
	KeptAs  string     `json:"kept_as,omitempty"`
	Skipped bool       `json:"skipped,omitempty"` // the last reading was left out
}

// Explain asks a gateway about a node.
func (c *Client) Explain(ctx context.Context, node string) (Explanation, error) {
	var e Explanation
	err := c.call(ctx, "POST", "/v1/explain", ExplainRequest{node}, &e)
	return e, err
}
