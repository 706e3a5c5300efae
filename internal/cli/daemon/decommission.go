package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/local"
	"postern/internal/store"
	"postern/internal/systemd"
)

const decommissionHelp = `Usage: postern decommission [--yes] [--force] [options]

Makes the gateway on this machine a new one, before it goes to somebody else:
the registry forgets it, its account forgets its contacts, and its state file is
built anew without claim, tokens, keys, history, audit trail and schedules. It
comes back unclaimed, with a new claim code. Outputs go into their safe states
meanwhile.

Configuration, password file and certificates are not touched; what to do about
them is said at the end.

Options:
  --yes           do not ask
  --force         go on although the registry cannot be told; it then knows the
                  gateway as its owner's, and gives it back to them
  --config FILE   configuration, to do it while no gateway runs; implies that
                  nobody is told
  --socket PATH   the local door of the gateway (default: that of postern run)
  --json          what was removed, for programs

Exit codes: 0 done, 1 failure, 2 usage, 3 no gateway runs, 4 not permitted,
78 configuration.

Examples:
  postern decommission
  systemctl stop postern && postern decommission --config /etc/postern/postern.yaml
`

// decommissionFlags are the options of postern decommission.
type decommissionFlags struct {
	yes, force, asJSON bool
	config, socket     string
}

// Decommission is the command postern decommission.
func Decommission(ctx context.Context, env cli.Env, args []string) int {
	var o decommissionFlags
	f := newFlags("decommission", decommissionHelp)
	f.BoolVar(&o.yes, "yes", false, "")
	f.BoolVar(&o.force, "force", false, "")
	f.BoolVar(&o.asJSON, "json", false, "")
	f.StringVar(&o.config, "config", "", "")
	f.StringVar(&o.socket, "socket", "", "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) > 0 {
		err = usagef("there are no arguments")
	}
	if err == nil && !o.yes {
		switch yes, asked := env.Ask("This removes the gateway's state, its owner's rights and its history for good. Go on?"); {
		case !asked:
			err = usagef("there is no terminal to ask on; say --yes")
		case !yes:
			err = errors.New("nothing was removed")
		}
	}
	if err == nil && o.config != "" {
		err = o.offline(ctx, &env)
	} else if err == nil {
		err = o.running(ctx, &env)
	}
	return finish(&env, "decommission", err)
}

// newTime is how long the gateway may take to come back.
const newTime = 30 * time.Second

// running asks the gateway that runs, and waits until it is a new one.
func (o *decommissionFlags) running(ctx context.Context, env *cli.Env) error {
	paths := sockets(o.socket, "postern")
	for _, p := range paths {
		c := local.NewClient(p)
		before, err := c.Status(ctx)
		if errors.Is(err, local.ErrNobody) {
			continue
		}
		if err != nil {
			return err
		}
		d, err := c.Decommission(ctx, local.DecommissionRequest{Force: o.force})
		if err != nil {
			if !o.force && !errors.Is(err, local.ErrDenied) {
				err = fmt.Errorf("%w\n  mend that and try again, or go on without telling anybody: --force", err)
			}
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, newTime)
		defer cancel()
		if err := awaitNew(ctx, c, before.Started); err != nil {
			return err
		}
		// What was written while it ended was removed, too.
		if held, err := c.Former(ctx); err == nil {
			d.Held = held
		}
		return o.report(env, d)
	}
	return fmt.Errorf("%w; or name its configuration: postern decommission --config FILE", nobody(paths))
}

// awaitNew waits until the gateway has started again.
func awaitNew(ctx context.Context, c *local.Client, before time.Time) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, err := c.Status(ctx); err == nil && s.Started.After(before) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the gateway does not come back; its log says why")
		}
	}
}

// offline rebuilds the store of a gateway that does not run.
func (o *decommissionFlags) offline(ctx context.Context, env *cli.Env) error {
	cfg, ps := config.Load(o.config, gateway.Kinds())
	if err := ps.Err(); err != nil {
		return err
	}
	path, err := gateway.StorePath(cfg)
	if err != nil {
		return err
	}
	held, _, err := store.Rebuild(path)
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("a gateway is running: leave --config out, or stop it first (%w)", err)
	}
	if err != nil {
		return err
	}
	d := local.Decommissioned{Store: path, Held: []local.Held{}, Owners: []string{}, Friends: []string{},
		Error: "no gateway was running, so the registry was not told; if the gateway had an owner, it is still theirs there, and comes back to them"}
	d.Held = append(d.Held, heldOf(held)...)
	return o.report(env, d)
}

func heldOf(parts []store.Part) (out []local.Held) {
	for _, p := range parts {
		out = append(out, local.Held{Name: p.Name, Entries: p.Keys})
	}
	return out
}

// heldWords say what parts of the state are; their names begin so.
var heldWords = [...][2]string{
	{"provisioning.claim", "whose it was, or its claim code"},
	{"provisioning.trusted", "the registry and provisioning server it trusted"},
	{"provisioning.cache", "permissions it remembered"},
	{"provisioning.", "tokens and their key"},
	{"accounts", "its account"},
	{"schedules", "schedules of outputs"},
	{"audit", "audit trail of commands"},
	{"computed", "totals of meters"},
	{"history", "history of readings"},
	{"outbox", "messages that waited"},
	{"exi", "what was agreed with the server about EXI"},
}

func heldWord(name string) string {
	for _, w := range heldWords {
		if strings.HasPrefix(name, w[0]) {
			return w[1]
		}
	}
	return ""
}

func (o *decommissionFlags) report(env *cli.Env, d local.Decommissioned) error {
	if o.asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Removed from %s:\n", d.Store)
	t := [][]string{{"PART", "ENTRIES", "WHAT"}}
	for _, h := range d.Held {
		t = append(t, []string{h.Name, fmt.Sprint(h.Entries), heldWord(h.Name)})
	}
	table(&b, t, 1)
	for _, j := range d.Owners {
		fmt.Fprintf(&b, "It no longer belongs to %s.\n", printable(j))
	}
	if d.Registry != "" {
		fmt.Fprintf(&b, "The registry %s has forgotten it.\n", printable(d.Registry))
	}
	for _, j := range d.Friends {
		fmt.Fprintf(&b, "Its account is no longer a contact of %s.\n", printable(j))
	}
	if d.Error != "" {
		fmt.Fprintf(&b, "! %s.\n", printable(d.Error))
	}
	b.WriteString(`
The old file was overwritten. Flash memory may keep old blocks all the same,
where only the raw chip shows them, unless the disk is encrypted.
Not touched: the configuration, the password or certificate of its account, and
owners and rights that the configuration names. Give the account a new password
before the gateway goes to somebody you do not trust.
It is a new gateway now: postern pair shows its claim code.
`)
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

// renew empties the state of a gateway that was decommissioned and starts it
// as a new one.
func renew(ctx context.Context, load func() (*config.Config, error), socket string, manager *systemd.Notifier, log *slog.Logger) (*gateway.Gateway, error) {
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	path, err := gateway.StorePath(cfg)
	if err != nil {
		return nil, err
	}
	held, aside, err := store.Rebuild(path)
	if err != nil {
		return nil, err
	}
	log.Warn("the state was removed", "file", path, "parts", len(held), "aside", aside) // which they were, the gateway said
	return gateway.New(ctx, gateway.Options{Config: cfg, Version: Version(), Logger: log, Socket: socket, Manager: manager, Former: heldOf(held)})
}
