package node

import (
	"errors"
	"fmt"
)

// Tree is an immutable snapshot of all nodes behind the JID, safe for
// concurrent use. A changed configuration makes a new one.
type Tree struct {
	nodes    []*Node // in the order given
	byRef    map[Ref]*Node
	byID     map[string][]*Node
	children map[Ref][]*Node
	self     *Node
}

// NewTree checks the nodes and builds a Tree of them. References must be
// unique and not empty, parents must exist, fields and parameters have unique
// names. The slice and what it holds must not be changed afterwards.
func NewTree(nodes []Node) (*Tree, error) {
	t := &Tree{
		nodes:    make([]*Node, 0, len(nodes)),
		byRef:    make(map[Ref]*Node, len(nodes)),
		byID:     make(map[string][]*Node, len(nodes)),
		children: make(map[Ref][]*Node),
	}
	texts := make(map[[2]string]string)
	for i := range nodes {
		if err := t.add(&nodes[i]); err != nil {
			return nil, err
		}
		if err := oneText(texts, &nodes[i]); err != nil {
			return nil, err
		}
	}
	for _, n := range t.nodes {
		if n.Parent == (Ref{}) {
			continue
		}
		if t.byRef[n.Parent] == nil {
			return nil, fmt.Errorf("node %s: its parent %s does not exist", n.Ref, n.Parent)
		}
		t.children[n.Parent] = append(t.children[n.Parent], n)
	}
	if err := t.checkCycles(); err != nil {
		return nil, err
	}
	if t.self == nil && len(t.nodes) == 1 {
		t.self = t.nodes[0]
	}
	return t, nil
}

func (t *Tree) add(n *Node) error {
	if n.ID == "" {
		return fmt.Errorf("a node needs an id")
	}
	if t.byRef[n.Ref] != nil {
		return fmt.Errorf("two nodes are called %s", n.Ref)
	}
	if n.Self {
		if t.self != nil {
			return fmt.Errorf("both %s and %s stand for the gateway itself", t.self.Ref, n.Ref)
		}
		t.self = n
	}
	fields := make(map[string]bool, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Name == "" || fields[f.Name] {
			return fmt.Errorf("node %s: field name %q is empty or used twice", n.Ref, f.Name)
		}
		fields[f.Name] = true
		err := f.checkLocalisation()
		if c := f.Calibration; c != nil && err == nil {
			if err = c.check(); err == nil && n.sets(f.SourceChannel()) {
				err = errors.New("what can be set cannot be calibrated")
			}
		}
		if err != nil {
			return fmt.Errorf("node %s: field %s: %w", n.Ref, f.Name, err)
		}
		if f.Types == 0 {
			f.Types = Momentary
		}
	}
	params := make(map[string]bool, len(n.Parameters))
	for i := range n.Parameters {
		p := &n.Parameters[i]
		if p.Name == "" || params[p.Name] {
			return fmt.Errorf("node %s: parameter name %q is empty or used twice", n.Ref, p.Name)
		}
		params[p.Name] = true
		if err := p.check(); err != nil {
			return fmt.Errorf("node %s: parameter %s: %w", n.Ref, p.Name, err)
		}
	}
	t.nodes = append(t.nodes, n)
	t.byRef[n.Ref] = n
	t.byID[n.ID] = append(t.byID[n.ID], n)
	return nil
}

// sets reports whether a parameter writes the channel.
func (n *Node) sets(channel string) bool {
	for i := range n.Parameters {
		if n.Parameters[i].TargetChannel() == channel {
			return true
		}
	}
	return false
}

func (t *Tree) checkCycles() error {
	done := make(map[*Node]bool, len(t.nodes))
	for _, n := range t.nodes {
		steps := 0
		for at := n; at != nil && !done[at]; at = t.byRef[at.Parent] {
			if steps++; steps > len(t.nodes) {
				return fmt.Errorf("node %s is its own ancestor", n.Ref)
			}
		}
		done[n] = true
	}
	return nil
}

// Nodes returns all nodes in the order of the configuration. The slice must
// not be changed.
func (t *Tree) Nodes() []*Node { return t.nodes }

// Node returns the node with exactly that reference, or nil.
func (t *Tree) Node(r Ref) *Node { return t.byRef[r] }

// Self returns the node that stands for the gateway itself, or nil.
func (t *Tree) Self() *Node { return t.self }

// Children returns the nodes directly below r. The slice must not be changed.
func (t *Tree) Children(r Ref) []*Node { return t.children[r] }

// Lookup appends the nodes that the pattern means to dst: an id alone that is
// used in several sources means all of them (0323-R42, 0325-R35).
func (t *Tree) Lookup(dst []*Node, pattern Ref) []*Node {
	for _, n := range t.byID[pattern.ID] {
		if pattern.Matches(n.Ref) {
			dst = append(dst, n)
		}
	}
	return dst
}

// Resolve returns the nodes that the patterns mean, each once, in the order of
// the patterns, and the patterns that mean nothing. With below, everything
// under a matched node follows it (0323-R44). No patterns mean all nodes
// (0323-R57).
func (t *Tree) Resolve(patterns []Ref, below bool) (nodes []*Node, unknown []Ref) {
	if len(patterns) == 0 {
		return t.nodes, nil
	}
	if len(patterns) == 1 && !below {
		if nodes = t.Lookup(nil, patterns[0]); len(nodes) == 0 {
			unknown = patterns
		}
		return nodes, unknown
	}
	seen := make(map[*Node]bool, len(patterns))
	var add func(n *Node)
	add = func(n *Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		nodes = append(nodes, n)
		if below {
			for _, c := range t.children[n.Ref] {
				add(c)
			}
		}
	}
	var buf [8]*Node
	for _, p := range patterns {
		found := t.Lookup(buf[:0], p)
		if len(found) == 0 {
			unknown = append(unknown, p)
		}
		for _, n := range found {
			add(n)
		}
	}
	return nodes, unknown
}
