package config

// Kind is one kind of device as the configuration sees it.
type Kind struct {
	Name string
	Doc  string // what it is, in a few words
	Bus  string // type of the bus that its key bus names; empty: none
	// New returns a pointer to a new configuration struct of the kind.
	New func() any
	// Resolve fills a configuration from what it names outside of itself; dir is
	// the folder of the file. An error is one as of Validate, or Problems of
	// another file. nil: there is nothing to fill.
	Resolve func(cfg any, dir string) error
	// Channels lists the channels that a device of this configuration has.
	// nil, or known false, when that is not known before it is opened.
	Channels func(cfg any) (channels []Channel, known bool)
	// Claims names what only one device can have, for example an address on a
	// bus, in words that go with "is taken"; and the key that it is about. nil,
	// or empty: nothing.
	Claims func(cfg any) (what, key string)
	// Real says, as in "kind x …", why a device is never simulated, so that a
	// node may not ask for it. Empty: it can be.
	Real string
	// Simulation says why a device of this configuration cannot be simulated.
	// nil: each can be.
	Simulation func(cfg any) error
}

// Channel is what the configuration needs to know of a channel.
type Channel struct {
	Name     string
	Type     string // of its values, in a word
	Unit     string
	Doc      string
	Writable bool
	Safe     bool // it has a safe state
	// Takes says what is wrong with a text as a value of a writable channel, in
	// words that follow its name; nil where that is not checked.
	Takes func(text string) error
}

// Model is a description of an instrument that comes with the program.
type Model struct {
	Name    string
	Kind    string // of the nodes that it is for
	Vendor  string
	Device  string
	Source  string // the document that it was read from
	Factory string // how it leaves the factory; may be empty

	Channels []Channel
}

// BusKind is one kind of bus.
type BusKind struct {
	Type string
	Doc  string
	New  func() any
	// Direct tells whether a text names a bus of the machine, so that no entry
	// in the section buses is needed. nil: an entry is always needed.
	Direct func(name string) bool
}

// Kinds is what a configuration may contain. It is fixed when the program is
// built.
type Kinds struct {
	Buses   []BusKind
	Devices []Kind
	Formats Formats // checks of the formats jid, bare-jid, decimal, condition, reading and formula
	// Models lists the descriptions for Hardware. nil: there are none.
	Models func() []Model
	// Description returns a pointer to a struct with the keys of a description.
	Description func() any
	// Values lists what a condition or formula that passed its format looks at. nil:
	// that is not checked.
	Values func(condition string) []Value
	// Energy says what is wrong with adding power in one unit up to energy in
	// another; empty texts for nothing. nil: that is not checked.
	Energy func(power, energy string) (what, fix string)
	// Tag checks a tag of the section provisioning. nil: that is not checked.
	Tag func(name, value string) error
}

func (k *Kinds) device(name string) *Kind {
	for i := range k.Devices {
		if k.Devices[i].Name == name {
			return &k.Devices[i]
		}
	}
	return nil
}

func (k *Kinds) bus(name string) *BusKind {
	for i := range k.Buses {
		if k.Buses[i].Type == name {
			return &k.Buses[i]
		}
	}
	return nil
}

func (k *Kinds) deviceNames() []string {
	var out []string
	for _, d := range k.Devices {
		out = append(out, d.Name)
	}
	return out
}

func (k *Kinds) busNames() []string {
	var out []string
	for _, b := range k.Buses {
		out = append(out, b.Type)
	}
	return out
}
