package control

import (
	"context"
	"slices"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// handleGetForm answers getForm with the parameters that the requester may
// set (XEP-0325 §3.2.5; R12, D32).
func (s *Service) handleGetForm(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	r, fault := parseRequest(st.Child(), s.cfg.MaxNames)
	if fault != nil {
		return nil, fault
	}
	r.lang = langOf(st)
	f, fault := s.formFor(ctx, r, st.From)
	if fault != nil {
		return nil, fault
	}
	s.sessions.openFor(f, r, st.From, s.cfg.Now())
	return xmpp.Answer{Payload: f, Lang: f.lang}, nil
}

// formFor builds the form that a request asks for.
func (s *Service) formFor(ctx context.Context, r *request, from jid.JID) (*form, *xmpp.Error) {
	state := s.state.Load()
	nodes, unknown := s.targets(state, r.nodes)
	var names []string
	for _, n := range nodes {
		for i := range n.Parameters {
			if name := n.Parameters[i].Name; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	d, fault := s.decide(ctx, state, node.Request{
		From: from.String(), Bare: from.Bare().String(), Nodes: refs(nodes), Parameters: names,
		ServiceToken: r.serviceToken, DeviceToken: r.deviceToken, UserToken: r.userToken,
	})
	switch {
	case fault != nil:
		return nil, fault
	case len(unknown) > 0:
		return nil, refusef(xmpp.ItemNotFound, "there is no node %s", unknown[0])
	case len(nodes) == 0: // R60, D11
		return nil, xmpp.NewError(xmpp.BadRequest, "name the nodes: this gateway has several")
	case len(nodes) > 1 && s.cfg.NoMerge: // R21
		return nil, xmpp.NewError(xmpp.FeatureNotImplemented, "forms of several nodes are not merged here")
	}
	wants := make([]want, len(names))
	for i, name := range names {
		wants[i].name = name
	}
	left, _ := narrow(d, nodes, wants)
	if len(left) == 0 && len(names) > 0 {
		return nil, xmpp.NewError(xmpp.Forbidden, "you may not set anything here")
	}
	if len(left) == 0 {
		left = nodes
	}
	f := s.buildForm(left, d)
	for i := range f.fields { // texts only, never names or values (R34)
		p := &f.fields[i].param
		label, tag := p.LabelIn(r.lang)
		if p.Label = label; tag != "" {
			f.lang = tag
		}
		if p.Name == confirmName {
			p.Doc = saidIn(r.lang, node.Verbatim(p.Doc))
		}
	}
	return f, nil
}

// form is a data form with everything XEP-0325 wants on it.
type form struct {
	title   string
	lang    string // that some of its texts were put into; empty for none
	session string // value of the hidden field; empty for none
	nodes   []node.Ref
	fields  []formField
}

// formField is one control parameter on a form.
type formField struct {
	param node.Parameter // common to all nodes of the form (D25)
	page  string
	value string // the present one, or what was posted back
	known bool
	// posted marks a field that the requester posted back; fault is what is
	// wrong with its value.
	posted bool
	fault  string
}

// buildForm puts the parameters that all nodes have and the requester may set
// on all of them into a form, in the order of the first node (R15, R20, D25).
func (s *Service) buildForm(nodes []*node.Node, d node.Decision) *form {
	f := &form{title: titles(nodes), nodes: refs(nodes)}
	first := nodes[0]
	for i := range first.Parameters {
		p := first.Parameters[i]
		if !s.common(&p, nodes, d) {
			continue
		}
		ff := formField{param: p, page: p.Page}
		if ff.page == "" {
			ff.page = first.Title()
		}
		ff.value, ff.known = s.present(first, &p)
		f.fields = append(f.fields, ff)
	}
	if len(f.fields) > 0 && s.state.Load().asksConfirm(nodes) {
		f.fields = append(f.fields, confirmField(f.fields[len(f.fields)-1].page))
	}
	return f
}

// values are the values shown, an unknown one apart from an empty one.
func (f *form) values() []string {
	out := make([]string, 0, len(f.fields))
	for i := range f.fields {
		v := "?"
		if f.fields[i].known {
			v = "=" + f.fields[i].value
		}
		out = append(out, v)
	}
	return out
}

// titles names up to two nodes.
func titles(nodes []*node.Node) string {
	t := nodes[0].Title()
	if len(nodes) > 1 {
		t += ", " + nodes[1].Title()
	}
	if len(nodes) > 2 {
		t += ", …"
	}
	return t
}

// common narrows p to what all nodes share and reports whether anything is
// left (D25).
func (s *Service) common(p *node.Parameter, nodes []*node.Node, d node.Decision) bool {
	if !p.Narrow(d.Values(nodes[0].Ref, p.Name)) {
		return false
	}
	for _, n := range nodes[1:] {
		o := n.Parameter(p.Name)
		if o == nil || o.Kind != p.Kind || o.Alpha != p.Alpha || !d.Settable(n.Ref, p.Name) {
			return false
		}
		if o.Group != p.Group {
			p.Group = ""
		}
		if o.HasMin && (!p.HasMin || o.Min.Cmp(p.Min) > 0) {
			p.Min, p.HasMin = o.Min, true
		}
		if o.HasMax && (!p.HasMax || o.Max.Cmp(p.Max) < 0) {
			p.Max, p.HasMax = o.Max, true
		}
		if !commonOptions(p, o) || !p.Narrow(d.Values(n.Ref, p.Name)) {
			return false
		}
		if o.Regex != p.Regex {
			p.Regex = "" // the device checks each by its own
		}
	}
	return !(p.HasMin && p.HasMax && p.Min.Cmp(p.Max) > 0)
}

// commonOptions intersects the options; false when a closed list becomes
// empty.
func commonOptions(p, o *node.Parameter) bool {
	if len(p.Options) == 0 && len(o.Options) == 0 {
		return true
	}
	p.Open = p.Open && o.Open
	var both []node.Option
	for _, a := range p.Options {
		if slices.ContainsFunc(o.Options, func(b node.Option) bool { return a.Value == b.Value }) {
			both = append(both, a)
		}
	}
	p.Options = both
	return len(both) > 0
}

// present returns the current value of a parameter as text (R26): the field
// of its name, or what was published for the output itself. A value that is
// missing, failed or old is not shown (R29).
func (s *Service) present(n *node.Node, p *node.Parameter) (text string, ok bool) {
	rd, ok := s.cfg.Live.Get(n.Ref, p.Name)
	if !ok || !rd.Fresh(s.cfg.Now()) {
		return "", false
	}
	v, ok := Convert(rd.Value, p.Kind, s.cfg.Location)
	return lexicalForm(v), ok
}

// AppendEvents writes the form: fields first, as the schema has them, then the
// layout (0004-D1).
func (f *form) AppendEvents(d *exi.Doc) {
	d.Start(nameX)
	d.Attr(attrType, exi.Str("form"))
	if slices.ContainsFunc(f.fields, func(ff formField) bool { return ff.param.Kind == drivers.KindColor }) {
		// For the names in datatype attributes. Misplaced it cannot be here.
		_ = d.Add(exi.Event{Kind: exi.NS, Name: exi.N(nsColor, ""), Prefix: "xdc"})
	}
	d.Element(nameTitle, exi.Str(oneLine(f.title)))
	if f.session != "" {
		d.Start(nameField)
		d.Attr(attrVar, exi.Str(sessionVar))
		d.Attr(attrType, exi.Str("hidden"))
		d.Element(nameValue, exi.Str(f.session))
		d.End()
	}
	for i := range f.fields {
		f.fields[i].appendEvents(d)
	}
	f.appendPages(d)
	d.End()
}

// appendPages references every field once, by the page it is on (R16, R58).
func (f *form) appendPages(d *exi.Doc) {
	var pages []string
	for i := range f.fields {
		if !slices.Contains(pages, f.fields[i].page) {
			pages = append(pages, f.fields[i].page)
		}
	}
	for _, label := range pages {
		d.Start(namePage)
		d.Attr(attrLabel, exi.Str(label))
		for i := range f.fields {
			if f.fields[i].page == label {
				d.Start(nameFieldref)
				d.Attr(attrVar, exi.Str(f.fields[i].param.Name))
				d.End()
			}
		}
		d.End()
	}
}

func (ff *formField) appendEvents(d *exi.Doc) {
	p := &ff.param
	d.Start(nameField)
	d.Attr(attrVar, exi.Str(p.Name))
	d.Attr(attrType, exi.Str(fieldType(p)))
	label := p.Label
	if label == "" {
		label = p.Name
	}
	d.Attr(attrLabel, exi.Str(label))
	if p.Doc != "" {
		d.Element(nameDesc, exi.Str(p.Doc))
	}
	if ff.known {
		d.Element(nameValue, exi.Str(ff.value))
	}
	for _, o := range p.Options {
		d.Start(nameOption)
		if o.Label != "" {
			d.Attr(attrLabel, exi.Str(o.Label))
		}
		d.Element(nameValue, exi.Str(o.Value))
		d.End()
	}
	appendValidate(d, p)
	if ff.fault != "" {
		d.Element(nameDynError, exi.Str(ff.fault))
	}
	if !ff.posted { // else always: R13, R45, D27
		d.Start(nameNotSame)
		d.End()
	}
	if p.Group != "" {
		d.Start(nameParameterGroup)
		d.Attr(attrName, exi.Str(p.Group))
		d.End()
	}
	d.End()
}

// fieldType follows the digest's table (§8).
func fieldType(p *node.Parameter) string {
	switch {
	case p.Kind == drivers.KindBool:
		return "boolean"
	case len(p.Options) > 0:
		return "list-single"
	}
	return "text-single"
}

// appendValidate writes data type and exactly one method (R14, R52).
func appendValidate(d *exi.Doc, p *node.Parameter) {
	d.Start(nameValidate)
	d.Attr(attrDatatype, exi.Str(datatype(p)))
	switch {
	case p.Kind == drivers.KindColor && p.Alpha:
		d.Element(nameRegex, exi.Str("[0-9a-fA-F]{6}([0-9a-fA-F]{2})?"))
	case p.Kind == drivers.KindColor:
		d.Element(nameRegex, exi.Str("[0-9a-fA-F]{6}"))
	case len(p.Options) > 0 && p.Open:
		d.Element(nameOpen, exi.Value{})
	case len(p.Options) > 0:
		d.Element(nameBasic, exi.Value{}) // any other method would open the list
	case p.Regex != "":
		d.Element(nameRegex, exi.Str(p.Regex))
	case p.HasMin || p.HasMax:
		d.Start(nameRange)
		if p.HasMin {
			d.Attr(attrMin, exi.Str(p.Min.String()))
		}
		if p.HasMax {
			d.Attr(attrMax, exi.Str(p.Max.String()))
		}
		d.End()
	default:
		d.Element(nameBasic, exi.Value{})
	}
	d.End()
}

func datatype(p *node.Parameter) string {
	switch p.Kind {
	case drivers.KindColor:
		if p.Alpha {
			return "xdc:ColorAlpha"
		}
		return "xdc:Color"
	}
	return "xs:" + typeName(p.Kind)
}

// oneLine keeps newlines out of titles (0004-R13).
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
