package gateway

import (
	"postern/control"
	"postern/drivers"
	"postern/internal/config"
	"postern/internal/formula"
	"postern/internal/node"
)

// checkDecimal is the format of decimal numbers.
func checkDecimal(text string) error {
	_, err := drivers.ParseNumber(text)
	return err
}

// takes returns the check of a text as a value of a channel; nil for one that
// cannot be set.
func takes(c drivers.Channel) func(string) error {
	if !c.Writable {
		return nil
	}
	return func(text string) error {
		_, params := node.FromChannels([]drivers.Channel{c})
		_, err := control.ValueOf(&params[0], text)
		return err
	}
}

// overrideValue reads what an override makes of an output; kind none keeps it
// as it is. A text that does not fit, which is possible where the channels are
// not known before the device is open, is refused when the rules are compiled.
func overrideValue(text string, p *node.Parameter) drivers.Value {
	if text == config.Keep {
		return drivers.Value{}
	}
	v, err := control.ValueOf(p, text)
	if err != nil {
		return drivers.String(text)
	}
	return v
}

// checkCondition is the format of an interlock's condition.
func checkCondition(text string) error {
	_, err := formula.Parse(text)
	return err
}

// conditionValues lists what a condition looks at.
func conditionValues(text string) []config.Value {
	c, err := formula.Parse(text)
	if err != nil {
		return nil // the format was reported
	}
	var out []config.Value
	for _, u := range c.Uses() {
		out = append(out, config.Value{Node: u.Node.ID, Field: u.Field})
	}
	return out
}

// outputRules are the rules of the configuration for the outputs that t has. A
// parameter that may not be switched remotely, or whose device is not there,
// has none.
func outputRules(cfg *config.Config, t *node.Tree) map[control.Output]control.Rules {
	out := map[control.Output]control.Rules{}
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		nd := t.Node(node.Ref{ID: n.ID})
		if nd == nil {
			continue
		}
		for j := range nd.Parameters {
			p := &nd.Parameters[j]
			r, ok := n.Rules[p.TargetChannel()]
			if !ok {
				continue
			}
			rate, _ := drivers.ParseNumber(r.MaxRate) // checked by its format; empty is zero
			rules := control.Rules{
				MinOn: r.MinOn, MinOff: r.MinOff, MaxOn: r.MaxOn, MaxRate: rate, PerHour: r.PerHour,
				Group: r.Group, Blind: r.SensorLost, LinkLost: r.LinkLost,
				Confirm: r.Confirm == "yes", TwoPersons: r.Confirm == "two-persons",
			}
			if r.Override != nil {
				rules.Override = &control.Switch{Condition: r.Override.Input, Value: overrideValue(r.Override.State, p), Name: r.Override.Name}
			}
			for _, il := range r.Interlocks {
				rules.Interlocks = append(rules.Interlocks, control.Interlock{Condition: il.Condition, Reason: il.Reason})
			}
			out[control.Output{Node: nd.Ref, Parameter: p.Name}] = rules
		}
	}
	return out
}
