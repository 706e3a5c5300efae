package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/internal/cli"
	"postern/internal/local"
)

const statusHelp = `Usage: postern status [--json] [--socket PATH]

Shows how the gateway, hub or registry on this machine is: its connection and
how it is encoded, each node with its latest reading, age and quality, queues,
memory, and whose the gateway is. It asks the running daemon through its local
door and touches no hardware.

Options:
  --socket PATH   the local door of the daemon (default: that of postern run,
                  then of postern hub and postern registry, of this user,
                  then of the system)
  --json          for programs

Exit codes: 0 healthy, 1 something needs a person, 2 usage, 3 no daemon runs,
4 not permitted.
`

// Status is the command postern status.
func Status(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("status", statusHelp)
	asJSON := f.Bool("json", false, "")
	socket := f.String("socket", "", "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) > 0 {
		err = usagef("there are no arguments")
	}
	if err != nil {
		return finish(&env, "status", err)
	}
	s, err := askStatus(ctx, sockets(*socket, "postern", "postern-hub", "postern-registry"))
	if err != nil {
		return finish(&env, "status", err)
	}
	if *asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(s)
	} else {
		err = writeStatus(env.Stdout, s)
	}
	if err != nil {
		return finish(&env, "status", err)
	}
	if !s.Healthy {
		return cli.ExitFailure
	}
	return cli.ExitOK
}

// sockets lists where to ask.
func sockets(given string, names ...string) []string {
	if given != "" {
		return []string{given}
	}
	var out []string
	for _, n := range names {
		for _, p := range local.Candidates(n) {
			if len(out) == 0 || out[len(out)-1] != p {
				out = append(out, p)
			}
		}
	}
	return out
}

// askStatus returns the status of the first daemon that answers.
func askStatus(ctx context.Context, paths []string) (local.Status, error) {
	var denied error
	for _, p := range paths {
		s, err := local.NewClient(p).Status(ctx)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, local.ErrDenied):
			denied = err
		case !errors.Is(err, local.ErrNobody):
			return s, err
		}
	}
	if denied != nil {
		return local.Status{}, denied
	}
	return local.Status{}, nobody(paths)
}

// nobody words that no daemon runs.
func nobody(paths []string) error {
	return fmt.Errorf("no daemon is running here: %w on %s\n  start one with postern run --config FILE, or name its socket with --socket", local.ErrNobody, strings.Join(paths, " or "))
}

// writeStatus shows a status to a person.
func writeStatus(w io.Writer, s local.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "postern %s %s, up %s, pid %d, memory %.1f MiB\n", s.Role, s.Version, ago(s.Now.Sub(s.Started)), s.PID, float64(s.Memory.Anonymous)/(1<<20))
	if m := s.Machine; m != nil {
		started := "started by " + m.Reset
		if m.Reset == "unknown" {
			started = "what started it is unknown"
		}
		fmt.Fprintf(&b, "machine     %s; %s\n", printable(m.Board), printable(started))
	}
	if s.Gateway != nil {
		gatewayStatus(&b, s)
	}
	if s.Hub != nil {
		hubStatus(&b, s)
	}
	if s.Registry != nil {
		writeRegistry(&b, s.Registry)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "! %s\n", printable(p))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// exiStatus tells what compression saves on the connection.
func exiStatus(b *strings.Builder, e *local.EXI) {
	options := strings.Join(e.Options, ", ")
	if e.Dedicated {
		options = strings.TrimPrefix("dedicated port, "+options, ", ")
	}
	if options != "" {
		fmt.Fprintf(b, "            %s\n", printable(strings.TrimSuffix(options, ", ")))
	}
	if n := len(e.Schemas); n > 0 {
		fmt.Fprintf(b, "            %d schemas\n", n)
	}
	share := func(got, xml int64) string {
		if xml <= 0 {
			return ""
		}
		return fmt.Sprintf(" instead of about %d as XML (%.0f %%)", xml, 100*float64(got)/float64(xml))
	}
	fmt.Fprintf(b, "octets      in %d%s\n", e.In, share(e.In, e.XMLIn))
	fmt.Fprintf(b, "            out %d%s\n", e.Out, share(e.Out, e.XMLOut))
}

