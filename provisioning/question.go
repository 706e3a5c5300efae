package provisioning

import (
	"slices"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
)

// Names of the payloads of XEP-0324, for a Mux.
var (
	NameIsFriend           = np("isFriend")
	NameIsFriendResponse   = np("isFriendResponse")
	NameFriend             = np("friend")
	NameUnfriend           = np("unfriend")
	NameCanRead            = np("canRead")
	NameCanReadResponse    = np("canReadResponse")
	NameCanControl         = np("canControl")
	NameCanControlResponse = np("canControlResponse")
	NameClearCache         = np("clearCache")
	NameClearCacheResponse = np("clearCacheResponse")
	NameTokenChallenge     = np("tokenChallenge")

	nameNode      = np("node")
	nameField     = np("field")
	nameParameter = np("parameter")

	attrServiceToken   = at("serviceToken")
	attrDeviceToken    = at("deviceToken")
	attrUserToken      = at("userToken")
	attrSecondaryTrust = at("secondaryTrustAllowed")
	attrAll            = at("all")
	attrHistorical     = at("historical")
)

// Question asks a provisioning server for the right to read or, with Control,
// to set (XEP-0324 §3.8, §3.9). Empty lists stand for everything.
type Question struct {
	Control bool
	JID     jid.JID // the requester, bare
	Nodes   []Ref
	Names   []string // fields, or parameters
	Types   Types    // reading only; 0 stands for all

	ServiceToken, DeviceToken, UserToken string

	// Ranges says that the asker obeys Answer.Values. Without it, a server
	// leaves out what may be set to some values only. Part of no answer.
	Ranges bool
}

// Answer is a provisioning server's decision: the part of the question that is
// allowed. Empty lists mean that nothing was taken away.
type Answer struct {
	Question // without tokens
	Result   bool
	// Values are what parameters may be set to; those that are left out may be
	// set to any value. One without a name is about all others.
	Values []ParameterValues
}

// AppendEvents writes the canRead or canControl element.
func (q Question) AppendEvents(d *exi.Doc) { q.append(d, NameCanRead, NameCanControl, nil) }

// AppendEvents writes the response element.
func (a Answer) AppendEvents(d *exi.Doc) {
	a.append(d, NameCanReadResponse, NameCanControlResponse, &a)
}

func (q *Question) append(d *exi.Doc, read, control exi.Name, answer *Answer) {
	if q.Control {
		d.Start(control)
	} else {
		d.Start(read)
	}
	appendJID(d, q.JID)
	if answer != nil {
		d.Attr(attrResult, exi.BoolValue(answer.Result))
	} else {
		optional(d, attrServiceToken, q.ServiceToken)
		optional(d, attrDeviceToken, q.DeviceToken)
		optional(d, attrUserToken, q.UserToken)
	}
	name := nameParameter
	if !q.Control {
		name = nameField
		appendTypes(d, q.Types)
	}
	for _, r := range q.Nodes {
		d.Start(nameNode)
		appendRef(d, r)
		d.End()
	}
	for _, n := range q.Names {
		d.Start(name)
		d.Attr(attrName, exi.Str(n))
		d.End()
	}
	switch {
	case answer != nil:
		appendValues(d, answer.Values)
	case q.Control && q.Ranges:
		d.Start(nameValues)
		d.End()
	}
	d.End()
}

func appendTypes(d *exi.Doc, t Types) {
	if t == 0 || t == AllTypes {
		if t == AllTypes {
			d.Attr(attrAll, exi.BoolValue(true))
		}
		return
	}
	if t&node.Historical == node.Historical {
		d.Attr(attrHistorical, exi.BoolValue(true))
		t &^= node.Historical
	}
	for i := range node.NumTypes {
		if t&(1<<i) != 0 {
			d.Attr(at(node.TypeName(i)), exi.BoolValue(true))
		}
	}
}

// ParseQuestion reads a canRead or canControl element.
func ParseQuestion(c exi.Cursor) (q Question, err error) {
	q.Control = c.Name() == NameCanControl
	err = q.parse(c)
	q.ServiceToken, q.DeviceToken, q.UserToken = text(c, attrServiceToken), text(c, attrDeviceToken), text(c, attrUserToken)
	if max(len(q.ServiceToken), len(q.DeviceToken), len(q.UserToken)) > 4*MaxText {
		return q, bad("token too long")
	}
	return q, err
}

