// Package gateway builds the rooms of postern run out of a configuration and
// runs them: devices, nodes, sensors, control, the session and the local door.
// It is the one place that knows all of them.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postern/control"
	"postern/control/schedule"
	"postern/drivers/gpio"
	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/live"
	"postern/internal/local"
	"postern/internal/node"
	"postern/internal/outbox"
	"postern/internal/store"
	"postern/internal/systemd"
	"postern/sensors"
	"postern/sensors/computed"
	"postern/sensors/events"
	"postern/sensors/history"
	"postern/xmpp"
	"postern/xmpp/adhoc"
	"postern/xmpp/compress"
	"postern/xmpp/concentrator"
	"postern/xmpp/disco"
	"postern/xmpp/roster"
)

// ErrConfig is in the chain of errors that are mended in the configuration or
// the files that it names.
var ErrConfig = errors.New("configuration")

// Options say what a Gateway is made of.
type Options struct {
	Config  *config.Config // required
	Version string         // of the program
	Logger  *slog.Logger   // nil discards
	// Socket is the path of the local door; empty: the configuration's, else
	// local.Path("postern").
	Socket string
	// Former is what the state held before it was decommissioned.
	Former []local.Held
	// Manager is the service manager, and Inherited the descriptors that it
	// handed over (systemd.Inherited), for outputs that are held across a
	// restart; both may be nil.
	Manager   *systemd.Notifier
	Inherited map[string][]*os.File
	// open and adopt replace the kernel's lines in tests.
	open  func(line string) (gpio.Line, error)
	adopt func(line string, f *os.File) (gpio.Line, error)
	// Session changes the configuration of the session. nil: nothing.
	Session func(*xmpp.Config)
}

// Gateway is a running configuration. Make one with New, then Run it once.
type Gateway struct {
	opt     Options
	log     *slog.Logger
	started time.Time

	door      *local.Server
	hw        *hardware
	live      *live.Store
	sensors   *sensors.Service
	control   *control.Service
	schedules *schedule.Scheduler
	commands  *adhoc.Service
	session   *xmpp.Session
	exi       *compress.Client // nil when it is switched off
	roster    *roster.Service
	access    *accessSwitch
	pairing   *pairing // nil when it is not provisioned
	retire    sync.Once
	rights    chan struct{} // rights have changed
	retired   chan struct{} // closed when the gateway is to become a new one
	db        *store.DB
	// volatile is why nothing outlives this run, volatileDir where its state is.
	volatile    error
	volatileDir string
	history     *history.History // nil when it is switched off
	outbox      *outbox.Outbox
	events      *events.Service
	// capabilities are what clients can do.
	capabilities disco.Cache
	// computed calculates fields from others.
	computed *computed.Engine
	// concentrator shows the tree of nodes.
	concentrator *concentrator.Service
	audit        *audit.Log
	// policies say what the history keeps of which field; a reload replaces them.
	policies atomic.Pointer[map[fieldKey]history.Policy]
	// constants is the tree in force, for computed fields.
	constants atomic.Pointer[node.Tree]

	// mu guards what a reload replaces, for the status.
	mu   sync.Mutex
	cfg  *config.Config
	tree *node.Tree
	// reloading serialises Reload.
	reloading sync.Mutex
}

// New opens the local door and the devices; outputs are in their safe states
// when it returns. It does not touch the network. After an error nothing is
// left open.
func New(ctx context.Context, opt Options) (*Gateway, error) {
	g := &Gateway{opt: opt, log: opt.Logger, started: time.Now(), retired: make(chan struct{}), rights: make(chan struct{}, 1), cfg: opt.Config, live: live.New()}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	// The door comes first: a second gateway on the same socket must not reach
	// the outputs of the first.
	g.door = &local.Server{Path: socketPath(opt), Handlers: g.doorHandlers(), Logger: g.log.With("part", "door")}
	if err := g.door.Listen(); err != nil {
		return nil, err
	}
	g.hw = newHardware(g.log)
	g.hw.machine = machineFacts(opt.Version)
	g.hw.plant.held = newHolder(g.log.With("part", "hold"), opt.Manager, opt.Inherited)
	if opt.open != nil {
		g.hw.plant.held.open, g.hw.plant.held.adopt = opt.open, opt.adopt
	}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, g.hw.closeAll(), g.closeStore(), g.door.Close())
	}
	return g, nil
}

