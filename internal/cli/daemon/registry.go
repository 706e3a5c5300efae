package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/local"
	"postern/provisioning/registry"
	"postern/xmpp/component"
)

const registryHelp = `Usage: postern registry [run] --config FILE
       postern registry [run] --domain DOMAIN --server HOST:PORT --secret-file FILE
       postern registry export [FILE] | import [FILE]
       postern registry services [list | put FILE | remove NAME]

A thing registry (XEP-0347) and provisioning server (XEP-0324) as an external
component (XEP-0114) of Prosody, ejabberd or another server: things register,
are claimed by their owners and found, and devices ask it who may read and
switch them. A postern hub has one inside and needs no other.

The link to the server is not encrypted: loopback, or a network you trust.

Serving:
  --config FILE        configuration; options here come before what it says
  --domain DOMAIN      address of the service, as the server knows it
  --server HOST:PORT   the server's port for components
  --secret-file FILE   the secret shared with the server ("-": stdin)
  --log LEVEL          debug, info, warn or error (info)
  --example            print a configuration to start from, and end

State, while no registry runs (export from a database also while one does):
  export [FILE]        write the whole state as JSON lines; it holds the secrets
                       of things that nobody has claimed yet
  import [FILE]        read such lines into an empty state

Programs that ask about their users, at the running registry (or hub):
  services             list them as JSON
  services put FILE    add or replace one, given as JSON ("-": stdin)
  services remove NAME forget one

Both:
  --state DIR          where the state is kept ($STATE_DIRECTORY, else
                       /var/lib/postern-registry, for others $XDG_STATE_HOME)
  --database ADDRESS   keep it in PostgreSQL instead: postgres://USER@HOST/NAME,
                       without a password (build with the tag fleet)
  --database-password-file FILE
                       the password; PGPASSFILE and ~/.pgpass count as well
  --socket PATH        local door, for postern status and the commands for rules

Exit codes: 0 ended as asked, 1 failure, 2 usage, 3 the database cannot be
reached, 78 configuration.

Examples:
  postern registry --domain things.example.org --server 127.0.0.1:5347 \
      --secret-file /etc/postern/component-secret
  postern registry export things.jsonl
  postern registry import things.jsonl --database postgres:///postern
  postern registry services put portal.json
`

// registryFile is the configuration of postern registry.
type registryFile struct {
	Domain string        `yaml:"domain,omitempty" format:"domain" doc:"address of the service, as the server knows it" example:"things.example.org"`
	Server string        `yaml:"server,omitempty" format:"host:port" doc:"the server's port for components" example:"127.0.0.1:5347"`
	Secret config.Secret `yaml:"secret,omitempty" doc:"where the secret shared with the server is kept"`

	Registry     bool `yaml:"registry" default:"true" doc:"serve as thing registry (XEP-0347)"`
	Provisioning bool `yaml:"provisioning" default:"true" doc:"serve as provisioning server (XEP-0324)"`

	SecondaryTrust bool           `yaml:"secondary_trust" default:"false" doc:"let devices accept friends, and further provisioning servers, by themselves"`
	TrustTokens    bool           `yaml:"trust_tokens" default:"false" doc:"take tokens at their word, without a challenge"`
	PKCS1          []string       `yaml:"pkcs1_peers,omitempty" doc:"accounts and domains that decrypt challenges by PKCS #1 v1.5 only" example:"[old.example.org]"`
	KeyBits        int            `yaml:"key_bits" default:"64" min:"0" max:"160" doc:"how hard the KEY of a thing must be to guess; 0 takes things without"`
	Limits         registryLimits `yaml:"limits,omitempty" doc:"what strangers can make it keep and do"`

	State    registryState    `yaml:"state,omitempty" doc:"where its state is kept"`
	Database registryDatabase `yaml:"database,omitempty" doc:"PostgreSQL for the state, instead of a file; needs the build with the tag fleet"`
	Local    registryLocal    `yaml:"local,omitempty" doc:"the local door"`
	Log      config.Log       `yaml:"log,omitempty" doc:"what is written to standard error"`
}

type registryState struct {
	Directory string `yaml:"directory,omitempty" doc:"directory of mode 0700; $STATE_DIRECTORY, else /var/lib/postern-registry, for other users $XDG_STATE_HOME/postern-registry" example:"/var/lib/postern-registry"`
}

