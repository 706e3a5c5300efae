package control

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/node"
	"postern/xmpp"
)

// Service carries out commands. Make one with New, call Safe before the
// network starts, register it with the Mux before the session runs, and run it
// beside the session.
//
// Commands for the same device are carried out in the order in which they
// came; those for different devices do not wait for each other.
type Service struct {
	cfg   Config
	state atomic.Pointer[state]
	// epoch counts the moves into the safe state. A command that was checked
	// before such a move is not carried out after it.
	epoch   atomic.Uint64
	confirm confirmations
	// sessions are the open control forms.
	sessions *sessions

	// safety guards what the rules know of the outputs. It is never held while
	// mu is taken or something is written.
	safety  sync.Mutex
	outputs map[Output]*outState
	overrides
	linkLost time.Time     // zero while the network is there
	look     chan struct{} // a reading changed

	mu      sync.Mutex
	open    bool                     // Run is at work
	waiting int                      // commands not finished
	tails   map[string]chan struct{} // by device: closed when its last command has ended
	gates   map[string]chan struct{} // by device: held while it is written
	locks   map[node.Ref]string      // locked nodes with the reason
	jobs    sync.WaitGroup
	ctx     context.Context // of Run
	ready   chan struct{}   // closed when Run is at work
}

// state is what Apply replaces as a whole.
type state struct {
	tree    *node.Tree
	access  node.Access
	devices map[string]Device
	serves  map[string][]*node.Node // the nodes of each device
	rules   map[Output]*rule
	passing bool // see Setup
}

func newState(s Setup) (*state, error) {
	rules, err := compileRules(s.Tree, s.Rules)
	if err != nil {
		return nil, err
	}
	st := &state{tree: s.Tree, access: s.Access, devices: s.Devices, serves: make(map[string][]*node.Node), rules: rules, passing: s.Passing}
	for _, n := range s.Tree.Nodes() {
		if n.Device != "" {
			st.serves[n.Device] = append(st.serves[n.Device], n)
		}
	}
	return st, nil
}

// New returns a Service. It starts nothing and moves nothing.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, ready: make(chan struct{}), tails: make(map[string]chan struct{}), gates: make(map[string]chan struct{}), locks: make(map[node.Ref]string)}
	st, err := newState(cfg.Setup)
	if err != nil {
		return nil, err
	}
	s.state.Store(st)
	s.confirm.open = make(map[string]*question)
	s.sessions, s.outputs, s.look = newSessions(), make(map[Output]*outState), make(chan struct{}, 1)
	s.overrides = overrides{make(map[Output]*taken), make(map[Output]*taken), make(map[Output]bool)}
	s.showOverrides(st)
	return s, nil
}

// Register adds the service's handlers to m.
func (s *Service) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameSet, translated(s.handleSet))
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameGetForm, translated(s.handleGetForm))
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameDynSubmit, translated(s.handlePostBack))
	m.HandleFunc(xmpp.IQ, xmpp.Set, nameDynCancel, translated(s.handleFormCancel))
	m.HandleFunc(xmpp.Message, xmpp.TypeError, nameUpdated, s.handleUpdateBounce)
	// Not error and not groupchat (D36): a bounce echoes a command, and a room
	// repeats it.
	for _, typ := range [...]string{"", "normal", "chat", "headline"} {
		m.HandleFunc(xmpp.Message, typ, nameSet, s.handleMessage)
	}
}

// Run serves until ctx is done; then it refuses what is still waiting and
// returns when nothing is being written any more. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return errors.New("control: Run was called twice")
	}
	s.ctx, s.open = ctx, true
	s.mu.Unlock()
	close(s.ready)
	stop := s.cfg.Live.Observe(s.sessions.changed)
	var wg sync.WaitGroup
	wg.Go(func() { s.updateForms(ctx) })
	wg.Go(func() { s.watch(ctx) })
	wg.Wait() // until ctx is done
	stop()
	s.mu.Lock()
	s.open = false
	s.mu.Unlock()
	s.jobs.Wait()
	return nil
}

// Ready is closed once Run is at work; until then commands are refused.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Apply replaces nodes, devices and access while the service runs. Commands
// under way are finished first, with the old devices; it returns when nothing
// uses a removed device any more. ctx bounds the wait. An output that is new, or
// has another device than before, is made safe. Apply is not called twice at a
// time.
func (s *Service) Apply(ctx context.Context, setup Setup) error {
	if setup.Tree == nil || setup.Access == nil {
		return errors.New("control: Apply needs a tree and an access")
	}
	st, err := newState(setup)
	if err != nil {
		return err
	}
	s.safety.Lock()
	old := s.state.Load()
	s.state.Store(st)
	s.replaced(old, st)
	s.safety.Unlock()
	s.poke()
	s.showOverrides(st)
	// Commands checked against the old state refuse themselves when their turn
	// comes; those being written end by themselves.
	s.mu.Lock()
	tails := make([]chan struct{}, 0, len(s.tails))
	for _, t := range s.tails {
		tails = append(tails, t)
	}
	s.mu.Unlock()
	for _, t := range tails {
		select {
		case <-t:
		case <-ctx.Done():
			return errors.Join(errors.New("control: a command does not end"), ctx.Err())
		}
	}
	return s.settle(ctx, old, st)
}

// Lock refuses every command for a node until Unlock, for example while a
// technician works on it. Reason is told to whoever tries. It does not stop a
// write that is under way, nor moves into the safe state.
func (s *Service) Lock(r node.Ref, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks[r] = reason
}

// Unlock ends Lock.
func (s *Service) Unlock(r node.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locks, r)
}

// locked returns why a node is locked.
func (s *Service) locked(r node.Ref) (reason string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason, ok = s.locks[r]
	return reason, ok
}

func (d *Device) timeout() time.Duration {
	if d.Timeout <= 0 {
		return 2 * time.Second
	}
	return d.Timeout
}

// Waiting returns how many commands are waiting or being carried out, and how
// many outputs are watched. It needs every lock of the service for a moment,
// so a watchdog can ask it to find a service that is stuck; it does not wait
// for devices.
func (s *Service) Waiting() (commands, outputs int) {
	s.mu.Lock()
	commands = s.waiting
	s.mu.Unlock()
	s.safety.Lock()
	defer s.safety.Unlock()
	return commands, len(s.outputs)
}
