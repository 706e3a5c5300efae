package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/sensors/events"
	"postern/xmpp"
	"postern/xmpp/disco"
	"postern/xmpp/receipts"
)

// errNoEvents: the thing does not serve events.
var errNoEvents = errors.New("the thing sends no events")

// subscription is one at a thing, kept over the loss of the link and of the
// thing until end.
type subscription struct {
	c    *conn
	send func(context.Context, ...xmpp.Stanza) error // of the session
	who  jid.JID                                     // as the command names the thing
	req  events.Request
	full jid.JID // who was asked last

	in    chan events.Delivery
	inbox events.Inbox
	lost  atomic.Bool // something came that there was no room for

	session int // that it was made in
	gone    bool
}

// eventsQueue bounds the messages that wait to be shown. More are refused a
// receipt, so that the thing sends them again.
const eventsQueue = 1024

func newSubscription(who jid.JID, req events.Request) *subscription {
	req.Seq = 1 + rand.Int32N(math.MaxInt32-1)
	return &subscription{who: who, req: req, in: make(chan events.Delivery, eventsQueue)}
}

// register takes what the thing sends, and lets it know that receipts are
// given: with them it knows what has arrived (XEP-0184).
func (s *subscription) register(m *xmpp.Mux) {
	disco.New(disco.Config{Software: "https://postern.example", Features: []string{receipts.NS}}).Register(m)
	for _, typ := range [...]string{"", "normal", "chat", "headline"} {
		m.HandleFunc(xmpp.Message, typ, exi.N(outbox.NS, "*"), s.numbered)
	}
}

// on lets it use a session, before the first message comes.
func (s *subscription) on(c *conn) { s.c, s.send = c, c.Send }

func (s *subscription) numbered(ctx context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
	if !st.From.Bare().Equal(s.who.Bare()) {
		return nil, nil
	}
	if len(s.in) == cap(s.in) {
		s.lost.Store(true)
		return nil, nil
	}
	if d, fresh := s.inbox.Take(st); fresh {
		s.in <- d
	}
	if receipts.Requested(st) {
		return nil, s.send(ctx, receipts.For(st))
	}
	return nil, nil
}

// unnumbered takes events of things that do not number them.
func (s *subscription) unnumbered(st *xmpp.Stanza) {
	d, ok := events.Take(st)
	if !ok || d.Sub != s.req.Seq || !st.From.Bare().Equal(s.who.Bare()) {
		return
	}
	select {
	case s.in <- d:
	default:
		s.lost.Store(true)
	}
}

// Of a thing that has to see our presence first: how often, and after how long
// at most, it is asked again.
const (
	tries    = 8
	tryAfter = 500 * time.Millisecond
)

// begin finds the thing and subscribes.
func (s *subscription) begin(ctx context.Context) error {
	if err := s.c.finder.settle(ctx); err != nil {
		return err
	}
	s.session = s.c.finder.sessions()
	full, err := s.c.finder.find(ctx, s.who)
	if err != nil {
		return err
	}
	info, err := disco.AskInfo(ctx, s.c, full, "")
	if err != nil {
		return err
	}
	if !info.Has(events.NS) {
		return errNoEvents
	}
	s.c.finder.grant(s.who.Bare()) // it has to see us coming and going
	for try := 0; ; try++ {
		changed := s.c.finder.news()
		err := events.Subscribe(ctx, s.c, full, &s.req)
		if err == nil {
			break
		}
		if e := (*xmpp.Error)(nil); try == tries || !errors.As(err, &e) || e.Condition != xmpp.SubscriptionRequired {
			return err
		}
		// The thing asks for our presence now; it may take a moment to get it.
		select {
		case <-changed:
		case <-time.After(tryAfter):
		case <-ctx.Done():
			return err
		}
	}
	s.full, s.gone, s.req.Now = full, false, false
	return nil
}

// end unsubscribes, also when the command was interrupted.
func (s *subscription) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.full.Localpart() != "" || s.full.Resourcepart() != "" {
		_ = events.Unsubscribe(ctx, s.c, s.full, s.req.Seq) // the thing forgets it when the friendship ends
	}
}

