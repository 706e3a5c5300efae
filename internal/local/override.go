package local

import (
	"context"
	"time"
)

// OverrideRequest takes an output over for somebody at the machine, or gives it
// back.
type OverrideRequest struct {
	Node      string `json:"node"`
	Parameter string `json:"parameter,omitempty"` // empty where the node has only one
	// Value is what the output is to have, by the parameter's type; empty keeps
	// what it has.
	Value   string  `json:"value,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // how long
	Reason  string  `json:"reason,omitempty"`
	Release bool    `json:"release,omitempty"`
}

// Override is what came of it.
type Override struct {
	Node      string     `json:"node"`
	Parameter string     `json:"parameter"`
	Value     string     `json:"value,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
	Released  bool       `json:"released,omitempty"`
}

// Override asks a gateway to take an output over or to give it back.
func (c *Client) Override(ctx context.Context, r OverrideRequest) (Override, error) {
	var o Override
	err := c.call(ctx, "POST", "/v1/override", r, &o)
	return o, err
}
