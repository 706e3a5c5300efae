// Package agent is how a test on the host works in the guest: one request and
// one answer per connection, each a line of JSON. The guest is a test bench
// behind QEMU's user network; nothing here belongs on a product.
package agent

// Port is where the agent listens in the guest.
const Port = 7000

// Request is one thing to do. Op is one of read, write, mkdir, remove, link,
// mount (Argv is the device and the type of its file system), run (waits for the end), start (does not; the output goes to the console) and
// signal.
type Request struct {
	Op   string            `json:"op"`
	Path string            `json:"path,omitempty"`
	Text string            `json:"text,omitempty"`
	Argv []string          `json:"argv,omitempty"`
	Env  map[string]string `json:"env,omitempty"`
	PID  int               `json:"pid,omitempty"`
	Num  int               `json:"num,omitempty"` // of a signal; milliseconds
}

// Answer is what came of it.
type Answer struct {
	Text  string `json:"text"`
	PID   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}
