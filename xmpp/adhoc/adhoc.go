// Package adhoc serves ad-hoc commands (XEP-0050): tasks with forms that any
// client for people can run. Navigation, sessions, and the checking of forms
// against what was shown are done here; commands say what they ask and do.
package adhoc

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/disco"
)

// NS is the namespace of ad-hoc commands, its feature, and the node under
// which discovery lists them.
const NS = "http://jabber.org/protocol/commands"

// Request is where somebody is in a command.
type Request struct {
	From   jid.JID // full
	Lang   string  // xml:lang of the first request
	Values Values  // of all stages so far
}

// Result is what a command ends with.
type Result struct {
	Form *Form  // shown as a result; nil for none
	Note string // for people
	// Kind of the note: "info" (also when empty), "warn" or "error".
	Kind string
}

// Stage is one form of a command.
type Stage struct {
	// Form makes the form to fill in. A *xmpp.Error ends the command.
	Form func(ctx context.Context, r *Request) (*Form, error)
	// Check tells what is wrong with what was filled in; the form can be sent
	// again then. nil takes everything that fits the form.
	Check func(ctx context.Context, r *Request) error
}

// Command is one task.
type Command struct {
	Node string // its name on the wire
	Name string // for people
	// Allowed tells whether somebody, by full JID, may run and see it. It is
	// asked at every stage (0050-R04). Required.
	Allowed func(ctx context.Context, from jid.JID) bool
	// Stages are shown in order; a command without any runs at once. Since a
	// request can be repeated, one that changes anything needs a stage.
	Stages []Stage
	// Run does it. Its error becomes a note of type error (0050-R11).
	Run func(ctx context.Context, r *Request) (Result, error)
}

// Config says what a Service offers.
type Config struct {
	Commands []Command
	Now      func() time.Time // nil for time.Now
}

// Bounds and times (0050-R13).
const (
	sessionLife    = 15 * time.Minute // without activity; as long ended ones are remembered
	sessionsPerJID = 5
	maxSessions    = 100
)

// Service answers requests for commands. Its methods are safe for concurrent
// use.
type Service struct {
	cfg Config

	mu       sync.Mutex
	sessions map[string]*session
}

// session is a command that somebody is running, or that has ended.
type session struct {
	mu      sync.Mutex // held while one request of the session is worked on
	cmd     *Command
	id      string
	req     Request
	stage   int
	form    *Form // shown now
	ended   bool
	touched time.Time
	// What the last request was answered, should it come again (0050-R21).
	lastID string
	answer *reply
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, sessions: make(map[string]*session)}
}

// Register adds the service's handler to m.
func (s *Service) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameCommand, s.handle)
}

// Items lists the commands that somebody may run, for disco#items of node NS
// at the address self (0050-R01, R03).
func (s *Service) Items(ctx context.Context, from, self jid.JID) []disco.Item {
	var out []disco.Item
	for i := range s.cfg.Commands {
		if c := &s.cfg.Commands[i]; c.Allowed(ctx, from) {
			out = append(out, disco.Item{JID: self, Node: c.Node, Name: c.Name})
		}
	}
	return out
}

// Info answers disco#info about NS and about each command (0050-R02); ok is
// false for other nodes.
func (s *Service) Info(ctx context.Context, from jid.JID, node string) (info disco.Info, ok bool, err error) {
	if node == NS {
		return disco.Info{Identities: []disco.Identity{{Category: "automation", Type: "command-list", Name: "Commands"}}}, true, nil
	}
	c := s.command(node)
	switch {
	case c == nil:
		return info, false, nil
	case !c.Allowed(ctx, from):
		return info, true, xmpp.NewError(xmpp.Forbidden, "").WithType(xmpp.Cancel)
	}
	return disco.Info{
		Identities: []disco.Identity{{Category: "automation", Type: "command-node", Name: c.Name}},
		Features:   []string{NS, nsData},
	}, true, nil
}

func (s *Service) command(node string) *Command {
	for i := range s.cfg.Commands {
		if s.cfg.Commands[i].Node == node {
			return &s.cfg.Commands[i]
		}
	}
	return nil
}

func (s *Service) handle(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	el := st.Child()
	node, _ := el.Attr(attrNode)
	c := s.command(node.String())
	switch {
	case len(s.cfg.Commands) == 0:
		return nil, xmpp.NewError(xmpp.FeatureNotImplemented, "").WithType(xmpp.Cancel)
	case c == nil:
		return nil, xmpp.NewError(xmpp.ItemNotFound, "there is no such command").WithType(xmpp.Cancel)
	case !c.Allowed(ctx, st.From):
		return nil, xmpp.NewError(xmpp.Forbidden, "you may not run this command").WithType(xmpp.Cancel)
	}
	action, _ := el.Attr(attrAction)
	do := action.String()
	if do == "" {
		do = "execute" // 0050-R06
	}
	switch do {
	case "execute", "next", "prev", "complete", "cancel":
	default:
		return nil, fault(xmpp.BadRequest, xmpp.Modify, nameMalformed, "there is no such action")
	}
	id, _ := el.Attr(attrSession)
	ses, known := s.find(id.String(), st.From, c)
	switch {
	case known == nil && do == "execute" && ses == nil:
		// Opens a session; an id that the requester made up is not taken (D2).
		var err *xmpp.Error
		if ses, err = s.open(c, st); err != nil {
			return nil, err
		}
		return s.show(ctx, st, ses)
	case known != nil:
		return nil, known
	case ses == nil:
		return nil, fault(xmpp.BadRequest, xmpp.Modify, nameBadSession, "there is no such session")
	}
	return s.step(ctx, st, ses, do, el)
}

