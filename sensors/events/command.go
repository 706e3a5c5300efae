package events

import (
	"slices"
	"strings"
	"time"

	"postern/exi"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/xmpp"
)

// NSCommand is the namespace of what is told about commands.
const NSCommand = "urn:postern:command:1"

// Command is what became of a command.
type Command struct {
	At      time.Time
	Origin  string // where it came from
	From    string // who wanted it; empty for the gateway itself
	Outcome string // done, failed, refused
	Error   string
	Nodes   []node.Ref
	Set     []Setting
}

// Setting is a parameter with the value it was to get.
type Setting struct{ Name, Value string }

// AppendEvents writes the command element.
func (c *Command) AppendEvents(d *exi.Doc) {
	text := func(name, v string) {
		if v != "" {
			d.Attr(at(name), exi.Str(clean(v)))
		}
	}
	d.Start(exi.N(NSCommand, "command"))
	d.Attr(at("at"), exi.TimeValue(c.At.UTC(), 3))
	text("outcome", c.Outcome)
	text("origin", c.Origin)
	text("from", c.From)
	text("error", c.Error)
	for _, n := range c.Nodes {
		d.Start(exi.N(NSCommand, "node"))
		text("nodeId", n.ID)
		text("sourceId", n.Source)
		text("cacheType", n.Cache)
		d.End()
	}
	for _, s := range c.Set {
		d.Start(exi.N(NSCommand, "set"))
		text("name", s.Name)
		text("value", s.Value)
		d.End()
	}
	d.End()
}

// clean replaces what XML cannot carry.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// ParseCommand reads what a message tells about a command; ok is false where it
// tells nothing.
func ParseCommand(st *xmpp.Stanza) (c Command, ok bool) {
	e := st.Elem.Child(exi.N(NSCommand, "command"))
	if !e.Valid() {
		return c, false
	}
	text := func(k exi.Cursor, name string) string {
		v, _ := k.Attr(at(name))
		return v.String()
	}
	if v, ok := e.Attr(at("at")); ok {
		c.At, _, _ = v.Time(time.UTC)
	}
	c.Outcome, c.Origin, c.From, c.Error = text(e, "outcome"), text(e, "origin"), text(e, "from"), text(e, "error")
	for k := range e.Children() {
		switch k.Name().Value().Local {
		case "node":
			c.Nodes = append(c.Nodes, node.Ref{ID: text(k, "nodeId"), Source: text(k, "sourceId"), Cache: text(k, "cacheType")})
		case "set":
			c.Set = append(c.Set, Setting{text(k, "name"), text(k, "value")})
		}
	}
	return c, true
}

// Tell tells subscribers about a command. They get it where they may set the
// same themselves; a refused one, which is only a matter of record, where they
// want the audit.
func (s *Service) Tell(c Command) {
	class := outbox.Control
	if c.Outcome == "refused" {
		class = outbox.Audit
	}
	var names []string
	for _, x := range c.Set {
		names = append(names, x.Name)
	}
	var needs []outbox.Need
	for _, n := range c.Nodes {
		needs = append(needs, outbox.Need{Node: n, Names: names})
	}
	if class == outbox.Audit {
		for i := range needs {
			needs[i].Names = nil // what was refused may not exist
		}
	}
	for i := range s.cfg.Subscribers {
		sub := &s.cfg.Subscribers[i]
		if class == outbox.Control && !sub.Commands || class == outbox.Audit && !sub.Audit {
			continue
		}
		if len(sub.Nodes) > 0 && !slices.ContainsFunc(c.Nodes, func(n node.Ref) bool { return slices.Contains(sub.Nodes, n) }) {
			continue
		}
		if err := s.cfg.Outbox.Add(sub.Bare, outbox.Message{Class: class, At: c.At, Need: needs, Payload: &c}); err != nil {
			s.cfg.Logger.Error("a command cannot be told", "to", sub.Bare, "err", err)
		}
	}
}
