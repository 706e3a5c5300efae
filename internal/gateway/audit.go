package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/internal/audit"
	"postern/xmpp"
)

// auditor turns commands into records of the audit. It is a control.Auditor.
type auditor struct {
	log   *slog.Logger
	trail *audit.Log
	// sink is told what is recorded beside the beginning of a command; nil:
	// nobody is.
	sink func(audit.Record)
	// volatile is why records are not durable: remote commands are refused then.
	volatile error

	mu   sync.Mutex
	open map[*control.Command]uint64 // number of the record of a command under way
}

func newAuditor(trail *audit.Log, log *slog.Logger, sink func(audit.Record), volatile error) *auditor {
	return &auditor{trail: trail, log: log, sink: sink, volatile: volatile, open: map[*control.Command]uint64{}}
}

// Begin implements control.Auditor: the record is durable when it returns nil.
func (a *auditor) Begin(_ context.Context, c *control.Command) error {
	if a.volatile != nil {
		return fmt.Errorf("audit: a command needs a durable record: %w", a.volatile)
	}
	n, err := a.trail.Add(record(c, audit.Begun, nil))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.mu.Lock()
	a.open[c] = n
	a.mu.Unlock()
	return nil
}

// End implements control.Auditor. It does not wait for the disk: until the
// record is there, that of the beginning stands for the command.
func (a *auditor) End(_ context.Context, c *control.Command, r control.Result, err error) {
	a.mu.Lock()
	of, begun := a.open[c]
	delete(a.open, c)
	a.mu.Unlock()
	outcome := audit.Done
	switch {
	case err != nil:
		outcome = audit.Failed
	case !begun:
		outcome = audit.Moved
	}
	rec := record(c, outcome, err)
	rec.At, rec.Of, rec.Written, rec.Verified = time.Now(), of, r.Written, r.Verified
	a.tell(rec)
	a.trail.Later(rec)
}

// Refused implements control.Auditor.
func (a *auditor) Refused(_ context.Context, c *control.Command, why *xmpp.Error) {
	rec := record(c, audit.Refused, why)
	if len(c.Asked) > 0 {
		rec.Set = rec.Set[:0]
		for _, s := range c.Asked {
			rec.Set = append(rec.Set, s.Name+"="+s.Text)
		}
	}
	a.tell(rec)
	sender := c.From
	if j, err := jid.Parse(c.From); err == nil {
		sender = j.Bare().String()
	}
	a.trail.Refuse(sender, rec)
}

// Overridden implements control.Auditor.
func (a *auditor) Overridden(c *control.Command, taken bool) {
	outcome := audit.Released
	if taken {
		outcome = audit.Override
	}
	rec := record(c, outcome, nil)
	for _, s := range c.Asked {
		rec.Set = append(rec.Set, s.Name+" "+s.Text)
	}
	a.tell(rec)
	a.trail.Later(rec)
}

func (a *auditor) tell(r audit.Record) {
	if a.sink != nil {
		a.sink(r)
	}
	level := slog.LevelInfo
	if r.Outcome == audit.Failed || r.Outcome == audit.Refused {
		level = slog.LevelWarn
	}
	set := strings.Join(r.Set, " ")
	if len(set) > 1000 {
		set = set[:1000] + "…"
	}
	what := []any{"origin", r.Origin, "nodes", strings.Join(r.Nodes, " "), "set", set}
	for _, more := range [...][2]string{{"from", r.From}, {"err", r.Error}} {
		if more[1] != "" {
			what = append(what, more[0], more[1])
		}
	}
	a.log.Log(context.Background(), level, "command "+r.Outcome, what...)
}

func record(c *control.Command, outcome string, err error) audit.Record {
	r := audit.Record{
		At: c.At, Outcome: outcome, Origin: string(c.Origin), From: c.From, For: c.For, ID: c.ID, Reason: c.Reason,
		ClockUnset: !clockSane(),
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	for _, t := range [...][2]string{{"service", c.ServiceToken}, {"device", c.DeviceToken}, {"user", c.UserToken}} {
		if t[1] != "" {
			r.Tokens = append(r.Tokens, audit.Fingerprint(t[0], t[1]))
		}
	}
	for _, n := range c.Nodes {
		r.Nodes = append(r.Nodes, n.String())
	}
	for _, s := range c.Assignments {
		r.Set = append(r.Set, s.Name+"="+s.Value.String())
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
