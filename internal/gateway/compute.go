package gateway

import (
	"fmt"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/config"
	"postern/internal/formula"
	"postern/internal/node"
	"postern/sensors/computed"
	"postern/sensors/history"
	"postern/xmpp"
)

// checkReading is the format of the name of one reading.
func checkReading(text string) error {
	_, err := formula.ParseReading(text)
	return err
}

// checkStringIDs is the format of string ids.
func checkStringIDs(text string) error {
	_, err := node.ParseStringIDs(text)
	return err
}

// energyUnits says what is wrong with adding up power in one unit to energy in
// another.
func energyUnits(power, energy string) (what, fix string) {
	switch {
	case !computed.PowerUnit(power):
		return fmt.Sprintf("has the unit %q, which is none of power", power), "name a field in W, kW or MW"
	case energy != "" && !computed.EnergyUnit(energy):
		return fmt.Sprintf("cannot be added up in the unit %q", energy), "write unit: kWh, Wh or MWh"
	}
	return "", ""
}

// computedFields shows the computed fields of a node.
func computedFields(n *config.Node) []node.Field {
	var out []node.Field
	for i := range n.Computed {
		c := &n.Computed[i]
		f := node.Field{
			Name: c.Name, Types: node.Momentary | node.Computed, Kind: drivers.KindNumber,
			Unit: c.Unit, Label: c.Label, Computed: true,
		}
		switch {
		case c.Energy != "" && f.Unit == "":
			f.Unit = "kWh"
		case c.DewPoint != nil:
			f.Unit = "°C"
		case c.Expression != "":
			if fm, err := formula.Parse(c.Expression); err == nil && fm.Logical() {
				f.Kind = drivers.KindBool
			}
		}
		out = append(out, f)
	}
	return out
}

// computations says how the computed fields of a configuration are calculated.
// Its texts were checked when it was loaded.
func computations(cfg *config.Config) []computed.Field {
	var out []computed.Field
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		for j := range n.Computed {
			c := &n.Computed[j]
			f := computed.Field{Ref: node.Ref{ID: n.ID}, Name: c.Name, Unit: c.Unit, Digits: c.Digits}
			if c.Energy != "" {
				r, err := formula.ParseReading(c.Energy)
				if err != nil {
					continue
				}
				f.Energy = &r
				out = append(out, f)
				continue
			}
			text := c.Expression
			switch {
			case len(c.Sum) > 0:
				text, f.SameUnit = "sum("+strings.Join(c.Sum, ", ")+")", true
			case len(c.Difference) > 0:
				text, f.SameUnit = strings.Join(c.Difference, " - "), true
			case len(c.Mean) > 0:
				text, f.SameUnit, f.AsSources = "mean("+strings.Join(c.Mean, ", ")+")", true, true
			case c.DewPoint != nil:
				text, f.Unit = "dew_point("+c.DewPoint.Temperature+", "+c.DewPoint.Humidity+")", "°C"
				f.AsSources = c.Digits == 0
				f.Want = wanted(c.DewPoint)
			}
			fm, err := formula.Parse(text)
			if err != nil {
				continue
			}
			f.Formula = fm
			out = append(out, f)
		}
	}
	return out
}

func wanted(d *config.DewPoint) map[formula.Reading][]string {
	out := map[formula.Reading][]string{}
	if r, err := formula.ParseReading(d.Temperature); err == nil {
		out[r] = []string{"°C"}
	}
	if r, err := formula.ParseReading(d.Humidity); err == nil {
		out[r] = []string{"%RH", "%"}
	}
	return out
}

// computedPolicies adds what the history keeps of computed fields.
func computedPolicies(cfg *config.Config, to map[fieldKey]history.Policy) {
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		for j := range n.Computed {
			if h := n.Computed[j].History; h != nil {
				to[fieldKey{node.Ref{ID: n.ID}, n.Computed[j].Name}] = policyOf(h)
			}
		}
	}
}

// openComputed makes the engine of the computed fields.
func (g *Gateway) openComputed(t *node.Tree) error {
	g.constants.Store(t)
	g.computed = computed.New(computed.Config{
		Live: g.live, DB: g.db, Const: g.constant, Logger: g.log.With("part", "computed"),
		Save: func() time.Duration {
			g.mu.Lock()
			h := g.cfg.History
			g.mu.Unlock()
			if g.session.State().Phase == xmpp.Online {
				return h.Online
			}
			return h.Offline
		},
	})
	if err := g.computed.Apply(computations(g.cfg)); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// constant gives the value of a field that never changes.
func (g *Gateway) constant(ref node.Ref, name string) (drivers.Value, string, bool) {
	n := g.constants.Load().Node(ref)
	if n == nil {
		return drivers.Value{}, "", false
	}
	f := n.Field(name)
	if f == nil || !f.Constant() {
		return drivers.Value{}, "", false
	}
	return f.Const, f.Unit, true
}
