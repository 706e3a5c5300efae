package control

import (
	"context"

	"postern/xmpp"
)

// Service carries out commands. Make one with New, call Safe before the
// network starts, register it with the Mux before the session runs, and run it
// beside the session.
type Service struct {
	cfg Config
}

// New returns a Service. It starts nothing and moves nothing.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg}, nil
}

// Register adds the service's handlers to m.
func (s *Service) Register(m *xmpp.Mux) {}

// Run serves until ctx is done.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Apply replaces nodes, devices and access while the service runs. It returns
// when no command uses a removed device any more; ctx bounds the wait.
func (s *Service) Apply(ctx context.Context, setup Setup) error { return nil }

// Do carries out a command of the gateway itself or of a person at it. Access
// is not asked; everything else is checked as for a remote one. A refusal is a
// *xmpp.Error.
func (s *Service) Do(ctx context.Context, c Command) (Result, error) { return Result{}, nil }

// Safe moves every output that has a safe state into it, whatever fails on the
// way, and returns the errors joined. The gateway calls it before the network
// starts and when it stops. It waits neither for audit nor for limits.
func (s *Service) Safe(ctx context.Context, reason string) error { return nil }