type registryLocal struct {
	Socket string `yaml:"socket,omitempty" max:"100" doc:"path of the unix socket; $RUNTIME_DIRECTORY/postern-registry.sock, else below /run, for other users below $XDG_RUNTIME_DIR" example:"/run/postern-registry/postern-registry.sock"`
}

type registryLimits struct {
	Things       int `yaml:"things" default:"200000" min:"1" max:"10000000" doc:"things in all"`
	PerAddress   int `yaml:"per_address" default:"5000" min:"1" max:"1000000" doc:"things, and nodes, of one account"`
	Claims       int `yaml:"claims_per_account" default:"10" min:"1" max:"100000" doc:"claims of one account in a minute"`
	DomainClaims int `yaml:"claims_per_domain" default:"100" min:"1" max:"1000000" doc:"claims of all accounts of a domain in a minute"`
	Searches     int `yaml:"searches_per_account" default:"120" min:"1" max:"100000" doc:"searches of one account in a minute"`
	Rules        int `yaml:"rules_per_thing" default:"256" min:"1" max:"10000" doc:"rules of one device"`
	Questions    int `yaml:"questions_per_thing" default:"32" min:"0" max:"1000" doc:"open questions of one device"`
	Devices      int `yaml:"devices" default:"200000" min:"1" max:"10000000" doc:"devices that ask what is allowed"`
}

// config is the service's configuration.
func (f *registryFile) config(log *slog.Logger) registry.Config {
	l := f.Limits
	c := registry.Config{
		Domain: f.Domain, NoRegistry: !f.Registry, NoProvisioning: !f.Provisioning, SecondaryTrust: f.SecondaryTrust,
		MinKeyBits: float64(f.KeyBits), Version: release, Logger: log,
		Limits: registry.Limits{Things: l.Things, PerJID: l.PerAddress, ClaimsJID: l.Claims, ClaimsDomain: l.DomainClaims,
			Searches: l.Searches, RulesPerThing: l.Rules, Questions: l.Questions, Devices: l.Devices},
	}
	c.TrustTokens = f.TrustTokens
	if peers := f.PKCS1; len(peers) > 0 {
		c.PKCS1 = func(j jid.JID) bool {
			return slices.Contains(peers, j.Bare().String()) || slices.Contains(peers, j.Domainpart())
		}
	}
	if c.MinKeyBits == 0 {
		c.MinKeyBits = -1
	}
	if c.Limits.Questions == 0 {
		c.Limits.Questions = -1
	}
	return c
}

// registryOptions are the command line.
type registryOptions struct {
	file, domain, server, secret, log, state, socket string
	database, password                               string
	example                                          bool
}

// Registry is the command postern registry.
func Registry(ctx context.Context, env cli.Env, args []string) int {
	var o registryOptions
	f := newFlags("registry", registryHelp)
	for name, p := range map[string]*string{
		"config": &o.file, "domain": &o.domain, "server": &o.server, "secret-file": &o.secret,
		"log": &o.log, "state": &o.state, "socket": &o.socket, "database": &o.database, "database-password-file": &o.password,
	} {
		f.StringVar(p, name, "", "")
	}
	f.BoolVar(&o.example, "example", false, "")
	rest, err := f.parse(&env, args)
	if err == nil {
		err = o.dispatch(ctx, &env, rest)
	}
	return finish(&env, "registry", err)
}

func (o *registryOptions) dispatch(ctx context.Context, env *cli.Env, rest []string) error {
	verb := "run"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch {
	case o.example:
		_, err := env.Stdout.Write(config.ExampleOf[registryFile]("Configuration of postern registry."))
		return err
	case verb == "run" && len(rest) == 0:
		return o.run(ctx, env)
	case verb == "run":
		return usagef("run takes no arguments")
	case verb == "services":
		return o.services(ctx, env, rest)
	case verb != "export" && verb != "import":
		hint := ""
		if n := config.Nearest(verb, []string{"run", "export", "import", "services"}); n != "" {
			hint = "; did you mean " + n + "?"
		}
		return usagef("there is no command registry %s%s", verb, hint)
	case len(rest) > 1:
		return usagef("one file is wanted: postern registry %s FILE", verb)
	}
	name := "-"
	if len(rest) == 1 {
		name = rest[0]
	}
	if verb == "export" {
		return o.export(ctx, env, name)
	}
	return o.importLines(ctx, env, name)
}

