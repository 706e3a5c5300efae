package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/existate"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/terminator"
)

const terminatorHelp = `Usage: postern terminator --domain DOMAIN --server HOST:PORT --cert FILE --key FILE
                          [options]

Puts EXI in front of an XMPP server that does not know it. Clients connect to
the terminator with TLS; it relays their login to the server and offers what
the server offers, and EXI besides. It keeps no messages.

The link to the server must offer no channel binding (SCRAM-...-PLUS): without
TLS on loopback, or with Prosody by TLS 1.3. --check tells.

Options:
  --domain DOMAIN        the XMPP domain
  --cert FILE            its certificate chain, PEM
  --key FILE             its private key, PEM
  --server HOST:PORT     the server behind
  --link MODE            how the link to it is protected: plain (default, on
                         loopback only), starttls or direct
  --ca FILE              roots for the server's certificate (default: system)
  --proxy-protocol       send each client's address ahead (PROXY protocol 1)
  --listen ADDR          for clients with STARTTLS (default :5222, "" for none)
  --listen-direct ADDR   for clients with direct TLS (default none)
  --listen-exi ADDR      for clients that speak EXI from the first octet
                         (default none; the port is advertised)
  --schemas DIR          further schema files (*.xsd) to know
  --state DIR            where agreed configurations are kept (default: not)
  --no-uploads           take no schemas from clients
  --download-from URLS   download schemas for clients from below these URLs,
                         separated by commas (default: from nowhere)
  --shared-tables        let string tables live as long as a stream, and a
                         DEFLATE window if the client asks for it: smaller, but
                         sizes then tell whether texts repeat (docs/exi.md)
  --max-clients N        clients at a time (default 10000)
  --rate OCTETS          read at most so much from a client in a second
  --drain DURATION       how long clients may stay after SIGTERM (default 0s);
                         those cut off can resume their sessions
  --log LEVEL            debug, info, warn or error (default info)
  --check                try the link to the server and end

Exit codes: 0 ended as asked or the check passed, 1 failure, 2 usage.

Examples:
  postern terminator --domain example.org --server 127.0.0.1:5223 \
      --cert example.org.pem --key example.org.key --check
`

// terminatorOptions are the command line.
type terminatorOptions struct {
	domain, cert, key, server, link, ca, listen, direct, exi, schemas, state, log string
	downloads                                                                     string

	proxy, noUploads, shared, check bool
	clients, rate                   int
	drain                           time.Duration
}

// Terminator is the command postern terminator.
func Terminator(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("terminator", terminatorHelp)
	var o terminatorOptions
	f.StringVar(&o.domain, "domain", "", "")
	f.StringVar(&o.cert, "cert", "", "")
	f.StringVar(&o.key, "key", "", "")
	f.StringVar(&o.server, "server", "", "")
	f.StringVar(&o.link, "link", "plain", "")
	f.StringVar(&o.ca, "ca", "", "")
	f.BoolVar(&o.proxy, "proxy-protocol", false, "")
	f.StringVar(&o.listen, "listen", ":5222", "")
	f.StringVar(&o.direct, "listen-direct", "", "")
	f.StringVar(&o.exi, "listen-exi", "", "")
	f.StringVar(&o.downloads, "download-from", "", "")
	f.StringVar(&o.schemas, "schemas", "", "")
	f.StringVar(&o.state, "state", "", "")
	f.BoolVar(&o.noUploads, "no-uploads", false, "")
	f.BoolVar(&o.shared, "shared-tables", false, "")
	f.IntVar(&o.clients, "max-clients", 0, "")
	f.IntVar(&o.rate, "rate", 0, "")
	f.DurationVar(&o.drain, "drain", 0, "")
	f.StringVar(&o.log, "log", "info", "")
	f.BoolVar(&o.check, "check", false, "")
	rest, err := f.parse(&env, args)
	switch {
	case err != nil:
	case len(rest) > 0:
		err = usagef("there are no arguments: %q", rest[0])
	case o.domain == "" || o.server == "" || o.cert == "" || o.key == "":
		err = usagef("--domain, --server, --cert and --key are needed")
	}
	if err == nil {
		err = o.run(ctx, &env)
	}
	return finish(&env, "terminator", err)
}

