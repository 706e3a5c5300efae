package provisioning

import (
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
)

// NSOwner is the namespace of what an owner asks Postern's service for and
// XEP-0324 and XEP-0347 have no words for: lists of own things, rules,
// questions, and the transfer of a thing. It is announced as a feature. The
// sender is always the owner; what is not the sender's does not exist for it.
//
//	get things, rules, friends, questions   a page each, from offset
//	get may                                 holds the canRead, canControl or
//	                                        isFriend that a device would send
//	set rule, dropRule, decide              a rule, and the answer to a question
//	set transfer, accept                    offers a thing; takes it
const NSOwner = "urn:postern:owner:1"

func no(local string) exi.Name { return exi.N(NSOwner, local) }

// Names of the payloads, for a Mux.
var (
	NameOwnThings = no("things")
	NameRules     = no("rules")
	NameRule      = no("rule")
	NameDropRule  = no("dropRule")
	NameFriends   = no("friends")
	NameMay       = no("may")
	NameQuestions = no("questions")
	NameDecide    = no("decide")
	NameTransfer  = no("transfer")
	NameAccept    = no("accept")

	nameOwnThing  = no("thing")
	nameOwnFriend = no("friend")
	nameAsked     = no("question")
	nameOwnNode   = no("node")
	nameOwnName   = no("name")

	attrID      = at("id")
	attrSubject = at("subject")
	attrAction  = at("action")
	attrDeny    = at("deny")
	attrTypes   = at("types")
	attrSince   = at("since")
	attrUntil   = at("until")
	attrOnce    = at("once")
	attrVerdict = at("verdict")
	attrTo      = at("to")
	attrRemoved = at("removed")
	attrOnline  = at("online")
)

// Actions that rules are about, and the subject that stands for everyone.
const (
	ActionRead    = "read"
	ActionControl = "control"
	ActionFriend  = "friend"
	Everyone      = "*"
)

// Rule lets somebody do something with a device, or forbids it.
type Rule struct {
	ID      string  // given by the service
	Device  jid.JID // bare
	Subject string  // bare JID, domain, or Everyone
	Action  string
	Deny    bool
	Nodes   []Ref    // empty: all
	Names   []string // fields or parameters; empty: all
	Types   Types    // reading; 0: all
	// Range limits a rule about control to these values; nil: all values. A
	// rule with a range says nothing about values that are no numbers.
	Range *ValueRange
	Since time.Time
	Until time.Time // zero: for ever
	Once  bool      // ends with the first answer it takes part in
}

// AppendEvents writes the rule element.
func (r Rule) AppendEvents(d *exi.Doc) {
	d.Start(NameRule)
	optional(d, attrID, r.ID)
	appendJID(d, r.Device)
	optional(d, attrSubject, r.Subject)
	optional(d, attrAction, r.Action)
	if r.Deny {
		d.Attr(attrDeny, exi.BoolValue(true))
	}
	if r.Once {
		d.Attr(attrOnce, exi.BoolValue(true))
	}
	appendTime(d, attrSince, r.Since)
	appendTime(d, attrUntil, r.Until)
	if r.Range != nil {
		appendRange(d, *r.Range)
	}
	appendScope(d, r.Nodes, r.Names, r.Types)
	d.End()
}

// appendScope writes what a rule or question is about; the attribute first.
func appendScope(d *exi.Doc, nodes []Ref, names []string, t Types) {
	optional(d, attrTypes, t.String())
	for _, n := range nodes {
		d.Start(nameOwnNode)
		appendRef(d, n)
		d.End()
	}
	for _, n := range names {
		d.Start(nameOwnName)
		d.Attr(attrValue, exi.Str(n))
		d.End()
	}
}

func appendTime(d *exi.Doc, name exi.Name, t time.Time) {
	if !t.IsZero() {
		d.Attr(name, exi.Str(t.UTC().Format(time.RFC3339)))
	}
}

