package cli

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/cli/thing"
	"postern/internal/node"
	"postern/xmpp"
)

const setHelp = `Usage: postern set JID NODE PARAMETER=VALUE ... [flags]
       postern set JID PARAMETER=VALUE ...          (the thing itself)

Sets parameters, in this order, and says what was applied. All values are
checked by the thing before the first is set.

  postern set gateway@site.example pump1 state=on
  postern set gateway@site.example boiler setpoint=21.5 mode=eco
  postern set gateway@site.example meter limit:long=9000000000

The type of a parameter is asked from the thing; PARAMETER:TYPE=VALUE says it:
boolean, int, long, double, string, date, time, dateTime, duration, color.

  --node N           a node; several times for several, in place of NODE
  --source S         the data source of the nodes, where it is needed
  --json             one JSON document instead of text
` + commonHelp

// Set sets parameters of a thing.
func Set(ctx context.Context, e Env, args []string) int {
	return e.finish("set", e.set(ctx, args))
}

// order is what a set command asks for.
type order struct {
	target
	nodes  []node.Ref
	params []thing.Parameter
	json   bool
}

func (e *Env) setArgs(opt *common, args []string) (order, error) {
	fs := newFlags("set", setHelp)
	var o order
	var nodes list
	var source string
	opt.add(fs)
	fs.Var(&nodes, "node", "")
	fs.StringVar(&source, "source", "", "")
	fs.BoolVar(&o.json, "json", false, "")
	rest, err := fs.parse(e, args)
	if err != nil {
		return o, err
	}
	if err := opt.check(); err != nil {
		return o, err
	}
	if len(rest) < 2 {
		return o, usagef("give an address, a node and what to set: gateway@site.example pump1 state=on")
	}
	assignments := rest[1:]
	if len(nodes) == 0 && !strings.Contains(assignments[0], "=") {
		nodes, assignments = list{assignments[0]}, assignments[1:]
	}
	if len(assignments) == 0 {
		return o, usagef("nothing to set; add PARAMETER=VALUE")
	}
	o.nodes = refs(nodes, source)
	for _, a := range assignments {
		p, err := parseAssignment(a)
		if err != nil {
			return o, err
		}
		o.params = append(o.params, p)
	}
	o.address = rest[0]
	return o, e.target(&o.target, *opt)
}

func (e *Env) set(ctx context.Context, args []string) error {
	var opt common
	o, err := e.setArgs(&opt, args)
	if err == errHelp {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, opt.timeout)
	defer cancel()
	c, err := e.dial(ctx, link{account: o.account, verbose: opt.verbose})
	if err != nil {
		return err
	}
	defer c.close()
	ctx = c.alive
	full, err := c.find(ctx, o.account, o.jid)
	if err != nil {
		return err
	}
	if err := c.resolveKinds(ctx, full, &o); err != nil {
		return err
	}
	done, err := c.things.Set(ctx, full, o.nodes, o.params)
	return e.reportSet(c, full, &o, done, err)
}

// kinds are the typed parameters (XEP-0325 §3.2).
var kinds = []string{"boolean", "int", "long", "double", "string", "date", "time", "dateTime", "duration", "color"}

// parseAssignment reads PARAMETER[:TYPE]=VALUE. Without a type Kind stays
// empty.
func parseAssignment(s string) (thing.Parameter, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return thing.Parameter{}, usagef("%q is not PARAMETER=VALUE", s)
	}
	p := thing.Parameter{Name: name, Value: value}
	if i := strings.LastIndexByte(name, ':'); i > 0 && slices.Contains(kinds, name[i+1:]) {
		p.Name, p.Kind = name[:i], name[i+1:]
		return p, checkValue(&p)
	}
	return p, nil
}

// resolveKinds finds the types of the parameters whose type was not given: a
// thing shows each parameter as a field of the same name (0323-R55). What it
// does not show is guessed from the value.
func (c *conn) resolveKinds(ctx context.Context, full jid.JID, o *order) error {
	var names []string
	for _, p := range o.params {
		if p.Kind == "" {
			names = append(names, p.Name)
		}
	}
	if names == nil {
		return nil
	}
	known := c.fieldKinds(ctx, full, o.nodes, names)
	for i := range o.params {
		p := &o.params[i]
		if p.Kind != "" {
			continue
		}
		if p.Kind = known[p.Name]; p.Kind == "" {
			p.Kind = guessKind(p.Value)
		}
		if err := checkValue(p); err != nil {
			return err
		}
	}
	return nil
}

// fieldKinds reads the fields with the given names and returns the types of
// the parameters behind them. A thing that refuses leaves the types unknown.
func (c *conn) fieldKinds(ctx context.Context, full jid.JID, nodes []node.Ref, names []string) map[string]string {
	// Half of the time is left for the order itself.
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, time.Now().Add(time.Until(end)/2))
		defer cancel()
	}
	known := map[string]string{}
	res, err := c.things.Read(ctx, full, thing.Request{Nodes: nodes, Fields: names, Types: node.Momentary | node.Status})
	if err != nil {
		return known
	}
	for _, f := range res.Fields {
		if known[f.Name] == "" && (f.Writable == nil || *f.Writable) {
			known[f.Name] = parameterKind(f.Kind)
		}
	}
	return known
}

