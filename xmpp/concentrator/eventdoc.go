package concentrator

import "postern/exi"

// events is the payload of a message: events of any kinds, in order.
type events struct {
	sub  *subscription
	list []seen
}

// seen is an event with what its receiver sees of the tree.
type seen struct {
	*event
	view view
}

// AppendEvents writes the elements. Removals and moves carry the reference
// only (0326-R39).
func (x *events) AppendEvents(d *exi.Doc) {
	for i := range x.list {
		e := &x.list[i]
		d.Start(n(e.kind.String()))
		d.Attr(attr("sourceId"), exi.Str(sourceOf(e.node.Ref)))
		switch e.kind {
		case nodeAdded, nodeUpdated:
			(&information{view: &e.view, params: x.sub.params, messages: x.sub.messages, info: &e.info}).events(d, e.node)
		default:
			d.Attr(attr("nodeId"), exi.Str(e.node.ID))
			if e.node.Cache != "" {
				d.Attr(attr("cacheType"), exi.Str(e.node.Cache))
			}
		}
		if e.kind == nodeStatusChanged {
			d.Attr(attr("state"), exi.Str(e.info.State.String()))
			if x.sub.messages {
				appendMessages(d, e.info.Messages)
			}
		}
		d.End()
	}
}
