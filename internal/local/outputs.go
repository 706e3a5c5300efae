package local

import (
	"context"
	"time"
)

// Outputs are all outputs of a gateway.
type Outputs struct {
	Now     time.Time `json:"now"`
	Outputs []Output  `json:"outputs"`
}

// Output is the state of one output. Times left are seconds, 0 where they do
// not apply.
type Output struct {
	Node      string  `json:"node"`
	Source    string  `json:"source,omitempty"`
	Cache     string  `json:"cacheType,omitempty"`
	Parameter string  `json:"parameter"`
	Value     *string `json:"value,omitempty"` // nil while it is not known
	Active    bool    `json:"active"`          // it has, or may have, another value than its safe one
	// HeldBy: "iq" or "message" (somebody afar), "local", "schedule", "safe",
	// "override", or empty while nobody has set it.
	HeldBy string    `json:"held_by,omitempty"`
	From   string    `json:"from,omitempty"` // full JID of who set it from afar
	Since  time.Time `json:"since,omitzero"`

	Override      string `json:"override,omitempty"`       // who, and until when
	OverrideWaits string `json:"override_waits,omitempty"` // why it does not have the value they want
	Due           string `json:"due,omitempty"`            // why its safe value has to be written still: its device did not take it
	Locked        string `json:"locked,omitempty"`
	Interlock     string `json:"interlock,omitempty"` // why it cannot be switched on

	MaxOnLeft   float64 `json:"max_on_left,omitempty"`  // then it is made safe
	HoldLeft    float64 `json:"min_left,omitempty"`     // until it may be switched on or off
	ChangeLeft  float64 `json:"change_left,omitempty"`  // until an hour's changes allow another
	ConfirmLeft float64 `json:"confirm_left,omitempty"` // a command waits that long for its second step
	Restart     string  `json:"restart"`                // "safe" or "hold"
}

// Outputs asks a gateway for the state of its outputs.
func (c *Client) Outputs(ctx context.Context) (Outputs, error) {
	var o Outputs
	err := c.call(ctx, "GET", "/v1/outputs", nil, &o)
	return o, err
}
