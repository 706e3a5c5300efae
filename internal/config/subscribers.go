package config

import (
	"slices"
	"strconv"
	"time"
)

// Subscriber is an account that the gateway sends to without being asked.
type Subscriber struct {
	JID    string        `yaml:"jid" format:"bare-jid" doc:"the account; it has to be allowed to read what it is to get" example:"archive@site.example"`
	Send   []string      `yaml:"send" default:"readings" oneof:"readings|commands|refusals" min:"1" doc:"what it gets: readings, what became of commands, commands that were refused" example:"[readings, commands]"`
	Nodes  []string      `yaml:"nodes,omitempty" doc:"only of these nodes; all when left out" example:"[boiler]"`
	Fields []string      `yaml:"fields,omitempty" doc:"only these fields; all when left out" example:"[temperature]"`
	Min    time.Duration `yaml:"min_interval,omitempty" max:"1d" doc:"shortest time between two messages of a node; readings in between go together" example:"1m"`
}

// subscribers checks what leads from subscribers to nodes.
func (l *loader) subscribers(root *node, names []string) {
	seen := map[string]bool{}
	list := root.get("subscribers")
	for i := range l.cfg.Subscribers {
		s := &l.cfg.Subscribers[i]
		at := list
		if list != nil && i < len(list.items) {
			at = list.items[i]
		}
		path := "subscribers[" + strconv.Itoa(i) + "]"
		if seen[s.JID] && s.JID != "" {
			l.add(at, path+".jid", "the account is there twice", "put both into one entry")
		}
		seen[s.JID] = true
		for _, id := range s.Nodes {
			if !slices.Contains(names, id) {
				l.add(at, path+".nodes", "there is no node "+quote(id), suggest(id, names))
			}
		}
	}
}
