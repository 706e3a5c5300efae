package daemon

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/local"
)

const hubHelp = `Usage: postern hub [run] [options]
       postern hub adduser NAME | passwd NAME | remove NAME | list

An XMPP server for one small site: accounts, rosters, presence, messages. It
talks to no other servers; for more than one site take Prosody or ejabberd.

Serving:
  --domain DOMAIN     domain of the accounts; needed the first time only
  --listen ADDR       where clients connect, STARTTLS (:5222); may be repeated
  --listen-tls ADDR   where clients connect with TLS from the first octet
                      (:5223); may be repeated; none switches it off
  --listen-exi ADDR   where streams are EXI from the first octet (default none);
                      may be repeated; clients are told the first one
  --cert FILE         certificate (PEM) of the domain, with its chain
  --key FILE          its private key; without both the hub makes its own
                      authority, whose certificate clients then need
  --register          let everybody who reaches the hub make an account
  --no-announce       do not announce the hub in the local network (DNS-SD)
  --things DOMAIN     address of the thing registry and provisioning server
                      inside (things.DOMAIN); none: there is none
  --log LEVEL         debug, info, warn or error (info)

Accounts, asked of the running hub, or done in its files when none runs:
  adduser NAME        make an account; its password is asked for
  passwd NAME         give an account a new password
  remove NAME         remove an account and all that is kept for it
  list                list the accounts
  --password-file F   take the password from the first line of F ("-": stdin)
  --generate          make a random password and print it
  --json              list for programs

Both:
  --state DIR         where accounts and keys are kept ($STATE_DIRECTORY, else
                      /var/lib/postern-hub, for others $XDG_STATE_HOME)
  --socket PATH       local door of the hub

Exit codes: 0 ok, 1 failure, 2 usage, 4 not permitted.

Examples:
  postern hub --domain site.example
  postern hub adduser operator
  postern hub adduser gateway --generate
`

// hubFlags are all options of postern hub.
type hubFlags struct {
	domain, cert, key, state, socket, log, passwordFile, things string
	listen, listenTLS, listenEXI                                list
	generate, asJSON, register, quiet                           bool
}

// list is an option that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds a value.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// or returns the values, or the default when there are none. "none" means none.
func (l list) or(def string) []string {
	switch {
	case len(l) == 0:
		return []string{def}
	case len(l) == 1 && l[0] == "none":
		return nil
	}
	return l
}

// Hub is the command postern hub.
func Hub(ctx context.Context, env cli.Env, args []string) int {
	var o hubFlags
	f := newFlags("hub", hubHelp)
	for name, p := range map[string]*string{
		"domain": &o.domain, "cert": &o.cert, "key": &o.key, "state": &o.state, "socket": &o.socket,
		"password-file": &o.passwordFile, "things": &o.things,
	} {
		f.StringVar(p, name, "", "")
	}
	f.StringVar(&o.log, "log", "info", "")
	f.Var(&o.listen, "listen", "")
	f.Var(&o.listenTLS, "listen-tls", "")
	f.Var(&o.listenEXI, "listen-exi", "")
	f.BoolVar(&o.generate, "generate", false, "")
	f.BoolVar(&o.asJSON, "json", false, "")
	f.BoolVar(&o.register, "register", false, "")
	f.BoolVar(&o.quiet, "no-announce", false, "")
	rest, err := f.parse(&env, args)
	if err == nil {
		err = o.dispatch(ctx, &env, rest)
	}
	return finish(&env, "hub", err)
}

func (o *hubFlags) dispatch(ctx context.Context, env *cli.Env, rest []string) error {
	if (o.cert == "") != (o.key == "") {
		return usagef("--cert and --key belong together")
	}
	verb := "run"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	named := map[string]func(context.Context, *cli.Env, string) error{
		"adduser": o.addUser, "passwd": o.passwd, "remove": o.remove,
	}
	switch {
	case verb == "run" && len(rest) == 0:
		return o.run(ctx, env)
	case verb == "list" && len(rest) == 0:
		return o.list(ctx, env)
	case verb == "run" || verb == "list":
		return usagef("%s takes no arguments", verb)
	case named[verb] == nil:
		hint := ""
		if n := config.Nearest(verb, []string{"run", "adduser", "passwd", "remove", "list"}); n != "" {
			hint = "; did you mean " + n + "?"
		}
		return usagef("there is no command hub %s%s", verb, hint)
	case len(rest) != 1 || rest[0] == "":
		return usagef("which account? postern hub %s NAME", verb)
	}
	return named[verb](ctx, env, rest[0])
}

func (o *hubFlags) stateDir() (string, error) { return gateway.StateDirectory(o.state, "postern-hub") }

func (o *hubFlags) run(ctx context.Context, env *cli.Env) error {
	log := newLogger(env, config.Log{Level: o.log})
	dir, err := o.stateDir()
	if err != nil {
		return err
	}
	socket := o.socket
	if socket == "" {
		socket = local.Path("postern-hub")
	}
	gateway.LimitMemory(0)
	s, err := openSite(ctx, siteOptions{
		dir: dir, domain: o.domain, listen: o.listen.or(":5222"), listenTLS: o.listenTLS.or(":5223"), listenEXI: o.listenEXI,
		cert: o.cert, key: o.key, socket: socket, things: o.things, log: log,
		register: o.register, announce: !o.quiet,
	})
	if err != nil {
		return err
	}
	log.Info("serving", "domain", s.domain, "listen", fmt.Sprint(s.hub.Addrs()), "state", dir)
	if s.caFile != "" {
		log.Info("clients need the certificate of this hub's own authority", "file", s.caFile)
	}
	leave := attend(ctx, env, log, nil)
	err = s.run(ctx)
	leave()
	log.Info("ended")
	return err
}

