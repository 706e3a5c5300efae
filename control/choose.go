package control

import (
	"context"
	"slices"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// write is one value for one parameter of one node.
type write struct {
	node  *node.Node
	param *node.Parameter
	value drivers.Value
	epoch uint64 // of the output, when its rules allowed the write
	by    holder // who wants it; zero for a move into the safe state
}

// output is what is written.
func (w *write) output() Output { return Output{w.node.Ref, w.param.Name} }

// job is a checked command on its way to the outputs.
type job struct {
	state  *state
	epoch  uint64
	cmd    Command
	writes []write
	result Result
	ctx    context.Context // of the service's Run
	local  bool            // nobody far away waits; access was not asked
	code   string          // of a confirmation
	asked  bool            // the refusal holds a new code
}

// choose resolves nodes, asks access, narrows, and checks every value on every
// node (R11), in the order of D26: stranger, unknown node, no privilege,
// unknown parameter, value. An empty bare JID stands for the gateway itself.
func (s *Service) choose(ctx context.Context, j *job, r *request, bare string) *xmpp.Error {
	nodes, unknown := s.targets(j.state, r.nodes)
	asked := len(r.wants) > 0
	j.code, r.wants = takeCode(j.state, nodes, r.wants)
	names := wantNames(r.wants)
	d := node.Everything()
	if !j.local {
		ask := node.Request{
			From: j.cmd.From, Bare: bare, Nodes: refs(nodes), Parameters: names,
			ServiceToken: r.serviceToken, DeviceToken: r.deviceToken, UserToken: r.userToken,
		}
		var fault *xmpp.Error
		if d, fault = s.decide(ctx, j.state, ask); fault != nil {
			return fault
		}
	}
	switch {
	case len(unknown) > 0: // also one of several: nothing is done then (R11)
		return refusef(xmpp.ItemNotFound, "there is no node %s", unknown[0])
	case len(r.wants) == 0 && asked && !r.form:
		return xmpp.NewError(xmpp.BadRequest, "there is nothing to set but a code")
	case len(r.wants) == 0:
		return nil // R41
	case len(nodes) == 0: // D11: no default to all nodes
		return xmpp.NewError(xmpp.BadRequest, "name the nodes to set: this gateway has several")
	}
	wants := r.wants
	if r.form {
		if wants = known(nodes, wants); len(wants) == 0 { // D24
			return refuse(xmpp.ItemNotFound, missing(nodes, r.wants))
		}
		j.result.ParametersNarrowed = len(wants) < len(r.wants)
	}
	left, allowed := narrow(d, nodes, wants)
	if len(left) == 0 || len(allowed) == 0 {
		return xmpp.NewError(xmpp.Forbidden, "you may not set this")
	}
	j.result.NodesNarrowed = len(left) < len(nodes)
	j.result.ParametersNarrowed = j.result.ParametersNarrowed || len(allowed) < len(wants)
	j.result.Nodes, j.result.Parameters = refs(left), wantNames(allowed)
	if fault := s.check(j, d, left, allowed); fault != nil {
		return fault
	}
	return s.confirmed(j, bare)
}

// targets finds the nodes of a request; none stands for the gateway itself.
// Unlike a read-out, a command never reaches nodes below the named ones.
func (s *Service) targets(st *state, patterns []node.Ref) (nodes []*node.Node, unknown []node.Ref) {
	if len(patterns) > 0 {
		nodes, unknown = st.tree.Resolve(patterns, false)
		return dedup(nodes), unknown
	}
	if self := st.tree.Self(); self != nil && len(self.Parameters) > 0 {
		return []*node.Node{self}, nil
	}
	return nil, nil
}

func dedup(nodes []*node.Node) []*node.Node {
	var out []*node.Node
	for _, n := range nodes {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// narrow takes away what is not granted: nodes with nothing granted, then
// parameters not granted on every node left, so that what is reported is what
// is done (D13, D18).
func narrow(d node.Decision, nodes []*node.Node, wants []want) ([]*node.Node, []want) {
	var left []*node.Node
	for _, n := range nodes {
		if slices.ContainsFunc(wants, func(w want) bool { return d.Settable(n.Ref, w.name) }) {
			left = append(left, n)
		}
	}
	var allowed []want
	for _, w := range wants {
		if !slices.ContainsFunc(left, func(n *node.Node) bool { return !d.Settable(n.Ref, w.name) }) {
			allowed = append(allowed, w)
		}
	}
	return left, allowed
}

// known leaves out wants that no node knows.
func known(nodes []*node.Node, wants []want) []want {
	var out []want
	for _, w := range wants {
		if slices.ContainsFunc(nodes, func(n *node.Node) bool { return n.Parameter(w.name) != nil }) {
			out = append(out, w)
		}
	}
	return out
}

// missing lists the parameters that some node does not have.
func missing(nodes []*node.Node, wants []want) (faults paramErrors) {
	for _, w := range wants {
		for _, n := range nodes {
			if n.Parameter(w.name) == nil && !faults.has(w.name) {
				faults = append(faults, paramFault{w.name, node.Phrasef("is no parameter of %s", n.Title())})
			}
		}
	}
	return faults
}

func (p paramErrors) has(name string) bool {
	return slices.ContainsFunc(p, func(f paramFault) bool { return f.name == name })
}

// check makes the writes in their order: for each parameter, all nodes (D19).
// A value that the requester may not set refuses all of it: to leave it out, as
// parameters are that may not be set at all, would do something else than was
// asked for.
func (s *Service) check(j *job, d node.Decision, nodes []*node.Node, wants []want) *xmpp.Error {
	if faults := missing(nodes, wants); len(faults) > 0 {
		return refuse(xmpp.ItemNotFound, faults)
	}
	var faults, denied paramErrors
	for i := range wants {
		w := &wants[i]
		for at, n := range nodes {
			p := n.Parameter(w.name)
			v, err := w.value(p, s.cfg.Location)
			if err != nil {
				if !faults.has(w.name) {
					faults = append(faults, paramFault{w.name, node.PhraseOf(err)})
				}
				continue
			}
			if may := d.Values(n.Ref, w.name); !may.Contains(v) && !denied.has(w.name) {
				denied = append(denied, paramFault{w.name, node.Phrasef("may be set by you to %s only", node.Verbatim(may.String()))})
			}
			if at == 0 {
				j.cmd.Assignments = append(j.cmd.Assignments, Assignment{w.name, v})
			}
			j.writes = append(j.writes, write{node: n, param: p, value: v, by: holder{j.cmd.Origin, j.cmd.From}})
		}
	}
	if len(faults) > 0 {
		j.writes = nil
		return refuse(xmpp.BadRequest, faults)
	}
	if len(denied) > 0 {
		j.writes = nil
		return refuse(xmpp.Forbidden, denied)
	}
	j.cmd.Nodes = refs(nodes)
	return nil
}

func refs(nodes []*node.Node) []node.Ref {
	out := make([]node.Ref, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, n.Ref)
	}
	return out
}

// wantNames lists the names, each once.
func wantNames(wants []want) []string {
	out := make([]string, 0, len(wants))
	for _, w := range wants {
		if !slices.Contains(out, w.name) {
			out = append(out, w.name)
		}
	}
	return out
}
