package thing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// Request says what to read. The zero Request is every field of every node; a
// read without Types is refused by things, so set them.
type Request struct {
	Nodes  []node.Ref
	Fields []string
	Types  node.Types
	// From and To bound values of the past, both inclusive (0323-D9, D10); zero
	// for no bound.
	From, To time.Time
	// Progress is told of each message that comes: how many values there are
	// by now, and the time of the newest as sent. It must return promptly. nil:
	// nobody is told.
	Progress func(values int, at string)
}

// Field is one value that a thing sent.
type Field struct {
	Node     node.Ref
	Time     string // xs:dateTime as sent
	Name     string
	Kind     string // element: numeric, boolean, string, …
	Value    string // text as sent, digits and all
	Unit     string // of numeric only
	DataType string // of enum only
	Types    node.Types
	Quality  live.Quality
	Writable *bool // nil: the thing did not say (0323-R38)
}

// Failure is what a thing said about a node that it could not read.
type Failure struct {
	Node node.Ref
	Time string
	Text string
}

// ErrSilent: the thing accepted the read-out, and the time ran out before its
// end.
var ErrSilent = errors.New("the thing did not finish the read-out in time")

// maxFields bounds what one read-out may hold in memory.
const maxFields = 200_000

// errTooMuch ends a read-out that grows without end.
var errTooMuch = fmt.Errorf("the thing sent more than %d fields", maxFields)

// Result is a finished read-out. On an error it holds what came before.
type Result struct {
	Fields   []Field
	Failures []Failure
	Took     time.Duration // from the request to the end marker
}

type readKey struct {
	from string
	seq  int32
}

// read is a read-out in progress, guarded by Client.mu.
type read struct {
	res  Result
	tell func(int, string)
	err  error
	done bool
	end  chan struct{}
}

func (r *read) finish(err error) {
	if !r.done {
		r.done, r.err = true, err
		close(r.end)
	}
}

// Read reads fields of the thing at to, a full JID, and waits for the end of
// the read-out or of ctx. A refusal is a *xmpp.Error.
//
// Data may arrive before the acceptance (0323-R10), inside it (0323-D2), and
// from to only.
func (c *Client) Read(ctx context.Context, to jid.JID, req Request) (Result, error) {
	start := time.Now()
	r := &read{end: make(chan struct{}), tell: req.Progress}
	k := c.begin(to, r)
	defer c.forget(k)
	st := xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: to, Payload: req.payload(k.seq)}
	err := c.s.Query(ctx, st, func(st *xmpp.Stanza) error {
		c.accept(r, k.seq, st.Child())
		return nil
	})
	if err == nil {
		select {
		case <-r.end:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ErrSilent, context.Cause(ctx))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = r.err
	}
	r.finish(err) // later messages are not for this read-out
	res := r.res
	res.Fields = req.filter(res.Fields)
	res.Took = time.Since(start)
	return res, err
}

// begin chooses a seqnr that no other read-out of the client has (0323-R04).
func (c *Client) begin(to jid.JID, r *read) readKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.seq++
		if c.seq <= 0 {
			c.seq = 1
		}
		k := readKey{key(to), c.seq}
		if _, used := c.reads[k]; !used {
			c.reads[k] = r
			return k
		}
	}
}

func (c *Client) forget(k readKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reads, k)
}

func (req Request) payload(seq int32) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(exi.N(NSData, "req"))
		d.Attr(exi.N("", "seqnr"), exi.IntValue(int64(seq)))
		if req.Types == node.All {
			d.Attr(exi.N("", "all"), exi.BoolValue(true))
		} else {
			for i := range node.NumTypes {
				if req.Types&(1<<i) != 0 {
					d.Attr(exi.N("", node.TypeName(i)), exi.BoolValue(true))
				}
			}
		}
		if !req.From.IsZero() {
			d.Attr(exi.N("", "from"), exi.TimeValue(req.From, -1))
		}
		if !req.To.IsZero() {
			d.Attr(exi.N("", "to"), exi.TimeValue(req.To, -1))
		}
		appendNodes(d, NSData, req.Nodes)
		for _, f := range req.Fields {
			d.Start(exi.N(NSData, "field"))
			d.Attr(exi.N("", "name"), exi.Str(f))
			d.End()
		}
		d.End()
	})
}

func appendNodes(d *exi.Doc, ns string, nodes []node.Ref) {
	for _, n := range nodes {
		d.Start(exi.N(ns, "node"))
		d.Attr(exi.N("", "nodeId"), exi.Str(n.ID))
		if n.Source != "" {
			d.Attr(exi.N("", "sourceId"), exi.Str(n.Source))
		}
		if n.Cache != "" {
			d.Attr(exi.N("", "cacheType"), exi.Str(n.Cache))
		}
		d.End()
	}
}

