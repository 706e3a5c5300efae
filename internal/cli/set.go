package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/drivers"
	"postern/internal/node"
	"postern/sensors"
	"postern/xmpp"
)

const setHelp = `Usage: postern set JID NODE PARAMETER=VALUE ... [flags]
       postern set JID PARAMETER=VALUE ...          (the thing itself)

Sets parameters, in this order, and says what was applied. All values are
checked by the thing before the first is set.

  postern set gateway@site.example pump1 state=on
  postern set gateway@site.example boiler setpoint=21.5 mode=eco
  postern set gateway@site.example meter limit:long=9000000000

The type of a parameter is taken from the thing's control form, which needs no
right to read. PARAMETER:TYPE=VALUE says it: boolean, int, long, double,
string, date, time, dateTime, duration, color.

  --node N           a node; several times for several, in place of NODE
  --source S         the data source of the nodes, where it is needed
  --lang L           the language of what the thing answers, for example de;
                     else that of LC_ALL, LC_MESSAGES or LANG
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
	params []param
	form   *control.Form // that the types were taken from; nil for none
	lang   string        // of texts that come back
	json   bool
}

func (o *order) request() control.SetRequest {
	r := control.SetRequest{Nodes: o.nodes, Lang: o.lang}
	for i := range o.params {
		r.Assignments = append(r.Assignments, control.Assignment{Name: o.params[i].name, Value: o.params[i].value})
	}
	return r
}

func (e *Env) setArgs(opt *common, args []string) (order, error) {
	fs := newFlags("set", setHelp)
	var o order
	var nodes list
	var source string
	opt.add(fs)
	fs.Var(&nodes, "node", "")
	fs.StringVar(&source, "source", "", "")
	fs.StringVar(&o.lang, "lang", e.language(), "")
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
	if err := c.learnKinds(ctx, full, &o); err != nil {
		return err
	}
	done, err := c.control.Set(ctx, full, o.request())
	c.giveBack(ctx, full, &o)
	return e.reportSet(c, full, &o, done, err)
}

// param is a parameter with the text it is to get. While the kind is not known
// there is no value.
type param struct {
	name, text string
	value      drivers.Value
}

// kinds are the typed parameters (XEP-0325 §3.2).
var kinds = [...]drivers.Kind{
	drivers.KindBool, drivers.KindInt, drivers.KindLong, drivers.KindNumber, drivers.KindString,
	drivers.KindDate, drivers.KindClock, drivers.KindTime, drivers.KindDuration, drivers.KindColor,
}

// parseAssignment reads PARAMETER[:TYPE]=VALUE.
func parseAssignment(s string) (param, error) {
	name, text, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return param{}, usagef("%q is not PARAMETER=VALUE", s)
	}
	p := param{name: name, text: text}
	if i := strings.LastIndexByte(name, ':'); i > 0 {
		for _, k := range kinds {
			if k.String() == name[i+1:] {
				p.name = name[:i]
				return p, p.as(k)
			}
		}
	}
	return p, nil
}

// as reads the text as a value of a kind, or says what is wrong before
// anything is sent.
func (p *param) as(k drivers.Kind) (err error) {
	if k == drivers.KindBool {
		switch strings.ToLower(p.text) {
		case "on", "true", "1", "yes":
			p.value = drivers.Bool(true)
		case "off", "false", "0", "no":
			p.value = drivers.Bool(false)
		default:
			return usagef("%s is a switch: on or off, not %q", p.name, p.text)
		}
		return nil
	}
	if p.value, err = control.ParseValue(k, p.text); err != nil {
		return usagef("%s %v, not %q", p.name, err, p.text)
	}
	return nil
}

// learnKinds finds the types of the parameters whose type was not given. Who
// may set them may see the thing's control form, which has them, also without
// the right to read. What the form does not show is guessed from the value.
func (c *conn) learnKinds(ctx context.Context, full jid.JID, o *order) error {
	var names []string
	for i := range o.params {
		if o.params[i].value.Kind() == drivers.KindNone {
			names = append(names, o.params[i].name)
		}
	}
	if names == nil {
		return nil
	}
	known := c.kindsOf(ctx, full, o, names)
	for i := range o.params {
		p := &o.params[i]
		if p.value.Kind() != drivers.KindNone {
			continue
		}
		k, ok := known[p.name]
		if !ok {
			k = guessKind(p.text)
		}
		if err := p.as(k); err != nil {
			return err
		}
	}
	return nil
}

// kindsOf asks for the form, or, where a thing has none, reads the fields that
// stand for the parameters (0323-R55). What it refuses stays unknown.
func (c *conn) kindsOf(ctx context.Context, full jid.JID, o *order, names []string) map[string]drivers.Kind {
	// Half of the time is left for the order itself.
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, time.Now().Add(time.Until(end)/2))
		defer cancel()
	}
	known := map[string]drivers.Kind{}
	form, err := c.control.GetForm(ctx, full, o.nodes, o.lang, control.Tokens{})
	if err == nil {
		for i := range form.Fields {
			if f := &form.Fields[i]; !f.Hidden {
				known[f.Var] = f.Kind
			}
		}
		o.form = form
		return known
	}
	var refused *xmpp.Error
	if !errors.As(err, &refused) || refused.Condition != xmpp.FeatureNotImplemented && refused.Condition != xmpp.ServiceUnavailable {
		return known
	}
	res, err := c.read(ctx, full, sensors.Request{Nodes: o.nodes, Fields: names, Types: node.Momentary | node.Status}, nil)
	if err != nil {
		return known
	}
	for i := range res.Items {
		f := &res.Items[i]
		if _, ok := known[f.Name]; !ok && f.Writable != sensors.No {
			known[f.Name] = f.Value.Kind()
		}
	}
	return known
}

// giveBack tells the thing that its form is not needed any more. It forgets it
// by itself, too.
func (c *conn) giveBack(ctx context.Context, full jid.JID, o *order) {
	if o.form != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = c.control.Cancel(ctx, full, o.form)
	}
}

func guessKind(text string) drivers.Kind {
	switch text {
	case "true", "false", "on", "off":
		return drivers.KindBool
	}
	for _, k := range [...]drivers.Kind{drivers.KindInt, drivers.KindLong, drivers.KindNumber} {
		if _, err := control.ParseValue(k, text); err == nil {
			return k
		}
	}
	return drivers.KindString
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
func (e *Env) reportSet(c *conn, full jid.JID, o *order, done control.SetResult, err error) error {
	var refused *control.SetError
	if err != nil && !errors.As(err, &refused) {
		return c.refusal(o.account, o.jid, err)
	}
	out := jsonSet{Version: formatVersion, Thing: full.String(), Results: o.results(done, err == nil)}
	if refused != nil {
		out.Condition, out.Text = string(refused.Refusal.Condition), refused.Refusal.Text
		for _, f := range refused.Params {
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
func (c *conn) setRefusal(o *order, refused *control.SetError) error {
	err := c.refusal(o.account, o.jid, refused.Refusal)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	text := f.err.Error()
	for _, p := range refused.Params {
		if !strings.Contains(text, p.Text) {
			text += "; " + p.Name + ": " + p.Text
		}
	}
	if refused.Refusal.Condition != xmpp.InternalServerError { // 0325-D12: a late failure may have set some
		text += "; nothing was set"
	}
	f.err = errors.New(text)
	if refused.Refusal.Condition == xmpp.ItemNotFound {
		f.hint = "postern read shows the nodes there are, postern form what can be set on one"
	}
	return f
}

// results lists each parameter on each node with whether it was applied.
func (o *order) results(done control.SetResult, ok bool) []jsonApplied {
	nodes := o.nodes
	if len(nodes) == 0 {
		nodes = []node.Ref{{}}
	}
	all := []jsonApplied{}
	for _, p := range o.params {
		for _, n := range nodes {
			applied := ok && (len(done.Parameters) == 0 || slices.Contains(done.Parameters, p.name)) &&
				(len(done.Nodes) == 0 || slices.ContainsFunc(done.Nodes, n.Matches))
			all = append(all, jsonApplied{nodeJSON(n), p.name, p.value.Kind().String(), p.value.String(), applied})
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
