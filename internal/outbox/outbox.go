package outbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
)

// Window is how many messages may be on their way to a subscriber without proof
// of delivery. historyWindow of them at most are of the past, so that live data
// finds a place.
const (
	Window        = 32
	historyWindow = 24
)

// Sender is the part of xmpp.Session that is used here.
type Sender interface {
	Send(ctx context.Context, sts ...xmpp.Stanza) error
	Flush(ctx context.Context) error
}

// Source makes messages of the class History out of what subscribers missed,
// and keeps state of its own in the outbox's commits. Its methods are called
// one after the other, but for Content.
type Source interface {
	// More returns references to the next of what a subscriber missed, at most
	// max, and counts it as taken: the commit that follows stores both.
	More(ctx context.Context, bare string, max int) []Ref
	// Content is what goes out for a reference: what the subscriber may read of
	// it now. The same reference has the same content as long as the history
	// has it.
	Content(ctx context.Context, bare string, ref []byte) (xmpp.Payload, error)
	// Save writes what changed of the source's state; saved is called when it
	// is on the disk.
	Save(tx *store.Tx) (saved func(), err error)
	// Unsaved tells whether Save would write anything.
	Unsaved() bool
}

// Ref is a reference, or a gap in its place.
type Ref struct {
	At  time.Time
	Ref []byte
	Gap *Gap
}

// Config says how an Outbox works. Zero fields take the default in brackets.
type Config struct {
	// DB is where what is not delivered outlives the process; nil: nowhere.
	DB     *store.DB
	Sender Sender // required
	// Where tells at which address a subscriber is available now. Required.
	Where func(bare string) (full jid.JID, ok bool)
	// Receipts tells whether the client at an address gives receipts; it may
	// ask it. Nil: none does.
	Receipts func(ctx context.Context, full jid.JID) bool
	Access   node.Access // required
	// Connected, Online and Offline: as in the history, how long what is not
	// urgent waits for its commit [never, 5 min, 30 s].
	Connected       func() bool
	Online, Offline time.Duration
	// Alive tells when the run before was last known to work, for the gap record
	// after one that did not end in order. Nil: the outbox's last commit.
	Alive func() time.Time
	// Messages and Octets bound what waits, all subscribers together; then the
	// least urgent and oldest is dropped, and told in a gap record [5000, 2 MiB].
	Messages, Octets int
	// Subscribers bounds their number [64].
	Subscribers int
	Now         func() time.Time // [time.Now]
	Logger      *slog.Logger     // nil discards
}

func (c Config) checked() (Config, error) {
	switch {
	case c.Sender == nil:
		return c, errors.New("outbox: Config.Sender is missing")
	case c.Where == nil:
		return c, errors.New("outbox: Config.Where is missing")
	case c.Access == nil:
		return c, errors.New("outbox: Config.Access is missing")
	}
	or := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	or(&c.Messages, 5000)
	or(&c.Octets, 2<<20)
	or(&c.Subscribers, 64)
	if c.Online <= 0 {
		c.Online = 5 * time.Minute
	}
	if c.Offline <= 0 {
		c.Offline = 30 * time.Second
	}
	if c.Connected == nil {
		c.Connected = func() bool { return false }
	}
	if c.Receipts == nil {
		c.Receipts = func(context.Context, jid.JID) bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Errors of Add and Subscribe.
var (
	ErrUnknown = errors.New("outbox: no such subscriber")
	ErrMany    = errors.New("outbox: there are as many subscribers as this gateway takes")
)

// Outbox keeps messages until they are delivered. Make one with Open, then Run
// it. It is safe for concurrent use.
type Outbox struct {
	cfg  Config
	boot string
	src  Source // set by Use before Run; nil: none

	// writing serialises commits; it is taken before mu.
	writing sync.Mutex

	mu      sync.Mutex
	subs    map[string]*subscriber // by bare JID
	nextSub uint32
	order   uint64
	count   int // entries
	octets  int
	removed []string // keys that the next commit deletes
	dirty   time.Time
	urgent  bool
	broken  error // of the last commit
	last    time.Time
	budget  int    // commits at once that are still allowed
	noted   bool   // the store knows that this run has begun
	repairs uint64 // of the store, that it has got everything again after

	commitNow chan struct{}
	ctx       context.Context // of Run; nil before
	couriers  sync.WaitGroup
}

// urgentMost commits may follow each other at once, then one for each
// Config.Offline: what flaps must not wear out the card.
const urgentMost = 10

// Open reads what waits. It starts nothing.
func Open(cfg Config) (*Outbox, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	o := &Outbox{
		cfg: cfg, boot: hex.EncodeToString(b[:]), subs: make(map[string]*subscriber),
		budget: urgentMost, commitNow: make(chan struct{}, 1),
	}
	if cfg.DB == nil {
		return o, nil
	}
	o.repairs = cfg.DB.Repairs()
	return o, o.load()
}

// Use sets the source of what was missed, before Run.
func (o *Outbox) Use(s Source) { o.src = s }

// Boot names this run of the gateway in the numbers of messages.
func (o *Outbox) Boot() string { return o.boot }

// Run sends and commits until ctx is done, then commits the rest. It returns
// when every goroutine it started has ended. It may be called once.
func (o *Outbox) Run(ctx context.Context) error {
	o.mu.Lock()
	if o.ctx != nil {
		o.mu.Unlock()
		return errors.New("outbox: Run was called twice")
	}
	o.ctx = ctx
	for _, s := range o.subs {
		o.start(s)
	}
	if len(o.subs) > 0 {
		o.changed(true) // a run that does not end in order has to be known
	}
	o.mu.Unlock()
	o.keep(ctx)
	o.couriers.Wait()
	return o.Flush()
}

// keep commits what is due until ctx is done.
func (o *Outbox) keep(ctx context.Context) {
	every := max(min(o.cfg.Offline, o.cfg.Online, 20*time.Second)/4, 10*time.Millisecond)
	tick, refill := time.NewTicker(every), time.NewTicker(o.cfg.Offline)
	defer tick.Stop()
	defer refill.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-refill.C:
			o.mu.Lock()
			o.budget = min(o.budget+1, urgentMost)
			o.mu.Unlock()
			continue
		case <-o.commitNow:
		case <-tick.C:
		}
		if !o.due(every) {
			continue
		}
		err := o.commit()
		if err != nil && !failed {
			o.cfg.Logger.Error("what waits for subscribers cannot be written; it is kept in memory", "err", err)
		} else if err == nil && failed {
			o.cfg.Logger.Info("what waits for subscribers is written again")
		}
		failed = err != nil
	}
}

