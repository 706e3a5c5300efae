package control

import "context"

// Check tells whether a command of the gateway itself could be carried out at
// all: its nodes and parameters are there and take the values. It asks no rule
// that depends on the moment, and moves and records nothing. Its error is what
// Do would answer.
func (s *Service) Check(ctx context.Context, c Command) error {
	j, r := s.own(c)
	if fault := s.choose(ctx, j, r, ""); fault != nil {
		return fault
	}
	return nil
}

// own makes a job of a command of the gateway itself.
func (s *Service) own(c Command) (*job, *request) {
	if c.Origin == "" {
		c.Origin = OriginLocal
	}
	if c.At.IsZero() {
		c.At = s.cfg.Now()
	}
	j := &job{state: s.state.Load(), epoch: s.epoch.Load(), cmd: c, local: true}
	r := &request{nodes: c.Nodes}
	for _, a := range c.Assignments {
		r.wants = append(r.wants, want{name: a.Name, text: lexicalForm(a.Value)})
	}
	j.cmd.Assignments = nil
	return j, r
}