func parseTime(c exi.Cursor, name exi.Name) (time.Time, bool) {
	s := text(c, name)
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil
}

// ParseRule reads the element at c.
func ParseRule(c exi.Cursor) (r Rule, err error) {
	var ok [6]bool
	r.ID, r.Subject, r.Action = text(c, attrID), text(c, attrSubject), text(c, attrAction)
	r.Device, ok[0] = address(c)
	r.Deny, ok[1] = flag(c, attrDeny, false)
	r.Once, ok[2] = flag(c, attrOnce, false)
	r.Since, ok[3] = parseTime(c, attrSince)
	r.Until, ok[4] = parseTime(c, attrUntil)
	ok[5] = r.Device.String() != "" && max(len(r.ID), len(r.Subject)) <= 3*MaxText
	if slices.Contains(ok[:], false) {
		return r, bad("a rule needs a jid; deny and once are booleans, since and until times like 2026-01-31T12:00:00Z")
	}
	v, err := parseRange(c)
	if err != nil {
		return r, err
	}
	if v != (ValueRange{}) {
		r.Range = &v
	}
	r.Nodes, r.Names, r.Types, err = parseScope(c)
	return r, err
}

func parseScope(c exi.Cursor) (nodes []Ref, names []string, t Types, err error) {
	for w := range strings.FieldsSeq(text(c, attrTypes)) {
		bits, ok := node.ParseType(w)
		if !ok {
			return nil, nil, 0, bad("no such field type")
		}
		t |= bits
	}
	for k := range c.Children() {
		if len(nodes)+len(names) == MaxNames {
			return nil, nil, 0, bad("too many nodes and names")
		}
		switch k.Name() {
		case nameOwnNode:
			r, ok := parseRef(k)
			if !ok || r.ID == "" {
				return nil, nil, 0, bad("a node without nodeId")
			}
			nodes = append(nodes, r)
		case nameOwnName:
			s := text(k, attrValue)
			if s == "" || len(s) > MaxText {
				return nil, nil, 0, bad("a field or parameter without a name")
			}
			names = append(names, s)
		}
	}
	return nodes, names, t, nil
}

// OwnThing is one thing of an owner, or one that is offered to the asker.
type OwnThing struct {
	Ref
	JID     jid.JID
	Owner   jid.JID
	Private bool
	Removed bool // taken from view; still the owner's
	Online  bool // the service knows where to reach it
	Since   time.Time
	To      jid.JID // whom it is offered to; zero: nobody
	Tags    []Tag   // without KEY
}

// Friend says whether somebody may be a friend of a device.
type Friend struct {
	JID jid.JID
	Yes bool
}

// Asked is an open question: a request that no rule answers.
type Asked struct {
	ID     string
	Device jid.JID
	Who    jid.JID
	Action string
	Nodes  []Ref
	Names  []string
	Types  Types
	When   time.Time
}

// Page asks for a part of a list. A list without a page's end says More.
type Page struct {
	Name   exi.Name // NameOwnThings, NameRules, NameFriends or NameQuestions
	Device jid.JID  // zero: of all own devices; friends need one
	Offset int
}

// AppendEvents writes the element.
func (p Page) AppendEvents(d *exi.Doc) {
	d.Start(p.Name)
	appendJID(d, p.Device)
	if p.Offset > 0 {
		d.Attr(attrOffset, exi.IntValue(int64(p.Offset)))
	}
	d.End()
}

// ParsePage reads the element at c.
func ParsePage(c exi.Cursor) (p Page, err error) {
	var ok bool
	p.Name = c.Name()
	if p.Device, ok = address(c); !ok {
		return p, bad("jid is no address")
	}
	p.Offset, err = count(c, attrOffset, 0)
	return p, err
}

// Owned is a part of a list; which of the slices is filled depends on what was
// asked for.
type Owned struct {
	Name      exi.Name
	More      bool
	Things    []OwnThing
	Rules     []Rule
	Friends   []Friend
	Questions []Asked
}

