package sensors

import (
	"context"

	"postern/xmpp"
)

// Service answers read-outs. Make one with New, register it with the Mux
// before the session runs, and run it beside the session.
type Service struct {
	cfg Config
}

// New returns a Service. It starts nothing.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg}, nil
}

// Register adds the service's handlers to m.
func (s *Service) Register(m *xmpp.Mux) {}

// Run polls the devices and works off read-outs until ctx is done. It returns
// when every goroutine it started has ended.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Apply replaces nodes, devices and access while the service runs. Devices
// that stay the same (the same Device value under the same name) are not
// interrupted. It returns when no goroutine uses a removed device any more, so
// that the caller may close it; ctx bounds the wait.
func (s *Service) Apply(ctx context.Context, setup Setup) error { return nil }
