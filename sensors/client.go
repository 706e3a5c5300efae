package sensors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// Querier sends an iq and waits for its answer; *xmpp.Session is one.
type Querier interface {
	Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error
}

// ClientConfig says how a Client reads. Zero fields have the documented
// meaning.
type ClientConfig struct {
	Querier  Querier        // required
	Location *time.Location // zone for times that name none (0323-R35); nil for time.Local
	// Answer, First and Next bound the wait for the iq's answer [30 s], for
	// the first data after it [60 s] and between messages [60 s] (0323-D16).
	Answer, First, Next time.Duration
	// Unclaimed takes a message with sensor data that belongs to no read-out,
	// such as an event; it must not block. Nil: it is dropped.
	Unclaimed func(st *xmpp.Stanza)
	// MaxItems bounds what one read-out may hold in memory [100000].
	MaxItems int
}

// Client reads things over XMPP. It is safe for concurrent use.
type Client struct {
	cfg ClientConfig

	mu   sync.Mutex
	seq  int32
	open map[int32]*pending
}

// Errors of a Client.
var (
	// ErrSilent: the thing accepted and then sent nothing, or stopped sending
	// before the end.
	ErrSilent = errors.New("the thing stopped answering")
	// ErrTooMuch: the thing sent more than the client is willing to hold.
	ErrTooMuch = errors.New("the thing sent more than the client takes")
)

// Part is what one message of a read-out brought, after filtering.
type Part struct {
	Items  []Item
	Faults []Fault
	// Started is set on the message that opens a queued read-out.
	Started bool
}

// Result is a whole read-out.
type Result struct {
	Items  []Item
	Faults []Fault
	Queued bool // the thing postponed it
}

// NewClient returns a Client.
func NewClient(cfg ClientConfig) *Client {
	or := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	or(&cfg.Answer, 30*time.Second)
	or(&cfg.First, time.Minute)
	or(&cfg.Next, time.Minute)
	if cfg.Location == nil {
		cfg.Location = time.Local
	}
	if cfg.MaxItems <= 0 {
		cfg.MaxItems = 100_000
	}
	// A random start keeps late messages of an earlier program apart.
	return &Client{cfg: cfg, seq: rand.Int32N(math.MaxInt32), open: make(map[int32]*pending)}
}

// Register adds the handlers for the messages of read-outs to m.
func (c *Client) Register(m *xmpp.Mux) {
	for _, name := range [...]exi.Name{nameStarted, nameFields, nameFailure, nameDone} {
		for _, typ := range [...]string{"", "normal", "chat", "headline"} { // not error, not groupchat (0323-D30)
			m.HandleFunc(xmpp.Message, typ, name, c.handle)
		}
	}
}

// pending is a read-out the client waits for.
type pending struct {
	seq   int32
	to    jid.JID
	req   *Request
	parts chan Part // bounded; the handler drops into it
	mu    sync.Mutex
	full  bool
	over  bool // the end marker came
}

// partsQueue bounds the messages that wait for the reader. Handlers must not
// block, so a reader that cannot keep up ends with ErrTooMuch.
const partsQueue = 1024

// Read reads a thing and returns everything at its end. Its full JID is
// needed where it is an account: the server would answer for the bare one. A
// refusal is a *xmpp.Error.
func (c *Client) Read(ctx context.Context, to jid.JID, req Request) (Result, error) {
	var r Result
	queued, err := c.Stream(ctx, to, req, func(p Part) error {
		if len(r.Items)+len(p.Items) > c.cfg.MaxItems {
			return ErrTooMuch
		}
		r.Items = append(r.Items, p.Items...)
		r.Faults = append(r.Faults, p.Faults...)
		return nil
	})
	r.Queued = queued
	return r, err
}

// Stream reads a thing and hands each message's content to got as it comes
// (0323-R16). An error of got ends the read-out and is returned. What the
// thing sent beyond the request is left out, descendants of the requested
// nodes excepted (0323-R17, R45).
func (c *Client) Stream(ctx context.Context, to jid.JID, req Request, got func(Part) error) (queued bool, err error) {
	if req.Types == 0 {
		return false, errors.New("sensors: the request names no field types")
	}
	p := c.enter(to, &req)
	defer c.leave(p)
	actx, cancel := context.WithTimeout(ctx, c.cfg.Answer)
	err = c.cfg.Querier.Query(actx, xmpp.Stanza{Kind: xmpp.IQ, Type: xmpp.Get, To: to, Payload: &req},
		func(st *xmpp.Stanza) error {
			queued = c.answer(p, st.Child())
			return nil
		})
	cancel()
	if err != nil {
		return false, err
	}
	return queued, c.gather(ctx, p, got, queued)
}