// accounts is what the account commands work on: the running hub, or its files.
type accounts interface {
	Users(ctx context.Context) ([]local.User, error)
	AddUser(ctx context.Context, name, password string) (string, error)
	SetPassword(ctx context.Context, name, password string) error
	RemoveUser(ctx context.Context, name string) error
}

// with runs f on the accounts of the running hub, or of the state directory
// when none runs, and says so.
func (o *hubFlags) with(ctx context.Context, env *cli.Env, f func(accounts) error) error {
	var denied error
	for _, p := range sockets(o.socket, "postern-hub") {
		err := f(local.NewClient(p))
		if !errors.Is(err, local.ErrNobody) && !errors.Is(err, local.ErrDenied) {
			return err
		}
		if errors.Is(err, local.ErrDenied) {
			denied = err
		}
	}
	if denied != nil {
		return denied
	}
	dir, err := o.stateDir()
	if err != nil {
		return err
	}
	s, err := openSite(ctx, siteOptions{dir: dir, domain: o.domain, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "No hub is running; this is done in its files in %s.\n", dir)
	return errors.Join(f(files{s}), s.close())
}

// files are the accounts of a site that is not served.
type files struct{ *site }

func (f files) Users(context.Context) ([]local.User, error) { return f.users() }

func (f files) AddUser(_ context.Context, name, password string) (string, error) {
	return f.local(name) + "@" + f.domain, f.addUser(name, password)
}

func (f files) SetPassword(_ context.Context, name, password string) error {
	return f.explain(name, f.hub.SetPassword(f.local(name), password))
}

func (f files) RemoveUser(_ context.Context, name string) error {
	return f.explain(name, f.hub.Remove(f.local(name)))
}

func (o *hubFlags) addUser(ctx context.Context, env *cli.Env, name string) error {
	password, err := o.password(env, name)
	if err != nil {
		return err
	}
	return o.with(ctx, env, func(a accounts) error {
		j, err := a.AddUser(ctx, name, password)
		if err == nil {
			fmt.Fprintf(env.Stdout, "The account %s is there.\n", j)
			o.showPassword(env, password)
		}
		return err
	})
}

func (o *hubFlags) passwd(ctx context.Context, env *cli.Env, name string) error {
	password, err := o.password(env, name)
	if err != nil {
		return err
	}
	return o.with(ctx, env, func(a accounts) error {
		err := a.SetPassword(ctx, name, password)
		if err == nil {
			fmt.Fprintf(env.Stdout, "The account %s has a new password.\n", name)
			o.showPassword(env, password)
		}
		return err
	})
}

func (o *hubFlags) remove(ctx context.Context, env *cli.Env, name string) error {
	return o.with(ctx, env, func(a accounts) error {
		err := a.RemoveUser(ctx, name)
		if err == nil {
			fmt.Fprintf(env.Stdout, "The account %s is removed.\n", name)
		}
		return err
	})
}

func (o *hubFlags) list(ctx context.Context, env *cli.Env) error {
	return o.with(ctx, env, func(a accounts) error {
		users, err := a.Users(ctx)
		switch {
		case err != nil:
			return err
		case o.asJSON:
			enc := json.NewEncoder(env.Stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(users)
		}
		var b strings.Builder
		usersTable(&b, users)
		_, err = io.WriteString(env.Stdout, b.String())
		return err
	})
}

// password gets the new password of an account.
func (o *hubFlags) password(env *cli.Env, name string) (string, error) {
	switch {
	case o.generate && o.passwordFile != "":
		return "", usagef("--generate and --password-file exclude each other")
	case o.generate:
		return rand.Text(), nil
	case o.passwordFile == "-", o.passwordFile == "" && env.ReadPassword == nil:
		return firstLine(env.Stdin, "standard input")
	case o.passwordFile != "":
		f, err := os.Open(o.passwordFile)
		if err != nil {
			return "", fmt.Errorf("password: %w", err)
		}
		defer f.Close()
		return firstLine(f, o.passwordFile)
	}
	p, err := env.ReadPassword("Password for " + name + ": ")
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	again, err := env.ReadPassword("Once more: ")
	switch {
	case err != nil:
		return "", fmt.Errorf("password: %w", err)
	case p == "":
		return "", errors.New("the password is empty")
	case p != again:
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return p, nil
}

func (o *hubFlags) showPassword(env *cli.Env, password string) {
	if o.generate {
		fmt.Fprintf(env.Stdout, "Its password, shown only now: %s\n", password)
	}
}

func firstLine(r io.Reader, what string) (string, error) {
	sc := bufio.NewScanner(io.LimitReader(r, 4096))
	if !sc.Scan() || sc.Text() == "" {
		return "", fmt.Errorf("password: %s is empty", what)
	}
	return strings.TrimRight(sc.Text(), "\r"), nil
}