// load reads the configuration, options first.
func (o *registryOptions) load(env *cli.Env) (*registryFile, error) {
	f := new(registryFile)
	config.Defaults(f)
	if o.file != "" {
		data, err := os.ReadFile(o.file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errConfig, err)
		}
		if ps := config.Decode(o.file, data, f); ps != nil {
			fmt.Fprintf(env.Stderr, "%s\n", printable2(ps.Error()))
			return nil, fmt.Errorf("%w: %s in %s", errConfig, count(len(ps), "problem"), o.file)
		}
	}
	for to, v := range map[*string]string{&f.Domain: o.domain, &f.Server: o.server, &f.Log.Level: o.log, &f.State.Directory: o.state, &f.Local.Socket: o.socket, &f.Database.Address: o.database} {
		if v != "" {
			*to = v
		}
	}
	if o.secret != "" && o.secret != "-" {
		f.Secret = config.Secret{File: o.secret}
	}
	if o.password != "" {
		f.Database.Password = config.Secret{File: o.password}
	}
	switch {
	case f.Database.Address == "" && o.password != "":
		return nil, usagef("there is a password for a database, but no database: --database, or database.address in the configuration")
	case f.Database.Address != "" && f.State.Directory != "":
		return nil, usagef("the state is kept in a directory or in a database, not in both")
	}
	return f, nil
}

// missing says which option or key is missing.
func missing(what, option, key string) error {
	return usagef("%s is not said: --%s, or %s in the configuration", what, option, key)
}

func (o *registryOptions) run(ctx context.Context, env *cli.Env) error {
	f, err := o.load(env)
	if err != nil {
		return err
	}
	switch {
	case f.Domain == "":
		return missing("the address of the service", "domain", "domain")
	case f.Server == "":
		return missing("the server's port for components", "server", "server")
	case f.Secret.IsZero() && o.secret != "-":
		return missing("the secret shared with the server", "secret-file", "secret")
	}
	secret := func(context.Context) (string, error) { return f.Secret.Read() }
	if o.secret == "-" {
		line, err := firstLine(env.Stdin, "standard input")
		if err != nil {
			return err
		}
		secret = func(context.Context) (string, error) { return line, nil }
	}
	log := newLogger(env, f.Log)
	gateway.LimitMemory(0)
	r, err := openRegistry(ctx, f, secret, log)
	if err != nil {
		return err
	}
	leave := attend(ctx, env, log, nil)
	err = r.run(ctx)
	leave()
	log.Info("ended")
	return err
}

// registryDaemon is a running postern registry.
type registryDaemon struct {
	file    *registryFile
	secret  func(context.Context) (string, error)
	log     *slog.Logger
	door    *local.Server
	started time.Time

	svc  atomic.Pointer[registry.Server] // nil while it waits for its database
	link *component.Client
	db   *registryDB

	mu     sync.Mutex
	online bool
	since  time.Time
	err    error // why the last connection ended
	wait   error // why there is no database yet
}

