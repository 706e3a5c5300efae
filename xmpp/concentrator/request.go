package concentrator

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// Result codes (XEP-0326 §3.2). They stand in an iq result, also for failures
// (0326-D1).
const (
	ok             = "OK"
	notFound       = "NotFound"
	noPrivilege    = "InsufficientPrivileges"
	notImplemented = "NotImplemented"
	formError      = "FormError"
	otherError     = "OtherError"
)

// request is one command with what most of them have.
type request struct {
	svc      *Service
	st       *xmpp.Stanza
	elem     exi.Cursor
	view     view
	source   string
	ref      node.Ref // of commands about one node
	params   bool
	messages bool
}

// command fills the answer.
type command func(r *request, a *answer)

func (s *Service) commands() map[string]command {
	return map[string]command{
		"getCapabilities":    (*request).capabilities,
		"getAllDataSources":  (*request).sources,
		"getRootDataSources": (*request).sources, // no source is part of another
		"containsNode":       (*request).containsNode,
		"containsNodes":      (*request).containsNodes,
		"getNode":            (*request).getNode,
		"getNodes":           (*request).getNodes,
		"getAllNodes":        (*request).allNodes,
		"getRootNodes":       (*request).rootNodes,
		"getChildNodes":      (*request).childNodes,
		"getAncestors":       (*request).ancestors,
		"subscribe":          (*request).subscribe,
		"unsubscribe":        (*request).unsubscribe,
	}
}

// maxNamed bounds the nodes named in one request.
const maxNamed = 1000

func (s *Service) serve(ctx context.Context, st *xmpp.Stanza, name string, f command) *answer {
	r := &request{svc: s, st: st, elem: st.Child()}
	var ask node.Request
	for at, v := range r.elem.Attrs() {
		switch at.Value() {
		case exi.QName{Local: "sourceId"}:
			r.source = v.String()
		case exi.QName{Local: "nodeId"}:
			r.ref.ID = v.String()
		case exi.QName{Local: "cacheType"}:
			r.ref.Cache = v.String()
		case exi.QName{Local: "parameters"}:
			r.params, _ = v.Bool()
		case exi.QName{Local: "messages"}:
			r.messages, _ = v.Bool()
		case exi.QName{Local: "deviceToken"}:
			ask.DeviceToken = v.String()
		case exi.QName{Local: "serviceToken"}:
			ask.ServiceToken = v.String()
		case exi.QName{Local: "userToken"}:
			ask.UserToken = v.String()
		}
	}
	r.ref.Source = r.source
	r.view = s.look(ctx, st.From, ask)
	a := &answer{name: name, result: ok, request: r}
	if r.view.nothing() && name != "unsubscribe" { // ending one's own subscription needs no right
		a.result = noPrivilege
		return a
	}
	f(r, a)
	return a
}

func (r *request) capabilities(a *answer) {
	for name := range r.svc.commands() {
		a.values = append(a.values, name)
	}
	slices.Sort(a.values)
}

func (r *request) sources(a *answer) { a.sources = sources(r.view.tree) }

// hasSource checks the source that a request names.
func (r *request) hasSource(a *answer) bool {
	if !slices.Contains(sources(r.view.tree), r.source) {
		a.result = notFound
	}
	return a.result == ok
}

func (r *request) containsNode(a *answer) {
	a.text = "false"
	if r.hasSource(a) && r.view.node(r.ref) != nil {
		a.text = "true"
	}
}

// named reads the node children of a request in their order.
func (r *request) named(a *answer) []node.Ref {
	var refs []node.Ref
	for c := range r.elem.Children() {
		if c.Name() != n("node") {
			continue
		}
		if len(refs) == maxNamed {
			a.result = otherError
			return nil
		}
		refs = append(refs, refOf(c))
	}
	return refs
}

func refOf(c exi.Cursor) (r node.Ref) {
	for at, v := range c.Attrs() {
		switch at.Value() {
		case exi.QName{Local: "sourceId"}:
			r.Source = v.String()
		case exi.QName{Local: "nodeId"}:
			r.ID = v.String()
		case exi.QName{Local: "cacheType"}:
			r.Cache = v.String()
		}
	}
	return r
}

