package gateway

import (
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/concentrator"
)

// openConcentrator makes the service that shows the tree of nodes.
func (g *Gateway) openConcentrator(t *node.Tree, mux *xmpp.Mux) error {
	var err error
	g.concentrator, err = concentrator.New(concentrator.Config{
		Tree: t, Access: g.decides(), Sender: g.session, Info: g.nodeInfo, Logger: g.log.With("part", "concentrator"),
	})
	if err != nil {
		return err
	}
	g.concentrator.Register(mux)
	return nil
}

// showTree tells subscribers what a new tree changed. Steps on the way to it, in
// which changed devices are missing, are not told.
func (g *Gateway) showTree() {
	g.mu.Lock()
	t := g.tree
	g.mu.Unlock()
	g.concentrator.Apply(t)
}

// nodeInfo tells how a node is: in error when its device cannot be read, with
// a warning when some of its fields fail or carry one.
func (g *Gateway) nodeInfo(n *node.Node) concentrator.Info {
	var info concentrator.Info
	d := g.hw.get(n.Device)
	if d == nil {
		info.Type = "group"
	} else {
		info.Type = d.node.Kind
		if d.slot != nil {
			if why := d.slot.failure(); why != "" {
				info.State = concentrator.ErrorUnsigned
				info.Messages = append(info.Messages, concentrator.Message{Type: "Error", Text: why, Time: time.Now()})
			}
		}
	}
	info.Params = []concentrator.Param{{ID: "label", Name: "Label", Value: n.Title()}, {ID: "kind", Name: "Kind", Value: info.Type}}
	if info.State == concentrator.None {
		g.fieldStates(n, &info)
	}
	return info
}

// fieldStates derives the state of a node from its readings.
func (g *Gateway) fieldStates(n *node.Node, info *concentrator.Info) {
	read, failed := 0, 0
	for i := range n.Fields {
		f := &n.Fields[i]
		rd, ok := g.live.Get(n.Ref, f.Name)
		if !ok || f.Const.Kind() != drivers.KindNone {
			continue
		}
		read++
		switch {
		case rd.Err != nil:
			failed++
			if len(info.Messages) < maxMessages {
				info.Messages = append(info.Messages, concentrator.Message{Type: "Error", Text: f.Name + ": " + rd.Err.Error(), Time: rd.Time})
			}
		case rd.Quality&live.Warning != 0:
			info.State = concentrator.WarningUnsigned
			if len(info.Messages) < maxMessages {
				info.Messages = append(info.Messages, concentrator.Message{Type: "Warning", Text: f.Name + ": flagged " + rd.Quality.String(), Time: rd.Time})
			}
		}
	}
	switch {
	case failed > 0 && failed == read:
		info.State = concentrator.ErrorUnsigned
	case failed > 0:
		info.State = concentrator.WarningUnsigned
	}
}

// maxMessages bounds what a node says about its state.
const maxMessages = 10
