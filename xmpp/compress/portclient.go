package compress

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postern/exi"
)

// portKey is under what the configuration of a dedicated port is remembered.
func (c *Client) portKey() string { return "port " + c.Server }

// shortcut returns the configuration to start a connection in, nil for the
// default.
func (c *Client) shortcut() *Configuration {
	if c.Known == nil {
		return nil
	}
	conf, ok := c.Known.Configuration(c.portKey())
	if !ok || conf.ID == "" || !conf.Params.Profile || keepsWindow(conf.Params) {
		return nil
	}
	return &conf
}

func (c *Client) forgetPort() {
	if c.Known != nil {
		c.Known.Forget(c.portKey())
	}
}

// library returns the schemas, ours if there are none yet.
func (c *Client) library() (*Library, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Library == nil {
		var err error
		if c.Library, err = NewLibrary(); err != nil {
			return nil, err
		}
	}
	return c.Library, nil
}

// portCodec returns the codec of a new connection to a dedicated port.
func (c *Client) portCodec(conf *Configuration) (*PortCodec, error) {
	lib, err := c.library()
	if err != nil {
		return nil, err
	}
	params, refs, name := PortParams(), []Ref(nil), ""
	if conf != nil {
		params, refs, name = conf.Params, conf.Schemas, shortcutPrefix+conf.ID
	}
	set, err := lib.portSet(refs, "")
	if err != nil {
		return nil, err
	}
	p, err := set.port(params, c.limits())
	if err != nil {
		return nil, err
	}
	p.shortcut = name
	c.using(p, Configuration{Params: params, Schemas: refs})
	return p, nil
}

func (c *Client) using(p *PortCodec, conf Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codec, c.conf, c.reason, c.port = p.Codec, conf, "", true
}

func (c *Client) limits() exi.Limits {
	if c.Limits == (exi.Limits{}) {
		return DefaultLimits()
	}
	return c.Limits
}

// portWant is what the client wants on a dedicated port where base is in
// force. Absent limits cannot be asked for there.
func (c *Client) portWant(base Params) Params {
	w := c.Want
	w.Version, w.Profile = 1, true
	keep := func(want *int, have int) {
		if *want == 0 {
			*want = have
		}
	}
	keep(&w.ValueMaxLength, base.ValueMaxLength)
	keep(&w.ValuePartitionCapacity, base.ValuePartitionCapacity)
	keep(&w.BlockSize, base.BlockSize)
	return w.bounded()
}

// extra lists the schemas of the library beyond the default ones.
func (c *Client) extra() []Ref {
	return slices.DeleteFunc(c.Library.preinstalled(), func(r Ref) bool { return len(portRefs()[r.NS]) > 0 })
}

// negotiatePort asks for what differs from what is in force (decision D6),
// behind TLS and login (0322-R77).
func (c *Client) negotiatePort(ctx context.Context, conn *portConn) (bool, error) {
	base := conn.codec.params
	want := c.portWant(base)
	extra := c.extra()
	if conn.codec.shortcut != "" || want == base && len(extra) == 0 {
		return false, nil // as was agreed, or as it is
	}
	n := &proposal{c: c, conn: conn, base: base}
	conf, err := n.full(want, extra)
	var refused *refusal
	if errors.As(err, &refused) {
		c.log().Info("the EXI stream keeps its options", "why", refused.Error())
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compress: negotiating EXI: %w", err)
	}
	set, err := c.Library.portSet(conf.Schemas, "")
	if err != nil {
		return false, err
	}
	next, err := conn.codec.next(set, conf.Params, c.limits())
	if err != nil {
		return false, err
	}
	c.using(next, conf)
	return true, errors.Join(ctx.Err(), conn.next(next))
}
