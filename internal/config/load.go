package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"
)

// Load reads and checks the file at path. With problems the Config is nil.
func Load(path string, kinds *Kinds) (*Config, Problems) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Problems{{File: path, What: "there is no such file", Fix: "check the path; postern schema --example prints a file to start from"}}
	}
	if err != nil {
		return nil, Problems{{File: path, What: "the file cannot be read: " + plain(err), Fix: "check the path and its permissions"}}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, Problems{{File: path, What: "the file cannot be read: " + plain(err)}}
	}
	return Parse(path, data, kinds)
}

// plain strips the path, which is shown anyway, from an error of package os.
func plain(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Parse is Load for a file already read; path is only shown.
func Parse(path string, data []byte, kinds *Kinds) (*Config, Problems) {
	r := &report{file: path}
	root := r.parse(data)
	if root == nil {
		return nil, r.list.sorted()
	}
	l := &loader{decoder: decoder{report: r, formats: formats(kinds.Formats)}, kinds: kinds, cfg: &Config{File: path}}
	l.config(root)
	if len(r.list) > 0 {
		return nil, r.list.sorted()
	}
	return l.cfg, nil
}

// formats adds the checks that need no other room.
func formats(given Formats) Formats {
	out := Formats{
		"date": checkDate, "host:port": checkHostPort, "domain": checkDomain,
		"time-zone": checkTimeZone, "latitude": checkDegrees(90), "longitude": checkDegrees(180),
	}
	for name, f := range given {
		out[name] = f
	}
	return out
}

func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
		return errors.New("write host:port, for example xmpp.site.example:5222")
	}
	return nil
}

func checkDomain(text string) error {
	if j, err := jid.Parse(text); err != nil || j.Localpart() != "" || j.Resourcepart() != "" {
		return errors.New("write a domain, for example things.example.org")
	}
	return nil
}

// sections are the keys of the top level that are not plain fields.
type sections struct {
	Buses struct{} `yaml:"buses,omitempty" doc:"buses and serial lines by name"`
	Nodes struct{} `yaml:"nodes,omitempty" doc:"the devices"`
}

type loader struct {
	decoder
	kinds *Kinds
	cfg   *Config
	nodes []*node // of cfg.Nodes, the places of the entries
}

func (l *loader) config(root *node) {
	if root.shape != mapping {
		l.add(root, "", "keys with values are wanted here, not "+root.shape.String(), "begin with account:")
		return
	}
	setDefaults(reflect.ValueOf(l.cfg).Elem())
	// The two sections whose shape depends on a kind are read by hand; the
	// rest sees the file without them, but knows their names.
	rest := &node{shape: mapping, line: root.line, col: root.col}
	var buses, nodes *node
	for i, k := range root.keys {
		switch k.text {
		case "buses":
			buses = root.items[i]
		case "nodes":
			nodes = root.items[i]
		default:
			rest.keys, rest.items = append(rest.keys, k), append(rest.items, root.items[i])
		}
	}
	l.structs(rest, "", "", reflect.ValueOf(l.cfg).Elem(), reflect.ValueOf(&sections{}).Elem())
	for name, section := range map[string]any{"account": l.cfg.Account, "server": l.cfg.Server, "board": l.cfg.Board} {
		n := root.get(name)
		flawed := slices.ContainsFunc(l.list, func(p Problem) bool { return strings.HasPrefix(p.Key, name) })
		if n != nil && n.shape == mapping && !flawed {
			l.validate(n, name, section)
		}
	}
	l.buses(buses)
	l.nodeList(nodes)
	l.references(root)
}

// validate runs the Validate method of a configuration struct, if it has one.
func (l *loader) validate(n *node, path string, cfg any) {
	v, ok := cfg.(interface{ Validate() error })
	if !ok {
		return
	}
	err := v.Validate()
	if err == nil {
		return
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			l.invalid(n, path, e)
		}
		return
	}
	l.invalid(n, path, err)
}

// indexed is a place in a list at the beginning of an error: values[2] weight.
var indexed = regexp.MustCompile(`^([a-z0-9_]+)\[([0-9]{1,6})\]`)