// find returns the session of an id: bound to the full JID and the command
// (0050-R05). A foreign one is as good as none.
func (s *Service) find(id string, from jid.JID, c *Command) (*session, *xmpp.Error) {
	if id == "" {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	ses := s.sessions[id]
	if ses == nil || ses.req.From.String() != from.String() || ses.cmd != c {
		return nil, fault(xmpp.BadRequest, xmpp.Modify, nameBadSession, "there is no such session")
	}
	return ses, nil
}

// sweep forgets what has been idle for too long. s.mu is held.
func (s *Service) sweep() {
	now := s.cfg.Now()
	for id, ses := range s.sessions {
		if now.Sub(ses.touched) >= sessionLife {
			delete(s.sessions, id)
		}
	}
}

func (s *Service) open(c *Command, st *xmpp.Stanza) (*session, *xmpp.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	open, oldest := 0, ""
	for id, ses := range s.sessions {
		if !ses.ended && ses.req.From.Bare().Equal(st.From.Bare()) {
			open++
		}
		if ses.ended && (oldest == "" || ses.touched.Before(s.sessions[oldest].touched)) {
			oldest = id
		}
	}
	if open >= sessionsPerJID {
		return nil, xmpp.NewError(xmpp.NotAllowed, "finish or cancel other commands first").WithType(xmpp.Cancel)
	}
	if len(s.sessions) >= maxSessions {
		if oldest == "" {
			return nil, xmpp.NewError(xmpp.ResourceConstraint, "too many commands are being run").WithType(xmpp.Wait)
		}
		delete(s.sessions, oldest)
	}
	ses := &session{cmd: c, id: rand.Text(), touched: s.cfg.Now(), req: Request{From: st.From, Lang: st.Lang, Values: make(Values)}}
	s.sessions[ses.id] = ses
	return ses, nil
}

// end marks a session as over; its last answer stays for a repetition.
func (s *Service) end(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses.ended, ses.form = true, nil
	ses.req.Values = nil
}

func (s *Service) touch(ses *session) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses.touched = s.cfg.Now()
	return ses.ended
}

// step works on a request within a session.
func (s *Service) step(ctx context.Context, st *xmpp.Stanza, ses *session, do string, el exi.Cursor) (xmpp.Payload, error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.answer != nil && st.ID != "" && st.ID == ses.lastID {
		return ses.answer, nil
	}
	if s.touch(ses) {
		return nil, fault(xmpp.NotAllowed, xmpp.Cancel, nameExpired, "the session is over")
	}
	last := ses.stage == len(ses.cmd.Stages)-1
	if do == "execute" { // the default action (0050 §3.4)
		do = "next"
		if last {
			do = "complete"
		}
	}
	switch {
	case do == "cancel":
		s.end(ses)
		return ses.keep(st, &reply{ses: ses, status: "canceled"}), nil
	case do == "prev" && ses.stage == 0, do == "next" && last, do == "complete" && !last: // D1
		return nil, fault(xmpp.BadRequest, xmpp.Modify, nameBadAction, "this action is not offered now")
	}
	in, there, bad := submitted(el)
	switch {
	case bad != nil:
		return nil, bad
	case do == "prev":
		ses.remember(in)
		ses.stage--
		return s.show(ctx, st, ses)
	case !there:
		return nil, badPayload("the form is missing")
	}
	values, bad := ses.form.fill(in)
	if bad != nil {
		return nil, bad
	}
	ses.remember(values)
	if check := ses.cmd.Stages[ses.stage].Check; check != nil {
		if err := check(ctx, &ses.req); err != nil {
			return nil, badPayload(err.Error())
		}
	}
	if do == "next" {
		ses.stage++
		return s.show(ctx, st, ses)
	}
	return s.finish(ctx, st, ses)
}

// remember keeps what was filled in, so that prev shows it again (0050-R15).
func (ses *session) remember(v Values) {
	for i := range ses.form.Fields {
		name := ses.form.Fields[i].Var
		if list, ok := v[name]; ok {
			ses.req.Values[name] = list
		}
	}
}

// show answers with the form of the stage, or runs a command without one.
func (s *Service) show(ctx context.Context, st *xmpp.Stanza, ses *session) (xmpp.Payload, error) {
	if len(ses.cmd.Stages) == 0 {
		return s.finish(ctx, st, ses)
	}
	form, err := ses.cmd.Stages[ses.stage].Form(ctx, &ses.req)
	if err != nil {
		s.end(ses)
		return nil, err
	}
	ses.form = form
	r := &reply{ses: ses, status: "executing", form: form, typ: "form", shown: make(Values)}
	for i := range form.Fields {
		if v, ok := ses.req.Values[form.Fields[i].Var]; ok {
			r.shown[form.Fields[i].Var] = v
		}
	}
	if ses.stage > 0 {
		r.actions = append(r.actions, "prev")
	}
	if r.preset = "next"; ses.stage == len(ses.cmd.Stages)-1 {
		r.preset = "complete"
	}
	r.actions = append(r.actions, r.preset)
	return ses.keep(st, r), nil
}

func (s *Service) finish(ctx context.Context, st *xmpp.Stanza, ses *session) (xmpp.Payload, error) {
	res, err := ses.cmd.Run(ctx, &ses.req)
	if err != nil { // 0050-R11
		res = Result{Note: err.Error(), Kind: "error"}
	}
	s.end(ses)
	return ses.keep(st, &reply{ses: ses, status: "completed", form: res.Form, typ: "result", note: res.Note, kind: res.Kind}), nil
}

func (ses *session) keep(st *xmpp.Stanza, r *reply) *reply {
	ses.lastID, ses.answer = st.ID, r
	return r
}