// openRegistry opens the local door and the state. A database that is away
// holds nothing up: run waits for it.
func openRegistry(ctx context.Context, f *registryFile, secret func(context.Context) (string, error), log *slog.Logger) (r *registryDaemon, err error) {
	r = &registryDaemon{file: f, secret: secret, log: log, started: time.Now(), since: time.Now()}
	socket := f.Local.Socket
	if socket == "" {
		socket = local.Path("postern-registry")
	}
	r.door = &local.Server{Path: socket, Logger: log, Handlers: r.handlers()}
	if err := r.door.Listen(); err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil && !r.waits(err) {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// handlers are the local door's, for a service that may come later.
func (r *registryDaemon) handlers() map[string]local.Handler {
	all := map[string]local.Handler{"GET /v1/status": func(context.Context, *local.Request) (any, error) { return r.status(), nil }}
	for name := range registryDoor(nil) {
		all[name] = func(ctx context.Context, q *local.Request) (any, error) {
			svc := r.svc.Load()
			if svc == nil {
				return nil, errors.New("the registry waits for its database; postern status says why")
			}
			return registryDoor(svc)[name](ctx, q)
		}
	}
	return all
}

// open opens the state and puts the service together.
func (r *registryDaemon) open(ctx context.Context) (err error) {
	if r.db, err = openRegistryDB(ctx, r.file, r.log); err != nil {
		return err
	}
	c := r.file.config(r.log.With("part", "registry"))
	c.Store = r.db
	svc, err := registry.New(c)
	if err != nil {
		return err
	}
	r.link, err = component.New(component.Config{
		Addr: r.file.Server, Domain: r.file.Domain, Secret: r.secret, Handler: svc, OnOnline: r.state, OnError: r.failed, Logger: r.log.With("part", "link"),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	svc.SetSender(r.link)
	r.svc.Store(svc)
	r.log.Info("serving", "domain", r.file.Domain, "server", r.file.Server, "things", svc.Stats().Things)
	return nil
}

func (r *registryDaemon) state(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.online, r.since = on, time.Now()
	if on {
		r.err = nil
	}
}

func (r *registryDaemon) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *registryDaemon) status() local.Status {
	s := local.Status{
		Role: "registry", Version: Version(), PID: os.Getpid(), Started: r.started, Now: time.Now(),
		Memory: gateway.Memory(), Registry: &local.Registry{Domain: r.file.Domain},
	}
	svc := r.svc.Load()
	if svc != nil {
		s.Registry = registryStatus(svc)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Registry.Server, s.Registry.Connected, s.Registry.Database = r.file.Server, r.online, r.file.Database.Address
	broken := r.wait
	if svc != nil {
		broken = r.db.problem()
	}
	if broken != nil {
		s.Problems = append(s.Problems, broken.Error())
	}
	if !r.online && svc != nil {
		p := "not connected to " + r.file.Server
		if r.err != nil {
			s.Registry.Error = r.err.Error()
			p += ": " + s.Registry.Error
		}
		s.Problems = append(s.Problems, p)
	}
	s.Healthy = len(s.Problems) == 0
	return s
}

// run serves until ctx is done and closes everything.
func (r *registryDaemon) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	start := func(part func(context.Context) error) {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	start(r.door.Run)
	if err := r.awaitDB(ctx); err != nil {
		stop(err)
	} else {
		for _, part := range []func(context.Context) error{r.svc.Load().Run, r.link.Run, r.db.run} {
			start(part)
		}
	}
	wg.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, r.closeDB())
}

// awaitDB tries to open the state again while its database is away, after 1 s
// to 30 s.
func (r *registryDaemon) awaitDB(ctx context.Context) error {
	for pause := time.Second; r.svc.Load() == nil; pause = min(2*pause, 30*time.Second) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		if err := r.open(ctx); err != nil && !r.waits(err) {
			return err
		}
	}
	return nil
}

// waits reports whether an error passes when the database is back, and then
// closes what was opened already.
func (r *registryDaemon) waits(err error) bool {
	if !databaseAway(err) {
		return false
	}
	if cerr := r.closeDB(); cerr != nil {
		r.log.Warn("a database was not closed in order", "err", cerr)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait == nil || r.wait.Error() != err.Error() {
		r.log.Error("the database cannot be used; it is tried again", "err", err)
	}
	r.wait = err
	return true
}

func (r *registryDaemon) closeDB() error {
	if r.db == nil {
		return nil
	}
	err := r.db.close()
	r.db = nil
	return err
}

// close closes what is not run.
func (r *registryDaemon) close() error { return errors.Join(r.closeDB(), r.door.Close()) }

func (o *registryOptions) export(ctx context.Context, env *cli.Env, name string) error {
	return o.withState(ctx, env, forExport, func(db registry.DB) error {
		if name == "-" {
			return registry.Export(db, env.Stdout)
		}
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = registry.Export(db, file)
		if err == nil {
			err = file.Sync()
		}
		return errors.Join(err, file.Close())
	})
}

func (o *registryOptions) importLines(ctx context.Context, env *cli.Env, name string) error {
	in := io.Reader(env.Stdin)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	return o.withState(ctx, env, forImport, func(db registry.DB) error {
		n, err := registry.Import(db, in)
		if err == nil {
			fmt.Fprintf(env.Stdout, "%s imported.\n", count(n, "value"))
		}
		return err
	})
}