func (o *terminatorOptions) run(ctx context.Context, env *cli.Env) error {
	log := newLogger(env, config.Log{Level: o.log})
	cfg, err := o.config(log)
	if err != nil {
		return err
	}
	if o.state != "" {
		db, err := store.Open(ctx, filepath.Join(o.state, "terminator.db"), store.Options{Logger: log})
		if err != nil {
			return err
		}
		defer db.Close()
		cfg.EXI.Configs = existate.New(db, "exi", log)
	}
	t, err := terminator.New(cfg)
	if err != nil {
		return err
	}
	if o.check {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := t.Check(ctx); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s: clients of %s can log in through the terminator\n", o.server, o.domain)
		return nil
	}
	return o.serve(ctx, env, t, log)
}

// serve listens and logs what the terminator counts, every hour and at the end.
func (o *terminatorOptions) serve(ctx context.Context, env *cli.Env, t *terminator.Terminator, log *slog.Logger) error {
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, l := range []struct {
		addr, how string
		serve     func(context.Context, net.Listener) error
	}{
		{o.listen, "starttls", func(ctx context.Context, ln net.Listener) error { return t.Serve(ctx, ln, false) }},
		{o.direct, "direct TLS", func(ctx context.Context, ln net.Listener) error { return t.Serve(ctx, ln, true) }},
		{o.exi, "EXI", t.ServePort},
	} {
		if l.addr == "" {
			continue
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr)
		if err != nil {
			cancel()
			wg.Wait()
			return fmt.Errorf("cannot listen for clients: %w", err)
		}
		log.Info("listening", "addr", ln.Addr(), "for", l.how, "domain", o.domain, "server", o.server)
		wg.Go(func() {
			errs <- l.serve(ctx, ln)
			cancel()
		})
	}
	leave := attend(ctx, env, log, nil)
	defer leave()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for done := false; !done; {
		select {
		case <-hourly.C:
		case <-ctx.Done():
			wg.Wait()
			done = true
		}
		s := t.Stats()
		log.Info("clients", "now", s.Clients, "exi", s.Compressed, "accepted", s.Accepted, "refused", s.Refused,
			"logged_in", s.LoggedIn, "failed", s.Failed, "up", s.Up, "down", s.Down, "replaced", s.Replaced,
			"exi_octets", s.EXI, "as_xml", s.AsXML)
	}
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func (o *terminatorOptions) config(log *slog.Logger) (cfg terminator.Config, err error) {
	if cfg.Domain, err = xmpp.ParseDomain(o.domain); err != nil {
		return cfg, fmt.Errorf("--domain %s is no domain: %w", o.domain, err)
	}
	cert, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return cfg, fmt.Errorf("certificate: %w", err)
	}
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	cfg.Upstream = terminator.Upstream{Addr: o.server, Proxy: o.proxy}
	switch o.link {
	case "plain":
	case "starttls":
		cfg.Upstream.Security = terminator.StartTLS
	case "direct":
		cfg.Upstream.Security = terminator.Direct
	default:
		return cfg, usagef("--link is plain, starttls or direct, not %q", o.link)
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return cfg, err
		}
		cfg.Upstream.CAs = x509.NewCertPool()
		if !cfg.Upstream.CAs.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("%s holds no certificate in PEM", o.ca)
		}
	}
	more, err := schemaFiles(o.schemas)
	if err != nil {
		return cfg, err
	}
	lib, err := compress.NewLibrary(more...)
	if err != nil {
		return cfg, err
	}
	cfg.EXI = &compress.Server{
		Library: lib, Configs: &compress.Memory{}, Uploads: !o.noUploads, Logger: log,
		Ceiling: compress.Ceiling{SessionWide: o.shared, Window: o.shared},
	}
	if o.downloads != "" {
		if cfg.EXI.Downloads, err = terminator.NewDownloads(strings.Split(o.downloads, ",")...); err != nil {
			return cfg, err
		}
	}
	if o.exi != "" {
		_, port, err := net.SplitHostPort(o.exi)
		if err == nil {
			cfg.Port, err = strconv.Atoi(port)
		}
		if err != nil {
			return cfg, usagef("--listen-exi %s is not of the form [HOST]:PORT", o.exi)
		}
	}
	cfg.MaxClients, cfg.Rate, cfg.Drain, cfg.Logger = o.clients, o.rate, o.drain, log
	return cfg, nil
}

// schemaFiles reads the schema files of a folder.
func schemaFiles(dir string) ([][]byte, error) {
	if dir == "" {
		return nil, nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.xsd"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("--schemas: there is no *.xsd in %s", dir)
	}
	var files [][]byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, text)
	}
	return files, nil
}
