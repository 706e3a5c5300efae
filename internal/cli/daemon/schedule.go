package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/local"
)

const scheduleHelp = `Usage: postern schedule [list]
       postern schedule add NAME NODE PARAMETER=VALUE DAYS TIME
       postern schedule remove NAME | pause NAME | resume NAME

Shows and changes the calendar of the gateway on this machine: at its times an
output gets a value, without the network, under the same rules as a command
from afar, in the gateway's time zone.

DAYS   daily, mon,wed,fri, mon-fri, a date (2026-12-24), a range of dates
       (2026-12-01..2026-12-31), or days and dates, of which both must hold
TIME   07:30, sunrise, sunset, sunrise+00:30, sunset-01:15

Options:
  --late TIME     how long after its time an entry may still run: after a power
                  cut, or when it is refused for now (10m, at most 24h). Of what
                  was missed only the latest for each output runs, if not too late
  --json          for programs
  --socket PATH   the local door of the gateway (default: that of postern run)

Exit codes: 0 done, 1 refused, 2 usage, 3 no gateway runs, 4 not permitted.

Examples:
  postern schedule add porch-on porch state=on daily sunset-00:15
  postern schedule add heat "boiler room" setpoint=21.5 mon-fri 06:15 --late 2h
  postern schedule pause heat
`

// scheduleVerbs are the words behind postern schedule.
var scheduleVerbs = []string{"list", "add", "remove", "pause", "resume"}

// Schedule is the command postern schedule.
func Schedule(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("schedule", scheduleHelp)
	late := f.Duration("late", 0, "")
	asJSON := f.Bool("json", false, "")
	socket := f.String("socket", "", "")
	rest, err := f.parse(&env, args)
	if err != nil {
		return finish(&env, "schedule", err)
	}
	verb := "list"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	c := scheduleCall{env: &env, paths: sockets(*socket, "postern"), json: *asJSON}
	switch {
	case verb == "list" && len(rest) == 0:
		err = c.list(ctx)
	case verb == "list":
		err = usagef("list takes no arguments")
	case verb == "add":
		err = c.add(ctx, rest, *late)
	case verb == "remove" || verb == "pause" || verb == "resume":
		err = c.named(ctx, verb, rest)
	default:
		hint := ""
		if n := config.Nearest(verb, scheduleVerbs); n != "" {
			hint = "; did you mean " + n + "?"
		}
		err = usagef("there is no command schedule %s%s", verb, hint)
	}
	return finish(&env, "schedule", err)
}

// scheduleCall is one use of the command.
type scheduleCall struct {
	env   *cli.Env
	paths []string
	json  bool
}

// ask calls f with the first door that somebody listens at.
func ask(paths []string, f func(*local.Client) error) error {
	for _, p := range paths {
		if err := f(local.NewClient(p)); !errors.Is(err, local.ErrNobody) {
			return err
		}
	}
	return nobody(paths)
}

func (c *scheduleCall) list(ctx context.Context) error {
	var all local.Schedules
	err := ask(c.paths, func(d *local.Client) (err error) {
		all, err = d.Schedules(ctx)
		return err
	})
	switch {
	case err != nil:
		return err
	case c.json:
		return writeIndented(c.env.Stdout, all)
	}
	return writeSchedules(c.env.Stdout, all)
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeSchedules shows the calendar to a person.
func writeSchedules(w io.Writer, all local.Schedules) error {
	if len(all.Schedules) == 0 {
		_, err := fmt.Fprintf(w, "nothing is scheduled; postern schedule --help shows how\n")
		return err
	}
	rows := [][]string{{"NAME", "OUTPUT", "VALUE", "WHEN", "NEXT", "LAST"}}
	for i := range all.Schedules {
		s := &all.Schedules[i]
		output := s.Node + " " + s.Parameter
		if s.Source != "" {
			output = s.Source + "/" + output
		}
		rows = append(rows, []string{s.Name, output, s.Value, s.When, nextText(s), lastText(s)})
	}
	var b strings.Builder
	table(&b, rows, -1)
	for i := range all.Schedules {
		s := &all.Schedules[i]
		for _, text := range []string{s.Problem, s.Error} {
			if text != "" {
				fmt.Fprintf(&b, "! %s: %s\n", printable(s.Name), printable(text))
			}
		}
	}
	zone := all.TimeZone
	if zone == time.Local.String() { // the gateway's site has none
		zone = "this machine's time zone"
	}
	fmt.Fprintf(&b, "times are those of %s\n", printable(zone))
	_, err := io.WriteString(w, b.String())
	return err
}

const scheduleStamp = "Mon 2006-01-02 15:04:05"

func nextText(s *local.Schedule) string {
	switch {
	case s.Paused:
		return "paused"
	case s.Waiting:
		return "tried again soon"
	case s.Next.IsZero():
		return "-"
	}
	return s.Next.Format(scheduleStamp)
}

func lastText(s *local.Schedule) string {
	switch {
	case s.Missed.After(s.Run):
		return "missed " + s.Missed.Format(scheduleStamp)
	case s.Run.IsZero():
		return "-"
	case s.Done:
		return "done " + s.Run.Format(scheduleStamp)
	}
	return "failed " + s.Run.Format(scheduleStamp)
}

func (c *scheduleCall) add(ctx context.Context, args []string, late time.Duration) error {
	if len(args) < 5 {
		return usagef("write postern schedule add NAME NODE PARAMETER=VALUE DAYS TIME")
	}
	param, value, ok := strings.Cut(args[2], "=")
	if !ok || param == "" {
		return usagef("%q is no assignment; write for example state=on", args[2])
	}
	switch { // as people write booleans; a text of that name stays what it is
	case value == "on":
		value = "true"
	case value == "off":
		value = "false"
	}
	if late < 0 {
		return usagef("--late is not negative")
	}
	n := local.NewSchedule{Name: args[0], Node: args[1], Parameter: param, Value: value, When: strings.Join(args[3:], " "), Late: late.Seconds()}
	var made local.Schedule
	err := ask(c.paths, func(d *local.Client) (err error) {
		made, err = d.AddSchedule(ctx, n)
		return err
	})
	switch {
	case err != nil:
		return err
	case c.json:
		return writeIndented(c.env.Stdout, made)
	}
	_, err = fmt.Fprintf(c.env.Stdout, "%s: %s %s=%s, %s; next %s\n", printable(made.Name), printable(made.Node), printable(made.Parameter),
		printable(made.Value), printable(made.When), made.Next.Format(scheduleStamp+" MST"))
	return err
}

func (c *scheduleCall) named(ctx context.Context, verb string, args []string) error {
	if len(args) != 1 {
		return usagef("which one? postern schedule %s NAME", verb)
	}
	become := ""
	err := ask(c.paths, func(d *local.Client) error {
		switch verb {
		case "remove":
			become = "is gone"
			return d.RemoveSchedule(ctx, args[0])
		case "pause":
			become = "is paused; until: postern schedule resume " + args[0]
			return d.PauseSchedule(ctx, args[0])
		}
		become = "runs again"
		return d.ResumeSchedule(ctx, args[0])
	})
	if err != nil || c.json {
		return err
	}
	_, err = fmt.Fprintf(c.env.Stdout, "%s %s\n", printable(args[0]), printable(become))
	return err
}