// AppendEvents writes the element.
func (o Owned) AppendEvents(d *exi.Doc) {
	d.Start(o.Name)
	if o.More {
		d.Attr(attrMore, exi.BoolValue(true))
	}
	for i := range o.Things {
		o.Things[i].append(d)
	}
	for _, r := range o.Rules {
		r.AppendEvents(d)
	}
	for _, f := range o.Friends {
		d.Start(nameOwnFriend)
		appendJID(d, f.JID)
		d.Attr(attrResult, exi.BoolValue(f.Yes))
		d.End()
	}
	for i := range o.Questions {
		o.Questions[i].append(d)
	}
	d.End()
}

func (t *OwnThing) append(d *exi.Doc) {
	d.Start(nameOwnThing)
	appendJID(d, t.JID)
	optional(d, attrOwner, t.Owner.Bare().String())
	d.Attr(attrPublic, exi.BoolValue(!t.Private))
	d.Attr(attrRemoved, exi.BoolValue(t.Removed))
	d.Attr(attrOnline, exi.BoolValue(t.Online))
	appendTime(d, attrSince, t.Since)
	optional(d, attrTo, t.To.Bare().String())
	appendRef(d, t.Ref)
	appendTags(d, t.Tags)
	d.End()
}

func (q *Asked) append(d *exi.Doc) {
	d.Start(nameAsked)
	d.Attr(attrID, exi.Str(q.ID))
	appendJID(d, q.Device)
	optional(d, attrSubject, q.Who.Bare().String())
	d.Attr(attrAction, exi.Str(q.Action))
	appendTime(d, attrSince, q.When)
	appendScope(d, q.Nodes, q.Names, q.Types)
	d.End()
}

// ParseOwned reads the element at c. Entries that cannot be read are left out.
func ParseOwned(c exi.Cursor) (o Owned, err error) {
	var ok bool
	o.Name = c.Name()
	if o.More, ok = flag(c, attrMore, false); !ok || o.Name.Value().Space != NSOwner {
		return o, bad("no list")
	}
	for k := range c.Children() {
		if len(o.Things)+len(o.Rules)+len(o.Friends)+len(o.Questions) == MaxNames {
			break
		}
		switch k.Name() {
		case nameOwnThing:
			if t, ok := parseOwnThing(k); ok {
				o.Things = append(o.Things, t)
			}
		case NameRule:
			if r, err := ParseRule(k); err == nil {
				o.Rules = append(o.Rules, r)
			}
		case nameOwnFriend:
			yes, okYes := flag(k, attrResult, false)
			if j, ok := address(k); ok && okYes {
				o.Friends = append(o.Friends, Friend{j, yes})
			}
		case nameAsked:
			if q, ok := parseAsked(k); ok {
				o.Questions = append(o.Questions, q)
			}
		}
	}
	return o, nil
}

func parseOwnThing(k exi.Cursor) (t OwnThing, ok bool) {
	var all [7]bool
	var public bool
	t.JID, all[0] = address(k)
	t.Ref, all[1] = parseRef(k)
	public, all[2] = flag(k, attrPublic, true)
	t.Removed, all[3] = flag(k, attrRemoved, false)
	t.Online, all[4] = flag(k, attrOnline, false)
	t.Since, all[5] = parseTime(k, attrSince)
	all[6] = t.JID.String() != ""
	t.Private = !public
	t.Owner, t.To = parse(text(k, attrOwner)), parse(text(k, attrTo))
	var err error
	t.Tags, err = parseTags(k)
	return t, err == nil && !slices.Contains(all[:], false)
}

func parseAsked(k exi.Cursor) (q Asked, ok bool) {
	var okTime bool
	q.ID, q.Action, q.Who = text(k, attrID), text(k, attrAction), parse(text(k, attrSubject))
	q.Device, ok = address(k)
	q.When, okTime = parseTime(k, attrSince)
	var err error
	q.Nodes, q.Names, q.Types, err = parseScope(k)
	return q, ok && okTime && err == nil && q.ID != "" && len(q.ID) <= MaxText
}