func socketPath(opt Options) string {
	switch {
	case opt.Socket != "":
		return opt.Socket
	case opt.Config.Local.Socket != "":
		return opt.Config.Local.Socket
	}
	return local.Path("postern")
}

// build makes the rooms. Devices are opened before anything else is.
func (g *Gateway) build(ctx context.Context) error {
	g.hw.plant.use(g.cfg.Buses)
	for i := range g.cfg.Nodes {
		if err := g.hw.open(ctx, g.cfg, &g.cfg.Nodes[i]); err != nil {
			return err
		}
	}
	g.hw.plant.held.release()
	dir, err := StateDirectory(g.cfg.State.Directory, "postern")
	if err != nil {
		return err
	}
	if err := g.openState(ctx, dir); err != nil {
		return err
	}
	t, err := tree(g.cfg, g.hw)
	if err != nil {
		return err
	}
	list, err := accessOf(g.cfg)
	if err != nil {
		return fmt.Errorf("%w: access: %w", ErrConfig, err)
	}
	g.tree, g.access = t, &accessSwitch{list: list}
	if err := g.openPairing(); err != nil {
		return err
	}
	mux := new(xmpp.Mux)
	if g.session, err = g.newSession(mux); err != nil {
		return err
	}
	g.openHistory()
	g.audit = audit.New(audit.Config{DB: g.db, Logger: g.log.With("part", "audit")})
	g.sensors, err = sensors.New(sensors.Config{
		Setup: g.sensorSetup(g.cfg, t), Live: g.live, Sender: g.session, History: g.history,
		Journals: map[node.Ref]sensors.Journal{auditNode: auditPast{g}},
		Logger:   g.log.With("part", "sensors"), LegacyPeers: g.legacy, ClockSane: clockSane,
	})
	if err != nil {
		return err
	}
	if err := g.openComputed(t); err != nil {
		return err
	}
	g.control, err = control.New(control.Config{
		Setup: g.controlSetup(g.cfg, t), Live: g.live, Sender: g.session,
		Logger:    g.log.With("part", "control"),
		ClockSane: clockSane, Location: g.cfg.Site.Location(), Auditor: newAuditor(g.audit, g.log.With("part", "audit"), g.tellCommand, g.volatile),
	})
	if err != nil {
		return err
	}
	if err := g.openSchedules(); err != nil {
		return err
	}
	if err := g.control.SafeBut(ctx, "start", g.resumeHeld()); err != nil {
		g.log.Error("an output may not be in its safe state", "err", err)
	}
	if err := g.openConcentrator(t, mux); err != nil {
		return err
	}
	if err := g.openEvents(mux); err != nil {
		return err
	}
	g.restoreOverrides()
	g.sensors.Register(mux)
	g.control.Register(mux)
	g.registerPairing(mux)
	return g.registerBasics(mux)
}

func (g *Gateway) sensorSetup(cfg *config.Config, t *node.Tree) sensors.Setup {
	return sensors.Setup{Tree: t, Devices: g.withAudit(sensorDevices(cfg, g.hw)), Access: g.decides()}
}

func (g *Gateway) controlSetup(cfg *config.Config, t *node.Tree) control.Setup {
	return control.Setup{Tree: t, Devices: controlDevices(cfg, g.hw, t), Access: g.decides(), Rules: outputRules(cfg, t)}
}

