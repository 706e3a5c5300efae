package local

import "time"

// Status is what a daemon says about itself.
type Status struct {
	Role    string    `json:"role"` // "gateway", "hub" or "registry"
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"` // the daemon's clock, to compute ages with
	Config  string    `json:"config,omitempty"`

	Memory Memory `json:"memory"`
	// Machine is what the gateway runs on.
	Machine *Machine `json:"machine,omitempty"`
	Gateway *Gateway `json:"gateway,omitempty"`
	Hub     *Hub     `json:"hub,omitempty"`
	// Registry is that of postern registry, or the one inside a hub.
	Registry *Registry `json:"registry,omitempty"`

	// Healthy is false when something needs a person; Problems says what.
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems,omitempty"`
}

// Memory is what the process uses, in octets.
type Memory struct {
	Anonymous uint64 `json:"anonymous"` // RssAnon
	Heap      uint64 `json:"heap"`
	Limit     int64  `json:"limit"` // GOMEMLIMIT
	// Goroutines should stay about the same while nothing changes.
	Goroutines uint64 `json:"goroutines"`
}

// Machine is what the machine says about itself.
type Machine struct {
	Board string `json:"board"` // "unknown machine" when it does not say
	// Reset is what started it, as far as its hardware tells, else "unknown".
	Reset string `json:"reset"`
}

// Gateway is the state of postern run.
type Gateway struct {
	Connection Connection `json:"connection"`
	Nodes      []Node     `json:"nodes"`
	Simulated  bool       `json:"simulated,omitempty"` // some hardware is
	History    *History   `json:"history,omitempty"`
	Outbox     *Outbox    `json:"outbox,omitempty"`
	// Provisioning is nil when it is not used; codes are left out.
	Provisioning *Provisioning `json:"provisioning,omitempty"`
}

// Connection is the state of the XMPP session.
type Connection struct {
	Phase     string    `json:"phase"` // offline, connecting, online, waiting, held
	Since     time.Time `json:"since"`
	Account   string    `json:"account"`
	JID       string    `json:"jid,omitempty"` // full address while there is a session
	Server    string    `json:"server,omitempty"`
	TLS       string    `json:"tls,omitempty"`
	Mechanism string    `json:"mechanism,omitempty"`
	Encoding  string    `json:"encoding,omitempty"`
	// EncodingNote says why the stream is XML and not EXI.
	EncodingNote string `json:"encoding_note,omitempty"`
	// EXI tells about a stream that is.
	EXI       *EXI       `json:"exi,omitempty"`
	Resumable bool       `json:"resumable,omitempty"`
	Error     string     `json:"error,omitempty"` // why the last connection or attempt ended
	Retry     *time.Time `json:"retry,omitempty"`
	In        uint64     `json:"stanzas_in"`
	Out       uint64     `json:"stanzas_out"`
	Unacked   int        `json:"unacknowledged"`
	Queued    int        `json:"queued"`
	Overflow  uint64     `json:"refused_backlog_full"`
	Connects  uint64     `json:"connects"`
	Resumes   uint64     `json:"resumes"`
}

// EXI is how a stream is compressed (XEP-0322), and what that saves on this
// connection. Octets are counted below TLS.
type EXI struct {
	Dedicated bool     `json:"dedicated_port,omitempty"`
	Options   []string `json:"options,omitempty"` // what differs from the defaults
	Schemas   []string `json:"schemas"`           // namespaces
	In        int64    `json:"octets_in"`
	Out       int64    `json:"octets_out"`
	XMLIn     int64    `json:"octets_in_as_xml"` // what they would have been, projected from samples
	XMLOut    int64    `json:"octets_out_as_xml"`
}

// Node is the state of one node.
type Node struct {
	ID        string  `json:"id"`
	Label     string  `json:"label,omitempty"`
	Kind      string  `json:"kind,omitempty"`
	Simulated bool    `json:"simulated,omitempty"`
	Error     string  `json:"error,omitempty"` // why the device could not be opened
	Fields    []Field `json:"fields"`
}

// Field is the latest reading of one field.
type Field struct {
	Name     string     `json:"name"`
	Value    string     `json:"value,omitempty"`
	Unit     string     `json:"unit,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
	Quality  string     `json:"quality,omitempty"`
	Stale    bool       `json:"stale,omitempty"`
	Writable bool       `json:"writable,omitempty"`
	Error    string     `json:"error,omitempty"`
}

// Hub is the state of postern hub.
type Hub struct {
	Domain string   `json:"domain"`
	Listen []string `json:"listen"`
	CAFile string   `json:"ca_file,omitempty"` // what clients need to trust the hub
	Users  []User   `json:"users"`
}

// User is one account of a hub.
type User struct {
	JID       string    `json:"jid"`
	Created   time.Time `json:"created,omitzero"`
	Resources []string  `json:"resources,omitempty"` // online, or waiting to be resumed
	Waiting   int       `json:"waiting"`             // messages kept for it
}

// Credentials name an account of a hub and its new password.
type Credentials struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
}
