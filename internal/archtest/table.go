package archtest

import "strings"

// room is a package, or a family of them, with what its packages may import
// besides the standard library and its own sub-packages' test code.
type room struct {
	// pattern is a package path below the module. A trailing "/*" stands for
	// the direct children, a trailing "/..." for the package and all below it.
	pattern string
	why     string
	// rooms are patterns of allowed packages of this module.
	rooms []string
	// modules are prefixes of allowed packages of other modules.
	modules []string
}

const (
	moduleJID    = "mellium.im/xmpp/jid"            // addresses by RFC 7622; nothing else of that module
	modulePeriph = "periph.io/x/"                   // buses, pins and chips
	moduleSys    = "golang.org/x/sys/unix"          // what the standard library has no name for
	moduleScram  = "github.com/xdg-go/scram"        // SASL SCRAM, client and server
	moduleBbolt  = "go.etcd.io/bbolt"               // the one store
	moduleYAML   = "github.com/goccy/go-yaml"       // configuration with line and column
	modulePgconn = "github.com/jackc/pgx/v5/pgconn" // PostgreSQL's protocol; build tag fleet
	modulePrep   = "golang.org/x/text/secure/"      // precis, for passwords and names
)

// table lists the rooms from the top down. The most exact pattern that matches
// a package is its room.
var table = []room{
	{"cmd/postern", "main: which sub-command, nothing else",
		[]string{"internal/cli/...", "internal/gateway", "internal/config", "xmpp/hub"}, nil},
	{"internal/cli/exicmd", "files between XML text and EXI; needs no session",
		[]string{"exi/..."}, nil},
	{"internal/cli/daemon", "sub-commands that run a daemon or ask one: the composition root is called here; hub and registry are composed here",
		[]string{"internal/gateway/...", "internal/config", "internal/local", "internal/store", "internal/node", "internal/existate", "internal/audit", "internal/systemd", "internal/cli", "internal/cli/survey", "internal/cli/doctor", "board", "provisioning/...", "xmpp/...", "exi/...", "drivers/...", "internal/dnssd"}, []string{moduleJID, moduleYAML, "golang.org/x/term"}},
	{"internal/cli/pairing", "commands about claims and rights: speak the vocabulary of provisioning to a registry",
		[]string{"internal/cli", "internal/cli/pairing/qr", "internal/config", "internal/local", "internal/node", "provisioning", "xmpp"}, []string{moduleJID, "github.com/makiuchi-d/gozxing"}},
	{"internal/cli/pairing/qr", "claim codes as QR codes and labels; knows nothing of XMPP",
		[]string{"internal/cli/picture"}, []string{"rsc.io/qr/coding"}},
	{"internal/cli/survey", "what is connected to this machine, found through the drivers and written down as configuration",
		[]string{"board", "drivers/..."}, nil},
	{"internal/cli/doctor", "whether a machine is fit for the gateway", []string{"board"}, []string{moduleSys}},
	{"internal/cli/...", "operator's commands: talk to things over XMPP and to daemons through the local door",
		[]string{"internal/cli/...", "internal/config", "internal/local", "internal/node", "internal/live", "xmpp/...", "exi/...", "sensors", "sensors/events", "internal/outbox", "control", "drivers"},
		[]string{moduleJID, moduleYAML, "golang.org/x/term"}},
	{"internal/cli/picture", "PNG files without image/png", nil, nil},
	{"internal/gateway/...", "composition root: the one place that knows every room",
		[]string{"internal/gateway/...", "internal/config", "internal/local", "internal/store", "internal/live", "internal/node", "internal/outbox", "internal/existate", "internal/dnssd", "internal/audit", "internal/systemd",
			"sensors", "sensors/events", "sensors/history", "sensors/computed", "control", "control/schedule", "internal/formula", "provisioning", "board/...", "drivers/...", "xmpp/...", "exi/..."},
		[]string{moduleJID, modulePeriph, moduleSys, moduleYAML}},
	{"internal/config/...", "file to configuration; knows no room, kinds are handed to it",
		[]string{"internal/config/..."}, []string{moduleYAML, moduleJID}},
	{"internal/local", "the local door: HTTP and JSON on a unix socket", nil, []string{moduleSys}},
	{"xmpp/hub/...", "embedded single-site server",
		[]string{"xmpp/...", "exi/...", "internal/store"}, []string{moduleJID, moduleScram, modulePrep}},
	{"xmpp/terminator/...", "EXI in front of a stock server",
		[]string{"xmpp/...", "exi/...", "internal/store"}, []string{moduleJID}},
	{"provisioning/registry/...", "thing registry and provisioning server",
		[]string{"provisioning", "provisioning/registry/state", "xmpp/...", "exi/...", "internal/store"}, []string{moduleJID}},
	{"provisioning/registry/postgres", "what keeps a registry's data for a fleet; code with the build tag fleet only",
		[]string{"provisioning/registry/state"}, []string{modulePgconn}},
	{"provisioning/registry/state/...", "what keeps a registry's data, as seen from the registry: transactions over JSON values",
		[]string{"provisioning/registry/state"}, nil},
	{"provisioning/...", "device side of provisioning; implements node.Access",
		[]string{"internal/node", "internal/live", "internal/outbox", "internal/store", "drivers", "xmpp/...", "exi/..."}, []string{moduleJID}},
	{"sensors/events", "subscriptions: what of the fields goes into the outbox, and when",
		[]string{"sensors", "sensors/history", "internal/node", "internal/live", "internal/outbox", "internal/store", "drivers", "xmpp/...", "exi/..."}, []string{moduleJID}},
	{"sensors/...", "XEP-0323",
		[]string{"sensors/history", "internal/node", "internal/live", "internal/formula", "internal/outbox", "internal/store", "drivers", "xmpp/...", "exi/..."}, []string{moduleJID}},
	{"control/...", "XEP-0325",
		[]string{"internal/formula", "internal/node", "internal/live", "internal/outbox", "internal/store", "drivers", "xmpp/...", "exi/..."}, []string{moduleJID}},
	{"internal/outbox", "durable lanes of messages; receipts prove their delivery",
		[]string{"internal/store", "internal/node", "xmpp", "xmpp/receipts", "exi/..."}, []string{moduleJID}},
	{"internal/live", "latest values",
		[]string{"internal/node", "drivers"}, nil},
	{"xmpp/concentrator", "XEP-0326 over the tree of nodes",
		[]string{"internal/node", "xmpp/...", "exi/..."}, []string{moduleJID}},
	{"internal/formula", "expressions over readings, in three values: interlocks and computed fields",
		[]string{"internal/node", "drivers"}, nil},
	{"internal/node", "nodes as data, access as an interface; a requester is a JID",
		[]string{"drivers"}, []string{moduleJID}},
	{"internal/existate", "agreed EXI configurations in a program's store",
		[]string{"internal/store", "xmpp/compress"}, nil},
	{"internal/audit", "the record of commands, as hash chains",
		[]string{"internal/store"}, nil},
	{"internal/dnssd", "services in the local network, found and announced; knows nothing of XMPP", nil, []string{"github.com/pion/mdns/v2", "golang.org/x/net/ipv4"}},
	{"internal/store/storetest", "kills test programs that use a store", nil, nil},
	{"internal/store", "one bbolt file", nil, []string{moduleBbolt, moduleSys}},
	{"internal/systemd", "the service manager: states, watchdog, kept descriptors", nil, []string{moduleSys}},

	{"internal/archtest", "this table", nil, nil},
	{"internal/requirements/...", "keeps the requirement rows and their tests together", nil, nil},
	{"internal/peertest", "starts real servers; knows nothing of the product", nil, nil},
	{"internal/integration/...", "the product against real peers: only its tests import",
		[]string{"internal/peertest"}, nil},
	{"internal/bench/...", "load generator, which logs in by itself, and bare responder: the carrier and a session, no device logic",
		[]string{"internal/peertest", "xmpp/...", "exi/..."}, []string{moduleJID, moduleScram}},

	{"xmpp/xmpptest", "scripted peer in memory",
		[]string{"xmpp", "xmpp/tcp", "xmpp/xmlcodec", "exi/..."}, []string{moduleJID, moduleScram}},
	{"xmpp/compress/...", "XEP-0322's state machines",
		[]string{"xmpp", "exi/..."}, []string{moduleJID}},
	{"xmpp/tcp", "TCP and TLS; DNS names of domains",
		[]string{"xmpp", "xmpp/xmlcodec", "exi/..."}, []string{moduleJID, "golang.org/x/net/idna"}},
	{"xmpp/xmlcodec", "a stream as XML text",
		[]string{"xmpp", "exi/..."}, []string{moduleJID}},
	{"xmpp/internal/...", "parts of the stream that nobody else needs",
		[]string{"exi/..."}, []string{moduleJID, moduleScram, modulePrep}},
	{"xmpp/sasl", "SASL mechanisms, client and server",
		[]string{"exi/..."}, []string{moduleScram, modulePrep}},
	{"xmpp/*", "one package per small XEP: on a session, never on one another but for disco, where features are announced",
		[]string{"xmpp", "xmpp/disco", "exi/..."}, []string{moduleJID}},
	{"xmpp/disco", "what is served: the features the other XEPs announce",
		[]string{"xmpp", "exi/..."}, []string{moduleJID}},
	{"xmpp", "session, stanzas, negotiation",
		[]string{"exi/...", "xmpp/internal/...", "xmpp/sasl", "xmpp/saslprep"}, []string{moduleJID, moduleScram, "golang.org/x/net/idna", modulePrep}},

	{"xmpp/saslprep", "user names and passwords for SASL", nil, []string{"golang.org/x/text/unicode/norm"}},

	{"board/...", "which board this is",
		[]string{"drivers/...", "board/..."}, []string{modulePeriph, moduleSys}},
	{"drivers/*", "one package per chip: on the bus it sits on",
		[]string{"drivers", "drivers/i2c", "drivers/spi", "drivers/onewire", "drivers/gpio", "drivers/serial", "drivers/modbus", "drivers/sysfs"}, []string{modulePeriph}},
	{"drivers/sysfs/sysfstest", "the suite on drivers of simulated trees below /sys", []string{"drivers", "drivers/drivertest", "drivers/sysfs"}, nil},
	{"drivers/sysfs", "the kernel's devices below /sys, with simulated ones", []string{"drivers"}, nil},
	{"drivers/catalog", "descriptions of instruments, embedded", nil, nil},
	{"drivers/host", "this machine as a board",
		[]string{"drivers"}, []string{"github.com/prometheus/procfs", moduleSys}},
	{"drivers/modbus/slave", "a Modbus unit for demonstrations and tests",
		[]string{"drivers", "drivers/modbus", "drivers/serial"}, []string{moduleSys}}, // pseudo terminals
	{"drivers/modbus/peer", "independent Modbus slaves and a master, for tests; knows nothing of the product", nil, []string{"github.com/creack/pty", "golang.org/x/term"}},
	{"drivers/modbus", "Modbus framing and slaves over any port",
		[]string{"drivers", "drivers/serial"}, nil},
	{"drivers/i2c/i2ctest", "the suite on drivers of simulated I2C chips", []string{"drivers", "drivers/drivertest", "drivers/i2c"}, nil},
	{"drivers/serial/serialtest", "the suite on drivers of simulated instruments", []string{"drivers", "drivers/drivertest", "drivers/serial"}, nil},
	{"drivers/drivertest", "the suite every driver passes", []string{"drivers"}, nil},
	{"drivers/ble", "what Bluetooth sensors say, and one adapter's radio",
		[]string{"drivers", "drivers/ble/..."}, nil},
	{"drivers/ble/hci", "host of a Bluetooth LE controller", []string{"drivers"}, []string{"github.com/go-ble/ble/linux/hci/cmd", moduleSys}},
	{"drivers/ble/gatt", "attributes of a connected device", []string{"drivers"}, nil},
	{"drivers/ble/virtual", "simulated Bluetooth devices and controllers", nil, nil},
	{"drivers/i2c", "bus, with a simulated one", []string{"drivers"}, []string{modulePeriph, moduleSys}},
	{"drivers/spi", "bus, with a simulated one", []string{"drivers"}, []string{modulePeriph, moduleSys}},
	{"drivers/onewire", "bus, with a simulated one", []string{"drivers"}, []string{modulePeriph, moduleSys}},
	{"drivers/gpio", "lines through the character device, with simulated ones",
		[]string{"drivers"}, []string{modulePeriph, "github.com/warthog618/go-gpiocdev/uapi", moduleSys}},
	{"drivers/serial", "serial ports, with a pty pair as double",
		[]string{"drivers"}, []string{"go.bug.st/serial", "github.com/creack/pty", moduleSys}},
	{"drivers", "what a device is; numbers that keep their digits", nil, nil},

	{"exi/exitest", "runs the vectors", []string{"exi/..."}, nil},
	{"exi/schemas", "our own schema files", []string{"exi", "exi/xsd"}, nil},
	{"exi/xsd/...", "XML Schema to grammars", []string{"exi"}, nil},
	{"exi/xmltext", "XML text", []string{"exi"}, nil},
	{"exi", "events, values, codec; EXI compression is DEFLATE", []string{"exi/internal/..."}, []string{"github.com/klauspost/compress/flate"}},
	{"exi/internal/...", "bits", nil, nil},
}

