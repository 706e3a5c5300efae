package local

import (
	"context"
	"time"
)

// Pairing is what a gateway says to whoever stands before it: its claim codes,
// or whose it is. Codes are secrets, so it is asked for by POST, which only
// trusted peers may.
type Pairing struct {
	Account  string `json:"account"`            // the gateway's bare JID
	Registry string `json:"registry,omitempty"` // empty while none is found
	// Error says why nothing can be claimed yet, empty when it can.
	Error  string     `json:"error,omitempty"`
	Things []Claiming `json:"things"`
}

// Claiming is one thing that is claimed by itself: the gateway, or a node.
type Claiming struct {
	Node   string `json:"node,omitempty"` // empty: the gateway itself
	Source string `json:"source,omitempty"`
	Cache  string `json:"cacheType,omitempty"`
	Tags   []Tag  `json:"tags"` // without KEY
	// Code is the claim code in XEP-0347's form, empty once it is claimed; URI
	// the same as iotdisco: URI, which names the registry too.
	Code string `json:"code,omitempty"`
	URI  string `json:"uri,omitempty"`
	// Registered: the registry knows it, so it can be claimed now.
	Registered bool      `json:"registered"`
	Owner      string    `json:"owner,omitempty"` // bare JID; empty: nobody's
	SelfOwned  bool      `json:"self_owned,omitempty"`
	Private    bool      `json:"private,omitempty"`
	Removed    bool      `json:"removed,omitempty"` // no longer in the registry
	Since      time.Time `json:"since,omitzero"`    // of its being claimed or free
}

// Tag is one tag of a thing (XEP-0347 §3.4).
type Tag struct {
	Name    string `json:"name"`
	Numeric bool   `json:"numeric,omitempty"`
	Value   string `json:"value"`
}

// Pairing asks a gateway for its claim codes.
func (c *Client) Pairing(ctx context.Context) (Pairing, error) {
	var p Pairing
	err := c.call(ctx, "POST", "/v1/pairing", struct{}{}, &p)
	return p, err
}
