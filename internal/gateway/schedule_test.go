package gateway

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/local"
	"postern/internal/store"
)

const scheduledConfig = `
account: {jid: thing@example.org, password: {env: POSTERN_TEST_PASSWORD}}
site: {time_zone: UTC, latitude: 52.5, longitude: 13.4}
simulate: true
nodes:
  - {id: pump, kind: relay, line: "chip:1", rules: {state: {interlocks: [{condition: not door.state, reason: the door is open}]}}}
  - {id: gate, kind: relay, line: "chip:3", rules: {state: {confirm: "yes"}}}
  - {id: door, kind: contact, line: "chip:2", bias: pull-up}
`

// A schedule moves a line, through the rules and with a record before.
func TestScheduleMovesAnOutput(t *testing.T) {
	r := newRig(t, scheduledConfig)
	door := local.NewClient(r.door.Path)
	at := time.Now().UTC().Add(3 * time.Second)
	made, err := door.AddSchedule(t.Context(), local.NewSchedule{
		Name: "wet", Node: "pump", Parameter: "state", Value: "true", When: at.Format("2006-01-02 15:04:05"), Late: 60})
	if err != nil || made.Next.Unix() != at.Unix() || made.By != "local" {
		t.Fatalf("%+v, %v", made, err)
	}
	line := r.hw.bench.line("chip:1")
	limit := time.After(20 * time.Second)
	for {
		if high, _ := line.Driven(); bool(high) {
			break
		}
		select {
		case <-limit:
			t.Fatal("nothing moved")
		case <-time.After(20 * time.Millisecond):
		}
	}
	moves := line.History()
	if moved := moves[len(moves)-1].Time; moved.Before(at.Truncate(time.Second)) {
		t.Errorf("moved at %v, before its time %v", moved, at)
	}
	// The record was there before the line moved.
	found := false
	for _, rec := range auditRecords(t, r.Gateway) {
		if rec.Origin == "schedule" && strings.Contains(rec.Reason, `"wet" by local`) {
			found = true
		}
	}
	if !found {
		t.Error("no record of the schedule")
	}
	for { // its outcome is noted after the move
		all, err := door.Schedules(t.Context())
		if err != nil || all.TimeZone != "UTC" || len(all.Schedules) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		if s := all.Schedules[0]; s.Done && s.Run.Unix() == at.Unix() {
			break
		}
		select {
		case <-limit:
			t.Fatalf("%+v", all)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := errors.Join(door.PauseSchedule(t.Context(), "wet"), door.ResumeSchedule(t.Context(), "wet"), door.RemoveSchedule(t.Context(), "wet")); err != nil {
		t.Error(err)
	}
	if err := door.RemoveSchedule(t.Context(), "wet"); err == nil || !strings.Contains(err.Error(), "no schedule of that name") {
		t.Errorf("%v", err)
	}
}

func TestScheduleRefusals(t *testing.T) {
	r := newRig(t, scheduledConfig)
	door := local.NewClient(r.door.Path)
	for hint, n := range map[string]local.NewSchedule{
		"no node":          {Name: "a", Node: "pumpe", Parameter: "state", Value: "true"},
		"is no parameter":  {Name: "a", Node: "pump", Parameter: "speed", Value: "true"},
		"true or false":    {Name: "a", Node: "pump", Parameter: "state", Value: "maybe"},
		"cannot be set":    {Name: "a", Node: "door", Parameter: "state", Value: "true"},
		"second step":      {Name: "a", Node: "gate", Parameter: "state", Value: "true"},
		"sunrise+00:30":    {Name: "a", Node: "pump", Parameter: "state", Value: "true", When: "daily midnight"},
		"1 to 64":          {Node: "pump", Parameter: "state", Value: "true"},
		"between 0 and 24": {Name: "a", Node: "pump", Parameter: "state", Value: "true", Late: 1e12},
	} {
		if n.When == "" {
			n.When = "daily sunset"
		}
		if _, err := door.AddSchedule(t.Context(), n); err == nil || !strings.Contains(err.Error(), hint) && hint != "cannot be set" {
			t.Errorf("%s: %v", hint, err)
		}
	}
	// Switching off needs no second step.
	if _, err := door.AddSchedule(t.Context(), local.NewSchedule{Name: "a", Node: "gate", Parameter: "state", Value: "false", When: "daily sunset"}); err != nil {
		t.Error(err)
	}
}

// auditRecords reads what is recorded of commands.
func auditRecords(t *testing.T, g *Gateway) (all []audit.Entry) {
	t.Helper()
	err := g.db.View(func(tx *store.Tx) error {
		all, _ = audit.List(tx, audit.Query{})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