// invalid reports one error of a Validate method at the key that it begins with.
func (l *loader) invalid(n *node, path string, err error) {
	var ke keyError
	if errors.As(err, &ke) {
		l.add(n.key(ke.key), path, ke.what, ke.fix)
		return
	}
	at, text := n, err.Error()
	key, rest, ok := strings.Cut(text, ": ")
	if !ok {
		l.add(at, path, text, "")
		return
	}
	if m := indexed.FindStringSubmatch(key); m != nil {
		i, _ := strconv.Atoi(m[2]) // six digits at most
		if list := n.get(m[1]); list != nil && i < len(list.items) {
			at, text, path = list.items[i], rest, join(path, m[0])
		}
	} else if k := n.key(strings.TrimSpace(key)); k != n {
		at, text, path = k, rest, join(path, key)
		if sub := n.get(key); sub != nil {
			// serial: port: … is about a key of the section serial.
			if inner, tail, ok := strings.Cut(rest, ": "); ok && sub.key(inner) != sub {
				at, text, path = sub.key(inner), tail, join(path, inner)
			}
		}
	}
	l.add(at, path, text, "")
}

func (l *loader) buses(n *node) {
	l.cfg.Buses = map[string]Bus{}
	if n == nil || n.shape == null {
		return
	}
	if n.shape != mapping {
		l.add(n, "buses", "names with values are wanted here, not "+n.shape.String(), "write buses: {name: {type: …}}")
		return
	}
	for i, k := range n.keys {
		path, item := join("buses", k.text), n.items[i]
		if b, ok := l.bus(item, k, path); ok {
			b.ID = k.text
			l.cfg.Buses[k.text] = b
		}
	}
}

func (l *loader) bus(n, key *node, path string) (Bus, bool) {
	typ, ok := l.discriminator(n, key, path, "type", l.kinds.busNames())
	if !ok {
		return Bus{}, false
	}
	kind := l.kinds.bus(typ)
	var keys busKeys
	cfg := reflect.ValueOf(kind.New())
	setDefaults(reflect.ValueOf(&keys).Elem())
	setDefaults(cfg.Elem())
	before := len(l.list)
	l.structs(n, path, " for a bus of type "+typ, reflect.ValueOf(&keys).Elem(), cfg.Elem())
	if len(l.list) == before && !keys.Simulate { // a simulated bus needs no port
		l.validate(n, path, cfg.Elem().Interface())
	}
	return Bus{Type: typ, Simulate: keys.Simulate, Config: cfg.Interface()}, true
}

// discriminator reads the key that says which struct the others belong to.
func (l *loader) discriminator(n, at *node, path, key string, allowed []string) (string, bool) {
	if n.shape != mapping {
		l.add(at, path, "keys with values are wanted here, not "+n.shape.String(), "begin with "+key+": "+strings.Join(allowed[:min(1, len(allowed))], ""))
		return "", false
	}
	v := n.get(key)
	switch {
	case v == nil:
		l.add(n, path, "the key "+key+" is missing", "add "+key+": one of "+listing(allowed))
	case v.shape != scalar:
		l.add(n.key(key), join(path, key), "the value is missing", "allowed: "+listing(allowed))
	case !slices.Contains(allowed, v.text):
		l.add(v, join(path, key), quote(v.text)+" is not a known "+key, suggest(v.text, allowed))
	default:
		return v.text, true
	}
	return "", false
}

func (l *loader) nodeList(n *node) {
	if n == nil || n.shape == null {
		return
	}
	if n.shape != sequence {
		l.add(n, "nodes", "a list is wanted here, not "+n.shape.String(), "begin each node with - id: name")
		return
	}
	for i, item := range n.items {
		path := fmt.Sprintf("nodes[%d]", i)
		if id := item.get("id"); id != nil && id.shape == scalar && id.text != "" && len(id.text) <= 128 {
			path = "nodes[" + id.text + "]"
		}
		if nd, ok := l.node(item, path); ok {
			l.cfg.Nodes = append(l.cfg.Nodes, nd)
			l.nodes = append(l.nodes, item)
		}
	}
}

