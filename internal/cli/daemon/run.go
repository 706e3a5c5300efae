package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/systemd"
)

const runHelp = `Usage: postern run [--config FILE] [options]

Runs the gateway: reads the devices of the configuration and offers them as
XMPP nodes. It logs to standard error and ends on SIGTERM or Ctrl-C, outputs
in their safe states, within a second. SIGHUP reads the configuration again
and applies what changed; a file with problems is reported and changes nothing.

Options:
  --config FILE   configuration ($POSTERN_CONFIG, else /etc/postern/postern.yaml)
  --simulate      simulate all hardware that can be simulated
  --socket PATH   local door for postern status, instead of the configured one

Exit codes: 0 ended as asked, 1 failure, 2 usage, 78 configuration.

Examples:
  postern check postern.yaml && postern run --config postern.yaml
  postern run --config postern.yaml --simulate     without the hardware
`

// defaultConfig is where the configuration is when nothing is said.
const defaultConfig = "/etc/postern/postern.yaml"

// Run is the command postern run.
func Run(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("run", runHelp)
	file := f.String("config", "", "")
	simulate := f.Bool("simulate", false, "")
	socket := f.String("socket", "", "")
	rest, err := f.parse(&env, args)
	switch {
	case err == nil && len(rest) == 1 && *file == "":
		*file = rest[0] // postern run postern.yaml is understood too
	case err == nil && len(rest) > 0:
		err = usagef("one file is wanted: postern run --config FILE")
	}
	if err != nil {
		return finish(&env, "run", err)
	}
	if *file == "" {
		if *file = env.Getenv("POSTERN_CONFIG"); *file == "" {
			*file = defaultConfig
		}
	}
	load := func() (*config.Config, error) {
		cfg, ps := config.Load(*file, gateway.Kinds())
		if err := ps.Err(); err != nil {
			return nil, err
		}
		cfg.Simulate = cfg.Simulate || *simulate
		return cfg, nil
	}
	cfg, err := load()
	if err != nil {
		var ps config.Problems
		if errors.As(err, &ps) {
			fmt.Fprintf(env.Stderr, "%s\n", printable2(ps.Error()))
			if err = fmt.Errorf("%w: %s in %s", errConfig, count(len(ps), "problem"), *file); ps[0].Line > 0 {
				err = fmt.Errorf("%w; postern check shows the lines", err)
			}
		}
		return finish(&env, "run", err)
	}
	return finish(&env, "run", runGateway(ctx, &env, cfg, load, *socket))
}

// printable2 is printable for several lines.
func printable2(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func runGateway(ctx context.Context, env *cli.Env, cfg *config.Config, load func() (*config.Config, error), socket string) error {
	log := newLogger(env, cfg.Log)
	limit := gateway.LimitMemory(len(cfg.Nodes))
	manager := systemd.New(env.Getenv)
	g, err := gateway.New(ctx, gateway.Options{
		Config: cfg, Version: Version(), Logger: log, Socket: socket,
		Manager: manager, Inherited: systemd.Inherited(env.Getenv, os.Unsetenv),
	})
	if err != nil {
		return err
	}
	log.Info("starting", "version", Version(), "config", cfg.File, "nodes", len(cfg.Nodes), "memory_limit", fmt.Sprintf("%d MiB", limit>>20))
	ctx, cancel := context.WithCancel(ctx)
	var now atomic.Pointer[gateway.Gateway]
	now.Store(g)
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hups:
				_ = manager.Reloading() // logged by attend if it is not there at all
				reload(ctx, now.Load(), load, log)
				_ = manager.Ready()
			case <-ctx.Done():
				return
			}
		}
	}()
	leave := attend(ctx, env, log, func() error { return now.Load().Alive() })
	err = g.Run(ctx)
	for errors.Is(err, gateway.ErrDecommissioned) && ctx.Err() == nil {
		if g, err = renew(ctx, load, socket, manager, log); err == nil {
			now.Store(g)
			err = g.Run(ctx)
		}
	}
	leave()
	cancel()
	<-done
	signal.Stop(hups)
	log.Info("ended")
	return err
}

func reload(ctx context.Context, g *gateway.Gateway, load func() (*config.Config, error), log *slog.Logger) {
	cfg, err := load()
	if err != nil {
		log.Error("the changed configuration is not used", "err", err)
		return
	}
	if err := g.Reload(ctx, cfg); err != nil {
		log.Error("the changed configuration is not used", "err", err)
	}
}