// filter drops fields nobody asked for: a thing may report more than it was
// asked (0323-R17). Nodes are kept, since a node stands for those below it
// (0323-R45).
func (req Request) filter(fields []Field) []Field {
	kept := fields[:0]
	for _, f := range fields {
		if req.wants(f) {
			kept = append(kept, f)
		}
	}
	return kept
}

func (req Request) wants(f Field) bool {
	// A coarser value also counts as the finer ones (0323-R50).
	if f.Types != 0 && f.Types.Widen()&req.Types == 0 || !req.within(f) {
		return false
	}
	if len(req.Fields) == 0 {
		return true
	}
	for _, name := range req.Fields {
		if name == f.Name {
			return true
		}
	}
	return false
}

// within reports whether a value of the past lies in the range; others, and
// those whose time cannot be read, do.
func (req Request) within(f Field) bool {
	if f.Types == 0 || f.Types&^node.Historical != 0 || req.From.IsZero() && req.To.IsZero() {
		return true
	}
	t, err := time.Parse(time.RFC3339Nano, f.Time)
	return err != nil || !t.Before(req.From) && (req.To.IsZero() || !t.After(req.To))
}

// accept reads what the result of the request carries.
func (c *Client) accept(r *read, seq int32, el exi.Cursor) {
	space, name := local(el)
	if space != NSData || name == "accepted" {
		return
	}
	c.take(r, el, name)
}

// readMessage takes one message of a read-out.
func (c *Client) readMessage(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	for el := range st.Elem.Children() {
		space, name := local(el)
		if space != NSData {
			continue
		}
		seq, err := strconv.ParseInt(attr(el, "seqnr"), 10, 32)
		if err != nil {
			continue
		}
		c.mu.Lock()
		r := c.reads[readKey{key(st.From), int32(seq)}]
		c.mu.Unlock()
		if r != nil {
			c.take(r, el, name)
		}
	}
	return nil, nil
}

// take adds what one element brings to a read-out that has not ended.
func (c *Client) take(r *read, el exi.Cursor, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.done {
		return
	}
	switch name {
	case "fields":
		r.res.Fields = appendFields(r.res.Fields, el)
		if n := len(r.res.Fields); r.tell != nil && n > 0 {
			r.tell(n, r.res.Fields[n-1].Time)
		}
	case "failure":
		r.res.Failures = appendFailures(r.res.Failures, el)
	case "done":
		r.finish(nil)
		return
	}
	switch {
	case len(r.res.Fields)+len(r.res.Failures) > maxFields:
		r.finish(errTooMuch)
	case flag(el, "done"):
		r.finish(nil)
	}
}

func ref(c exi.Cursor) node.Ref {
	return node.Ref{ID: attr(c, "nodeId"), Source: attr(c, "sourceId"), Cache: attr(c, "cacheType")}
}

func appendFields(fields []Field, el exi.Cursor) []Field {
	for n := range el.Children() {
		if _, name := local(n); name != "node" {
			continue
		}
		for ts := range n.Children() {
			if _, name := local(ts); name != "timestamp" {
				continue
			}
			for f := range ts.Children() {
				fields = append(fields, parseField(f, ref(n), attr(ts, "value")))
			}
		}
	}
	return fields
}

// parseField reads a field element, whatever its kind.
func parseField(el exi.Cursor, n node.Ref, when string) Field {
	f := Field{Node: n, Time: when}
	_, f.Kind = local(el)
	for name, v := range el.Attrs() {
		q := name.Value()
		if q.Space != "" {
			continue
		}
		switch q.Local {
		case "name":
			f.Name = v.String()
		case "value":
			f.Value = v.String()
		case "unit":
			f.Unit = v.String()
		case "dataType":
			f.DataType = v.String()
		case "writable":
			if b, ok := v.Bool(); ok {
				f.Writable = &b
			}
		case "module", "stringIds":
		default:
			f.addFlag(q.Local, v)
		}
	}
	return f
}

func (f *Field) addFlag(name string, v exi.Value) {
	if b, _ := v.Bool(); !b {
		return
	}
	if name == "identification" { // old peers, 0323-D3
		name = "identity"
	}
	if t, ok := node.ParseType(name); ok {
		f.Types |= t
	} else if q, ok := live.ParseFlag(name); ok {
		f.Quality |= q
	}
}

func appendFailures(all []Failure, el exi.Cursor) []Failure {
	for e := range el.Children() {
		if _, name := local(e); name == "error" {
			all = append(all, Failure{Node: ref(e), Time: attr(e, "timestamp"), Text: e.Text().String()})
		}
	}
	return all
}