func (l *loader) node(n *node, path string) (Node, bool) {
	name, ok := l.discriminator(n, n, path, "kind", l.kinds.deviceNames())
	if !ok {
		return Node{}, false
	}
	kind := l.kinds.device(name)
	var nd Node
	keys, cfg := reflect.ValueOf(&nd.NodeKeys).Elem(), reflect.ValueOf(kind.New())
	setDefaults(keys)
	setDefaults(cfg.Elem())
	before := len(l.list)
	l.structs(n, path, " for kind "+name, keys, cfg.Elem())
	nd.Config = cfg.Interface()
	nd.writableSet = n.get("writable") != nil
	if kind.Bus != "" {
		nd.Bus = busOf(cfg.Elem())
	}
	if len(l.list) > before {
		return nd, true
	}
	l.resolve(n, path, kind, cfg.Interface())
	if len(l.list) == before {
		l.validate(n, path, cfg.Elem().Interface())
	}
	if len(l.list) == before {
		l.channels(n, path, &nd, kind)
		l.simulation(n, path, &nd, kind)
	}
	return nd, true
}

// simulation refuses a node that is to be simulated and cannot be: the real
// device in its place might be an actuator. For the whole file, kinds that are
// never simulated are left as they are.
func (l *loader) simulation(n *node, path string, nd *Node, kind *Kind) {
	switch {
	case nd.Simulate && kind.Real != "":
		l.add(n.key("simulate"), join(path, "simulate"), "kind "+kind.Name+" "+kind.Real, "leave simulate out")
	case (nd.Simulate || l.cfg.Simulate) && kind.Real == "" && kind.Simulation != nil:
		if err := kind.Simulation(nd.Config); err != nil {
			l.add(n.key("simulate"), join(path, "simulate"), "this device cannot be simulated: "+err.Error(), "leave simulate out, or give it a form that can be")
		}
	}
}

// resolve lets the kind fill in what the node names outside of the file.
func (l *loader) resolve(n *node, path string, kind *Kind, cfg any) {
	if kind.Resolve == nil {
		return
	}
	err := kind.Resolve(cfg, filepath.Dir(l.cfg.File))
	var others Problems
	switch {
	case errors.As(err, &others):
		l.list = append(l.list, others[:min(len(others), max(maxProblems-len(l.list), 0))]...)
		at := n.key("description")
		if at == n {
			at = n.key("model")
		}
		l.add(at, path, "the description has problems", "correct that file")
	case err != nil:
		l.invalid(n, path, err)
	}
}

// busOf returns the value of the key bus.
func busOf(cfg reflect.Value) string {
	for _, f := range fieldsOf(cfg.Type()) {
		if f.key == "bus" {
			return cfg.FieldByIndex(f.index).String()
		}
	}
	return ""
}

// Decode reads a small file of another kind into v, a pointer to a tagged
// struct, as strictly as a gateway's configuration. path is only shown.
func Decode(path string, data []byte, v any) Problems {
	r := &report{file: path}
	if root := r.parse(data); root != nil {
		s := reflect.ValueOf(v).Elem()
		setDefaults(s)
		d := decoder{report: r, formats: formats(nil)}
		d.structs(root, "", "", s)
	}
	return r.list.sorted()
}

// DecodeValid is Decode, and reports what the Validate method of v finds, each
// at its place.
func DecodeValid(path string, data []byte, v any) Problems {
	r := &report{file: path}
	root := r.parse(data)
	if root == nil {
		return r.list.sorted()
	}
	s := reflect.ValueOf(v).Elem()
	setDefaults(s)
	l := &loader{decoder: decoder{report: r, formats: formats(nil)}}
	l.structs(root, "", "", s)
	if len(r.list) == 0 {
		l.validate(root, "", s.Interface())
	}
	return r.list.sorted()
}

// Defaults fills v, a pointer to a tagged struct, with the defaults of its keys.
func Defaults(v any) { setDefaults(reflect.ValueOf(v).Elem()) }