// ParseAnswer reads a canReadResponse or canControlResponse element. A missing
// result is an error, not a yes.
func ParseAnswer(c exi.Cursor) (a Answer, err error) {
	switch c.Name() {
	case NameCanControlResponse:
		a.Control = true
	case NameCanReadResponse:
	default:
		return a, bad("no answer to the question")
	}
	v, present := c.Attr(attrResult)
	b, ok := v.Bool()
	if !present || !ok {
		return a, bad("an answer without a result")
	}
	a.Result = b
	if err := a.Question.parse(c); err != nil {
		return a, err
	}
	a.Ranges = false
	if a.Control {
		a.Values, err = parseValues(c)
	}
	return a, err
}

func (q *Question) parse(c exi.Cursor) error {
	var ok bool
	if q.JID, ok = address(c); !ok || q.JID.String() == "" {
		return bad("whose right? jid is missing or no address")
	}
	if !q.Control {
		if q.Types, ok = parseTypes(c); !ok {
			return bad("a field type is no boolean")
		}
	}
	name := nameField
	if q.Control {
		name = nameParameter
	}
	for k := range c.Children() {
		if len(q.Nodes)+len(q.Names) == MaxNames {
			return bad("too many nodes and names")
		}
		switch k.Name() {
		case nameValues:
			q.Ranges = q.Control
		case nameNode:
			r, ok := parseRef(k)
			if !ok || r.ID == "" {
				return bad("a node without nodeId")
			}
			q.Nodes = append(q.Nodes, r)
		case name:
			s := text(k, attrName)
			if s == "" || len(s) > MaxText {
				return bad("a field or parameter without a name")
			}
			if !slices.Contains(q.Names, s) {
				q.Names = append(q.Names, s)
			}
		}
	}
	return nil
}

func parseTypes(c exi.Cursor) (t Types, ok bool) {
	for name, v := range c.Attrs() {
		q := name.Value()
		if q.Space != "" {
			continue
		}
		if bits, is := node.ParseType(q.Local); is {
			b, ok := v.Bool()
			if !ok {
				return 0, false
			}
			if b {
				t |= bits
			}
		}
	}
	return t, true
}

// IsFriend asks whether the sender and somebody may be friends
// (XEP-0324 §3.5).
type IsFriend struct{ JID jid.JID }

// AppendEvents writes the element.
func (f IsFriend) AppendEvents(d *exi.Doc) { f.append(d, NameIsFriend) }

func (f IsFriend) append(d *exi.Doc, name exi.Name) {
	d.Start(name)
	appendJID(d, f.JID)
	d.End()
}

// Recommend is the content of a friend, or with Not of an unfriend, message
// (XEP-0324 §3.6, §3.7).
type Recommend struct {
	JID jid.JID
	Not bool
}

// AppendEvents writes the element.
func (r Recommend) AppendEvents(d *exi.Doc) {
	if r.Not {
		IsFriend{r.JID}.append(d, NameUnfriend)
		return
	}
	IsFriend{r.JID}.append(d, NameFriend)
}

// ParseJID reads an element that is about somebody: isFriend, friend, unfriend.
func ParseJID(c exi.Cursor) (jid.JID, error) {
	j, ok := address(c)
	if !ok || j.String() == "" {
		return j, bad("jid is missing or no address")
	}
	return j, nil
}

// Friendship answers isFriend.
type Friendship struct {
	JID    jid.JID
	Result bool
	// SecondaryTrust: the device may accept friends of its own, and further
	// provisioning servers (0324-R24).
	SecondaryTrust bool
}

// AppendEvents writes the isFriendResponse element.
func (f Friendship) AppendEvents(d *exi.Doc) {
	d.Start(NameIsFriendResponse)
	appendJID(d, f.JID)
	d.Attr(attrResult, exi.BoolValue(f.Result))
	if f.SecondaryTrust {
		d.Attr(attrSecondaryTrust, exi.BoolValue(true))
	}
	d.End()
}

// ParseFriendship reads the element at c.
func ParseFriendship(c exi.Cursor) (f Friendship, err error) {
	if c.Name() != NameIsFriendResponse {
		return f, bad("no answer about friendship")
	}
	v, present := c.Attr(attrResult)
	var ok, okTrust bool
	f.Result, ok = v.Bool()
	f.SecondaryTrust, okTrust = flag(c, attrSecondaryTrust, false)
	if f.JID, err = ParseJID(c); err != nil || !present || !ok || !okTrust {
		return f, bad("an answer about friendship without jid or result")
	}
	return f, nil
}