// Run serves until ctx is done, then moves outputs into their safe states,
// says goodbye to the server and closes everything, within a second. It may be
// called once.
func (g *Gateway) Run(ctx context.Context) error {
	parts := []struct {
		name string
		run  func(context.Context) error
	}{
		{"local door", g.door.Run},
		{"sensors", g.sensors.Run},
		{"control", g.runControl},
		{"session", g.runSession},
		{"missing devices", g.findMissing},
		{"history", g.runHistory},
		{"events", g.events.Run},
		{"outbox", g.outbox.Run},
		{"computed fields", g.computed.Run},
		{"concentrator", g.concentrator.Run},
		{"provisioning", g.runPairing},
		{"rights", g.runRevise},
		{"decommissioning", g.waitRetired},
		{"schedules", g.schedules.Run},
		{"audit", g.audit.Run},
		{"panel", newPanel(g).run},
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			if err := p.run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("%s: %w", p.name, err))
			}
		})
	}
	wg.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // asked to stop
	}
	if err == nil { // stopped in good order, and for nobody else than the next start
		g.leaveHeld()
	}
	return errors.Join(err, g.hw.closeAll(), g.endHistory(), g.outbox.Flush(), g.audit.Flush(), g.closeStore())
}

// runSession runs the session once what it is for serves: a command that comes
// with the first presence is not refused.
func (g *Gateway) runSession(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{g.sensors.Ready(), g.control.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
	return g.session.Run(ctx)
}

func (g *Gateway) closeStore() error {
	if g.db == nil {
		return nil
	}
	err := g.db.Close()
	if g.volatileDir != "" {
		err = errors.Join(err, os.RemoveAll(g.volatileDir))
	}
	return err
}

// runControl runs the control room and leaves the outputs safe when it ends:
// no command can come after it, and nothing waits for the network.
func (g *Gateway) runControl(ctx context.Context) error {
	err := g.control.Run(ctx)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
	defer cancel()
	if e := g.control.SafeBut(grace, "stop", g.stays); e != nil {
		g.log.Error("an output may not be in its safe state", "err", e)
	}
	return err
}

// findMissing looks for devices whose channels are not known because they
// could not be opened at the start, and shows them when they are there.
func (g *Gateway) findMissing(ctx context.Context) error {
	tick := time.NewTicker(reopenEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		g.reloading.Lock()
		if g.hw.revealed(ctx) {
			g.mu.Lock()
			cfg := g.cfg
			g.mu.Unlock()
			if err := g.apply(ctx, cfg, false); err != nil && ctx.Err() == nil {
				g.log.Error("a device that appeared cannot be shown", "err", err)
			}
			g.showTree()
		}
		g.reloading.Unlock()
	}
}

// legacy tells whether old peers get their elements: on XML streams, unless it
// is switched off.
func (g *Gateway) legacy() bool {
	g.mu.Lock()
	on := g.cfg.LegacyPeers
	g.mu.Unlock()
	return on && g.session.State().Codec == "xml"
}

// doorHandlers serve the local door.
func (g *Gateway) doorHandlers() map[string]local.Handler {
	h := map[string]local.Handler{
		"GET /v1/status":    func(context.Context, *local.Request) (any, error) { return g.Status(), nil },
		"POST /v1/explain":  g.explain,
		"POST /v1/pairing":  g.pairingDoor,
		"POST /v1/audit":    g.auditDoor,
		"POST /v1/override": g.overrideDoor,
		"GET /v1/outputs":   g.outputsDoor,
	}
	maps.Copy(h, g.scheduleHandlers())
	maps.Copy(h, g.decommissionHandlers())
	return h
}

// WaitOnline waits until the gateway is connected.
func (g *Gateway) WaitOnline(ctx context.Context) error { return g.session.WaitOnline(ctx) }

// DriveLine moves a simulated input from outside, as a contact would. It fails
// for a line that is not simulated.
func (g *Gateway) DriveLine(line string, high bool) error {
	l := g.hw.bench.line(line)
	if l == nil {
		return fmt.Errorf("there is no simulated line %s", line)
	}
	l.Drive(gpio.Level(high))
	return nil
}

// config returns the configuration in force, which a reload replaces as a
// whole.
func (g *Gateway) config() *config.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg
}