func gatewayStatus(b *strings.Builder, s local.Status) {
	c := s.Gateway.Connection
	if s.Config != "" {
		fmt.Fprintf(b, "config      %s\n", s.Config)
	}
	fmt.Fprintf(b, "account     %s\n", c.Account)
	state := c.Phase
	if state == "held" { // xmpp's word
		state = "waits for somebody, see below,"
	}
	if !c.Since.IsZero() {
		state += " for " + ago(s.Now.Sub(c.Since))
	}
	if c.Retry != nil {
		state += ", next attempt in " + ago(c.Retry.Sub(s.Now))
	}
	fmt.Fprintf(b, "connection  %s\n", state)
	if c.Phase == "online" {
		resume := "cannot be resumed"
		if c.Resumable {
			resume = "can be resumed"
		}
		enc := c.Encoding
		if c.EncodingNote != "" {
			enc += " (" + printable(c.EncodingNote) + ")"
		}
		fmt.Fprintf(b, "            %s, %s, %s, %s\n", c.Server, c.TLS, c.Mechanism, resume)
		fmt.Fprintf(b, "encoding    %s\n", enc)
		if c.EXI != nil {
			exiStatus(b, c.EXI)
		}
	}
	fmt.Fprintf(b, "stanzas     %d in, %d out, %d unacknowledged, %d queued; %d connections, %d resumed\n", c.In, c.Out, c.Unacked, c.Queued, c.Connects, c.Resumes)
	if h := s.Gateway.History; h != nil {
		historyStatus(b, h)
	}
	if o := s.Gateway.Outbox; o != nil {
		outboxStatus(b, o, s.Now)
	}
	if p := s.Gateway.Provisioning; p != nil {
		writeProvisioning(b, p)
	}
	b.WriteByte('\n')
	t := [][]string{{"NODE", "FIELD", "VALUE", "UNIT", "AGE", "QUALITY"}}
	for _, n := range s.Gateway.Nodes {
		name := n.ID
		if n.Simulated {
			name += " (simulated)"
		}
		for i, f := range n.Fields {
			if i > 0 {
				name = ""
			}
			t = append(t, fieldRow(name, f, s.Now))
		}
		if len(n.Fields) == 0 {
			t = append(t, []string{name, "-"})
		}
	}
	table(b, t, 2)
	if slices.ContainsFunc(s.Gateway.Nodes, func(n local.Node) bool {
		return slices.ContainsFunc(n.Fields, func(f local.Field) bool { return f.Writable })
	}) {
		b.WriteString("* can be switched\n")
	}
}

func fieldRow(name string, f local.Field, now time.Time) []string {
	value, age, q := f.Value, "-", f.Quality
	if value == "" {
		value = "-"
	}
	if f.Time != nil {
		age = ago(now.Sub(*f.Time))
	}
	switch {
	case f.Quality == "":
		q = "not read yet"
	case f.Error != "":
		q = f.Error
	case f.Quality == "automaticReadout":
		q = "ok"
	}
	if f.Stale && f.Error == "" && f.Quality != "" {
		q = strings.TrimPrefix(q+", stale", "ok, ")
	}
	field := f.Name
	if f.Writable {
		field += " *"
	}
	return []string{name, field, value, f.Unit, age, q}
}

func hubStatus(b *strings.Builder, s local.Status) {
	h := s.Hub
	fmt.Fprintf(b, "domain      %s\nlistening   %s\n", h.Domain, strings.Join(h.Listen, ", "))
	if h.CAFile != "" {
		fmt.Fprintf(b, "authority   %s (clients need it)\n", h.CAFile)
	}
	b.WriteByte('\n')
	usersTable(b, h.Users)
}

// usersTable shows the accounts of a hub.
func usersTable(b *strings.Builder, users []local.User) {
	if len(users) == 0 {
		b.WriteString("There are no accounts; postern hub adduser NAME makes one.\n")
		return
	}
	t := [][]string{{"ACCOUNT", "ONLINE", "WAITING", "SINCE"}}
	for _, u := range users {
		online := "-"
		if len(u.Resources) > 0 {
			online = strings.Join(u.Resources, ", ")
		}
		since := "-"
		if !u.Created.IsZero() {
			since = u.Created.Local().Format("2006-01-02")
		}
		t = append(t, []string{u.JID, online, strconv.Itoa(u.Waiting), since})
	}
	table(b, t, 2)
}

// table lays out columns, two spaces apart; the column right, if there is one,
// is aligned to the right.
func table(b *strings.Builder, rows [][]string, right int) {
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(printable(c)))
		}
	}
	for _, r := range rows {
		line := ""
		for i, c := range r {
			c = printable(c)
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == right {
				c = pad + c
			} else {
				c += pad
			}
			line += c + "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// ago writes a duration for people: 0.4 s, 12 s, 3 min, 5 h 20 min, 4 d 2 h.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}
