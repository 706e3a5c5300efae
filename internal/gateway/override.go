package gateway

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"postern/control"
	"postern/internal/local"
	"postern/internal/node"
	"postern/internal/store"
)

// keptOverride is an override by a person, kept so that a restart does not give
// the output to whoever is far away.
type keptOverride struct {
	Node      node.Ref      `json:"node"`
	Parameter string        `json:"parameter"`
	Who       string        `json:"who"`
	Reason    string        `json:"reason,omitempty"`
	Until     time.Time     `json:"until"`
	For       time.Duration `json:"for"`
}

var overrideBucket = store.Bucket[keptOverride]{Name: "overrides"}

// maxOverride is how long a person may hold an output without asking anew.
const maxOverride = 7 * 24 * time.Hour

// overrideDoor lets the technician at the machine take an output over, or give
// it back.
func (g *Gateway) overrideDoor(_ context.Context, r *local.Request) (any, error) {
	var req local.OverrideRequest
	if err := r.Body(&req); err != nil {
		return nil, err
	}
	out, p, err := g.outputOf(req.Node, req.Parameter)
	if err != nil {
		return nil, err
	}
	who, key := personAt(r.Peer), out.String()
	if req.Release {
		err := g.db.Update(func(tx *store.Tx) error { return overrideBucket.Delete(tx, key) })
		if !g.control.Release(out, who) {
			return nil, fmt.Errorf("nobody holds %s by this command; a switch is given back at the switch", out)
		}
		return local.Override{Node: req.Node, Parameter: out.Parameter, Released: true}, err
	}
	long := time.Duration(min(req.Seconds, maxOverride.Seconds()+1) * float64(time.Second))
	if long <= 0 || long > maxOverride {
		return nil, &local.Error{Status: local.StatusBadRequest, Text: "an output can be held from a second to 7 days"}
	}
	v := control.Override{Who: who, Reason: req.Reason, Until: time.Now().Add(long)}
	if req.Value != "" {
		if v.Value, err = control.ValueOf(p, req.Value); err != nil {
			return nil, fmt.Errorf("%s %w", out.Parameter, err)
		}
	}
	if err := g.control.Override(out, v); err != nil {
		return nil, err
	}
	done := local.Override{Node: req.Node, Parameter: out.Parameter, Value: req.Value, Until: &v.Until}
	// The output is held whatever the disk says.
	err = g.db.Update(func(tx *store.Tx) error {
		return overrideBucket.Put(tx, key, keptOverride{out.Node, out.Parameter, who, req.Reason, v.Until, long})
	})
	if err != nil {
		return nil, fmt.Errorf("%s is held, but would not be after a restart: %w", out, err)
	}
	return done, nil
}

// outputOf finds an output of a node; an empty name is its only parameter.
func (g *Gateway) outputOf(id, parameter string) (control.Output, *node.Parameter, error) {
	g.mu.Lock()
	t := g.tree
	g.mu.Unlock()
	n := t.Node(node.Ref{ID: id})
	switch {
	case n == nil:
		return control.Output{}, nil, fmt.Errorf("there is no node %q; postern status lists them", id)
	case len(n.Parameters) == 0:
		return control.Output{}, nil, fmt.Errorf("nothing on %s can be switched", n.Title())
	case parameter == "" && len(n.Parameters) > 1:
		return control.Output{}, nil, fmt.Errorf("%s has several parameters; say which one, as in %s=…", n.Title(), n.Parameters[0].Name)
	case parameter == "":
		parameter = n.Parameters[0].Name
	}
	p := n.Parameter(parameter)
	if p == nil {
		return control.Output{}, nil, fmt.Errorf("%s has no parameter %q; one is %s", n.Title(), parameter, n.Parameters[0].Name)
	}
	return control.Output{Node: n.Ref, Parameter: parameter}, p, nil
}

// personAt names who is at the other end of the local door.
func personAt(p local.Peer) string {
	uid := strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "user " + uid
}

// restoreOverrides holds the outputs again that a person held before a
// restart. They stay in their safe states: nothing is switched on by itself.
func (g *Gateway) restoreOverrides() {
	now := time.Now()
	err := g.db.Update(func(tx *store.Tx) error {
		var gone []string
		for e := range overrideBucket.All(tx, "") {
			left := e.Value.Until.Sub(now)
			if !clockSane() || left > e.Value.For {
				left = e.Value.For // how long it was off is not known
			}
			out := control.Output{Node: e.Value.Node, Parameter: e.Value.Parameter}
			v := control.Override{Who: e.Value.Who, Reason: e.Value.Reason, Until: now.Add(left)}
			if e.Err != nil || left <= 0 || g.control.Override(out, v) != nil {
				gone = append(gone, e.Key)
			}
		}
		for _, k := range gone {
			if err := overrideBucket.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.log.Warn("overrides from before the restart cannot be read", "err", err)
	}
}
