package drivers

// Fact is something about a device that does not change: a serial number, a
// version.
type Fact struct {
	Name  string // lower case, digits, hyphens
	Value string
	Doc   string // what it is, in a few words
}

// Identifier is a Device that knows what it is. Identity is called once the
// device is open and reads no more than Open did.
type Identifier interface {
	Identity() []Fact
}
