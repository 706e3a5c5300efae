package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/existate"
	"postern/internal/gateway"
	"postern/internal/local"
	"postern/internal/store"
	"postern/provisioning/registry"
	"postern/xmpp/compress"
	"postern/xmpp/hub"
)

// site is a hub with its state, its certificates and its local door.
type site struct {
	dir     string
	domain  string
	hub     *hub.Hub
	things  *registry.Server // nil without
	db      *store.DB
	caFile  string // empty with certificates from elsewhere
	door    *local.Server
	log     *slog.Logger
	started time.Time

	announced bool // in the local network
}

// siteOptions say how a site is opened.
type siteOptions struct {
	dir, domain                  string // an empty domain is that of the last time
	listen, listenTLS, listenEXI []string
	cert, key                    string // empty: the site's own authority
	socket                       string // empty: no local door
	things                       string // domain of the registry inside: empty: things.DOMAIN, "none": none
	register, announce           bool   // accounts for everybody; known in the local network
	log                          *slog.Logger
}

// domainFile keeps the domain of a state directory.
const domainFile = "domain"

// openSite opens state, certificates, listeners and door. Call run, or close.
func openSite(ctx context.Context, o siteOptions) (s *site, err error) {
	s = &site{dir: o.dir, log: o.log, started: time.Now(), announced: o.announce}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if s.domain, err = siteDomain(o.dir, o.domain); err != nil {
		return nil, err
	}
	if o.socket != "" {
		s.door = &local.Server{Path: o.socket, Handlers: s.handlers(), Logger: o.log}
		if err := s.door.Listen(); err != nil {
			return nil, err
		}
	}
	err = s.open(ctx, o)
	if err == nil {
		err = keepDomain(filepath.Join(o.dir, domainFile), s.domain)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// keepDomain writes the domain once.
func keepDomain(file, domain string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := os.WriteFile(file, []byte(domain+"\n"), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func (s *site) open(ctx context.Context, o siteOptions) error {
	conf, err := s.certificates(o)
	if err != nil {
		return err
	}
	if s.db, err = gateway.OpenStore(ctx, o.dir, o.log, registry.Buckets()...); err != nil {
		return err
	}
	lib, err := compress.NewLibrary()
	if err != nil {
		return err
	}
	components, err := s.openThings(o)
	if err != nil {
		return err
	}
	s.hub, err = hub.New(hub.Config{
		Domain: s.domain, Store: s.db, TLS: conf, Listen: o.listen, ListenTLS: o.listenTLS, ListenEXI: o.listenEXI,
		Logger: o.log, Version: release, Components: components, Register: o.register,
		EXI: &compress.Server{Library: lib, Configs: existate.New(s.db, "exi", o.log), Logger: o.log},
	})
	if err == nil && s.things != nil {
		s.things.SetSender(s.hub)
	}
	return err
}

// openThings opens the registry inside the hub.
func (s *site) openThings(o siteOptions) (map[string]hub.Component, error) {
	domain := strings.ToLower(o.things)
	switch {
	case domain == "none":
		return nil, nil
	case domain == "":
		domain = "things." + s.domain
	case !hostName.MatchString(domain):
		return nil, usagef("%q is no domain; write a name such as things.%s, or none", o.things, s.domain)
	}
	f := new(registryFile)
	config.Defaults(f)
	f.Domain = domain
	c := f.config(o.log.With("part", "registry"))
	c.Store = registry.Bolt(s.db)
	var err error
	if s.things, err = registry.New(c); err != nil {
		return nil, err
	}
	if s.door != nil {
		maps.Copy(s.door.Handlers, registryDoor(s.things))
	}
	return map[string]hub.Component{domain: {Name: "Thing registry and provisioning", Handler: s.things}}, nil
}

func (s *site) certificates(o siteOptions) (*tls.Config, error) {
	if o.cert != "" {
		return hub.CertFiles(o.cert, o.key, o.log)
	}
	ca, err := hub.OpenCA(filepath.Join(o.dir, "ca"), s.domain)
	if err != nil {
		return nil, err
	}
	s.caFile = ca.CertFile()
	return ca.TLS(), nil
}

// hostName is what a domain looks like: certificates are made for it.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// siteDomain returns the domain of a state directory, which is kept there. A
// directory serves one domain: keys of accounts and certificates are for it.
func siteDomain(dir, given string) (string, error) {
	file := filepath.Join(dir, domainFile)
	data, err := os.ReadFile(file)
	kept := strings.TrimSpace(string(data))
	given = strings.ToLower(given)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("state: %w", err)
	case kept == "" && given == "":
		return "", usagef("which domain is this hub for? Name it once: --domain site.example")
	case given != "" && !hostName.MatchString(given):
		return "", usagef("%q is no domain; write a name such as site.example", given)
	case kept == "":
		return given, nil
	case given != "" && given != kept:
		return "", fmt.Errorf("the accounts in %s are for the domain %s, not %s; choose another --state for another domain", dir, kept, given)
	}
	return kept, nil
}

// run serves until ctx is done and closes everything.
func (s *site) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	part := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	part(s.hub.Run)
	part(func(ctx context.Context) error { return s.announce(ctx, s.log) })
	if s.things != nil {
		part(s.things.Run)
	}
	if s.door != nil {
		part(s.door.Run)
	}
	wg.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.db.Close())
}

// close closes a site that is not run.
func (s *site) close() error {
	var errs []error
	if s.hub != nil {
		errs = append(errs, s.hub.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.door != nil {
		errs = append(errs, s.door.Close())
	}
	return errors.Join(errs...)
}

// address returns the address that clients on this machine connect to.
func (s *site) address() string {
	for _, a := range s.hub.Addrs() {
		return a.String()
	}
	return ""
}

// users lists the accounts.
func (s *site) users() ([]local.User, error) {
	us, err := s.hub.Users()
	if err != nil {
		return nil, err
	}
	out := make([]local.User, 0, len(us))
	for _, u := range us {
		out = append(out, local.User{JID: u.Name + "@" + s.domain, Created: u.Created, Resources: u.Online, Waiting: u.Offline})
	}
	return out, nil
}

func (s *site) status() (local.Status, error) {
	us, err := s.users()
	if err != nil {
		return local.Status{}, err
	}
	h := &local.Hub{Domain: s.domain, CAFile: s.caFile, Users: us, Listen: []string{}}
	for _, a := range s.hub.Addrs() {
		h.Listen = append(h.Listen, a.String())
	}
	var things *local.Registry
	if s.things != nil {
		things = registryStatus(s.things)
	}
	return local.Status{
		Registry: things,
		Role:     "hub", Version: Version(), PID: os.Getpid(), Started: s.started, Now: time.Now(),
		Memory: gateway.Memory(), Hub: h, Healthy: true,
	}, nil
}

// handlers serve the local door.
func (s *site) handlers() map[string]local.Handler {
	change := func(what string, do func(local.Credentials) error) local.Handler {
		return func(_ context.Context, r *local.Request) (any, error) {
			var c local.Credentials
			if err := r.Body(&c); err != nil {
				return nil, err
			}
			if err := do(c); err != nil {
				return nil, err
			}
			s.log.Info("account "+what, "name", c.Name, "by_uid", r.Peer.UID)
			return local.User{JID: s.local(c.Name) + "@" + s.domain}, nil
		}
	}
	return map[string]local.Handler{
		"GET /v1/status": func(context.Context, *local.Request) (any, error) { return s.status() },
		"GET /v1/users":  func(context.Context, *local.Request) (any, error) { return s.users() },
		"POST /v1/users": change("added", func(c local.Credentials) error { return s.addUser(c.Name, c.Password) }),
		"PUT /v1/users": change("given a new password", func(c local.Credentials) error {
			return s.explain(c.Name, s.hub.SetPassword(s.local(c.Name), c.Password))
		}),
		"DELETE /v1/users": change("removed", func(c local.Credentials) error {
			return s.explain(c.Name, s.hub.Remove(s.local(c.Name)))
		}),
	}
}

func (s *site) addUser(name, password string) error {
	return s.explain(name, s.hub.AddUser(s.local(name), password))
}

// local cuts the own domain off, so that both anna and anna@site.example name
// an account.
func (s *site) local(name string) string { return strings.TrimSuffix(name, "@"+s.domain) }

// explain words the errors of the hub for a person.
func (s *site) explain(name string, err error) error {
	switch {
	case errors.Is(err, hub.ErrExists):
		return fmt.Errorf("there is an account %s already; postern hub passwd %s changes its password", name, name)
	case errors.Is(err, hub.ErrNoUser):
		return fmt.Errorf("there is no account %s; postern hub list shows those there are", name)
	case errors.Is(err, hub.ErrPassword):
		return errors.New("the password is empty or has characters that cannot be typed reliably")
	}
	return err
}