// parameterKind is the type of the parameter behind a field (XEP-0325 §4).
func parameterKind(field string) string {
	switch field {
	case "numeric":
		return "double"
	case "enum":
		return "string"
	}
	return field
}

func guessKind(value string) string {
	switch value {
	case "true", "false", "on", "off":
		return "boolean"
	}
	if _, err := strconv.ParseInt(value, 10, 32); err == nil {
		return "int"
	}
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return "long"
	}
	if _, ok := new(big.Rat).SetString(value); ok && !strings.Contains(value, "/") {
		return "double"
	}
	return "string"
}

// checkValue brings the value into the form of its type, or says what is wrong
// before anything is sent.
func checkValue(p *thing.Parameter) error {
	var err error
	switch p.Kind {
	case "boolean":
		switch strings.ToLower(p.Value) {
		case "on", "true", "1", "yes":
			p.Value = "true"
		case "off", "false", "0", "no":
			p.Value = "false"
		default:
			return usagef("%s is a switch: on or off, not %q", p.Name, p.Value)
		}
	case "int":
		_, err = strconv.ParseInt(p.Value, 10, 32)
	case "long":
		_, err = strconv.ParseInt(p.Value, 10, 64)
	case "double":
		if _, ok := new(big.Rat).SetString(p.Value); !ok || strings.ContainsAny(p.Value, "/_xX") {
			return usagef("%s is a number, not %q", p.Name, p.Value)
		}
	}
	if errors.Is(err, strconv.ErrRange) {
		return usagef("%s: %s is beyond what %s can hold", p.Name, p.Value, p.Kind)
	}
	if err != nil {
		return usagef("%s is a whole number, not %q", p.Name, p.Value)
	}
	return nil
}

type jsonApplied struct {
	jsonNode
	Parameter string `json:"parameter"`
	Kind      string `json:"kind"`
	Value     string `json:"value"`
	Applied   bool   `json:"applied"`
}

type jsonFault struct {
	Parameter string `json:"parameter"`
	Text      string `json:"text"`
}

type jsonSet struct {
	Version   int           `json:"version"`
	Thing     string        `json:"thing"`
	Results   []jsonApplied `json:"results"`
	Condition string        `json:"condition,omitempty"`
	Text      string        `json:"text,omitempty"`
	Faults    []jsonFault   `json:"faults,omitempty"`
}

// reportSet prints what was applied.
func (e *Env) reportSet(c *conn, full jid.JID, o *order, done thing.Applied, err error) error {
	var refused *thing.Refused
	if err != nil && !errors.As(err, &refused) {
		return c.refusal(o.account, o.jid, err)
	}
	out := jsonSet{Version: formatVersion, Thing: full.String(), Results: o.results(done, err == nil)}
	if refused != nil {
		out.Condition, out.Text = string(refused.Err.Condition), refused.Err.Text
		for _, f := range refused.Parameters {
			out.Faults = append(out.Faults, jsonFault{f.Name, f.Text})
		}
	}
	if o.json {
		if werr := writeJSON(e.Stdout, out); werr != nil {
			return werr
		}
	} else if err == nil {
		if werr := e.writeApplied(out.Results); werr != nil {
			return werr
		}
	}
	if refused != nil {
		return c.setRefusal(o, refused)
	}
	for _, r := range out.Results {
		if !r.Applied {
			return &failure{code: ExitDenied, msg: "the thing applied only a part of it",
				hint: "the rest is not allowed to this account"}
		}
	}
	return nil
}

// setRefusal says what is wrong with which parameter. A thing checks all
// values before it sets the first (0325-R11).
func (c *conn) setRefusal(o *order, refused *thing.Refused) error {
	err := c.refusal(o.account, o.jid, refused.Err)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	text := f.err.Error()
	for _, p := range refused.Parameters {
		if !strings.Contains(text, p.Text) {
			text += "; " + p.Name + ": " + p.Text
		}
	}
	if refused.Err.Condition != xmpp.InternalServerError { // 0325-D12: a late failure may have set some
		text += "; nothing was set"
	}
	f.err = errors.New(text)
	return f
}

// results lists each parameter on each node with whether it was applied.
func (o *order) results(done thing.Applied, ok bool) []jsonApplied {
	nodes := o.nodes
	if len(nodes) == 0 {
		nodes = []node.Ref{{}}
	}
	all := []jsonApplied{}
	for _, p := range o.params {
		for _, n := range nodes {
			applied := ok && (len(done.Parameters) == 0 || slices.Contains(done.Parameters, p.Name)) &&
				(len(done.Nodes) == 0 || slices.ContainsFunc(done.Nodes, n.Matches))
			all = append(all, jsonApplied{nodeJSON(n), p.Name, p.Kind, p.Value, applied})
		}
	}
	return all
}

func (e *Env) writeApplied(all []jsonApplied) error {
	t := &table{color: e.color()}
	for _, r := range all {
		word := cell{"applied", plain}
		if !r.Applied {
			word = cell{"not applied", red}
		}
		node := r.Node
		if node == "" {
			node = "(the thing)"
		}
		t.add(cell{clean(node), plain}, cell{clean(r.Parameter) + " = " + clean(r.Value), plain}, word)
	}
	_, err := t.WriteTo(e.Stdout)
	return err
}
