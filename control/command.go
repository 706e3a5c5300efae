package control

import (
	"context"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// Origin tells by which way a command came.
type Origin string

// The origins.
const (
	OriginIQ       Origin = "iq"
	OriginMessage  Origin = "message"
	OriginLocal    Origin = "local"    // the local door: a person at the gateway
	OriginSchedule Origin = "schedule" // the gateway's own calendar
	OriginSafe     Origin = "safe"     // a move into the safe state
	OriginOverride Origin = "override" // a switch or a person at the machine, who holds the output
)

// Assignment gives one parameter its value.
type Assignment struct {
	Name  string
	Value drivers.Value
}

// Asked is what a command wants a parameter to be, in its own words. The text
// of a confirmation code is left out.
type Asked struct{ Name, Text string }

// Command is one set: every assignment on every node, all checked before the
// first is written, then written in order (0325-R10, R11, D19).
type Command struct {
	Origin Origin
	From   string // full JID; for local origins who it was, as far as known
	ID     string // id of the stanza
	At     time.Time

	Nodes       []node.Ref
	Assignments []Assignment
	Asked       []Asked // what a remote command asked for, as it came
	Reason      string  // free text of local origins
	// For is the bare JID of who asked first, where somebody else confirmed.
	For string

	ServiceToken, DeviceToken, UserToken string
}

// Result says what became of a command.
type Result struct {
	// Narrowed by access: these are then what was left (0325-R07).
	NodesNarrowed, ParametersNarrowed bool
	Nodes                             []node.Ref
	Parameters                        []string
	// Written is the number of writes done, node times assignment.
	Written int
	// Verified is set when every written value was read back equal.
	Verified bool
}

// Auditor keeps the record of commands. Implementations are safe for
// concurrent use.
type Auditor interface {
	// Begin records a command about to be carried out and returns when the
	// record is durable. Its error refuses remote commands and schedules;
	// moves into a safe state never wait for it.
	Begin(ctx context.Context, c *Command) error
	// End records the outcome of a command that Begin recorded.
	End(ctx context.Context, c *Command, r Result, err error)
	// Refused records a command that nothing was done for.
	Refused(ctx context.Context, c *Command, why *xmpp.Error)
	// Overridden records that somebody at the machine took an output over, or
	// gave it back. It does not wait for the disk.
	Overridden(c *Command, taken bool)
}

// Guard may refuse a command. Implementations are safe for concurrent use.
type Guard interface {
	// Check returns nil, or why the command must not be carried out. A
	// *xmpp.Error goes to the requester as it is, other errors as
	// not-allowed with their text.
	Check(ctx context.Context, c *Command) error
}
