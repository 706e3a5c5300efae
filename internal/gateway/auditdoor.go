package gateway

import (
	"context"
	"time"

	"postern/internal/audit"
	"postern/internal/local"
	"postern/internal/store"
)

// auditDoor answers the local door about the audit. Everything that waits is
// committed first, so that the newest record is among those shown.
func (g *Gateway) auditDoor(_ context.Context, r *local.Request) (any, error) {
	var req local.AuditRequest
	if err := r.Body(&req); err != nil {
		return nil, err
	}
	q := audit.Query{Node: req.Node, Limit: min(req.Limit, 10_000)}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{req.Since, &q.Since}, {req.Before, &q.Before}} {
		if t.text == "" {
			continue
		}
		var err error
		if *t.to, err = time.Parse(time.RFC3339Nano, t.text); err != nil {
			return nil, &local.Error{Status: local.StatusBadRequest, Text: "since and before are written as in 2026-03-01T12:30:00Z"}
		}
	}
	if err := g.audit.FlushCommands(); err != nil {
		g.log.Error("the audit record cannot be written; it waits in memory: see that there is room on the disk", "err", err)
	}
	var out any
	err := g.db.View(func(tx *store.Tx) error {
		if req.Verify {
			out = audit.Verify(tx)
		} else {
			var p audit.Page
			p.Records, p.More = audit.List(tx, q)
			out = p
		}
		return nil
	})
	return out, err
}
