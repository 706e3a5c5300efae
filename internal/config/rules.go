package config

import (
	"reflect"
	"slices"
	"time"
)

// Rules keep one output within what its machine can bear. Moves into the safe
// state wait for none of them.
type Rules struct {
	MinOn      time.Duration `yaml:"min_on,omitempty" max:"24h" doc:"how long it stays on at least" example:"60s"`
	MinOff     time.Duration `yaml:"min_off,omitempty" max:"24h" doc:"how long it stays off at least"`
	MaxOn      time.Duration `yaml:"max_on,omitempty" max:"720h" doc:"how long it stays on at most; then it is made safe" example:"30m"`
	MaxRate    string        `yaml:"max_rate,omitempty" format:"decimal" doc:"how much a number may change per second"`
	PerHour    int           `yaml:"changes_per_hour,omitempty" max:"100000" doc:"how many times within an hour it may be changed"`
	Group      string        `yaml:"group,omitempty" max:"128" doc:"of all outputs with the same group at most one is on"`
	Interlocks []Interlock   `yaml:"interlocks,omitempty" doc:"conditions that must hold to switch it on, and while it is on: when one ends it is made safe"`
	SensorLost time.Duration `yaml:"sensor_lost" default:"10s" min:"1s" max:"1h" doc:"how long a value that an interlock needs may be missing before the output is made safe"`
	Confirm    string        `yaml:"confirm" default:"no" oneof:"no|yes|two-persons" doc:"switching it on from afar takes a second step with a code; with two-persons from another account"`
	Override   *Override     `yaml:"override,omitempty" doc:"a switch at the machine that takes it over from commands and schedules"`
	Restart    string        `yaml:"restart" default:"safe" oneof:"safe|hold" doc:"what it does when the gateway is restarted: it goes to its safe state, or stays as it is; hold needs systemd, which keeps the line meanwhile"`
	LinkLost   time.Duration `yaml:"link_lost,omitempty" max:"720h" doc:"how long the server may be out of reach before the output is made safe"`
}

// Interlock is a condition over the values of nodes.
type Interlock struct {
	Condition string `yaml:"condition" format:"condition" doc:"what must hold: values are written node.field, with and, or, not, = != < <= > >=, + - * / and parentheses" example:"not door.state and tank.level < 80"`
	Reason    string `yaml:"reason,omitempty" max:"200" doc:"what is said when it does not hold; the condition when left out" example:"the door is open"`
}

// Override is a switch at the machine.
type Override struct {
	Input string `yaml:"input" format:"condition" doc:"the output is taken over while this is true, usually a contact: written as the conditions of interlocks are" example:"hand.state"`
	State string `yaml:"state" default:"keep" doc:"what the output then has: on, off, a number or whatever else it takes, or keep for what it had" example:"on"`
	Name  string `yaml:"name,omitempty" max:"100" doc:"what people call the switch" example:"hand switch at the pump"`
}

// Value names what a condition looks at.
type Value struct{ Node, Field string }

// shownName is the name under which a channel is shown.
func (n *NodeKeys) shownName(channel string) string {
	if to := n.Fields[channel].Name; to != "" {
		return to
	}
	return channel
}

// ruleNames checks that rules are about channels that can be switched, and
// what the tags cannot say about them.
func (l *loader) ruleNames(n *node, path string, nd *Node, known []Channel, all, writable []string) {
	rules := n.get("rules")
	if rules == nil {
		return
	}
	line := reflect.Indirect(reflect.ValueOf(nd.Config)).FieldByName("Line").IsValid()
	for _, k := range rules.keys {
		r := nd.Rules[k.text]
		at := join(path, "rules."+k.text)
		safe := slices.ContainsFunc(known, func(c Channel) bool { return c.Name == k.text && c.Safe })
		switch {
		case slices.Contains(writable, k.text) && !safe && (r.MaxOn > 0 || r.LinkLost > 0 || len(r.Interlocks) > 0):
			l.add(k, at, "max_on, link_lost and interlocks need a safe state, which "+quote(k.text)+" does not have", "give it one by the key safe, or leave them out")
		case slices.Contains(writable, k.text) && r.Restart == "hold" && !(safe && line):
			l.add(k, at, "restart: hold is for outputs on a GPIO line, which "+nd.Kind+" is not", "leave it out")
		case r.MaxOn > 0 && r.MaxOn < r.MinOn:
			l.add(k, at, "max_on is shorter than min_on", "change one of the two")
		case slices.Contains(writable, k.text):
		case slices.Contains(all, k.text):
			l.add(k, join(path, "rules"), "the channel "+quote(k.text)+" cannot be switched", suggest("", writable))
		default:
			l.add(k, join(path, "rules"), "the device has no channel "+quote(k.text), suggest(k.text, writable))
		}
		for _, c := range known {
			if c.Name == k.text && r.Override != nil {
				l.overrideState(rules.get(k.text).get("override"), at, r.Override, &c)
			}
		}
	}
}

// Keep as the state of an override leaves the output as it was.
const Keep = "keep"

// overrideState checks that a channel takes what an override makes of it.
func (l *loader) overrideState(n *node, path string, o *Override, c *Channel) {
	at := n.get("state")
	if at == nil || o.State == Keep || c.Takes == nil {
		return
	}
	if err := c.Takes(o.State); err != nil {
		l.add(at, join(path, "override.state"), c.Name+" "+err.Error()+", and "+quote(o.State)+" is not that", "write a value that it takes, or "+Keep)
	}
}

// conditions checks that every value in an interlock exists. ids are the
// names of all nodes.
func (l *loader) conditions(ids []string) {
	if l.kinds.Values == nil {
		return
	}
	for i := range l.cfg.Nodes {
		nd := &l.cfg.Nodes[i]
		rules := l.nodes[i].get("rules")
		for channel, r := range nd.Rules {
			path := "nodes[" + nd.ID + "].rules." + channel + ".interlocks"
			list := rules.get(channel).get("interlocks")
			for j, il := range r.Interlocks {
				if list == nil || j >= len(list.items) {
					continue
				}
				at := list.items[j].get("condition")
				if at == nil {
					continue // reported as missing
				}
				for _, v := range l.kinds.Values(il.Condition) {
					l.valueRef(at, path, v, ids)
				}
			}
			if at := rules.get(channel).get("override").get("input"); r.Override != nil && at != nil {
				for _, v := range l.kinds.Values(r.Override.Input) {
					l.valueRef(at, "nodes["+nd.ID+"].rules."+channel+".override.input", v, ids)
				}
			}
		}
	}
}

// valueRef checks one value of a condition.
func (l *loader) valueRef(at *node, path string, v Value, ids []string) {
	i := slices.IndexFunc(l.cfg.Nodes, func(n Node) bool { return n.ID == v.Node })
	if i < 0 {
		l.add(at, path, "there is no node "+quote(v.Node), suggest(v.Node, ids))
		return
	}
	nd := &l.cfg.Nodes[i]
	var fields []string
	for _, c := range nd.Computed {
		fields = append(fields, c.Name)
	}
	shown, ok := l.shownFields(nd)
	for _, c := range shown {
		fields = append(fields, c.Name)
	}
	if !ok {
		return // it may have more than can be known now
	}
	if !slices.Contains(fields, v.Field) {
		l.add(at, path, "the node "+quote(v.Node)+" shows no field "+quote(v.Field), suggest(v.Field, fields))
	}
}
