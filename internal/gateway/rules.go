package gateway

import (
	"errors"

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

// checkOverride is the format of what an override makes of an output.
func checkOverride(text string) error {
	switch text {
	case "keep", "on", "off":
		return nil
	}
	if checkDecimal(text) != nil {
		return errors.New("write keep, on, off or a number")
	}
	return nil
}

// overrideValue reads it for a parameter; kind none keeps the output as it is.
// What does not fit the parameter is found when the rules are compiled.
func overrideValue(text string, kind drivers.Kind) drivers.Value {
	if text == "keep" {
		return drivers.Value{}
	}
	n, err := drivers.ParseNumber(text)
	switch {
	case err != nil:
		return drivers.Bool(text == "on")
	case kind == drivers.KindInt:
		if v, err := n.Rescale(0); err == nil {
			return drivers.Int(int32(v.Mant))
		}
	case kind == drivers.KindLong:
		if v, err := n.Rescale(0); err == nil {
			return drivers.Long(v.Mant)
		}
	}
	return drivers.Decimal(n)
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
				rules.Override = &control.Switch{Condition: r.Override.Input, Value: overrideValue(r.Override.State, p.Kind), Name: r.Override.Name}
			}
			for _, il := range r.Interlocks {
				rules.Interlocks = append(rules.Interlocks, control.Interlock{Condition: il.Condition, Reason: il.Reason})
			}
			out[control.Output{Node: nd.Ref, Parameter: p.Name}] = rules
		}
	}
	return out
}
