package config

import (
	"slices"
	"strings"
)

// Computed is a field that is calculated from other fields.
type Computed struct {
	Name       string        `yaml:"name" min:"1" max:"128" doc:"name of the field" example:"total"`
	Sum        []string      `yaml:"sum,omitempty" format:"reading" max:"200" doc:"the fields added up, each written node.field; all in one unit" example:"[meter-1.power, meter-2.power]"`
	Difference []string      `yaml:"difference,omitempty" format:"reading" min:"2" max:"200" doc:"the first field less the others"`
	Mean       []string      `yaml:"mean,omitempty" format:"reading" max:"200" doc:"their mean"`
	DewPoint   *DewPoint     `yaml:"dew_point,omitempty" doc:"the dew point in °C of air"`
	Energy     string        `yaml:"energy,omitempty" format:"reading" doc:"the energy that this power adds up to, in kWh unless unit says Wh or MWh; kept over restarts"`
	Expression string        `yaml:"expression,omitempty" format:"formula" doc:"what else: node.field with + - * / and parentheses, comparisons, and, or, not, condition ? this : that, and abs ceil dew_point floor max mean min round sqrt sum"`
	Unit       string        `yaml:"unit,omitempty" max:"64" doc:"unit of the result; that of the fields for sum, difference and mean, none for an expression when left out"`
	Digits     int           `yaml:"digits,omitempty" min:"-1" max:"9" doc:"digits behind the point; as calculated when left out, none with -1"`
	Label      string        `yaml:"label,omitempty" max:"256" doc:"what people call it"`
	History    *FieldHistory `yaml:"history,omitempty" doc:"which of its values are kept"`
}

// DewPoint names what a dew point is computed from.
type DewPoint struct {
	Temperature string `yaml:"temperature" format:"reading" doc:"field with the air's temperature in °C" example:"climate.temperature"`
	Humidity    string `yaml:"humidity" format:"reading" doc:"field with its relative humidity in %RH or %" example:"climate.humidity"`
}

// sources lists the texts that name readings, with the key that each stands
// under.
func (c *Computed) sources() (out []source) {
	list := func(key string, texts ...string) {
		for i, t := range texts {
			out = append(out, source{key, i, t})
		}
	}
	list("sum", c.Sum...)
	list("difference", c.Difference...)
	list("mean", c.Mean...)
	if c.DewPoint != nil {
		list("dew_point.temperature", c.DewPoint.Temperature)
		list("dew_point.humidity", c.DewPoint.Humidity)
	}
	if c.Energy != "" {
		list("energy", c.Energy)
	}
	if c.Expression != "" {
		list("expression", c.Expression)
	}
	return out
}

// source is one text of a computed field, and its place.
type source struct {
	key   string
	index int
	text  string
}

// place finds the node of a source in the file.
func (s source) place(n *node) *node {
	at := n
	for _, k := range strings.Split(s.key, ".") {
		if at = at.get(k); at == nil {
			return n
		}
	}
	if s.index < len(at.items) {
		return at.items[s.index]
	}
	return at
}

// way counts and names how the field is computed.
func (c *Computed) ways() (ways []string) {
	for _, w := range []struct {
		key   string
		given bool
	}{
		{"sum", len(c.Sum) > 0}, {"difference", len(c.Difference) > 0}, {"mean", len(c.Mean) > 0},
		{"dew_point", c.DewPoint != nil}, {"energy", c.Energy != ""}, {"expression", c.Expression != ""},
	} {
		if w.given {
			ways = append(ways, w.key)
		}
	}
	return ways
}

// computed checks what the tags cannot say about computed fields: one way
// each, names, sources that exist, units that fit, no circles. ids are the
// names of all nodes.
func (l *loader) computed(ids []string) {
	for i := range l.cfg.Nodes {
		nd := &l.cfg.Nodes[i]
		list := l.nodes[i].get("computed")
		if list == nil || len(list.items) != len(nd.Computed) {
			continue // reported
		}
		shown, _ := l.shownFields(nd)
		for j := range nd.Computed {
			c, at := &nd.Computed[j], list.items[j]
			path := "nodes[" + nd.ID + "].computed[" + c.Name + "]"
			if slices.ContainsFunc(shown, func(ch Channel) bool { return ch.Name == c.Name }) ||
				slices.ContainsFunc(nd.Computed[:j], func(o Computed) bool { return o.Name == c.Name }) {
				l.add(orElse(at.get("name"), at), path, "the node already shows a field "+quote(c.Name), "give each field its own name")
			}
			switch ways := c.ways(); len(ways) {
			case 0:
				l.add(at, path, "it is not said how it is computed", "give one of sum, difference, mean, dew_point, energy, expression")
				continue
			case 1:
			default:
				l.add(orElse(at.get(ways[1]), at), path, "it is computed in more than one way", "keep one of "+listing(ways))
				continue
			}
			l.sourceRefs(c, at, path, ids)
			l.sourceUnits(c, at, path)
		}
	}
	l.circles()
}

