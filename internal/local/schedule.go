package local

import (
	"context"
	"time"
)

// Schedules is the calendar of a gateway.
type Schedules struct {
	TimeZone  string     `json:"time_zone"`
	Schedules []Schedule `json:"schedules"`
}

// Schedule is one entry of the calendar: at its times an output gets a value.
type Schedule struct {
	Name      string  `json:"name"`
	Node      string  `json:"node"`
	Source    string  `json:"source,omitempty"`
	Cache     string  `json:"cacheType,omitempty"`
	Parameter string  `json:"parameter"`
	Value     string  `json:"value"`
	When      string  `json:"when"`
	Late      float64 `json:"late"` // seconds after its time within which it may still run
	Paused    bool    `json:"paused,omitempty"`
	By        string  `json:"by,omitempty"` // bare JID of who made it, or "local"
	// Waiting: it is due, was refused for now, and is tried again.
	Waiting bool      `json:"waiting,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	Run     time.Time `json:"run,omitzero"` // the time that was last run
	Done    bool      `json:"done,omitempty"`
	Error   string    `json:"error,omitempty"`   // of the last run
	Missed  time.Time `json:"missed,omitzero"`   // the time that was last missed
	Problem string    `json:"problem,omitempty"` // why it cannot run
}

// NewSchedule is what AddSchedule wants.
type NewSchedule struct {
	Name      string  `json:"name"`
	Node      string  `json:"node"`
	Source    string  `json:"source,omitempty"`
	Cache     string  `json:"cacheType,omitempty"`
	Parameter string  `json:"parameter"`
	Value     string  `json:"value"`
	When      string  `json:"when"`
	Late      float64 `json:"late,omitempty"` // seconds; 0 for 600
}

// ScheduleName names an entry.
type ScheduleName struct {
	Name string `json:"name"`
}

// Schedules lists the calendar of a gateway.
func (c *Client) Schedules(ctx context.Context) (Schedules, error) {
	var s Schedules
	err := c.call(ctx, "GET", "/v1/schedules", nil, &s)
	return s, err
}

// AddSchedule adds an entry and returns it with its next time.
func (c *Client) AddSchedule(ctx context.Context, n NewSchedule) (Schedule, error) {
	var s Schedule
	err := c.call(ctx, "POST", "/v1/schedules", n, &s)
	return s, err
}

// RemoveSchedule removes an entry.
func (c *Client) RemoveSchedule(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/schedules", ScheduleName{name}, nil)
}

// PauseSchedule keeps an entry from running, ResumeSchedule lets it run again.
func (c *Client) PauseSchedule(ctx context.Context, name string) error {
	return c.call(ctx, "POST", "/v1/schedules/pause", ScheduleName{name}, nil)
}

// ResumeSchedule lets a paused entry run again from its next time on.
func (c *Client) ResumeSchedule(ctx context.Context, name string) error {
	return c.call(ctx, "POST", "/v1/schedules/resume", ScheduleName{name}, nil)
}
