package drivers

// Channel describes one channel of a device: what a reading of it looks like
// and whether it can be set. It is fixed while the device is open.
type Channel struct {
	Name     string // unique in the device: lower case, digits, hyphens
	Kind     Kind
	Unit     string // as measured; empty where there is none
	Doc      string // what it is, in a few words
	Writable bool   // the device is a Setter for it

	// Min and Max bound writable numbers, both inclusive; HasMin and HasMax
	// tell which of them apply.
	Min, Max       Number
	HasMin, HasMax bool
	// Options are the values of an enumeration.
	Options []string
	// Safe is the value of a writable channel at start, at the end and whenever
	// in doubt, of the channel's Kind; KindNone when nothing but a command may
	// move it.
	Safe Value
}

// Describer is implemented by every device of Postern: the channels, in the
// order that Read returns them.
type Describer interface {
	Channels() []Channel
}