func orElse(n, other *node) *node {
	if n == nil {
		return other
	}
	return n
}

func (l *loader) sourceRefs(c *Computed, at *node, path string, ids []string) {
	if l.kinds.Values == nil {
		return
	}
	for _, s := range c.sources() {
		for _, v := range l.kinds.Values(s.text) {
			l.valueRef(s.place(at), join(path, s.key), v, ids)
		}
	}
}

// sourceUnits checks units that are known before anything is measured.
func (l *loader) sourceUnits(c *Computed, at *node, path string) {
	if l.kinds.Values == nil || c.Expression != "" {
		return
	}
	first := ""
	for _, s := range c.sources() {
		vs := l.kinds.Values(s.text)
		if len(vs) != 1 {
			continue
		}
		unit, known := l.unitOf(vs[0])
		if !known {
			continue
		}
		var what, fix string
		switch s.key {
		case "dew_point.temperature":
			what, fix = unlike(unit, "°C")
		case "dew_point.humidity":
			what, fix = unlike(unit, "%RH", "%")
		case "energy":
			if l.kinds.Energy != nil {
				what, fix = l.kinds.Energy(unit, c.Unit)
			}
		default:
			if first == "" {
				first = unit
			}
			if what, fix = unlike(unit, first); what != "" {
				fix = "write an expression that converts it"
			}
		}
		if what != "" {
			l.add(s.place(at), join(path, s.key), quote(s.text)+" "+what, fix)
		}
	}
}

func unlike(unit string, want ...string) (what, fix string) {
	if slices.Contains(want, unit) {
		return "", ""
	}
	return "has the unit " + quote(unit) + ", not " + quote(want[0]), "name a field in " + strings.Join(want, " or ")
}

// shownFields lists the channels of a node under the names they are shown by;
// ok is false when they are not known before the device is opened.
func (l *loader) shownFields(nd *Node) (out []Channel, ok bool) {
	kind := l.kinds.device(nd.Kind)
	if kind == nil || kind.Channels == nil {
		return nil, false
	}
	known, ok := kind.Channels(nd.Config)
	for _, c := range known {
		if !nd.Fields[c.Name].Hide {
			c.Name = nd.shownName(c.Name)
			out = append(out, c)
		}
	}
	return out, ok
}

// unitOf returns the unit of a channel, where it is known.
func (l *loader) unitOf(v Value) (string, bool) {
	for i := range l.cfg.Nodes {
		if l.cfg.Nodes[i].ID != v.Node {
			continue
		}
		shown, _ := l.shownFields(&l.cfg.Nodes[i])
		for _, c := range shown {
			if c.Name == v.Field {
				return c.Unit, true
			}
		}
	}
	return "", false
}

// circles reports fields that are computed from themselves, each circle once.
func (l *loader) circles() {
	if l.kinds.Values == nil {
		return
	}
	type place struct{ node, item int }
	where := map[Value]place{}
	for i := range l.cfg.Nodes {
		for j, c := range l.cfg.Nodes[i].Computed {
			where[Value{l.cfg.Nodes[i].ID, c.Name}] = place{i, j}
		}
	}
	done := map[Value]bool{}
	var path []Value
	var visit func(v Value)
	visit = func(v Value) {
		p, isComputed := where[v]
		if !isComputed || done[v] {
			return
		}
		if k := slices.Index(path, v); k >= 0 {
			var words []string
			for _, w := range append(path[k:len(path):len(path)], v) {
				words = append(words, w.Node+"."+w.Field)
			}
			at := l.nodes[p.node]
			if list := at.get("computed"); list != nil && p.item < len(list.items) {
				at = list.items[p.item]
			}
			l.add(at, "nodes["+v.Node+"].computed["+v.Field+"]", "it is computed from itself: "+strings.Join(words, " ← "), "break the circle")
			return
		}
		path = append(path, v)
		for _, s := range l.cfg.Nodes[p.node].Computed[p.item].sources() {
			for _, w := range l.kinds.Values(s.text) {
				visit(w)
			}
		}
		path = path[:len(path)-1]
		done[v] = true
	}
	for i := range l.cfg.Nodes {
		for _, c := range l.cfg.Nodes[i].Computed {
			visit(Value{l.cfg.Nodes[i].ID, c.Name})
		}
	}
}