// Decision is an owner's answer to an open question.
type Decision struct{ ID, Verdict string }

// AppendEvents writes the decide element.
func (v Decision) AppendEvents(d *exi.Doc) {
	d.Start(NameDecide)
	d.Attr(attrID, exi.Str(v.ID))
	d.Attr(attrVerdict, exi.Str(v.Verdict))
	d.End()
}

// ParseDecision reads the element at c.
func ParseDecision(c exi.Cursor) (v Decision, err error) {
	v = Decision{text(c, attrID), text(c, attrVerdict)}
	if v.ID == "" || v.Verdict == "" || max(len(v.ID), len(v.Verdict)) > MaxText {
		return v, bad("a decision needs id and verdict")
	}
	return v, nil
}

// DropRule forgets a rule.
type DropRule struct{ ID string }

// AppendEvents writes the dropRule element.
func (r DropRule) AppendEvents(d *exi.Doc) {
	d.Start(NameDropRule)
	d.Attr(attrID, exi.Str(r.ID))
	d.End()
}

// ParseDropRule reads the element at c.
func ParseDropRule(c exi.Cursor) (r DropRule, err error) {
	if r.ID = text(c, attrID); r.ID == "" || len(r.ID) > MaxText {
		return r, bad("which rule? id is missing")
	}
	return r, nil
}

// Transfer offers a thing to somebody, who has to accept it; To zero withdraws
// the offer. As Accept it takes an offered thing.
type Transfer struct {
	Ref
	Accept bool
	JID    jid.JID // the thing
	To     jid.JID // with Accept: unused
}

// AppendEvents writes the transfer or accept element.
func (t Transfer) AppendEvents(d *exi.Doc) {
	if t.Accept {
		d.Start(NameAccept)
	} else {
		d.Start(NameTransfer)
	}
	appendJID(d, t.JID)
	optional(d, attrTo, t.To.Bare().String())
	appendRef(d, t.Ref)
	d.End()
}

// ParseTransfer reads the element at c.
func ParseTransfer(c exi.Cursor) (t Transfer, err error) {
	var okJID, okRef bool
	t.Accept = c.Name() == NameAccept
	t.JID, okJID = address(c)
	t.Ref, okRef = parseRef(c)
	if !okJID || !okRef || t.JID.String() == "" {
		return t, bad("which thing? jid is missing or no address")
	}
	if s := text(c, attrTo); s != "" && !t.Accept {
		to, err := jid.Parse(s)
		if err != nil || to.Localpart() == "" {
			return t, bad("to is not the address of an account")
		}
		t.To = to.Bare()
	}
	return t, nil
}

// May asks what a device would be answered.
type May struct {
	Device   jid.JID
	Question Question // about reading or control
	Friend   bool     // about friendship with Question.JID instead
}

// AppendEvents writes the may element.
func (m May) AppendEvents(d *exi.Doc) {
	d.Start(NameMay)
	appendJID(d, m.Device)
	if m.Friend {
		IsFriend{m.Question.JID}.AppendEvents(d)
	} else {
		m.Question.AppendEvents(d)
	}
	d.End()
}

// ParseMay reads the element at c.
func ParseMay(c exi.Cursor) (m May, err error) {
	var ok bool
	if m.Device, ok = address(c); !ok || m.Device.String() == "" {
		return m, bad("which device? jid is missing or no address")
	}
	for k := range c.Children() {
		switch k.Name() {
		case NameCanRead, NameCanControl:
			m.Question, err = ParseQuestion(k)
			return m, err
		case NameIsFriend:
			m.Friend = true
			m.Question.JID, err = ParseJID(k)
			return m, err
		}
	}
	return m, bad("may needs canRead, canControl or isFriend")
}
