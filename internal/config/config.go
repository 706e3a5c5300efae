package config

import (
	"time"
)

// Config is a checked configuration of a gateway.
type Config struct {
	Version      int            `yaml:"version" default:"1" min:"1" max:"1" doc:"version of this file's format"`
	Account      Account        `yaml:"account" doc:"the XMPP account that the gateway logs in with"`
	Server       Server         `yaml:"server,omitempty" doc:"how to reach the account's server; the defaults fit a server that is found by DNS"`
	Site         Site           `yaml:"site,omitempty" doc:"where the gateway is, for schedules"`
	Access       Access         `yaml:"access,omitempty" doc:"who may read and switch; nobody until it is said here"`
	Provisioning Provisioning   `yaml:"provisioning,omitempty" doc:"pairing with an owner, and asking a provisioning server; neither unless it is switched on"`
	Simulate     bool           `yaml:"simulate" default:"false" doc:"simulate all hardware that can be simulated, to try this file on another machine"`
	LegacyPeers  bool           `yaml:"legacy_peers" default:"true" doc:"add the error elements that older clients understand to XML streams"`
	Board        Board          `yaml:"board,omitempty" doc:"lamp, button and watchdog of the board, for the gateway itself"`
	State        State          `yaml:"state,omitempty" doc:"where the gateway keeps what must survive a restart"`
	History      History        `yaml:"history,omitempty" doc:"what is kept of the past"`
	Subscribers  []Subscriber   `yaml:"subscribers,omitempty" doc:"accounts that get readings as they come, and later what they missed; others can subscribe by themselves"`
	Local        Local          `yaml:"local,omitempty" doc:"the local door, which postern status talks to"`
	Log          Log            `yaml:"log,omitempty" doc:"what is written to standard error"`
	Buses        map[string]Bus `yaml:"-"` // by id, from the section buses
	Nodes        []Node         `yaml:"-"` // in the order of the file, from the section nodes

	// File is the path it was loaded from.
	File string `yaml:"-"`
}

// Account is the gateway's account.
type Account struct {
	JID         string `yaml:"jid" format:"bare-jid" doc:"its address, as in name@domain" example:"gateway@site.example"`
	Password    Secret `yaml:"password,omitempty" doc:"where its password is kept; the password itself never stands in this file"`
	Certificate string `yaml:"certificate_file,omitempty" doc:"client certificate (PEM) to log in with instead of a password" example:"/etc/postern/client.pem"`
	Key         string `yaml:"key_file,omitempty" doc:"private key (PEM) of the client certificate" example:"/etc/postern/client.key"`
	Register    bool   `yaml:"register" default:"false" doc:"make the account on the server at the first start, if it offers that (XEP-0077)"`
	Resource    string `yaml:"resource" default:"postern" min:"1" max:"64" doc:"name of this connection of the account"`
}

// Validate implements the rule that there is a way to log in.
func (a Account) Validate() error {
	switch {
	case a.Password.IsZero() && a.Certificate == "":
		return keyError{"password", "there is nothing to log in with", "add password: {file: /etc/postern/password}, or certificate_file and key_file"}
	case a.Register && a.Password.IsZero():
		return keyError{"register", "an account is made with a password", "add password: {file: /etc/postern/password}"}
	case a.Certificate != "" && a.Key == "":
		return keyError{"certificate_file", "the private key of the certificate is missing", "add key_file: /path"}
	case a.Certificate == "" && a.Key != "":
		return keyError{"key_file", "the certificate of the private key is missing", "add certificate_file: /path"}
	}
	return nil
}

// Server says how the account's server is reached.
type Server struct {
	Address    string `yaml:"address,omitempty" format:"host:port" doc:"connect to this host and port instead of what DNS says; the certificate still has to be the domain's" example:"xmpp.site.example:5222"`
	CAFile     string `yaml:"ca_file,omitempty" doc:"authorities (PEM) that the server's certificate must come from; the system's when left out" example:"/etc/postern/ca.pem"`
	TLS        string `yaml:"tls" default:"auto" oneof:"auto|starttls|direct" doc:"how TLS is started; auto does what DNS says, else STARTTLS"`
	AllowPlain bool   `yaml:"allow_plain" default:"false" doc:"send the password itself (SASL PLAIN, inside TLS) to a server that offers nothing better"`
	EXI        string `yaml:"exi" default:"auto" oneof:"auto|port|off" doc:"compress the stream by EXI (XEP-0322) where the server offers it; port first tries a dedicated EXI port"`
	EXIKeep    string `yaml:"exi_keep" default:"nothing" oneof:"nothing|tables|window" doc:"what EXI keeps from stanza to stanza on the ordinary port, where the server agrees: tables of strings (half the octets), or a DEFLATE window too (a third); their size then tells a listener whether texts are alike, see docs/exi.md"`
	EXIPort    string `yaml:"exi_port,omitempty" format:"host:port" doc:"the dedicated EXI port, for exi: port, instead of what DNS says" example:"xmpp.site.example:15222"`
	Local      bool   `yaml:"local" default:"true" doc:"when DNS does not know the domain, look for its server in the local network: what DHCP told, then DNS-SD"`
	DHCPFile   string `yaml:"dhcp_file,omitempty" doc:"file in which a DHCP client keeps the options that it got, for the server's name in option 224; the leases of systemd-networkd when left out" example:"/run/dhcp-options"`
	Resume     bool   `yaml:"resume" default:"true" doc:"continue the session after a short break of the connection (XEP-0198)"`
}

// Validate reports what the tags cannot express.
func (s Server) Validate() error {
	if s.EXIKeep != "nothing" && s.EXIKeep != "" && s.EXI != "auto" {
		return keyError{"exi_keep", "it is about EXI on the ordinary port", "leave it out, or set exi: auto"}
	}
	return nil
}

