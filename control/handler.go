package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// handleSet answers a set in an iq once it has been carried out (XEP-0325
// §3.2; 0325-R05).
func (s *Service) handleSet(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	j, err := s.plan(ctx, st, OriginIQ)
	if err != nil {
		return nil, err
	}
	if len(j.writes) == 0 { // a form without control fields (R41), or given up (D23)
		return response(j.result), nil
	}
	// The stanza is gone when the job ends.
	question, lang := xmpp.Stanza{Kind: st.Kind, ID: st.ID, From: st.From}, langOf(st)
	answer := func(p xmpp.Payload, err error) {
		out := question.Reply(xmpp.Result, p)
		if err != nil {
			out = question.ErrorReply(inLanguage(lang, err))
		}
		if err := s.cfg.Sender.Send(context.WithoutCancel(j.ctx), out); err != nil {
			s.cfg.Logger.Warn("the result of a command could not be sent", slog.String("to", j.cmd.From), slog.Any("err", err))
		}
	}
	if err := s.submit(j, answer); err != nil {
		return nil, err
	}
	return nil, xmpp.ErrLater
}

// handleMessage carries out a set in a message, which is never answered
// (0325-R04).
func (s *Service) handleMessage(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	j, err := s.plan(ctx, st, OriginMessage)
	if err == nil && len(j.writes) > 0 {
		err = s.submit(j, func(xmpp.Payload, error) {})
	}
	if err != nil {
		s.cfg.Logger.Info("a command in a message was refused", slog.String("from", st.From.String()), slog.Any("err", err))
	}
	return nil, nil
}

// plan checks a set against everything but the state of the outputs. A
// refusal is a *xmpp.Error and is in the record.
func (s *Service) plan(ctx context.Context, st *xmpp.Stanza, origin Origin) (*job, error) {
	j := &job{state: s.state.Load(), epoch: s.epoch.Load(), cmd: Command{
		Origin: origin, From: st.From.String(), ID: st.ID, At: s.cfg.Now(),
	}}
	var set exi.Cursor
	for c := range st.Elem.Children() {
		if c.Name() == nameSet {
			set = c
			break
		}
	}
	r, fault := parseRequest(set, s.cfg.MaxNames)
	j.cmd.Nodes, j.cmd.Asked = r.nodes, asked(r.wants)
	j.cmd.ServiceToken, j.cmd.DeviceToken, j.cmd.UserToken = r.serviceToken, r.deviceToken, r.userToken
	if fault == nil {
		fault = s.tooOld(st)
	}
	if fault == nil && !r.cancel {
		fault = s.choose(ctx, j, r, st.From.Bare().String())
	}
	if fault != nil {
		recorded := fault
		if j.asked { // the code is for the requester's eyes only
			recorded = xmpp.NewError(xmpp.Conflict, "it has to be confirmed").WithType(xmpp.Wait)
		}
		s.cfg.Auditor.Refused(ctx, &j.cmd, recorded)
		return nil, fault
	}
	if r.form {
		// A final submission ends the session; that it has expired does not
		// matter (D16).
		s.sessions.close(r.hidden, st.From)
	}
	return j, nil
}

// asked lists what a command wants, for the record.
func asked(wants []want) []Asked {
	out := make([]Asked, 0, len(wants))
	for _, w := range wants {
		if w.name == confirmName {
			w.text = "…"
		}
		out = append(out, Asked{w.name, w.text})
	}
	return out
}

// tooOld refuses commands that were kept somewhere for longer than a command
// lives, and any that were kept while this machine does not know the time
// (D17, 0203-R07). Servers put no stamp on an iq that they keep over a
// resumption: Age knows of those as well.
func (s *Service) tooOld(st *xmpp.Stanza) *xmpp.Error {
	age := st.Age(s.cfg.Now())
	unreadable := delayUnreadable(st)
	switch {
	case age == 0 && !unreadable:
		return nil
	case unreadable:
		return xmpp.NewError(xmpp.NotAllowed, "the command was delayed, and by how much cannot be read")
	case !s.cfg.ClockSane():
		return xmpp.NewError(xmpp.NotAllowed, "the command was delayed and the gateway's clock is not set")
	case age > s.cfg.Expiry || s.ahead(st):
		return xmpp.NewError(xmpp.NotAllowed, "the command is too old to be carried out; send it again if it is still wanted")
	}
	return nil
}

// ahead reports a delay stamp so far in the future that one of the clocks is
// wrong: such a stamp says nothing about the age.
func (s *Service) ahead(st *xmpp.Stanza) bool {
	stamp, ok := st.Delay()
	return ok && stamp.Sub(s.cfg.Now()) > s.cfg.Expiry
}

var (
	nameDelay       = exi.N(xmpp.NSDelay, "delay")
	nameLegacyDelay = exi.N("jabber:x:delay", "x")
	attrStamp       = exi.N("", "stamp")
)

// delayUnreadable reports a delay element whose stamp cannot be read. It
// proves that the stanza was kept, and nothing about how long.
func delayUnreadable(st *xmpp.Stanza) bool {
	for c := range st.Elem.Children() {
		if c.Name() != nameDelay && c.Name() != nameLegacyDelay {
			continue
		}
		v, _ := c.Attr(attrStamp)
		if _, _, ok := v.Time(time.UTC); ok {
			continue
		}
		if _, err := time.Parse("20060102T15:04:05", v.String()); err != nil {
			return true
		}
	}
	return false
}

// decide asks access and returns what it allows; the error is a refusal.
func (s *Service) decide(ctx context.Context, st *state, ask node.Request) (node.Decision, *xmpp.Error) {
	d, err := st.access.CanControl(ctx, ask)
	if err != nil {
		var e *xmpp.Error
		if errors.As(err, &e) {
			return d, e
		}
		s.cfg.Logger.Warn("access could not be decided, so it is denied", slog.String("from", ask.From), slog.Any("err", err))
		return d, xmpp.NewError(xmpp.Forbidden, "access could not be decided")
	}
	if d.Denied() {
		return d, xmpp.NewError(xmpp.Forbidden, "you may not control this thing")
	}
	return d, nil
}

// response is the setResponse element: empty when everything was done as
// asked, else the nodes and parameters that were used (R06, R07, D18).
type response Result

// AppendEvents writes the element.
func (r response) AppendEvents(d *exi.Doc) {
	d.Start(nameSetResponse)
	if r.NodesNarrowed {
		for _, n := range r.Nodes {
			d.Start(nameNode)
			appendRef(d, n)
			d.End()
		}
	}
	if r.ParametersNarrowed {
		for _, p := range r.Parameters {
			d.Start(nameParameter)
			d.Attr(attrName, exi.Str(p))
			d.End()
		}
	}
	d.End()
}

func appendRef(d *exi.Doc, r node.Ref) {
	d.Attr(attrNodeID, exi.Str(r.ID))
	if r.Source != "" {
		d.Attr(attrSourceID, exi.Str(r.Source))
	}
	if r.Cache != "" {
		d.Attr(attrCacheType, exi.Str(r.Cache))
	}
}
