package daemon

import (
	"context"
	"log/slog"
	"sync"

	"postern/internal/cli"
	"postern/internal/systemd"
)

// attend tells the service manager that the daemon has started, feeds its
// watchdog as long as alive returns nil (nil: as long as the process runs),
// and tells it when ctx ends. The daemon calls leave last. Without a manager
// nothing happens.
func attend(ctx context.Context, env *cli.Env, log *slog.Logger, alive func() error) (leave func()) {
	m := systemd.New(env.Getenv)
	tell := func(what string, send func() error) {
		if err := send(); err != nil {
			log.Warn("the service manager does not hear this daemon", "message", what, "err", err)
		}
	}
	tell("ready", m.Ready)
	unhook := context.AfterFunc(ctx, func() { tell("stopping", m.Stopping) })
	// The watchdog is fed until the very end: stopping may hang too.
	last, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		m.KeepAlive(last, alive, func(err error) {
			log.Error("the service manager's watchdog is not fed; it will restart this daemon if that lasts", "err", err)
		})
	})
	return func() {
		if unhook() {
			tell("stopping", m.Stopping) // ended by itself
		}
		end()
		wg.Wait()
	}
}