// Access says who may do what. Owners may do everything.
type Access struct {
	Owner string  `yaml:"owner,omitempty" format:"bare-jid" doc:"this account may read and switch everything" example:"operator@site.example"`
	Allow []Grant `yaml:"allow,omitempty" doc:"further accounts and what they may do"`
	Ask   string  `yaml:"ask" default:"refuse" oneof:"refuse|keep" doc:"presence subscription requests of strangers: refuse them, or keep them waiting for the owner"`
}

// Grant is what one account, or all accounts of a domain, may do.
type Grant struct {
	JID    string   `yaml:"jid" format:"bare-jid" doc:"account, or domain for all its accounts" example:"technician@site.example"`
	Rights []string `yaml:"rights" default:"read" oneof:"read|control" min:"1" doc:"what it may do" example:"[read, control]"`
	Nodes  []string `yaml:"nodes,omitempty" doc:"only these nodes; all when left out" example:"[boiler]"`
}

// State is where the gateway's data lives.
type State struct {
	Directory string `yaml:"directory,omitempty" doc:"directory of mode 0700; $STATE_DIRECTORY, else /var/lib/postern, for other users $XDG_STATE_HOME/postern" example:"/var/lib/postern"`
}

// Local is the local door.
type Local struct {
	Socket string `yaml:"socket,omitempty" max:"100" doc:"path of the unix socket; $RUNTIME_DIRECTORY/postern.sock, else below /run, for other users below $XDG_RUNTIME_DIR" example:"/run/postern/postern.sock"`
}

// Log is what is logged.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug|info|warn|error" doc:"least important level that is written"`
	Format string `yaml:"format" default:"text" oneof:"text|json" doc:"form of the lines"`
}

// Bus is one entry of the section buses.
type Bus struct {
	ID       string
	Type     string
	Simulate bool
	Config   any // pointer to the configuration struct of its kind
}

// busKeys are the keys that every bus has.
type busKeys struct {
	Type     string `yaml:"type" doc:"kind of bus"`
	Simulate bool   `yaml:"simulate" default:"false" doc:"simulate it and everything on it"`
}

// Node is one entry of the section nodes: a device and how it is shown.
type Node struct {
	NodeKeys `yaml:",inline"`
	Config   any // pointer to the configuration struct of its kind
	Bus      string
}

// NodeKeys are the keys that every node has.
type NodeKeys struct {
	ID       string           `yaml:"id" min:"1" max:"128" doc:"name of the node, by which it is read and switched" example:"boiler"`
	Kind     string           `yaml:"kind" doc:"kind of device"`
	Label    string           `yaml:"label,omitempty" max:"256" doc:"what people call it" example:"Boiler room"`
	Parent   string           `yaml:"parent,omitempty" doc:"id of the node that this one is part of; reading the parent reads its parts" example:"basement"`
	Simulate bool             `yaml:"simulate" default:"false" doc:"simulate this device"`
	Interval time.Duration    `yaml:"interval" default:"10s" min:"100ms" max:"24h" doc:"how often it is measured; requests in between are answered with the latest measurement"`
	Timeout  time.Duration    `yaml:"read_timeout" default:"5s" min:"10ms" max:"5m" doc:"how long one measurement may take"`
	Fields   map[string]Field `yaml:"fields,omitempty" doc:"how its channels are shown, by channel name"`
	Computed []Computed       `yaml:"computed,omitempty" doc:"further fields that are calculated"`
	Rules    map[string]Rules `yaml:"rules,omitempty" doc:"limits and interlocks of its outputs, by channel name"`
	Writable []string         `yaml:"writable,omitempty" doc:"channels that may be switched remotely; all that can be when left out, none with []" example:"[state]"`

	writableSet bool
}

// MayWrite tells whether the configuration lets a channel be switched.
func (n *NodeKeys) MayWrite(channel string) bool {
	if !n.writableSet {
		return true
	}
	for _, w := range n.Writable {
		if w == channel {
			return true
		}
	}
	return false
}

// Field is how one channel is shown.
type Field struct {
	Name   string            `yaml:"name,omitempty" min:"1" max:"128" doc:"name of the field; the channel's name when left out" example:"Temperature"`
	Type   string            `yaml:"type" default:"momentary" oneof:"momentary|status|identity|computed|peak" doc:"what it is in the sense of XEP-0323"`
	Label  string            `yaml:"label,omitempty" max:"200" doc:"what people call it in forms, if it can be switched" example:"Pump"`
	Labels map[string]string `yaml:"labels,omitempty" max:"200" doc:"the same in other languages, by their tags in lower case"`
	// Together groups parameters (XEP-0325 §5.4).
	Together string `yaml:"together,omitempty" max:"128" doc:"name of an action: what has the same is meant to be set together, and forms say so" example:"dimming"`
	Hide     bool   `yaml:"hide" default:"false" doc:"do not show this channel"`
	// Localisation of the name (XEP-0323 §4).
	Module    string `yaml:"module,omitempty" max:"256" doc:"module whose texts translate the name (XEP-0323 stringIds)"`
	StringIDs string `yaml:"string_ids,omitempty" max:"256" format:"string-ids" doc:"its texts that make up the name: id, or id|module|seed, separated by commas"`

	Calibration *Calibration  `yaml:"calibration,omitempty" doc:"corrects what is measured"`
	History     *FieldHistory `yaml:"history,omitempty" doc:"which readings of it are kept"`
}

// keyError is a problem of one key, with its fix.
type keyError struct{ key, what, fix string }

func (e keyError) Error() string { return e.key + ": " + e.what + "; " + e.fix }
