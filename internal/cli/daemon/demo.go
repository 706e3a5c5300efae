package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/xmpp/hub"
)

const demoHelp = `Usage: postern demo [--once] [--state DIR]

Starts a whole site on this machine, with nothing but this program and without
root: a server (postern hub) with an authority of its own, a gateway with six
devices that logs in to it as any device would, and an operator. It reads all
nodes and switches a fan by the operator's commands, shows what came of it, and
stays up for you to try. Ctrl-C ends it within a second.

The board is this machine. Chips, lines and the meter are simulated at their
registers and frames; everything above them is what runs on a real board.

Options:
  --once        end after the walk-through
  --state DIR   where its files are kept ($XDG_STATE_HOME/postern/demo)

Exit codes: 0 ended as asked, 1 failure, 2 usage.
`

// Demo is the command postern demo.
func Demo(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("demo", demoHelp)
	once := f.Bool("once", false, "")
	state := f.String("state", "", "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) > 0 {
		err = usagef("there are no arguments")
	}
	if err != nil {
		return finish(&env, "demo", err)
	}
	files, err := openDemoFiles(&env, *state)
	if err == nil {
		err = (&demo{env: env, files: files, once: *once}).run(ctx)
	}
	return finish(&env, "demo", err)
}

// demo is a running demo.
type demo struct {
	env   cli.Env
	files demoFiles
	once  bool

	site    *site
	gateway *gateway.Gateway
}

// run starts the site, then the gateway, walks through, waits, and stops them
// in the opposite order.
func (d *demo) run(ctx context.Context) error {
	log := newLogger(&d.env, config.Log{Level: "error"})
	if err := d.open(ctx, log); err != nil {
		return err
	}
	siteCtx, stopSite := context.WithCancel(context.WithoutCancel(ctx))
	gwCtx, stopGateway := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 3)
	var siteGroup, gwGroup sync.WaitGroup
	siteGroup.Go(func() { ended <- d.site.run(siteCtx) })
	gwGroup.Go(func() { ended <- d.gateway.Run(gwCtx) })
	gwGroup.Go(func() { d.visit(gwCtx) })

	err := d.walk(ctx)
	if err == nil && !d.once {
		d.whatNext()
		select {
		case <-ctx.Done():
		case err = <-ended:
			err = errors.Join(errors.New("a part of the demo ended by itself"), err)
		}
	}
	fmt.Fprintln(d.env.Stdout)
	stopGateway()
	gwGroup.Wait()
	stopSite()
	siteGroup.Wait()
	close(ended)
	for e := range ended {
		err = errors.Join(err, e)
	}
	if err == nil {
		fmt.Fprintf(d.env.Stdout, "The demo has ended. Its files are in %s\n", d.files.dir)
	}
	return err
}

// open makes the site, the files and the gateway.
func (d *demo) open(ctx context.Context, log *slog.Logger) error {
	addr, err := d.files.listenAddress()
	if err != nil {
		return err
	}
	d.site, err = openSite(ctx, siteOptions{
		dir: d.files.site(), domain: demoDomain, listen: []string{addr}, socket: d.files.socket("hub"), log: log,
	})
	if err != nil {
		if strings.Contains(err.Error(), "another daemon") {
			return fmt.Errorf("a demo is running already; try postern status --socket %s", d.files.socket("gateway"))
		}
		return err
	}
	if err := d.files.write(d.site, d.site.address()); err != nil {
		return errors.Join(err, d.site.close())
	}
	cfg, ps := config.Load(d.files.config(), gateway.Kinds())
	if err := ps.Err(); err != nil {
		return errors.Join(err, d.site.close())
	}
	d.gateway, err = gateway.New(ctx, gateway.Options{Config: cfg, Version: Version(), Logger: log})
	if err != nil {
		return errors.Join(err, d.site.close())
	}
	return nil
}

// visit opens and closes the simulated door until ctx is done.
func (d *demo) visit(ctx context.Context) {
	open := false
	for {
		if err := d.gateway.DriveLine(demoDoor, open); err != nil {
			return
		}
		wait := 9 * time.Second
		if open {
			wait = 4 * time.Second
		}
		select {
		case <-time.After(wait):
			open = !open
		case <-ctx.Done():
			return
		}
	}
}