// answer takes the iq result. Some send the data in it (0323-D2).
func (c *Client) answer(p *pending, k exi.Cursor) (queued bool) {
	switch k.Name() {
	case nameAccepted:
		v, _ := k.Attr(attrQueued)
		queued, _ = v.Bool()
	case nameFields, nameFailure, nameDone:
		c.take(p, k)
	}
	return queued
}

// gather waits for the messages up to the end marker.
func (c *Client) gather(ctx context.Context, p *pending, got func(Part) error, queued bool) error {
	wait := c.cfg.First
	if queued && !p.req.When.IsZero() {
		wait += max(0, time.Until(p.req.When))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case part, more := <-p.parts:
			if !more {
				p.mu.Lock()
				full := p.full
				p.mu.Unlock()
				if full {
					return ErrTooMuch
				}
				return nil
			}
			if err := got(part); err != nil {
				c.cancel(p)
				return err
			}
			if part.Started {
				timer.Reset(c.cfg.First)
			} else {
				timer.Reset(c.cfg.Next)
			}
		case <-timer.C:
			c.cancel(p)
			return fmt.Errorf("reading %s: %w", p.to, ErrSilent)
		case <-ctx.Done():
			c.cancel(p)
			return fmt.Errorf("reading %s: %w", p.to, ctx.Err())
		}
	}
}

// cancel tells the thing that nobody waits any more, without insisting.
func (c *Client) cancel(p *pending) {
	c.leave(p)
	ctx, stop := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer stop()
	_ = c.cfg.Querier.Query(ctx, xmpp.Stanza{
		Kind: xmpp.IQ, Type: xmpp.Get, To: p.to, Payload: mark{name: nameCancel, seq: p.seq},
	}, nil)
}

// enter chooses a sequence number that is not in use (0323-R04, D18).
func (c *Client) enter(to jid.JID, req *Request) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.seq == math.MaxInt32 {
			c.seq = 0
		}
		c.seq++
		if c.open[c.seq] == nil {
			break
		}
	}
	req.Seq = c.seq
	p := &pending{seq: c.seq, to: to, req: req, parts: make(chan Part, partsQueue)}
	c.open[p.seq] = p
	return p
}

func (c *Client) leave(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, p.seq)
}

// handle takes a message of a read-out. What belongs to none is ignored.
func (c *Client) handle(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	claimed := false
	for k := range st.Elem.Children() {
		switch k.Name() {
		case nameStarted, nameFields, nameFailure, nameDone:
			if p := c.find(k, st.From); p != nil {
				claimed = true
				c.take(p, k)
			}
		}
	}
	if !claimed && c.cfg.Unclaimed != nil {
		c.cfg.Unclaimed(st)
	}
	return nil, nil
}

// find returns the read-out that an element from a sender belongs to. Old
// peers leave the number out; then it is that of the only one.
func (c *Client) find(k exi.Cursor, from jid.JID) *pending {
	seq, ok := seqOf(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		if p := c.open[seq]; p != nil && p.sentBy(from) {
			return p
		}
		return nil
	}
	var one *pending
	for _, p := range c.open {
		if p.sentBy(from) {
			if one != nil {
				return nil
			}
			one = p
		}
	}
	return one
}

// sentBy reports whether from is who was asked: exactly, or a resource of it.
func (p *pending) sentBy(from jid.JID) bool {
	return from.Equal(p.to) || p.to.Resourcepart() == "" && from.Bare().Equal(p.to)
}

// take hands an element to the reader.
func (c *Client) take(p *pending, k exi.Cursor) {
	part := Part{Started: k.Name() == nameStarted}
	end := k.Name() == nameDone
	switch k.Name() {
	case nameFields:
		part.Items = p.req.filter(ParseFields(nil, k, c.cfg.Location))
		end = doneOf(k)
	case nameFailure:
		part.Faults = ParseFailure(nil, k, c.cfg.Location)
		end = doneOf(k)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	if part.Started || len(part.Items)+len(part.Faults) > 0 {
		select {
		case p.parts <- part:
		default:
			p.full, end = true, true
		}
	}
	if end {
		p.over = true
		close(p.parts)
	}
}

// filter keeps the items that the request asked for.
func (r *Request) filter(items []Item) []Item {
	kept := items[:0]
	for _, it := range items {
		if len(r.Fields) > 0 && !slices.Contains(r.Fields, it.Name) || !r.wants(&it) {
			continue
		}
		kept = append(kept, it)
	}
	return kept
}

// wants compares types and, for historical values, the range. Old things give
// no type at all.
func (r *Request) wants(it *Item) bool {
	t := it.Types.Widen() // 0323-R50
	if t != 0 && t&r.Types == 0 {
		return false
	}
	if it.Types == 0 || it.Types&^node.Historical != 0 {
		return true
	}
	return (r.From.IsZero() || !it.Time.Before(r.From)) && (r.To.IsZero() || !it.Time.After(r.To))
}
