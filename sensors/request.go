package sensors

import (
	"fmt"
	"math"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// Request asks for a read-out (XEP-0323 §3.1). Empty Nodes and Fields stand
// for everything.
type Request struct {
	Seq    int32 // chosen by the reader; 0 lets the Client choose
	Types  node.Types
	Nodes  []node.Ref
	Fields []string

	// From and To bound historical values, both inclusive (0323-D9, D10);
	// zero for no bound.
	From, To time.Time
	// When asks for the read-out to happen then; zero for now.
	When time.Time

	ServiceToken, DeviceToken, UserToken string
}

// requestParser reads a req element and keeps the first fault.
type requestParser struct {
	r     Request
	loc   *time.Location
	names int // how many nodes and fields are still allowed
	err   error
}

// ParseRequest reads a req element. Times without a zone are taken in loc
// (0323-D12); more than names nodes and fields are refused. The error is a
// *xmpp.Error; the sequence number is filled in even then where there is one.
func ParseRequest(c exi.Cursor, loc *time.Location, names int) (Request, error) {
	p := requestParser{loc: loc, names: names}
	var haveSeq bool
	if p.r.Seq, haveSeq = seqOf(c); !haveSeq {
		p.fail("seqnr is missing or not a 32-bit whole number")
	}
	for name, v := range c.Attrs() {
		p.attr(name, v)
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameNode:
			p.node(k)
		case nameField:
			p.field(k)
		}
	}
	if p.err == nil && !p.r.From.IsZero() && !p.r.To.IsZero() && p.r.From.After(p.r.To) {
		p.fail("from is later than to") // 0323-D26
	}
	return p.r, p.err
}

func (p *requestParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = xmpp.NewError(xmpp.BadRequest, fmt.Sprintf(format, args...))
	}
}

func (p *requestParser) attr(name exi.Name, v exi.Value) {
	switch name {
	case attrFrom:
		p.r.From = p.time("from", v)
	case attrTo:
		p.r.To = p.time("to", v)
	case attrWhen:
		p.r.When = p.time("when", v)
	case attrServiceToken:
		p.r.ServiceToken = v.String()
	case attrDeviceToken:
		p.r.DeviceToken = v.String()
	case attrUserToken:
		p.r.UserToken = v.String()
	default:
		t, ok := typeByAttr[name]
		if !ok {
			return
		}
		set, ok := v.Bool()
		if !ok {
			p.fail("%s is neither true nor false", name.Value().Local)
		}
		if set {
			p.r.Types |= t
		}
	}
}

func (p *requestParser) time(what string, v exi.Value) time.Time {
	t, _, ok := v.Time(p.loc)
	if !ok {
		p.fail("%s is not a dateTime", what)
	}
	return t
}

func (p *requestParser) count() bool {
	p.names--
	if p.names < 0 {
		p.fail("more nodes and fields are named than this gateway takes in one request")
		return false
	}
	return true
}

func (p *requestParser) node(c exi.Cursor) {
	r, ok := refOf(c)
	if !ok {
		p.fail("a node has no nodeId")
		return
	}
	if p.count() {
		p.r.Nodes = append(p.r.Nodes, r)
	}
}

func (p *requestParser) field(c exi.Cursor) {
	name, ok := c.Attr(attrName)
	if !ok {
		p.fail("a field has no name")
		return
	}
	if p.count() {
		p.r.Fields = append(p.r.Fields, name.String())
	}
}

// refOf reads the attributes of a node reference; ok is false without nodeId.
func refOf(c exi.Cursor) (r node.Ref, ok bool) {
	for name, v := range c.Attrs() {
		switch name {
		case attrNodeID:
			r.ID, ok = v.String(), true
		case attrSourceID:
			r.Source = v.String()
		case attrCacheType:
			r.Cache = v.String()
		}
	}
	return r, ok
}

// seqOf reads the seqnr attribute (xs:int, 0323-D18).
func seqOf(c exi.Cursor) (int32, bool) {
	v, ok := c.Attr(attrSeqnr)
	if !ok {
		return 0, false
	}
	i, ok := v.Int()
	if !ok || i < math.MinInt32 || i > math.MaxInt32 {
		return 0, false
	}
	return int32(i), true
}

// AppendEvents writes the req element. All types together are written as all,
// all historical ones as historical (0323-R58).
func (r *Request) AppendEvents(d *exi.Doc) {
	d.Start(nameReq)
	d.Attr(attrSeqnr, exi.IntValue(int64(r.Seq)))
	types := r.Types
	if types&node.All == node.All {
		d.Attr(at("all"), exi.BoolValue(true))
		types = 0
	}
	if types&node.Historical == node.Historical {
		d.Attr(at("historical"), exi.BoolValue(true))
		types &^= node.Historical
	}
	appendTypes(d, types)
	for _, t := range [...]struct {
		name exi.Name
		t    time.Time
	}{{attrFrom, r.From}, {attrTo, r.To}, {attrWhen, r.When}} {
		if !t.t.IsZero() {
			d.Attr(t.name, exi.TimeValue(t.t, -1))
		}
	}
	appendText(d, attrServiceToken, r.ServiceToken)
	appendText(d, attrDeviceToken, r.DeviceToken)
	appendText(d, attrUserToken, r.UserToken)
	for _, ref := range r.Nodes {
		d.Start(nameNode)
		appendRef(d, ref)
		d.End()
	}
	for _, f := range r.Fields {
		d.Start(nameField)
		d.Attr(attrName, exi.Str(f))
		d.End()
	}
	d.End()
}

func appendRef(d *exi.Doc, r node.Ref) {
	d.Attr(attrNodeID, exi.Str(r.ID))
	appendText(d, attrSourceID, r.Source)
	appendText(d, attrCacheType, r.Cache)
}

func appendText(d *exi.Doc, name exi.Name, s string) {
	if s != "" {
		d.Attr(name, exi.Str(s))
	}
}

func appendTypes(d *exi.Doc, t node.Types) {
	for i := range attrTypes {
		if t&(1<<i) != 0 {
			d.Attr(attrTypes[i], exi.BoolValue(true))
		}
	}
}

// mark is one of the elements that carry nothing but a sequence number.
type mark struct {
	name   exi.Name
	seq    int32
	queued bool
}

// AppendEvents writes the element.
func (m mark) AppendEvents(d *exi.Doc) {
	d.Start(m.name)
	d.Attr(attrSeqnr, exi.IntValue(int64(m.seq)))
	if m.queued {
		d.Attr(attrQueued, exi.BoolValue(true))
	}
	d.End()
}

// rejected is the element of version 0.2 that old peers look for beside the
// stanza error.
type rejected struct {
	seq  int32
	text string
}

// AppendEvents writes the element.
func (r rejected) AppendEvents(d *exi.Doc) {
	d.Start(nameRejected)
	d.Attr(attrSeqnr, exi.IntValue(int64(r.seq)))
	d.Element(nameError, exi.Str(r.text))
	d.End()
}
