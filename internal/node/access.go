package node

import (
	"context"
	"slices"
)

// Request asks for the right to read or to set. Empty lists stand for
// everything there is.
type Request struct {
	From string // full JID of the requester as its server stamped it
	Bare string // the same without the resource: the subject of the decision

	Nodes      []Ref    // resolved nodes
	Fields     []string // reading: field names
	Types      Types    // reading: field types
	Parameters []string // setting: parameter names

	// Tokens as the request carried them, each possibly several separated by
	// a space (XEP-0324).
	ServiceToken, DeviceToken, UserToken string
}

// Access decides who may read and set. Implementations are safe for concurrent
// use and fail closed: an error, like an empty Decision, denies.
type Access interface {
	CanRead(ctx context.Context, r Request) (Decision, error)
	CanControl(ctx context.Context, r Request) (Decision, error)
}

// Decision is what a requester may do: the union of its scopes. The zero
// Decision allows nothing.
type Decision struct {
	Scopes []Scope
	// Except are nodes that no scope covers.
	Except []Ref
}

// Scope allows every combination of the nodes, names and types in it. Empty
// lists, and no types, stand for all: the zero Scope allows everything.
type Scope struct {
	Nodes      []Ref // patterns
	Fields     []string
	Types      Types
	Parameters []string
	// Values limits what parameters may be set to; one without a name is
	// about all that are not named. Those left out may be set to any value.
	Values []ParameterValues
}

// ParameterValues are the values that a parameter may be set to.
type ParameterValues struct {
	Name   string
	Values Values
}

// Everything is the Decision for an owner.
func Everything() Decision { return Decision{Scopes: []Scope{{}}} }

// Denied reports whether nothing is allowed.
func (d Decision) Denied() bool { return len(d.Scopes) == 0 }

// Readable returns those of the types t for which field name of node r may be
// read; 0 denies.
func (d Decision) Readable(r Ref, name string, t Types) Types {
	if slices.Contains(d.Except, r) {
		return 0
	}
	var got Types
	for i := range d.Scopes {
		s := &d.Scopes[i]
		if !s.covers(r) || len(s.Fields) > 0 && !slices.Contains(s.Fields, name) {
			continue
		}
		if s.Types == 0 {
			return t
		}
		got |= t & s.Types
	}
	return got
}

// Settable reports whether parameter name of node r may be set, to some value
// at least.
func (d Decision) Settable(r Ref, name string) bool { return !d.Values(r, name).Empty() }

// Values returns what parameter name of node r may be set to.
func (d Decision) Values(r Ref, name string) Values {
	got := NoValue()
	if slices.Contains(d.Except, r) {
		return got
	}
	for i := range d.Scopes {
		s := &d.Scopes[i]
		if !s.covers(r) || len(s.Parameters) > 0 && !slices.Contains(s.Parameters, name) {
			continue
		}
		v := s.values(name)
		if !v.Limited {
			return v
		}
		got = got.Union(v)
	}
	return got
}

// values returns what a scope says about a parameter that is in it.
func (s *Scope) values(name string) Values { return ValuesFor(s.Values, name) }

// ValuesFor looks a parameter up in a list like that of a Scope.
func ValuesFor(list []ParameterValues, name string) Values {
	var rest Values
	for i := range list {
		switch list[i].Name {
		case name:
			return list[i].Values
		case "":
			rest = list[i].Values
		}
	}
	return rest
}

// Grants reports whether one scope allows everything that a request asks for,
// so that asking somebody else would add nothing.
func (d Decision) Grants(r Request) bool {
	within := func(asked, have []string) bool {
		return len(have) == 0 || len(asked) > 0 && !slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(have, s) })
	}
	types := r.Types
	if types == 0 {
		types = All
	}
	for i := range d.Scopes {
		s := &d.Scopes[i]
		nodes := len(s.Nodes) == 0 || len(r.Nodes) > 0 && !slices.ContainsFunc(r.Nodes, func(n Ref) bool { return !s.covers(n) })
		if nodes && within(r.Fields, s.Fields) && within(r.Parameters, s.Parameters) && len(s.Values) == 0 && (s.Types == 0 || types&^s.Types == 0) {
			return len(d.Except) == 0
		}
	}
	return false
}

// Covers reports whether anything on node r is allowed.
func (d Decision) Covers(r Ref) bool {
	if slices.Contains(d.Except, r) {
		return false
	}
	for i := range d.Scopes {
		if d.Scopes[i].covers(r) {
			return true
		}
	}
	return false
}

func (s *Scope) covers(r Ref) bool {
	if len(s.Nodes) == 0 {
		return true
	}
	for _, p := range s.Nodes {
		if p.Matches(r) {
			return true
		}
	}
	return false
}
