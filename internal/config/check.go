package config

import (
	"slices"
	"strconv"
)

// references checks what leads from one place of the file to another: ids,
// buses, parents, nodes of grants.
func (l *loader) references(root *node) {
	ids := map[string]*node{}
	var names []string
	for i, nd := range l.cfg.Nodes {
		at := l.nodes[i].get("id")
		if at == nil || nd.ID == "" {
			continue
		}
		if first := ids[nd.ID]; first != nil {
			l.add(at, "nodes["+nd.ID+"].id", "the id is taken by the node in line "+strconv.Itoa(first.line), "give each node its own id")
			continue
		}
		ids[nd.ID] = at
		names = append(names, nd.ID)
	}
	for i := range l.cfg.Nodes {
		l.busRef(i)
		l.parentRef(i, names)
	}
	l.loops()
	l.claims()
	l.conditions(names)
	l.computed(names)
	l.thingNodes(root, names)
	l.subscribers(root, names)
	grants := root.get("access").get("allow")
	for i, g := range l.cfg.Access.Allow {
		for j, id := range g.Nodes {
			if !slices.Contains(names, id) {
				at := grants
				if i < len(grants.items) {
					if list := grants.items[i].get("nodes"); list != nil && j < len(list.items) {
						at = list.items[j]
					}
				}
				l.add(at, "access.allow["+strconv.Itoa(i)+"].nodes", "there is no node "+quote(id), suggest(id, names))
			}
		}
	}
}

// busRef checks the key bus of a node.
func (l *loader) busRef(i int) {
	nd, n := &l.cfg.Nodes[i], l.nodes[i]
	kind := l.kinds.device(nd.Kind)
	if kind.Bus == "" || nd.Bus == "" {
		return
	}
	path := "nodes[" + nd.ID + "].bus"
	at := n.get("bus")
	if at == nil {
		at = n
	}
	if b, ok := l.cfg.Buses[nd.Bus]; ok {
		if b.Type != kind.Bus {
			l.add(at, path, "the bus "+quote(nd.Bus)+" is of type "+b.Type+", but "+nd.Kind+" needs "+kind.Bus, "name a bus of type "+kind.Bus)
		}
		return
	}
	bus := l.kinds.bus(kind.Bus)
	if bus != nil && bus.Direct != nil && bus.Direct(nd.Bus) {
		return
	}
	var fit []string
	for id, b := range l.cfg.Buses {
		if b.Type == kind.Bus {
			fit = append(fit, id)
		}
	}
	slices.Sort(fit)
	fix := "add it to buses: " + nd.Bus + ": {type: " + kind.Bus + ", …}"
	if len(fit) > 0 {
		fix = suggest(nd.Bus, fit)
	}
	l.add(at, path, "there is no bus "+quote(nd.Bus), fix)
}

func (l *loader) parentRef(i int, names []string) {
	nd := &l.cfg.Nodes[i]
	if nd.Parent == "" || slices.Contains(names, nd.Parent) {
		return
	}
	l.add(l.nodes[i].get("parent"), "nodes["+nd.ID+"].parent", "there is no node "+quote(nd.Parent), suggest(nd.Parent, names))
}

// claims reports what two devices want to have for themselves.
func (l *loader) claims() {
	taken := map[string]*node{}
	for i := range l.cfg.Nodes {
		nd, n := &l.cfg.Nodes[i], l.nodes[i]
		kind := l.kinds.device(nd.Kind)
		if kind.Claims == nil {
			continue
		}
		what, key := kind.Claims(nd.Config)
		if what == "" {
			continue
		}
		if first := taken[what]; first != nil {
			at := n.get(key)
			if at == nil {
				at = n
			}
			l.add(at, "nodes["+nd.ID+"]", what+" is taken by the node in line "+strconv.Itoa(first.line), "change "+key+", or remove one of the two")
			continue
		}
		taken[what] = n
	}
}

// loops reports nodes that are their own ancestors.
func (l *loader) loops() {
	parent := map[string]string{}
	for _, nd := range l.cfg.Nodes {
		parent[nd.ID] = nd.Parent
	}
	for i, nd := range l.cfg.Nodes {
		steps := 0
		for p := nd.Parent; p != "" && steps <= len(parent); p = parent[p] {
			if p == nd.ID {
				l.add(l.nodes[i].get("parent"), "nodes["+nd.ID+"].parent", "the node is part of itself", "break the circle of parents")
				break
			}
			steps++
		}
	}
}

// channels checks the names of channels in fields and writable, and that no
// two fields get the same name.
func (l *loader) channels(n *node, path string, nd *Node, kind *Kind) {
	l.fieldNames(n, path, nd)
	if kind.Channels == nil {
		return
	}
	known, ok := kind.Channels(nd.Config)
	if !ok {
		return
	}
	var all, writable []string
	for _, c := range known {
		all = append(all, c.Name)
		if c.Writable {
			writable = append(writable, c.Name)
		}
	}
	if fields := n.get("fields"); fields != nil {
		for _, k := range fields.keys {
			if !slices.Contains(all, k.text) {
				l.add(k, join(path, "fields"), "the device has no channel "+quote(k.text), suggest(k.text, all))
			}
		}
	}
	l.ruleNames(n, path, nd, known, all, writable)
	l.calibrations(n, path, nd, writable)
	if list := n.get("writable"); list != nil {
		for _, item := range list.items {
			switch {
			case slices.Contains(writable, item.text):
			case slices.Contains(all, item.text):
				l.add(item, join(path, "writable"), "the channel "+quote(item.text)+" cannot be switched", suggest("", writable))
			default:
				l.add(item, join(path, "writable"), "the device has no channel "+quote(item.text), suggest(item.text, writable))
			}
		}
	}
}

func (l *loader) fieldNames(n *node, path string, nd *Node) {
	fields := n.get("fields")
	if fields == nil {
		return
	}
	taken := map[string]string{}
	for i, k := range fields.keys {
		name := nd.Fields[k.text].Name
		if name == "" {
			name = k.text
		}
		if other, twice := taken[name]; twice {
			at := fields.items[i]
			l.add(at, join(path, "fields."+k.text), "the channel "+other+" is also shown as "+quote(name), "give each field its own name")
		}
		taken[name] = k.text
	}
}