// walk shows the site and does what an operator does, by the operator's
// commands.
func (d *demo) walk(ctx context.Context) error {
	out := d.env.Stdout
	fmt.Fprintf(out, "A site on this machine:\n\n")
	fmt.Fprintf(out, "  server    %s on %s, with an authority of its own\n", demoDomain, d.site.address())
	fmt.Fprintf(out, "  gateway   %s with %s\n", demoGateway, count(len(d.gateway.Status().Gateway.Nodes), "device"))
	fmt.Fprintf(out, "  operator  %s\n", demoOperator)
	fmt.Fprintf(out, "  files     %s\n\n", d.files.dir)
	begin := time.Now()
	if err := d.waitOnline(ctx); err != nil {
		return err
	}
	c := d.gateway.Status().Gateway.Connection
	fmt.Fprintf(out, "The gateway is online: %s, %s, encoding %s; after %d ms\n", c.TLS, c.Mechanism, c.Encoding, time.Since(begin).Milliseconds())
	steps := []struct {
		what string
		run  func(context.Context, cli.Env, []string) int
		args []string
	}{
		{"1. The operator reads all nodes", cli.Read, []string{"read", demoGateway}},
		{"2. switches the fan on", cli.Set, []string{"set", demoGateway, "fan", "state=true"}},
		{"3. and looks whether it is on", cli.Read, []string{"read", demoGateway, "--node", "fan"}},
	}
	for _, s := range steps {
		fmt.Fprintf(out, "\n%s:\n\n  $ %s\n", s.what, d.command(s.args...))
		if err := d.step(ctx, s.run, s.args[1:]); err != nil {
			return err
		}
	}
	return nil
}

// step runs one command of the operator with its output indented.
func (d *demo) step(ctx context.Context, run func(context.Context, cli.Env, []string) int, args []string) error {
	env := d.env
	out := &indented{w: d.env.Stdout, start: true}
	env.Stdout, env.Stderr, env.OutTerminal = out, out, nil
	code := run(ctx, env, append(args, "--account", d.files.account()))
	switch {
	case ctx.Err() != nil:
		return nil
	case code != cli.ExitOK:
		return fmt.Errorf("the walk-through failed: postern %s ended with exit code %d", strings.Join(args, " "), code)
	}
	return nil
}

func (d *demo) waitOnline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := d.gateway.WaitOnline(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the gateway does not get online: %s", d.gateway.Status().Gateway.Connection.Error)
		}
		return nil // Ctrl-C
	}
	return nil
}

// whatNext prints commands to copy.
func (d *demo) whatNext() {
	out := d.env.Stdout
	fmt.Fprintf(out, "\nNow you, in another terminal:\n\n")
	for _, args := range [][]string{
		{"watch", demoGateway},
		{"read", demoGateway, "--node", "climate", "--json"},
		{"set", demoGateway, "fan", "state=false"},
		{"set", demoGateway, "fan", "state=maybe"},
	} {
		fmt.Fprintf(out, "  %s\n", d.command(args...))
	}
	exe := quoteArg(program())
	fmt.Fprintf(out, "  %s status --socket %s\n", exe, quoteArg(d.files.socket("gateway")))
	fmt.Fprintf(out, "  %s hub list --socket %s\n", exe, quoteArg(d.files.socket("hub")))
	fmt.Fprintf(out, "  %s check %s\n", exe, quoteArg(d.files.config()))
	fmt.Fprintf(out, "\nCtrl-C ends the demo.\n")
}

// command is a command line of the operator.
func (d *demo) command(args ...string) string {
	parts := []string{quoteArg(program())}
	for _, a := range args {
		parts = append(parts, quoteArg(a))
	}
	return strings.Join(append(parts, "--account", quoteArg(d.files.account())), " ")
}

// program is how this program is called from anywhere: by its name where the
// search path leads to it, else by its path.
func program() string {
	exe, err := os.Executable()
	if err != nil {
		return "postern"
	}
	found, err := exec.LookPath("postern")
	if err != nil {
		return exe
	}
	if real, err := filepath.EvalSymlinks(found); err == nil && real == exe {
		return "postern"
	}
	return exe
}

// quoteArg quotes for a shell where that is needed.
func quoteArg(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@=,+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// setAccount makes an account or gives it a new password.
func (s *site) setAccount(name, password string) error {
	err := s.hub.AddUser(s.local(name), password)
	if errors.Is(err, hub.ErrExists) {
		err = s.hub.SetPassword(s.local(name), password)
	}
	return err
}

// indented indents lines.
type indented struct {
	w     io.Writer
	start bool // of a line
}

func (i *indented) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, c := range string(p) {
		if i.start && c != '\n' {
			b.WriteString("  ")
		}
		b.WriteRune(c)
		i.start = c == '\n'
	}
	if _, err := io.WriteString(i.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
