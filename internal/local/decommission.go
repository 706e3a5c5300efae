package local

import "context"

// DecommissionRequest asks a gateway to become a new one.
type DecommissionRequest struct {
	// Force goes on although the registry cannot be told.
	Force bool `json:"force,omitempty"`
}

// Decommissioned is what a gateway answers before it ends, empties its state
// and starts anew.
type Decommissioned struct {
	Store    string   `json:"store"` // path of the file
	Held     []Held   `json:"removed"`
	Owners   []string `json:"owners"`             // who lost it
	Registry string   `json:"registry,omitempty"` // that forgot it
	Friends  []string `json:"friends"`            // who were contacts of its account
	// Error says why the registry, or the server, was not told.
	Error string `json:"error,omitempty"`
}

// Held is a part of the state with its number of entries.
type Held struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"`
}

// Former tells what a gateway's state held before it was decommissioned, as
// long as it has not been started again since.
func (c *Client) Former(ctx context.Context) ([]Held, error) {
	var h []Held
	err := c.call(ctx, "POST", "/v1/former", struct{}{}, &h)
	return h, err
}

// Decommission makes a gateway a new one.
func (c *Client) Decommission(ctx context.Context, r DecommissionRequest) (Decommissioned, error) {
	var d Decommissioned
	err := c.call(ctx, "POST", "/v1/decommission", r, &d)
	return d, err
}
