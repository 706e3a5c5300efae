package local

import "time"

// Outbox is what waits for subscribers.
type Outbox struct {
	Boot        string       `json:"boot"`     // names this run in the numbers of messages
	Messages    int          `json:"messages"` // that are not delivered
	Octets      int          `json:"octets"`
	Cap         int          `json:"cap"`             // octets
	Error       string       `json:"error,omitempty"` // of the last commit
	Subscribers []Subscriber `json:"subscribers"`
}

// Subscriber is one account that gets events.
type Subscriber struct {
	JID       string `json:"jid"`
	Available bool   `json:"available"`
	// Proof is what counts as delivered: receipts, or handed to the server.
	Proof    string         `json:"proof"`
	Waiting  map[string]int `json:"waiting"` // messages by class
	InFlight int            `json:"in_flight"`
	Octets   int            `json:"octets"`
	// Missing: readings wait in the history, the first from Since.
	Missing   bool       `json:"missing,omitempty"`
	Since     time.Time  `json:"since,omitzero"`
	Delivered uint64     `json:"delivered"` // messages since the start, as those below
	Resent    uint64     `json:"resent"`
	Dropped   uint64     `json:"dropped"`
	Last      *time.Time `json:"last,omitempty"` // when the last was delivered
	Trouble   string     `json:"trouble,omitempty"`
}