// stale reports whether the subscription has to be made again: the session is
// another one, or the thing went and came back.
func (s *subscription) stale() bool {
	if s.session != s.c.finder.sessions() {
		return true
	}
	if s.who.Resourcepart() != "" {
		return false
	}
	there := s.c.finder.contacts.Available(s.full)
	if !there {
		s.gone = true
	}
	return s.gone && len(s.c.finder.contacts.Resources(s.who)) > 0
}

// retryAfter is the pause before a subscription is tried again that failed
// while nothing else has happened.
const retryAfter = 10 * time.Second

// hooks are what a command does with a subscription. All are needed.
type hooks struct {
	got     func(events.Delivery) error
	again   func() error // it had to be made anew
	trouble func(error)  // it cannot be made for the moment
	tick    func() error // every so often
	every   time.Duration
}

// run hands out what comes until a hook returns an error or ctx is done. limit
// bounds an attempt to subscribe.
func (s *subscription) run(ctx context.Context, limit time.Duration, h hooks) error {
	retry := time.NewTimer(math.MaxInt64)
	defer retry.Stop()
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		changed := s.c.finder.news()
		if s.stale() && s.c.State().Phase == xmpp.Online {
			try, cancel := context.WithTimeout(ctx, limit)
			err := s.begin(try)
			cancel()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				s.session, s.gone = -1, true
				h.trouble(err)
				retry.Reset(retryAfter)
			default:
				if err := h.again(); err != nil {
					return err
				}
			}
		}
		select {
		case d := <-s.in:
			if err := h.got(d); err != nil {
				return err
			}
		case <-tick.C:
			if err := h.tick(); err != nil {
				return err
			}
		case <-changed:
		case <-s.c.Changed():
		case <-retry.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seqLine follows the numbers of a thing's messages.
type seqLine struct {
	boot string
	top  uint64
}

// next takes a number and returns what was skipped before it, and whether the
// thing was started anew. The first number of all begins the line.
func (l *seqLine) next(s outbox.Seq) (from, to uint64, restarted bool) {
	if s.Boot != l.boot {
		restarted = l.boot != ""
		l.boot, l.top = s.Boot, s.N
		return 0, 0, restarted
	}
	if s.N > l.top+1 {
		from, to = l.top+1, s.N-1
	}
	l.top = max(l.top, s.N)
	return from, to, false
}

// gapText says what never comes, in words.
func gapText(g *outbox.Gap, now time.Time) string {
	text, known := map[string]string{
		outbox.WhyFull:    "there was no room for them",
		outbox.WhyExpired: "the history no longer has them",
		outbox.WhyNotKept: "the history does not keep them",
		outbox.WhyDenied:  "this account may not have them any more",
		outbox.WhyRestart: "the thing ended without order, some may be missing",
	}[g.Why]
	if !known {
		text = clean(g.Why)
	}
	what := "readings"
	if g.Count > 0 {
		what = fmt.Sprintf("%d messages (%s)", g.Count, g.Class)
	}
	if !g.From.IsZero() || !g.To.IsZero() {
		what += fmt.Sprintf(" from %s to %s", timeText(g.From, now), timeText(g.To, now))
	}
	return "lost: " + what + ": " + text
}

// commandText says what became of a command.
func commandText(c *events.Command) string {
	text := "command"
	if c.From != "" {
		text += " of " + c.From
	}
	text += ":"
	for _, n := range c.Nodes {
		text += " " + n.String()
	}
	for _, s := range c.Set {
		text += " " + s.Name + " = " + s.Value
	}
	text += ", " + c.Outcome
	if c.Error != "" {
		text += ": " + c.Error
	}
	return clean(text)
}

// eventLine is one reading of an event for people.
func eventLine(f *sensors.Item, now time.Time) string {
	text := fmt.Sprintf("%s  %s  %s = %s", timeText(f.Time, now), clean(f.Ref.String()), clean(f.Name), valueText(f))
	if f.Unit != "" {
		text += " " + clean(f.Unit)
	}
	return text + "  " + qualityText(f.Quality)
}
