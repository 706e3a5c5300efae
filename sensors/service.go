package sensors

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// Service answers read-outs. Make one with New, register it with the Mux
// before the session runs, and run it beside the session.
type Service struct {
	cfg  Config
	desk *desk
	// histories holds a token for each read-out that sends values of the past.
	histories chan struct{}
	spare     sync.Pool // of *outgoing
	state     atomic.Pointer[state]

	mu      sync.Mutex // serialises Run's beginning and end with Apply
	ctx     context.Context
	running bool
	serving chan struct{}  // closed when Run serves
	workers sync.WaitGroup // owners and watchers
	base    atomic.Value   // context.Context of Run, for read-outs
}

// state is what Apply replaces as a whole.
type state struct {
	tree   *node.Tree
	access node.Access
	units  map[string]*unit
	owners map[*unit]*owner
}

// New returns a Service. It starts nothing.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, serving: make(chan struct{}), desk: newDesk(cfg.Limits), histories: make(chan struct{}, cfg.Limits.Past)}
	s.desk.closed = true // until Run
	s.state.Store(s.build(cfg.Setup, nil))
	return s, nil
}

// Register adds the service's handlers to m.
func (s *Service) Register(m *xmpp.Mux) {
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameReq, s.handleReq)
	m.HandleFunc(xmpp.IQ, xmpp.Get, nameCancel, s.handleCancel)
	m.HandleFunc(xmpp.Message, xmpp.TypeError, nameStarted, s.handleBounce)
	m.HandleFunc(xmpp.Message, xmpp.TypeError, nameFields, s.handleBounce)
	m.HandleFunc(xmpp.Message, xmpp.TypeError, nameFailure, s.handleBounce)
}

// Run polls the devices and works off read-outs until ctx is done. It returns
// when every goroutine it started has ended. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return errors.New("sensors: Run was called twice")
	}
	s.ctx, s.running = ctx, true
	s.base.Store(&ctx)
	s.launch(s.state.Load(), nil)
	s.desk.mu.Lock()
	s.desk.closed = false
	s.desk.mu.Unlock()
	s.mu.Unlock()
	close(s.serving)

	<-ctx.Done()
	s.desk.close()
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	s.workers.Wait()
	return nil
}

// Ready is closed once Run serves; until then read-outs are refused.
func (s *Service) Ready() <-chan struct{} { return s.serving }

func (s *Service) runContext() context.Context {
	if c, ok := s.base.Load().(*context.Context); ok {
		return *c
	}
	return context.Background()
}

// Apply replaces nodes, devices and access while the service runs. Devices
// that stay the same (the same Device value under the same name, read the same
// way) are not interrupted. It returns when no goroutine uses a removed device
// any more, so that the caller may close it; ctx bounds the wait.
func (s *Service) Apply(ctx context.Context, setup Setup) error {
	if setup.Tree == nil || setup.Access == nil {
		return errors.New("sensors: Apply needs a tree and an access")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state.Load()
	next := s.build(setup, old)
	gone := dropped(old, next)
	for _, o := range gone {
		if o.stop != nil {
			o.stop()
		}
	}
	for _, o := range gone {
		if o.stop == nil {
			continue // never ran
		}
		select {
		case <-o.ended:
		case <-ctx.Done():
			return errors.Join(errors.New("sensors: a removed device does not stop"), ctx.Err())
		}
	}
	s.state.Store(next)
	s.cfg.Live.Forget(func(r node.Ref) bool { return setup.Tree.Node(r) != nil })
	if s.running {
		s.launch(next, old)
	}
	return nil
}

// Devices returns the state of every device, sorted by name.
func (s *Service) Devices() []DeviceStatus {
	st := s.state.Load()
	var out []DeviceStatus
	for u, o := range st.owners {
		o.mu.Lock()
		out = append(out, u.status())
		o.mu.Unlock()
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// build makes the state for a setup and keeps the owners of old whose devices
// did not change.
func (s *Service) build(setup Setup, old *state) *state {
	st := &state{
		tree: setup.Tree, access: setup.Access,
		units: make(map[string]*unit), owners: make(map[*unit]*owner),
	}
	serves := make(map[string][]*node.Node)
	for _, n := range setup.Tree.Nodes() {
		if n.Device != "" {
			serves[n.Device] = append(serves[n.Device], n)
		}
	}
	buses := make(map[string][]string)
	for name, d := range setup.Devices {
		bus := "device\x00" + name
		if d.Bus != "" {
			bus = "bus\x00" + d.Bus
		}
		buses[bus] = append(buses[bus], name)
	}
	for _, names := range buses {
		slices.Sort(names)
		o := keptOwner(old, names, setup.Devices)
		if o == nil {
			var us []*unit
			for _, name := range names {
				us = append(us, &unit{name: name, dev: setup.Devices[name]})
			}
			o = newOwner(s, us)
		}
		o.mu.Lock()
		for _, u := range o.units {
			u.nodes = serves[u.name]
			st.units[u.name], st.owners[u] = u, o
		}
		o.mu.Unlock()
	}
	return st
}

// keptOwner returns old's owner of exactly these devices, unchanged, or nil.
func keptOwner(old *state, names []string, devices map[string]Device) *owner {
	if old == nil {
		return nil
	}
	u := old.units[names[0]]
	if u == nil {
		return nil
	}
	o := old.owners[u]
	if len(o.units) != len(names) {
		return nil
	}
	for i, u := range o.units {
		if u.name != names[i] || !sameDevice(u.dev, devices[u.name]) {
			return nil
		}
	}
	return o
}

func sameDevice(a, b Device) bool {
	if t := reflect.TypeOf(a.Device); t == nil || t != reflect.TypeOf(b.Device) || !t.Comparable() {
		return false
	}
	return a == b
}

// dropped lists the owners of old that next does not have.
func dropped(old, next *state) []*owner {
	var gone []*owner
	for u, o := range old.owners {
		if next.owners[u] == nil && !slices.Contains(gone, o) {
			gone = append(gone, o)
		}
	}
	return gone
}

// launch starts the owners that do not run yet. s.mu is held.
func (s *Service) launch(st, old *state) {
	for u, o := range st.owners {
		if o.stop != nil || old != nil && old.owners[u] == o {
			continue
		}
		ctx, cancel := context.WithCancel(s.ctx)
		o.stop = cancel
		s.workers.Add(1)
		go func() {
			defer s.workers.Done()
			defer cancel()
			o.runAll(ctx)
		}()
	}
}

// runAll runs the owner and a watcher for each of its devices that notices
// changes by itself.
func (o *owner) runAll(ctx context.Context) {
	defer close(o.ended)
	var watchers sync.WaitGroup
	for _, u := range o.units {
		if w, ok := u.dev.Device.(drivers.Watcher); ok {
			watchers.Go(func() { o.watch(ctx, u, w) })
		}
	}
	o.run(ctx)
	watchers.Wait()
}

// watch publishes what a device reports by itself. A watch that fails is
// started again after a pause.
func (o *owner) watch(ctx context.Context, u *unit, w drivers.Watcher) {
	changed := func(sm drivers.Sample) {
		o.mu.Lock()
		nodes := u.nodes
		o.mu.Unlock()
		for _, n := range nodes {
			o.svc.cfg.Live.PutSamples(n, []drivers.Sample{sm}, o.svc.clockFlag(), u.maxAge())
		}
	}
	for ctx.Err() == nil {
		if err := w.Watch(ctx, changed); err != nil && ctx.Err() == nil {
			o.svc.cfg.Logger.Debug("device cannot be watched", "device", u.name, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}
