package compress

import (
	"fmt"
	"strconv"

	"postern/exi"
	"postern/xmpp"
)

// OfferPort is Offer with the number of the dedicated port besides (0322-R02).
func (s *Server) OfferPort(port int) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameCompression)
		d.Element(nameMethod, exi.Str(Method))
		d.Element(nameMethod, exi.Str(Method+":"+strconv.Itoa(port)))
		d.End()
	})
}

// Port returns the codec that a connection on the dedicated port starts with.
// Open of the connection fails with ErrShortcut when the client's header names
// a configuration that is not known; AppendRefusal is the answer then, and the
// connection ends.
func (s *Server) Port() (*PortCodec, error) {
	set, err := s.Library.portSet(nil, "")
	if err != nil {
		return nil, err
	}
	p, err := set.port(PortParams(), s.limits())
	if err != nil {
		return nil, err
	}
	if err := p.limitLogin(); err != nil {
		return nil, err
	}
	p.named = s.byShortcut
	return p, nil
}

// limitLogin bounds what is read until the peer has logged in.
func (p *PortCodec) limitLogin() error {
	if p.params.SessionWide || keepsWindow(p.params) {
		return nil // its tables would begin anew with other limits
	}
	e, err := p.set.engine(p.params, loginLimits())
	if err != nil {
		return err
	}
	p.login, err = e.codec(p.params)
	return err
}

// byShortcut finds the configuration that a header names (0322-R61). Schemas
// of one account's own are not among them: nobody has logged in yet.
func (s *Server) byShortcut(schemaID string) *PortCodec {
	id := schemaID[len(shortcutPrefix):]
	conf, ok := s.Configs.Configuration(id)
	if !ok || !conf.Params.Profile || s.stale(conf) || keepsWindow(conf.Params) {
		return nil
	}
	set, err := s.Library.portSet(conf.Schemas, "")
	if err != nil {
		return nil
	}
	p, err := set.port(conf.Params, s.limits())
	if err != nil || p.limitLogin() != nil {
		return nil
	}
	conf.Used = s.now()
	s.Configs.Remember(id, conf)
	return p
}

// AcceptPort starts the negotiation of a stream on a dedicated port, whose
// options and schemas are added to those in force (decisions D5 and D6).
func (s *Server) AcceptPort(p *PortCodec) *Negotiation {
	n := s.Accept()
	n.port, n.base = p, p.params
	return n
}

// reopen has the stream go on with what was agreed (0322-R58).
func (n *Negotiation) reopen(r Result) (Result, error) {
	set, err := n.grammars(n.agreed.Schemas)
	if err != nil {
		return r, fmt.Errorf("compress: an agreed EXI configuration: %w", err)
	}
	p, err := n.port.next(set, n.agreed.Params, n.s.limits())
	if err != nil {
		return r, fmt.Errorf("compress: an agreed EXI configuration: %w", err)
	}
	n.port, n.base, n.agreed = p, p.params, nil
	r.Codec = p
	return r, nil
}
