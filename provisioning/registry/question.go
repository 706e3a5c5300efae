package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"postern/exi"
	"postern/provisioning"
	"postern/xmpp"
)

// Question is a request that no rule answers, put to the device's owner.
type Question struct {
	ID     string
	Device string // bare JID
	Who    string // bare JID of the requester
	Action Action
	Nodes  []provisioning.Ref `json:",omitempty"`
	Names  []string           `json:",omitempty"`
	Types  provisioning.Types `json:",omitempty"`
	Asked  time.Time
}

// Verdict is an owner's answer to a question.
type Verdict string

// The verdicts. Once is good for one answer of the server; the others are for
// ever, for the person or everybody of the domain.
const (
	YesOnce   Verdict = "yes-once"
	Yes       Verdict = "yes"
	YesDomain Verdict = "yes-domain"
	No        Verdict = "no"
	NoDomain  Verdict = "no-domain"
)

var verdicts = [...]struct {
	v     Verdict
	label string
}{{YesOnce, "Yes, this once"}, {Yes, "Yes, always"}, {YesDomain, "Yes, everybody of this domain"}, {No, "No"}, {NoDomain, "No, nobody of this domain"}}

// Valid reports whether a verdict is one of these.
func (v Verdict) Valid() bool {
	for _, o := range verdicts {
		if o.v == v {
			return true
		}
	}
	return false
}

// Lives of questions and of permissions for once.
const (
	questionLife = 7 * 24 * time.Hour
	onceLife     = time.Hour
)

// isFriend answers a device about a friend (XEP-0324 §3.5). The sender is the
// first party, whatever the payload says (0324-R23).
func (s *Server) isFriend(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	who, err := provisioning.ParseJID(st.Child())
	if err != nil {
		return nil, err
	}
	device := st.From.Bare().String()
	yes, known := s.friendship(device, who)
	if !known {
		s.put(ctx, Question{Device: device, Who: who.String(), Action: Friend})
	}
	return provisioning.Friendship{JID: who, Result: yes, SecondaryTrust: s.cfg.SecondaryTrust}, nil
}

// may answers a device about reading or control (XEP-0324 §3.8, §3.9). Parties
// it does not know are denied (0324-R64).
func (s *Server) may(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	q, err := provisioning.ParseQuestion(st.Child())
	if err != nil {
		return nil, err
	}
	// Tokens count where a rule is about them, and once they are proven.
	tokens := s.valid(s.cfg.Now(), q.ServiceToken, q.DeviceToken, q.UserToken)
	tokens = slices.DeleteFunc(tokens, func(t string) bool { return !s.ruled(st.From.Bare().String(), t) })
	req := xmpp.Stanza{Kind: st.Kind, ID: st.ID, From: st.From, To: st.To}
	if len(tokens) == 0 {
		return s.mayBy(ctx, req, q, nil)
	}
	s.prove(ctx, st.From, q.JID.String(), tokens, func(proven []string) {
		p, err := s.mayBy(context.WithoutCancel(ctx), req, q, proven)
		s.later(context.WithoutCancel(ctx), req, p, err)
	})
	return nil, xmpp.ErrLater
}

// ruled reports whether a rule of a device is about a token.
func (s *Server) ruled(device, token string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.ContainsFunc(s.rules[device], func(r Rule) bool { return r.Subject == TokenPrefix+token })
}

// mayBy answers for a requester whose tokens are proven.
func (s *Server) mayBy(ctx context.Context, st xmpp.Stanza, q provisioning.Question, tokens []string) (xmpp.Payload, error) {
	device := st.From.Bare().String()
	d := s.answerFor(st.From, q, tokens)
	if !d.Result && d.blind {
		s.log.Warn("a device does not obey ranges of values, so what rules limit to some is denied there", "device", device, "requester", q.JID.String())
	}
	if !d.Result && d.unknown {
		action := Read
		if q.Control {
			action = Control
		}
		s.put(ctx, Question{Device: device, Who: q.JID.String(), Action: action, Nodes: q.Nodes, Names: q.Names, Types: q.Types})
	}
	if len(d.once) == 0 {
		return d.Answer, nil
	}
	// What holds for once ends before it is given, so that it cannot be had
	// twice; the device is told to forget the answer right behind it.
	gone, _, err := s.takeRules(func(r *Rule) bool { return slices.Contains(d.once, r.ID) })
	if err != nil {
		return nil, err
	}
	if len(gone) < len(d.once) {
		return s.answerFor(st.From, q, tokens).Answer, nil // somebody else was faster
	}
	if err := s.send(ctx, st.Reply(xmpp.Result, d.Answer)); err != nil {
		return nil, err
	}
	s.pushClear(ctx, device, s.cfg.Now())
	return nil, xmpp.ErrLater
}

// put asks the owner, unless the question is open already.
func (s *Server) put(ctx context.Context, q Question) {
	owner := s.Owner(q.Device, q.Nodes)
	if owner == "" || owner == q.Device || len(q.Nodes) > maxRuleParts || len(q.Names) > maxRuleParts {
		return
	}
	q.ID, q.Asked = rand.Text(), s.cfg.Now().UTC()
	if ok, err := s.keepQuestion(q); !ok || err != nil {
		if err != nil {
			s.log.Error("a question cannot be kept", "device", q.Device, "err", err)
		}
		return
	}
	st := xmpp.Stanza{Kind: xmpp.Message, ID: rand.Text(), To: address(owner), Payload: q}
	if err := s.send(ctx, st); err != nil {
		s.log.Warn("a question was not sent", "owner", owner, "err", err)
	}
}

