package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/control"
	"postern/control/schedule"
	"postern/drivers"
	"postern/internal/config"
	"postern/internal/local"
	"postern/internal/node"
	"postern/xmpp"
)

// openSchedules reads the calendar.
func (g *Gateway) openSchedules() error {
	s, err := schedule.New(schedule.Config{
		Store: g.db, Place: placeOf(g.cfg.Site), ClockSane: clockSane, Logger: g.log.With("part", "schedules"),
		Do: g.doScheduled,
		Check: func(e schedule.Entry) error {
			return plain(g.control.Check(context.Background(), scheduled(e)))
		},
	})
	g.schedules = s
	return err
}

// placeOf is where and by which clock schedules run.
func placeOf(s config.Site) schedule.Place {
	p := schedule.Place{Location: s.Location()}
	if lat, lon, ok := s.Position(); ok {
		p.Position = &schedule.Position{Latitude: lat, Longitude: lon}
	}
	return p
}

// scheduled is the command of an entry. Its value is read by the parameter's
// type, as a field of a form is.
func scheduled(e schedule.Entry) control.Command {
	return control.Command{
		Origin: control.OriginSchedule, Nodes: []node.Ref{e.Node},
		Assignments: []control.Assignment{{Name: e.Parameter, Value: drivers.String(e.Value)}},
		Reason:      fmt.Sprintf("schedule %q by %s", e.Name, e.By),
	}
}

// doScheduled carries an entry out as a command from afar would be: the same
// rules, the record first.
func (g *Gateway) doScheduled(ctx context.Context, e schedule.Entry) error {
	_, err := g.control.Do(ctx, scheduled(e))
	var fault *xmpp.Error
	if errors.As(err, &fault) && fault.Type == xmpp.Wait {
		return fmt.Errorf("%w; %w", plain(err), schedule.ErrAgain)
	}
	return plain(err)
}

// plain shows a refusal of the gateway's own command by its text alone.
func plain(err error) error {
	var fault *xmpp.Error
	if errors.As(err, &fault) && fault.Text != "" {
		return errors.New(fault.Text)
	}
	return err
}

// scheduleHandlers serve the calendar at the local door.
func (g *Gateway) scheduleHandlers() map[string]local.Handler {
	byName := func(do func(string) error) local.Handler {
		return func(_ context.Context, r *local.Request) (any, error) {
			var in local.ScheduleName
			if err := r.Body(&in); err != nil {
				return nil, err
			}
			return struct{}{}, do(in.Name)
		}
	}
	return map[string]local.Handler{
		"GET /v1/schedules": func(context.Context, *local.Request) (any, error) {
			out := local.Schedules{TimeZone: g.site().Location().String(), Schedules: []local.Schedule{}}
			for _, l := range g.schedules.List() {
				out.Schedules = append(out.Schedules, g.shownSchedule(l))
			}
			return out, nil
		},
		"POST /v1/schedules": func(_ context.Context, r *local.Request) (any, error) {
			var in local.NewSchedule
			if err := r.Body(&in); err != nil {
				return nil, err
			}
			l, err := g.schedules.Add(schedule.Entry{
				Name: in.Name, Node: node.Ref{ID: in.Node, Source: in.Source, Cache: in.Cache}, Parameter: in.Parameter,
				Value: in.Value, When: in.When, Late: seconds(in.Late), By: "local",
			})
			if err != nil {
				return nil, err
			}
			return g.shownSchedule(l), nil
		},
		"DELETE /v1/schedules":      byName(func(n string) error { return g.schedules.Remove(n) }),
		"POST /v1/schedules/pause":  byName(func(n string) error { return g.schedules.Pause(n) }),
		"POST /v1/schedules/resume": byName(func(n string) error { return g.schedules.Resume(n) }),
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, -1e9), 1e9) * float64(time.Second))
}

func (g *Gateway) site() config.Site { return g.config().Site }

// shownSchedule is an entry as the door shows it.
func (g *Gateway) shownSchedule(l schedule.Listed) local.Schedule {
	out := local.Schedule{
		Name: l.Name, Node: l.Node.ID, Source: l.Node.Source, Cache: l.Node.Cache, Parameter: l.Parameter, Value: l.Value,
		When: l.When, Late: l.Late.Seconds(), Paused: l.Paused, By: l.By, Waiting: l.Waiting, Problem: l.Problem,
		Error: strings.TrimSpace(l.Notice.Error), Done: l.Notice.Done,
	}
	zone := g.site().Location()
	for _, t := range []struct {
		to *time.Time
		at time.Time
	}{{&out.Next, l.Next}, {&out.Run, l.Notice.Run}, {&out.Missed, l.Notice.Missed}} {
		if !t.at.IsZero() {
			*t.to = t.at.In(zone)
		}
	}
	return out
}
