package local

import (
	"context"
	"encoding/json"
	"time"
)

// Registry is the state of a thing registry and provisioning server.
type Registry struct {
	Domain string `json:"domain"`
	// Server is where a component is connected; empty inside a hub.
	Server    string `json:"server,omitempty"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"`
	// Database is the address of the one that keeps its state; empty for a file.
	Database string `json:"database,omitempty"`

	Things        int    `json:"things"`
	Claimed       int    `json:"claimed"`
	Listed        int    `json:"listed"` // public
	Devices       int    `json:"devices"`
	Behind        int    `json:"behind"` // devices that have not heard of the last change
	Rules         int    `json:"rules"`
	Questions     int    `json:"questions"` // open ones
	ClaimsRefused uint64 `json:"claims_refused"`
}

// NodeRef addresses a node behind a device.
type NodeRef struct {
	ID     string `json:"id"`
	Source string `json:"source,omitempty"`
	Cache  string `json:"cache,omitempty"`
}

// Rule lets somebody do something with a device, or forbids it.
type Rule struct {
	ID      string    `json:"id,omitempty"`
	Device  string    `json:"device"`
	Subject string    `json:"subject"` // bare JID, domain, or * for everyone
	Action  string    `json:"action"`  // read, control, friend
	Deny    bool      `json:"deny,omitempty"`
	Nodes   []NodeRef `json:"nodes,omitempty"`
	Names   []string  `json:"names,omitempty"` // fields or parameters
	Types   []string  `json:"types,omitempty"` // of fields
	Range   string    `json:"range,omitempty"` // of control: 15..25, ..25 or 15..
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Once    bool      `json:"once,omitempty"`
}

// May is the question whether somebody may do something.
type May struct {
	Device  string    `json:"device"`
	Subject string    `json:"subject"`
	Action  string    `json:"action"`
	Nodes   []NodeRef `json:"nodes,omitempty"`
	Names   []string  `json:"names,omitempty"`
	Types   []string  `json:"types,omitempty"`
}

// Verdict is what of a question is allowed. Empty lists mean all that was
// asked for.
type Verdict struct {
	Allowed bool      `json:"allowed"`
	Nodes   []NodeRef `json:"nodes,omitempty"`
	Names   []string  `json:"names,omitempty"`
	Types   []string  `json:"types,omitempty"`
	// Values are what parameters may be set to, where that is not every value:
	// 0..5, 15..25. The name * stands for those that are not named.
	Values map[string]string `json:"values,omitempty"`
}

// Question is a request that waits for an owner's decision.
type Question struct {
	ID    string    `json:"id"`
	Asked time.Time `json:"asked"`
	Owner string    `json:"owner"`
	May
}

// Decision answers a question: yes-once, yes, yes-domain, no, no-domain.
type Decision struct {
	ID       string `json:"id"`
	Decision string `json:"decision"`
}

// ThingsPage asks for the things of an owner, or of all, behind one.
type ThingsPage struct {
	Owner string `json:"owner,omitempty"`
	After string `json:"after,omitempty"`
}

// Things is a page of things.
type Things struct {
	Things []Thing `json:"things"`
	Next   string  `json:"next,omitempty"` // for the page after; empty on the last one
}

// Thing is what a registry knows.
type Thing struct {
	JID     string    `json:"jid"`
	Node    NodeRef   `json:"node,omitzero"`
	Owner   string    `json:"owner,omitempty"`
	Private bool      `json:"private,omitempty"`
	Removed bool      `json:"removed,omitempty"`
	Claimed time.Time `json:"claimed,omitzero"`
	Online  bool      `json:"online,omitempty"`
	Tags    []Tag     `json:"tags,omitempty"`
}

// Rules lists the rules of a device, of all when it is empty.
func (c *Client) Rules(ctx context.Context, device string) (list []Rule, err error) {
	err = c.call(ctx, "POST", "/v1/rules/list", May{Device: device}, &list)
	return list, err
}

// AddRule adds a rule and returns it with its number.
func (c *Client) AddRule(ctx context.Context, r Rule) (Rule, error) {
	err := c.call(ctx, "POST", "/v1/rules", r, &r)
	return r, err
}

// RemoveRule removes a rule by its number.
func (c *Client) RemoveRule(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/v1/rules", Rule{ID: id}, nil)
}

// May asks what a device would be answered.
func (c *Client) May(ctx context.Context, m May) (Verdict, error) {
	var v Verdict
	err := c.call(ctx, "POST", "/v1/may", m, &v)
	return v, err
}

// Questions lists what waits for an owner's decision.
func (c *Client) Questions(ctx context.Context) (list []Question, err error) {
	err = c.call(ctx, "GET", "/v1/questions", nil, &list)
	return list, err
}

// Decide answers a question in the owner's name.
func (c *Client) Decide(ctx context.Context, d Decision) error {
	return c.call(ctx, "POST", "/v1/questions", d, nil)
}

// Things lists things.
func (c *Client) Things(ctx context.Context, p ThingsPage) (Things, error) {
	var t Things
	err := c.call(ctx, "POST", "/v1/things", p, &t)
	return t, err
}

// Services lists the services that ask about their users, as JSON.
func (c *Client) Services(ctx context.Context) (list json.RawMessage, err error) {
	err = c.call(ctx, "GET", "/v1/services", nil, &list)
	return list, err
}

// PutService adds or replaces a service given as JSON, and returns it with what
// was made for it.
func (c *Client) PutService(ctx context.Context, s json.RawMessage) (made json.RawMessage, err error) {
	err = c.call(ctx, "PUT", "/v1/services", s, &made)
	return made, err
}

// RemoveService forgets a service and its users.
func (c *Client) RemoveService(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/services", map[string]string{"name": name}, nil)
}