// Owner returns who decides about a device, or the first of some nodes of it;
// empty for nobody.
func (s *Server) Owner(device string, nodes []provisioning.Ref) string {
	if o := s.owner(device, provisioning.Ref{}); o != "" || len(nodes) == 0 {
		return o
	}
	return s.owner(device, nodes[0])
}

func (s *Server) keepQuestion(q Question) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	open, old := 0, []string(nil)
	same := false
	for k, o := range s.questions {
		if o.Device != q.Device {
			continue
		}
		if q.Asked.Sub(o.Asked) > questionLife {
			old = append(old, k)
			continue
		}
		open++
		same = same || o.Who == q.Who && o.Action == q.Action
	}
	s.mu.RUnlock()
	if same || open >= s.lim.Questions {
		return false, nil
	}
	err := s.cfg.Store.Update(func(tx Tx) error {
		for _, k := range old {
			if err := questionBucket.Delete(tx, k); err != nil {
				return err
			}
		}
		return questionBucket.Put(tx, q.ID, q)
	})
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range old {
		delete(s.questions, k)
	}
	s.questions[q.ID] = q
	return true, nil
}

// Questions returns the open questions, oldest first.
func (s *Server) Questions() []Question {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Question
	for _, q := range s.questions {
		list = append(list, q)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Asked.Before(list[j].Asked) })
	return list
}

// Decide answers a question in the owner's name: it becomes a rule.
func (s *Server) Decide(ctx context.Context, id string, v Verdict) error {
	s.mu.RLock()
	q, ok := s.questions[id]
	s.mu.RUnlock()
	if !ok {
		return errClosed(id)
	}
	r := Rule{Device: q.Device, Subject: q.Who, Action: q.Action, Nodes: q.Nodes, Names: q.Names, Types: q.Types}
	if q.Action != Read {
		r.Types = 0
	}
	switch v {
	case YesOnce:
		r.Once, r.Until = true, s.cfg.Now().Add(onceLife)
	case YesDomain, NoDomain:
		r.Subject = address(q.Who).Domainpart()
	}
	r.Deny = v == No || v == NoDomain
	_, err := s.addRule(ctx, r, id)
	return err
}

func errClosed(id string) error { return fmt.Errorf("registry: there is no open question %s", id) }

// Names of the form that carries a question (XEP-0004).
const (
	nsForm   = "jabber:x:data"
	formType = "urn:xmpp:iot:provisioning"
)

func fd(local string) exi.Name { return exi.N(nsForm, local) }

var (
	nameForm   = fd("x")
	nameField  = fd("field")
	nameValue  = fd("value")
	nameOption = fd("option")
	attrType   = exi.N("", "type")
	attrVar    = exi.N("", "var")
	attrLabel  = exi.N("", "label")
	nameBody   = exi.N(xmpp.NSClient, "body")
)

// Text says the question in a sentence.
func (q Question) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s wants to ", q.Who)
	switch q.Action {
	case Friend:
		fmt.Fprintf(&b, "become a friend of %s.", q.Device)
		return b.String()
	case Control:
		b.WriteString("set ")
	default:
		b.WriteString("read ")
	}
	if len(q.Names) == 0 {
		b.WriteString("everything")
	}
	b.WriteString(strings.Join(q.Names, ", "))
	for i, n := range q.Nodes {
		if i == 0 {
			b.WriteString(" on")
		}
		b.WriteString(" " + n.String())
	}
	fmt.Fprintf(&b, " of %s.", q.Device)
	return b.String()
}

// AppendEvents writes the question as text and form.
func (q Question) AppendEvents(d *exi.Doc) {
	d.Element(nameBody, exi.Str(q.Text()))
	d.Start(nameForm)
	d.Attr(attrType, exi.Str("form"))
	d.Element(fd("title"), exi.Str("May they?"))
	d.Element(fd("instructions"), exi.Str(q.Text()))
	field := func(v, typ, label, value string) {
		d.Start(nameField)
		d.Attr(attrVar, exi.Str(v))
		d.Attr(attrType, exi.Str(typ))
		if label != "" {
			d.Attr(attrLabel, exi.Str(label))
		}
		d.Element(nameValue, exi.Str(value))
	}
	field("FORM_TYPE", "hidden", "", formType)
	d.End()
	field("question", "hidden", "", q.ID)
	d.End()
	field("decision", "list-single", "Decision", string(No))
	for _, o := range verdicts {
		d.Start(nameOption)
		d.Attr(attrLabel, exi.Str(o.label))
		d.Element(nameValue, exi.Str(string(o.v)))
		d.End()
	}
	d.End()
	d.End()
}

// formReply takes an owner's answer; those of others are ignored.
func (s *Server) formReply(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	x := st.Elem.Child(nameForm)
	if typ, _ := x.Attr(attrType); !typ.Is("submit") || st.Type == xmpp.TypeError {
		return nil, nil
	}
	values := make(map[string]string)
	for f := range x.Children() {
		if v, ok := f.Attr(attrVar); ok && f.Name() == nameField && len(values) < 16 {
			values[v.String()] = f.Child(nameValue).Text().String()
		}
	}
	s.mu.RLock()
	q, ok := s.questions[values["question"]]
	s.mu.RUnlock()
	if !ok || values["FORM_TYPE"] != formType {
		return nil, nil
	}
	owner := s.Owner(q.Device, q.Nodes)
	if owner == "" || owner != st.From.Bare().String() {
		s.log.Warn("an answer of somebody who does not own the device", "from", st.From.String(), "device", q.Device)
		return nil, nil
	}
	v := Verdict(values["decision"])
	if !v.Valid() {
		return nil, nil
	}
	return nil, s.Decide(ctx, q.ID, v)
}
