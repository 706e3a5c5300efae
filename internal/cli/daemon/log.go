package daemon

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"postern/internal/cli"
	"postern/internal/config"
)

// newLogger writes to standard error. Under systemd, which stamps the lines
// itself, they begin with the priority instead of the time.
func newLogger(env *cli.Env, c config.Log) *slog.Logger {
	opts := &slog.HandlerOptions{}
	switch c.Level {
	case "debug":
		opts.Level = slog.LevelDebug
	case "warn":
		opts.Level = slog.LevelWarn
	case "error":
		opts.Level = slog.LevelError
	}
	journal := env.Getenv("JOURNAL_STREAM") != ""
	if journal {
		opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		}
	}
	w := &prefixed{w: env.Stderr}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if c.Format == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	if journal {
		h = &prioritised{h, w}
	}
	return slog.New(h)
}

// prefixed writes lines with a prefix.
type prefixed struct {
	mu     sync.Mutex // held by prioritised from setting prefix to the end of the line
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.prefix == "" {
		return p.w.Write(b)
	}
	if _, err := p.w.Write(append([]byte(p.prefix), b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// prioritised puts the syslog priority in front of each line (sd-daemon(3)).
type prioritised struct {
	slog.Handler
	w *prefixed
}

// Handle implements slog.Handler.
func (p *prioritised) Handle(ctx context.Context, r slog.Record) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	switch {
	case r.Level >= slog.LevelError:
		p.w.prefix = "<3>"
	case r.Level >= slog.LevelWarn:
		p.w.prefix = "<4>"
	case r.Level >= slog.LevelInfo:
		p.w.prefix = "<6>"
	default:
		p.w.prefix = "<7>"
	}
	return p.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (p *prioritised) WithAttrs(as []slog.Attr) slog.Handler {
	return &prioritised{p.Handler.WithAttrs(as), p.w}
}

// WithGroup implements slog.Handler.
func (p *prioritised) WithGroup(name string) slog.Handler {
	return &prioritised{p.Handler.WithGroup(name), p.w}
}
