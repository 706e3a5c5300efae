package events

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/xmpp"
)

// NS is the namespace of the protocol and its feature in service discovery.
const NS = "urn:xmpp:iot:events"

// Features are the features that the service adds to service discovery.
func Features() []string { return []string{NS} }

var (
	nameSubscribe   = exi.N(NS, "subscribe")
	nameUnsubscribe = exi.N(NS, "unsubscribe")
	nameNode        = exi.N(NS, "node")
	nameField       = exi.N(NS, "field")
	nameAccepted    = exi.N(sensors.NS, "accepted")
	// nameKeep asks for a kept subscription.
	nameKeep = exi.N(outbox.NS, "keep")
)

func at(local string) exi.Name { return exi.N("", local) }

// Field is a field of a subscription with its condition. Changes are positive
// numbers in the field's unit; 0 stands for none.
type Field struct {
	Name     string
	Up, Down float64  `json:",omitempty"` // how much it has to change
	Current  *float64 `json:",omitempty"` // counted from here
}

func (f *Field) conditional() bool { return f.Up > 0 || f.Down > 0 }

// Request asks for a subscription.
type Request struct {
	Seq    int32
	Types  node.Types
	Nodes  []node.Ref
	Fields []Field
	// MaxAge bounds historical values in an event; Min and Max the time between
	// two events. 0 for none.
	MaxAge, Min, Max time.Duration
	Now              bool // send an event at once
	Keep             bool // what is missed comes later

	ServiceToken, DeviceToken, UserToken string
}

// parser reads a subscribe element and keeps the first fault.
type parser struct {
	r     Request
	names int
	err   error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = xmpp.NewError(xmpp.BadRequest, fmt.Sprintf(format, args...))
	}
}

// ParseRequest reads a subscribe element; more than names nodes and fields are
// refused. The error is a *xmpp.Error.
func ParseRequest(c exi.Cursor, names int) (Request, error) {
	p := parser{names: names}
	seq, ok := seqOf(c)
	if !ok {
		p.fail("seqnr is missing or not a 32-bit whole number")
	}
	p.r.Seq = seq
	for name, v := range c.Attrs() {
		if name.Value().Space == "" {
			p.attr(name.Value().Local, v)
		}
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameNode:
			p.node(k)
		case nameField:
			p.field(k)
		case nameKeep:
			p.r.Keep = true
		}
	}
	if p.r.Max > 0 && p.r.Max < p.r.Min {
		p.fail("maxInterval is shorter than minInterval")
	}
	return p.r, p.err
}

func seqOf(c exi.Cursor) (int32, bool) {
	v, ok := c.Attr(at("seqnr"))
	i, num := v.Int()
	return int32(i), ok && num && i >= math.MinInt32 && i <= math.MaxInt32
}

func (p *parser) attr(name string, v exi.Value) {
	switch name {
	case "seqnr":
	case "maxAge":
		p.r.MaxAge = p.duration(name, v)
	case "minInterval":
		p.r.Min = p.duration(name, v)
	case "maxInterval", "maxInternval": // the second is how an example has it
		p.r.Max = p.duration(name, v)
	case "serviceToken":
		p.r.ServiceToken = v.String()
	case "deviceToken":
		p.r.DeviceToken = v.String()
	case "userToken":
		p.r.UserToken = v.String()
	case "req":
		p.r.Now = p.flag(name, v)
	default:
		if t, ok := node.ParseType(name); ok && p.flag(name, v) {
			p.r.Types |= t
		}
	}
}

func (p *parser) flag(name string, v exi.Value) bool {
	b, ok := v.Bool()
	if !ok {
		p.fail("%s is neither true nor false", name)
	}
	return b
}

// longest bounds durations; longer ones would never be noticed.
const longest = 10 * 365 * 24 * time.Hour

func (p *parser) duration(name string, v exi.Value) time.Duration {
	d, ok := parseDuration(strings.TrimSpace(v.String()))
	if !ok || d < 0 || d > longest {
		p.fail("%s is no duration from 0 to ten years, such as PT5M", name)
		return 0
	}
	return d
}

func (p *parser) count() bool {
	if p.names--; p.names < 0 {
		p.fail("more nodes and fields are named than this gateway takes in one request")
	}
	return p.names >= 0
}

