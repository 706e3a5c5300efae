package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/cli"
)

// demoDomain is the domain of the demo's site. It exists nowhere else.
const demoDomain = "demo.example"

const (
	demoGateway  = "gateway@" + demoDomain
	demoOperator = "operator@" + demoDomain
	demoDoor     = "demo:door" // the simulated line of the door contact
)

// demoFiles are the files of the demo, all in one directory.
type demoFiles struct{ dir string }

func (d demoFiles) path(name string) string  { return filepath.Join(d.dir, name) }
func (d demoFiles) config() string           { return d.path("gateway.yaml") }
func (d demoFiles) password() string         { return d.path("gateway.password") }
func (d demoFiles) account() string          { return d.path("operator.yaml") }
func (d demoFiles) port() string             { return d.path("port") }
func (d demoFiles) site() string             { return d.path("hub") }
func (d demoFiles) socket(who string) string { return d.path(who + ".sock") }

// openDemoFiles makes the directory: $XDG_STATE_HOME/postern/demo.
func openDemoFiles(env *cli.Env, given string) (demoFiles, error) {
	dir := given
	if dir == "" {
		base := env.Getenv("XDG_STATE_HOME")
		if !filepath.IsAbs(base) {
			home := env.Getenv("HOME")
			if home == "" {
				return demoFiles{}, errors.New("neither XDG_STATE_HOME nor HOME is set; name a directory with --state DIR")
			}
			base = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(base, "postern", "demo")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return demoFiles{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return demoFiles{}, err
	}
	if p := (demoFiles{dir}).socket("gateway"); len(p) > 100 {
		return demoFiles{}, fmt.Errorf("the path %s is too long for a socket (100 characters); name a shorter directory with --state DIR", p)
	}
	return demoFiles{dir}, nil
}

// listenAddress returns the loopback address of the last time if it is free, so
// that commands of then still work, and any free one otherwise.
func (d demoFiles) listenAddress() (string, error) {
	data, err := os.ReadFile(d.port())
	if errors.Is(err, fs.ErrNotExist) {
		return "127.0.0.1:0", nil
	}
	if err != nil {
		return "", err
	}
	addr := net.JoinHostPort("127.0.0.1", strings.TrimSpace(string(data)))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0", nil
	}
	return addr, l.Close()
}

// write makes the files for a site that listens on addr: what an installer
// would write by hand.
func (d demoFiles) write(s *site, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	gatewayPassword, operatorPassword := rand.Text(), rand.Text()
	for name, password := range map[string]string{demoGateway: gatewayPassword, demoOperator: operatorPassword} {
		if err := s.setAccount(name, password); err != nil {
			return err
		}
	}
	for file, text := range map[string]string{
		d.port():     port + "\n",
		d.password(): gatewayPassword + "\n",
		d.config():   demoConfig(d, addr, s.caFile),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return cli.SaveAccount(d.account(), cli.Account{JID: demoOperator, Password: operatorPassword, Server: addr, CAFile: s.caFile})
}

// demoConfig is the gateway's configuration. It is an ordinary one: postern
// check, run and schema take it.
func demoConfig(d demoFiles, addr, ca string) string {
	return fmt.Sprintf(`# The demo's gateway, written anew at each start. It may be checked and copied:
#   postern check %[1]q
account:
  jid: %[2]s
  password: {file: %[3]q}
server:
  address: %[4]q
  ca_file: %[5]q
access:
  owner: %[6]s
state: {directory: %[7]q}
local: {socket: %[8]q}
log: {level: warn}

buses:
  field:
    type: modbus
    simulate: true                 # a pseudo terminal with a meter at its far end

nodes:
  - id: board                      # this machine: all of it is real
    kind: host
    label: This machine
    interval: 5s

  - id: meter
    kind: modbus
    label: Electricity meter
    bus: field
    unit: 1
    interval: 2s
    registers:
      - {name: voltage, table: input, address: 0, scale: 0.1, unit: V, doc: voltage of the mains}
      - {name: current, table: input, address: 1, scale: 0.01, unit: A, doc: current}
      - {name: power, table: input, address: 2, type: uint32, unit: W, doc: active power}
      - {name: energy, table: input, address: 10, type: uint32, scale: 0.01, unit: kWh, doc: energy taken}

  - id: climate
    kind: bme280
    label: Room climate
    simulate: true                 # the chip's registers on an I2C bus
    interval: 2s

  - id: cabinet
    kind: mcp9808
    label: Switch cabinet
    simulate: true
    interval: 2s

  - id: fan
    kind: relay
    label: Fan
    simulate: true
    line: "demo:fan"
    safe: off
    interval: 2s

  - id: door
    kind: contact
    label: Door
    simulate: true                 # opened and closed by nobody, every few seconds
    line: %[9]q
    interval: 1s
`, d.config(), demoGateway, d.password(), addr, ca, demoOperator, d.path("gateway"), d.socket("gateway"), demoDoor)
}
