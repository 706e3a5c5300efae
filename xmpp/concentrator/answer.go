package concentrator

import (
	"time"

	"postern/exi"
	"postern/internal/node"
)

// answer is the payload of a response: the command's name with Response behind
// it, and the result code. Failures carry what the types demand (0326-D15).
type answer struct {
	name    string
	result  string
	request *request // nil for what is not implemented

	text    string
	values  []string
	sources []string
	self    *node.Node // information on the element itself
	nodes   []*node.Node
}

// AppendEvents writes the element.
func (a *answer) AppendEvents(d *exi.Doc) {
	d.Start(n(a.name + "Response"))
	d.Attr(attr("result"), exi.Str(a.result))
	switch {
	case a.self != nil:
		a.info().events(d, a.self)
	case a.name == "getNode" && a.request != nil:
		d.Attr(attr("nodeId"), exi.Str(a.request.ref.ID))
		d.Attr(attr("state"), exi.Str(None.String()))
		d.Attr(attr("hasChildren"), exi.BoolValue(false))
	case a.name == "containsNode" && a.text == "":
		a.text = "false"
	}
	if a.text != "" {
		d.Text(exi.Str(a.text))
	}
	for _, v := range a.values {
		d.Element(n("value"), exi.Str(v))
	}
	for _, src := range a.sources {
		d.Start(n("dataSource"))
		d.Attr(attr("sourceId"), exi.Str(src))
		d.Attr(attr("name"), exi.Str(sourceName(src)))
		d.Attr(attr("hasChildren"), exi.BoolValue(false))
		d.Attr(attr("lastChanged"), exi.TimeValue(a.request.svc.lastChanged(src), 3))
		d.End()
	}
	for _, nd := range a.nodes {
		d.Start(n("node"))
		a.info().events(d, nd)
		d.End()
	}
	d.End()
}

func (a *answer) info() *information {
	return &information{view: &a.request.view, params: a.request.params, messages: a.request.messages}
}

func sourceName(src string) string {
	if src == Source {
		return "Sensors and actuators"
	}
	return src
}

// lastChanged is when the last node of a source came or changed.
func (s *Service) lastChanged(source string) time.Time {
	s.mu.Lock()
	last := s.since
	s.mu.Unlock()
	s.stamps.Lock()
	defer s.stamps.Unlock()
	for r, t := range s.changed {
		if sourceOf(r) == source && t.After(last) {
			last = t
		}
	}
	return last.Round(0)
}

// information writes what is known about nodes, as far as it was asked for
// (0326-R35).
type information struct {
	view     *view
	params   bool
	messages bool
	info     *Info // already at hand, else nil
}

// events writes the attributes of a node and its children into an element that
// has been started.
func (x *information) events(d *exi.Doc, nd *node.Node) {
	info := x.info
	if info == nil {
		i := x.view.svc.cfg.Info(nd)
		info = &i
	}
	text := func(name, v string) {
		if v != "" {
			d.Attr(attr(name), exi.Str(v))
		}
	}
	text("nodeId", nd.ID)
	text("displayName", nd.Label)
	text("nodeType", info.Type)
	text("cacheType", nd.Cache)
	text("state", info.State.String())
	d.Attr(attr("hasChildren"), exi.BoolValue(len(x.view.children(nd)) > 0))
	flag := func(name string, on bool) {
		if on {
			d.Attr(attr(name), exi.BoolValue(true))
		}
	}
	flag("isReadable", len(nd.Fields) > 0 && x.view.read.Covers(nd.Ref))
	flag("isControllable", len(nd.Parameters) > 0 && x.view.control.Covers(nd.Ref))
	if p := x.view.parent(nd); p != nil {
		text("parentId", p.ID)
		text("parentCacheType", p.Cache)
	}
	s := x.view.svc
	s.stamps.Lock()
	at, known := s.changed[nd.Ref]
	s.stamps.Unlock()
	if known {
		d.Attr(attr("lastChanged"), exi.TimeValue(at.Round(0), 3))
	}
	if x.params {
		for _, p := range info.Params {
			d.Start(n("string"))
			d.Attr(attr("id"), exi.Str(p.ID))
			d.Attr(attr("name"), exi.Str(p.Name))
			d.Attr(attr("value"), exi.Str(p.Value))
			d.End()
		}
	}
	if x.messages {
		appendMessages(d, info.Messages)
	}
}

func appendMessages(d *exi.Doc, list []Message) {
	for _, m := range list {
		d.Start(n("message"))
		d.Attr(attr("timestamp"), exi.TimeValue(m.Time.Round(0), 3))
		d.Attr(attr("type"), exi.Str(m.Type))
		d.Text(exi.Str(m.Text))
		d.End()
	}
}
