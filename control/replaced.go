package control

import (
	"context"
	"errors"

	"postern/drivers"
	"postern/internal/node"
)

// A changed configuration may put another device behind an output, or the same
// one opened anew: what was known of the output is then not true any more, and
// what it has is made safe.

// sameDevice tells whether two states have one and the same open device.
func (st *state) sameDevice(old *state, name string) bool {
	a, b := st.devices[name], old.devices[name]
	return a.instance() == b.instance()
}

func (d *Device) instance() any {
	if d.Instance != nil || d.Device == nil {
		return d.Instance
	}
	return d.Device
}

// has tells whether a state has an output just as another one has.
func (st *state) has(old *state, n *node.Node, p *node.Parameter) bool {
	was := old.tree.Node(n.Ref)
	if was == nil || was.Device != n.Device || !st.sameDevice(old, n.Device) {
		return false
	}
	q := was.Parameter(p.Name)
	return q != nil && q.TargetChannel() == p.TargetChannel()
}

// replaced forgets what was known of outputs that are new in a state, or whose
// device is, and lets the watchdog make them safe. s.safety is held.
func (s *Service) replaced(old, st *state) {
	for _, n := range st.tree.Nodes() {
		for i := range n.Parameters {
			p := &n.Parameters[i]
			if st.has(old, n, p) {
				continue
			}
			os := s.stateOf(Output{n.Ref, p.Name})
			*os = outState{epoch: os.epoch + 1, tripping: os.tripping, moving: os.moving}
			if p.Safe.Kind() != drivers.KindNone {
				os.owe("its device is a new one in the configuration")
			}
		}
	}
	for o, r := range st.rules {
		if was := old.rules[o]; r.sw != nil && (was == nil || was.sw == nil || was.Override.Condition != r.Override.Condition) {
			delete(s.overrides.seen, o)
		}
	}
	if st.passing {
		return
	}
	for o, os := range s.outputs {
		if n := st.tree.Node(o.Node); (n == nil || n.Parameter(o.Parameter) == nil) && !os.tripping && !os.moving {
			delete(s.outputs, o)
		}
	}
}

// errReplaced: the device of an output is not the one that was to be written.
var errReplaced = errors.New("its device was replaced by a changed configuration")

// settle waits until nobody writes to a device that a state does not have any
// more: what comes later sees that, and leaves it.
func (s *Service) settle(ctx context.Context, old, st *state) error {
	for name := range old.devices {
		if st.sameDevice(old, name) {
			continue
		}
		gate := s.gate(name)
		select {
		case gate <- struct{}{}:
			<-gate
		case <-ctx.Done():
			return errors.Join(errors.New("control: a device is written and does not end"), ctx.Err())
		}
	}
	return nil
}
