// Package survey finds what is connected to a machine and writes it down as a
// configuration. It only reads: no output moves, nothing is set.
package survey

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Guess is what a thing may be.
type Guess struct {
	Kind       string `json:"kind,omitempty"` // of the configuration; empty: no driver
	Name       string `json:"name"`
	Confidence int    `json:"confidence"` // percent
}

// Finding is one thing that was found.
type Finding struct {
	Where   string  `json:"where"` // as people write it: "0x76", a port, a line
	On      string  `json:"on,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Guesses []Guess `json:"guesses"`

	place string // for the id, where Where is not fit; empty: Where

	bus  string   // lines for the section buses
	node []string // lines for the section nodes, but for the key kind
	sure bool     // the node goes in as it is; else as a remark
}

// sureFrom is the confidence from which on a node is written and not only
// remarked.
const sureFrom = 50

// Kind is that of the likeliest guess that there is a driver for.
func (f *Finding) Kind() string {
	for _, g := range f.Guesses {
		if g.Kind != "" {
			return g.Kind
		}
	}
	return ""
}

// Report is what a survey found.
type Report struct {
	Findings []Finding
	Notes    []string // what a person should know beside it
}

// Account stands in a whole file for what only a person knows.
const Account = `account:
  jid: gateway@site.example                # the gateway's own account
  password: {file: /etc/postern/password}  # as a service: {credential: postern_password}
access:
  owner: operator@site.example             # who may read and switch everything
`

// Snippet writes buses and nodes for what was found, with ids that differ. What
// is not sure stands there as a remark. It is empty when nothing has a driver.
func (r *Report) Snippet() string {
	var buses, nodes strings.Builder
	seen, ids := map[string]bool{}, map[string]int{}
	active := 0
	for _, f := range r.Findings {
		if f.bus != "" && !seen[f.bus] {
			seen[f.bus] = true
			buses.WriteString(f.bus)
		}
		kind := f.Kind()
		if kind == "" || f.node == nil {
			continue
		}
		id := f.id(kind)
		if ids[id]++; ids[id] > 1 {
			id = fmt.Sprintf("%s-%d", id, ids[id])
		}
		lines := append([]string{"- id: " + id, "  kind: " + kind}, f.node...)
		lead := "  "
		if f.sure {
			active++
		} else {
			lead = "  # "
			fmt.Fprintf(&nodes, "  # perhaps (%d %%):\n", f.confidence(kind))
		}
		for _, l := range lines {
			nodes.WriteString(lead + l + "\n")
		}
	}
	out := ""
	if buses.Len() > 0 {
		out = "buses:\n" + buses.String()
	}
	switch {
	case active > 0:
		out += "nodes:\n" + nodes.String()
	case nodes.Len() > 0: // an empty section would be no list
		out += "nodes: []   # what follows is not sure; without [] and with one of these it is a list\n" + nodes.String()
	}
	return out
}

func (f *Finding) confidence(kind string) int {
	for _, g := range f.Guesses {
		if g.Kind == kind {
			return g.Confidence
		}
	}
	return 0
}

// id is made of the kind and the place, and of nothing that YAML or XMPP would
// stumble over.
func (f *Finding) id(kind string) string {
	place := f.place
	if place == "" {
		place = f.Where
	}
	if i := strings.LastIndexAny(place, ":/"); i >= 0 {
		place = place[i+1:]
	}
	var b strings.Builder
	for _, c := range strings.ToLower(strings.TrimPrefix(place, "0x")) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	place = strings.Trim(b.String(), "-")
	if len(place) > 40 {
		place = strings.Trim(place[len(place)-40:], "-")
	}
	if place == "" {
		return kind
	}
	return kind + "-" + place
}

// quoted is text as YAML reads it back, whatever is in it.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string can always be written
		return `""`
	}
	return string(b)
}