// matches reports whether pkg, a path below the module, fits pattern.
func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		rest, below := strings.CutPrefix(pkg, base+"/")
		return below && !strings.Contains(rest, "/")
	}
	return pattern == pkg
}

// roomOf returns the room of a package, nil when the table does not know it.
func roomOf(pkg string) *room {
	var best *room
	for i := range table {
		r := &table[i]
		if matches(r.pattern, pkg) && (best == nil || r.exactness() > best.exactness()) {
			best = r
		}
	}
	return best
}

// exactness orders patterns: a plain path before a family, a deep family
// before a shallow one.
func (r *room) exactness() int {
	base, family := strings.CutSuffix(r.pattern, "/...")
	if !family {
		base, family = strings.CutSuffix(r.pattern, "/*")
	}
	n := 2 * len(base)
	if !family {
		n++
	}
	return n
}

// allows reports whether a package of the room may import pkg, a path below
// the module. Families may use their own members only where the list says so.
func (r *room) allows(pkg string) bool {
	for _, p := range r.rooms {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}

// allowsModule is allows for packages of other modules.
func (r *room) allowsModule(path string) bool {
	for _, m := range r.modules {
		if path == m || strings.HasPrefix(path, strings.TrimSuffix(m, "/")+"/") {
			return true
		}
	}
	return false
}
