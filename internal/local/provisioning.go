package local

// Provisioning is the state of a gateway's pairing, for the status.
type Provisioning struct {
	Registry string     `json:"registry,omitempty"` // empty while none is known
	Servers  []string   `json:"servers"`            // trusted provisioning servers
	Things   []Claiming `json:"things"`             // without codes
	Error    string     `json:"error,omitempty"`    // why something is still looked for
	// Window is "open" or "shut" where a button has to be pressed before the
	// gateway can be claimed.
	Window string `json:"window,omitempty"`
}