// containsNodes answers in the order and number of the question (0326-R07).
func (r *request) containsNodes(a *answer) {
	for _, ref := range r.named(a) {
		v := "false"
		if r.view.node(ref) != nil {
			v = "true"
		}
		a.values = append(a.values, v)
	}
}

func (r *request) getNode(a *answer) {
	if !r.hasSource(a) {
		return
	}
	if a.self = r.view.node(r.ref); a.self == nil {
		a.result = notFound
	}
}

// getNodes shows all nodes or, where one is not there, none (0326-D17).
func (r *request) getNodes(a *answer) {
	for _, ref := range r.named(a) {
		nd := r.view.node(ref)
		if nd == nil {
			a.result, a.nodes = notFound, nil
			return
		}
		a.nodes = append(a.nodes, nd)
	}
}

func (r *request) list(a *answer, nodes []*node.Node, most int) {
	if len(nodes) > most {
		a.result = notImplemented // 0326-D10: walk the children
		return
	}
	a.nodes = nodes
}

// allNodes shows the nodes that are of every class named (0326-R10). A node's
// only class is its kind.
func (r *request) allNodes(a *answer) {
	if !r.hasSource(a) {
		return
	}
	var classes []string
	for c := range r.elem.Children() {
		if c.Name() == n("onlyIfDerivedFrom") && len(classes) < maxNamed {
			classes = append(classes, strings.TrimSpace(c.Text().String()))
		}
	}
	r.list(a, r.view.in(r.source, func(nd *node.Node) bool {
		for _, class := range classes {
			if r.svc.cfg.Info(nd).Type != class {
				return false
			}
		}
		return true
	}), r.svc.cfg.Limits.AllNodes)
}

func (r *request) rootNodes(a *answer) {
	if r.hasSource(a) {
		r.list(a, r.view.in(r.source, func(nd *node.Node) bool { return r.view.parent(nd) == nil }), r.svc.cfg.Limits.List)
	}
}

func (r *request) childNodes(a *answer) {
	if !r.hasSource(a) {
		return
	}
	nd := r.view.node(r.ref)
	if nd == nil {
		a.result = notFound
		return
	}
	nodes := r.view.children(nd)
	r.sort(nodes)
	r.list(a, nodes, r.svc.cfg.Limits.List)
}

// sort follows the sortOrder children, the first being the most important.
// Names that no node has leave the order as it is.
func (r *request) sort(nodes []*node.Node) {
	type by struct {
		of   func(*node.Node) string
		down bool
	}
	var keys []by
	for c := range r.elem.Children() {
		if c.Name() != n("sortOrder") || len(keys) == 10 {
			continue
		}
		name, _ := c.Attr(attr("parameterName"))
		up := true
		if v, given := c.Attr(attr("ascending")); given {
			up, _ = v.Bool()
		}
		switch name.String() {
		case "nodeId":
			keys = append(keys, by{func(nd *node.Node) string { return nd.ID }, !up})
		case "displayName":
			keys = append(keys, by{func(nd *node.Node) string { return nd.Title() }, !up})
		case "nodeType":
			keys = append(keys, by{func(nd *node.Node) string { return r.svc.cfg.Info(nd).Type }, !up})
		}
	}
	slices.SortStableFunc(nodes, func(x, y *node.Node) int {
		for _, k := range keys {
			if c := strings.Compare(k.of(x), k.of(y)); c != 0 {
				if k.down {
					return -c
				}
				return c
			}
		}
		return 0
	})
}

// ancestors shows the node itself and what it stands below, up to the root
// (0326-R09).
func (r *request) ancestors(a *answer) {
	if !r.hasSource(a) {
		return
	}
	nd := r.view.node(r.ref)
	if nd == nil {
		a.result = notFound
	}
	for ; nd != nil; nd = r.view.parent(nd) {
		a.nodes = append(a.nodes, nd)
	}
}

// timeOf reads a dateTime attribute; a missing zone is ours.
func timeOf(c exi.Cursor, name string) (t time.Time, given, valid bool) {
	v, given := c.Attr(attr(name))
	if !given {
		return t, false, true
	}
	t, _, valid = v.Time(time.Local)
	return t, true, valid
}