func (p *parser) node(c exi.Cursor) {
	get := func(name string) string {
		v, _ := c.Attr(at(name))
		return v.String()
	}
	r := node.Ref{ID: get("nodeId"), Source: get("sourceId"), Cache: get("cacheType")}
	if r.ID == "" {
		p.fail("a node has no nodeId")
		return
	}
	if p.count() {
		p.r.Nodes = append(p.r.Nodes, r)
	}
}

func (p *parser) field(c exi.Cursor) {
	name, ok := c.Attr(at("name"))
	if !ok {
		p.fail("a field has no name")
		return
	}
	f := Field{Name: name.String()}
	f.Up, f.Down = p.change(c, "changedUp"), p.change(c, "changedDown")
	for _, by := range [...]string{"changedBy", "changeBy"} { // the second is how an example has it
		if n := p.change(c, by); n > 0 {
			f.Up, f.Down = n, n
		}
	}
	if v, ok := c.Attr(at("currentValue")); ok {
		n, err := strconv.ParseFloat(strings.TrimSpace(v.String()), 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			p.fail("currentValue of %s is no number", f.Name)
		}
		f.Current = &n
	}
	if p.count() {
		p.r.Fields = append(p.r.Fields, f)
	}
}

func (p *parser) change(c exi.Cursor, name string) float64 {
	v, ok := c.Attr(at(name))
	if !ok {
		return 0
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(v.String()), 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		p.fail("%s is no positive number", name)
		return 0
	}
	return n
}

// AppendEvents writes the subscribe element.
func (r *Request) AppendEvents(d *exi.Doc) {
	d.Start(nameSubscribe)
	d.Attr(at("seqnr"), exi.IntValue(int64(r.Seq)))
	types := r.Types
	for _, set := range [...]struct {
		name string
		t    node.Types
	}{{"all", node.All}, {"historical", node.Historical}} {
		if types&set.t == set.t {
			d.Attr(at(set.name), exi.BoolValue(true))
			types &^= set.t
		}
	}
	for i := range node.NumTypes {
		if types&(1<<i) != 0 {
			d.Attr(at(node.TypeName(i)), exi.BoolValue(true))
		}
	}
	for _, a := range [...]struct {
		name string
		d    time.Duration
	}{{"maxAge", r.MaxAge}, {"minInterval", r.Min}, {"maxInterval", r.Max}} {
		if a.d > 0 {
			d.Attr(at(a.name), exi.Str(formatDuration(a.d)))
		}
	}
	for _, a := range [...]struct{ name, v string }{
		{"serviceToken", r.ServiceToken}, {"deviceToken", r.DeviceToken}, {"userToken", r.UserToken},
	} {
		if a.v != "" {
			d.Attr(at(a.name), exi.Str(a.v))
		}
	}
	if r.Now {
		d.Attr(at("req"), exi.BoolValue(true))
	}
	r.appendNames(d)
	if r.Keep {
		d.Element(nameKeep, exi.Value{})
	}
	d.End()
}

func (r *Request) appendNames(d *exi.Doc) {
	for _, n := range r.Nodes {
		d.Start(nameNode)
		for _, a := range [...]struct{ name, v string }{{"nodeId", n.ID}, {"sourceId", n.Source}, {"cacheType", n.Cache}} {
			if a.v != "" {
				d.Attr(at(a.name), exi.Str(a.v))
			}
		}
		d.End()
	}
	number := func(n float64) exi.Value { return exi.Str(strconv.FormatFloat(n, 'g', -1, 64)) }
	for i := range r.Fields {
		f := &r.Fields[i]
		d.Start(nameField)
		d.Attr(at("name"), exi.Str(f.Name))
		if f.Current != nil {
			d.Attr(at("currentValue"), number(*f.Current))
		}
		switch {
		case f.Up > 0 && f.Up == f.Down:
			d.Attr(at("changedBy"), number(f.Up))
		default:
			if f.Up > 0 {
				d.Attr(at("changedUp"), number(f.Up))
			}
			if f.Down > 0 {
				d.Attr(at("changedDown"), number(f.Down))
			}
		}
		d.End()
	}
}
