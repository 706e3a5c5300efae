package events

import (
	"context"
	"errors"
	"time"

	"mellium.im/xmpp/jid"

	"postern/sensors"
	"postern/xmpp"
)

// ending is a subscription that ended without its subscriber's doing, who has
// to be told.
type ending struct {
	to  string
	end *sensors.Failure
}

// endingsMost bounds the notices that wait.
const endingsMost = 1000

// Revise looks at the rights of subscribers after rights have changed. The
// subscriptions of which nothing may be read any more end, and who had them is
// told; those of the configuration stay, and send what may be read. While
// nobody can say who may read, nothing ends: an event is made only where it
// may be read.
func (s *Service) Revise(ctx context.Context) {
	s.mu.Lock()
	var list []*subscription
	for _, sub := range s.subs {
		if !sub.configured {
			list = append(list, sub)
		}
	}
	s.mu.Unlock()
	for _, sub := range list {
		err := s.cfg.Sensors.Check(ctx, sub.req.reads(nil, time.Time{}), sub.address(), sub.bare)
		if !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
			continue
		}
		s.cfg.Logger.Info("a subscription ends, rights have changed", "of", sub.bare)
		s.mu.Lock()
		if s.subs[sub.id] == sub {
			s.end(sub)
			s.settle(sub.bare)
		}
		s.mu.Unlock()
	}
}

// end drops a subscription and notes that its subscriber is told. mu is held.
func (s *Service) end(sub *subscription) {
	if len(s.ended) < endingsMost {
		s.ended = append(s.ended, ending{sub.address(), sensors.Revoked(sub.req.Seq, s.cfg.Now(), sub.nodes...)})
	}
	s.drop(sub)
	s.kick()
}

// tellEnded tells subscribers what ended.
func (s *Service) tellEnded(ctx context.Context) {
	s.mu.Lock()
	list := s.ended
	s.ended = nil
	s.mu.Unlock()
	if s.cfg.Sender == nil {
		return
	}
	for _, e := range list {
		to, err := jid.Parse(e.to)
		if err == nil {
			err = s.cfg.Sender.Send(ctx, xmpp.Stanza{Kind: xmpp.Message, To: to, Payload: e.end})
		}
		if err != nil {
			s.cfg.Logger.Warn("the end of a subscription is not told", "to", e.to, "err", err)
		}
	}
}
