package schedule

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/xmpp/adhoc"
)

// Choice is an output that a schedule may be made for.
type Choice struct {
	Node      node.Ref
	Parameter string
	Label     string // for people
}

// value names the output in a form.
func (c Choice) value() string { return c.Node.String() + " " + c.Parameter }

// Commands are the calendar as ad-hoc commands (XEP-0050): list, add, remove,
// pause and resume. allowed is asked at every step; outputs lists what can be
// switched.
func (s *Scheduler) Commands(allowed func(ctx context.Context, from jid.JID) bool, outputs func() []Choice) []adhoc.Command {
	c := commands{s, outputs}
	return []adhoc.Command{
		{Node: "schedules", Name: "Show the schedules", Allowed: allowed, Run: c.list},
		{Node: "schedule-add", Name: "Add a schedule", Allowed: allowed, Stages: []adhoc.Stage{{Form: c.addForm, Check: c.addCheck}}, Run: c.add},
		c.byName("schedule-remove", "Remove schedules", "removed", allowed, nil, s.Remove),
		c.byName("schedule-pause", "Pause schedules", "paused", allowed, func(e Entry) bool { return !e.Paused }, s.Pause),
		c.byName("schedule-resume", "Resume paused schedules", "resumed", allowed, func(e Entry) bool { return e.Paused }, s.Resume),
	}
}

type commands struct {
	s       *Scheduler
	outputs func() []Choice
}

func (c commands) list(context.Context, *adhoc.Request) (adhoc.Result, error) {
	f := &adhoc.Form{Title: "Schedules", Columns: []adhoc.Field{
		{Var: "name", Label: "Name"}, {Var: "output", Label: "Output"}, {Var: "value", Label: "Value"}, {Var: "when", Label: "When"},
		{Var: "next", Label: "Next"}, {Var: "last", Label: "Last"}, {Var: "by", Label: "Made by"},
	}}
	zone := c.s.zone()
	for _, l := range c.s.List() {
		f.Rows = append(f.Rows, []string{l.Name, Choice{Node: l.Node, Parameter: l.Parameter}.value(), l.Value, l.When, l.nextText(zone), l.lastText(zone), l.By})
	}
	return adhoc.Result{Form: f, Note: fmt.Sprintf("%d schedules; times are those of %s", len(f.Rows), zone)}, nil
}

func (s *Scheduler) zone() *time.Location {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place.zone()
}

func (l *Listed) nextText(zone *time.Location) string {
	switch {
	case l.Problem != "":
		return l.Problem
	case l.Paused:
		return "paused"
	case l.Waiting:
		return "tried again soon"
	case l.Next.IsZero():
		return ""
	}
	return l.Next.In(zone).Format(time.RFC3339)
}

func (l *Listed) lastText(zone *time.Location) string {
	n := &l.Notice
	switch {
	case n.Missed.After(n.Run):
		return "missed " + n.Missed.In(zone).Format(time.RFC3339)
	case n.Run.IsZero():
		return ""
	case n.Done:
		return "done " + n.Run.In(zone).Format(time.RFC3339)
	}
	return "failed " + n.Run.In(zone).Format(time.RFC3339) + ": " + n.Error
}

func (c commands) addForm(context.Context, *adhoc.Request) (*adhoc.Form, error) {
	f := &adhoc.Form{Title: "Add a schedule", Instructions: "At its times an output gets a value, without the network."}
	output := adhoc.Field{Var: "output", Label: "Output", Type: "list-single", Required: true}
	seen := map[string]bool{}
	for _, o := range c.outputs() {
		if v := o.value(); !seen[v] {
			seen[v] = true
			output.Options = append(output.Options, adhoc.Option{Label: o.Label, Value: v})
		}
	}
	f.Fields = []adhoc.Field{
		{Var: "name", Label: "Name", Required: true},
		output,
		{Var: "value", Label: "Value", Desc: "In the type of the parameter: true, 21.5", Required: true},
		{Var: "when", Label: "When", Desc: strings.ReplaceAll(WhenHelp, "\n", " "), Required: true, Values: []string{"daily 07:30"}},
		{Var: "late", Label: "May be late by, in minutes", Desc: "How long after its time it may still run",
			Values: []string{strconv.Itoa(int(DefaultLate / time.Minute))}},
	}
	return f, nil
}

// entry is what was filled in.
func (c commands) entry(r *adhoc.Request) (Entry, error) {
	e := Entry{Name: r.Values.Get("name"), Value: r.Values.Get("value"), When: r.Values.Get("when"), By: r.From.Bare().String()}
	for _, o := range c.outputs() {
		if o.value() == r.Values.Get("output") {
			e.Node, e.Parameter = o.Node, o.Parameter
			break
		}
	}
	if text := strings.TrimSpace(r.Values.Get("late")); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return e, fmt.Errorf("late: %q is no number of minutes", text)
		}
		e.Late = time.Duration(n) * time.Minute
	}
	return e, nil
}

func (c commands) addCheck(_ context.Context, r *adhoc.Request) error {
	e, err := c.entry(r)
	if err == nil {
		_, _, err = c.s.check(&e)
	}
	return err
}

func (c commands) add(_ context.Context, r *adhoc.Request) (adhoc.Result, error) {
	e, err := c.entry(r)
	if err != nil {
		return adhoc.Result{}, err
	}
	l, err := c.s.Add(e)
	if err != nil {
		return adhoc.Result{}, err
	}
	return adhoc.Result{Note: fmt.Sprintf("%s: next %s", l.Name, l.Next.In(c.s.zone()).Format(time.RFC3339))}, nil
}

// byName is a command that does something with chosen entries.
func (c commands) byName(nodeID, name, done string, allowed func(context.Context, jid.JID) bool, show func(Entry) bool, do func(string) error) adhoc.Command {
	form := func(context.Context, *adhoc.Request) (*adhoc.Form, error) {
		f := adhoc.Field{Var: "names", Label: "Schedules", Type: "list-multi", Required: true}
		for _, l := range c.s.List() {
			if show == nil || show(l.Entry) {
				label := fmt.Sprintf("%s: %s = %s, %s", l.Name, Choice{Node: l.Node, Parameter: l.Parameter}.value(), l.Value, l.When)
				f.Options = append(f.Options, adhoc.Option{Label: label, Value: l.Name})
			}
		}
		return &adhoc.Form{Title: name, Fields: []adhoc.Field{f}}, nil
	}
	run := func(_ context.Context, r *adhoc.Request) (adhoc.Result, error) {
		var errs []error
		n := 0
		for _, name := range r.Values["names"] {
			if err := do(name); err != nil {
				errs = append(errs, err)
			} else {
				n++
			}
		}
		return adhoc.Result{Note: fmt.Sprintf("%d %s", n, done)}, errors.Join(errs...)
	}
	return adhoc.Command{Node: nodeID, Name: name, Allowed: allowed, Stages: []adhoc.Stage{{Form: form}}, Run: run}
}
