package pairing

import (
	"slices"
	"strings"

	"postern/provisioning"
)

func verbText(r provisioning.Rule) string {
	what := r.Action
	if what == provisioning.ActionFriend {
		what = "be a friend"
	}
	if r.Deny {
		return "not " + what
	}
	return what
}

// scopeText says what a rule is about.
func scopeText(nodes []provisioning.Ref, names []string, t provisioning.Types) string {
	var parts []string
	if t != 0 && t != provisioning.AllTypes {
		parts = append(parts, t.String())
	}
	parts = append(parts, strings.Join(names, ", "))
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.String())
	}
	if len(ids) > 0 {
		parts = append(parts, "on "+strings.Join(ids, ", "))
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// ruleText says what a rule is about, with its range.
func ruleText(r provisioning.Rule) string {
	s := scopeText(r.Nodes, r.Names, r.Types)
	if r.Range == nil {
		return s
	}
	return s + ", " + rangeText(*r.Range)
}

// rangeText says a range in words.
func rangeText(r provisioning.ValueRange) string {
	low, high := "from", "to"
	if r.MinOpen {
		low = "above"
	}
	if r.MaxOpen {
		high = "below"
	}
	var parts []string
	if r.HasMin {
		parts = append(parts, low+" "+r.Min.String())
	}
	if r.HasMax {
		parts = append(parts, high+" "+r.Max.String())
	}
	if len(parts) == 0 {
		return "any number"
	}
	return strings.Join(parts, " ")
}

// valuesText says what parameters may be set to, where that is limited.
func valuesText(list []provisioning.ParameterValues) (parts []string) {
	for _, v := range list {
		if !v.Values.Limited {
			continue
		}
		var ranges []string
		for _, r := range v.Values.Ranges {
			ranges = append(ranges, rangeText(r))
		}
		if v.Values.Other {
			ranges = append(ranges, "what is no number")
		}
		name := v.Name
		if name == "" {
			name = "others"
		}
		parts = append(parts, name+" "+strings.Join(ranges, " or "))
	}
	return parts
}

func untilText(r provisioning.Rule) string {
	if r.Once {
		return "once, or " + when(r.Until)
	}
	return when(r.Until)
}

type jsonNode struct {
	Node   string `json:"node"`
	Source string `json:"source,omitempty"`
	Cache  string `json:"cacheType,omitempty"`
}

type jsonRule struct {
	ID      string     `json:"number"`
	Thing   string     `json:"thing"`
	Subject string     `json:"who"`
	Action  string     `json:"action"`
	Deny    bool       `json:"deny"`
	Nodes   []jsonNode `json:"nodes"` // empty: all
	Names   []string   `json:"names"` // empty: all
	Types   []string   `json:"types"` // empty: all
	Range   *jsonRange `json:"range,omitempty"`
	Since   string     `json:"since,omitempty"`
	Until   string     `json:"until,omitempty"`
	Once    bool       `json:"once"`
}

// jsonRange is a range of numbers; a bound that is left out is none.
type jsonRange struct {
	Min     string `json:"min,omitempty"`
	Max     string `json:"max,omitempty"`
	MinOpen bool   `json:"minOpen,omitempty"` // min itself is not in it
	MaxOpen bool   `json:"maxOpen,omitempty"`
}

func rangeJSON(r provisioning.ValueRange) jsonRange {
	j := jsonRange{MinOpen: r.MinOpen, MaxOpen: r.MaxOpen}
	if r.HasMin {
		j.Min = r.Min.String()
	}
	if r.HasMax {
		j.Max = r.Max.String()
	}
	return j
}

// jsonValues is what a parameter may be set to.
type jsonValues struct {
	Name   string      `json:"name"` // empty: those that are not named
	Ranges []jsonRange `json:"ranges"`
	Other  bool        `json:"other"` // also values that are no numbers
}

func valuesJSON(list []provisioning.ParameterValues) []jsonValues {
	out := []jsonValues{}
	for _, v := range list {
		if !v.Values.Limited {
			continue
		}
		j := jsonValues{Name: v.Name, Ranges: []jsonRange{}, Other: v.Values.Other}
		for _, r := range v.Values.Ranges {
			j.Ranges = append(j.Ranges, rangeJSON(r))
		}
		out = append(out, j)
	}
	return out
}

func nodesJSON(nodes []provisioning.Ref) []jsonNode {
	out := []jsonNode{}
	for _, n := range nodes {
		out = append(out, jsonNode{n.ID, n.Source, n.Cache})
	}
	return out
}

func ruleJSON(r provisioning.Rule) jsonRule {
	var values *jsonRange
	if r.Range != nil {
		j := rangeJSON(*r.Range)
		values = &j
	}
	return jsonRule{r.ID, r.Device.String(), r.Subject, r.Action, r.Deny, nodesJSON(r.Nodes), append([]string{}, r.Names...),
		append([]string{}, strings.Fields(r.Types.String())...), values, jsonTime(r.Since), jsonTime(r.Until), r.Once}
}

// sentence says a rule in words.
func sentence(r provisioning.Rule) string {
	who := r.Subject
	switch {
	case who == provisioning.Everyone:
		who = "everyone"
	case !strings.Contains(who, "@"):
		who = "everybody of " + who
	}
	s := who + " may " + verbText(r)
	if r.Action == provisioning.ActionFriend {
		s += " of"
	} else {
		s += " " + scopeText(r.Nodes, r.Names, r.Types) + " of"
	}
	s += " " + r.Device.String()
	if r.Range != nil {
		s += ", " + rangeText(*r.Range)
	}
	switch {
	case r.Once:
		s += ", once"
	case !r.Until.IsZero():
		s += ", until " + when(r.Until)
	}
	return s
}