// due tells whether it is time for a commit.
func (o *Outbox) due(tick time.Duration) bool {
	every := o.cfg.Offline
	if o.cfg.Connected() {
		every = o.cfg.Online
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.dirty.IsZero():
		return false
	case o.cfg.Now().Sub(o.dirty)+tick >= every:
		return true
	case o.urgent && o.budget > 0:
		o.budget--
		return true
	}
	return false
}

// changed notes that the store is behind. mu is held.
func (o *Outbox) changed(urgent bool) {
	if o.dirty.IsZero() {
		o.dirty = o.cfg.Now()
	}
	if urgent {
		o.urgent = true
		select {
		case o.commitNow <- struct{}{}:
		default:
		}
	}
}

// Changed notes that the Source has something to save; urgent: at once.
func (o *Outbox) Changed(urgent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed(urgent)
}

// Subscribe makes an account a subscriber, if it is none yet.
func (o *Outbox) Subscribe(bare string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.subs[bare] != nil {
		return nil
	}
	if len(o.subs) >= o.cfg.Subscribers {
		return ErrMany
	}
	s := o.enter(bare, o.nextSub)
	o.changed(false)
	if o.ctx != nil {
		o.start(s)
	}
	return nil
}

// Unsubscribe forgets a subscriber and what waits for it.
func (o *Outbox) Unsubscribe(bare string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subs[bare]
	if s == nil {
		return
	}
	for c := range s.lanes {
		for _, e := range s.lanes[c] {
			o.forget(e)
		}
		s.lanes[c] = nil
	}
	delete(o.subs, bare)
	if s.stop != nil {
		s.stop()
	}
	if s.stored {
		o.removed = append(o.removed, subscriberPrefix+bare)
	}
	o.changed(true)
}

// Add takes a message for a subscriber. What the bounds have no room for is
// dropped and told.
func (o *Outbox) Add(bare string, m Message) error {
	text, err := encode(m.Payload)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subs[bare]
	if s == nil {
		return ErrUnknown
	}
	o.append(&entry{sub: s, class: m.Class, at: m.At.UnixMilli(), need: m.Need, text: text})
	o.shed()
	return nil
}

// Ready tells whether a subscriber would get live data now: it is available and
// does not lag behind by much. Else what it misses is better left to the
// history.
func (o *Outbox) Ready(bare string) bool {
	if _, ok := o.cfg.Where(bare); !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.subs[bare]
	return s != nil && len(s.lanes[Momentary]) < 4*Window
}

// Wake makes the outbox look at a subscriber again: its presence changed, or
// there is something for it. arrived: its client may be another one now.
func (o *Outbox) Wake(bare string, arrived bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.subs[bare]; s != nil {
		s.ask = s.ask || arrived
		if arrived {
			s.until = time.Time{}
		}
		s.kick()
	}
}

// Online has everything looked at again when the session can be used. After a
// new session what was in flight goes out anew.
func (o *Outbox) Online(resumed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.subs {
		if !resumed {
			s.recall()
			s.ask = true
		}
		s.until = time.Time{}
		s.kick()
	}
}
