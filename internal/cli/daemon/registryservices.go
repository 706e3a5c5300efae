package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"postern/internal/cli"
	"postern/internal/local"
)

// maxServiceFile bounds the file of one service: the local door takes no more.
const maxServiceFile = 64 << 10

// services lists, adds or removes the programs that ask about their users.
func (o *registryOptions) services(ctx context.Context, env *cli.Env, args []string) error {
	verb := "list"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch {
	case verb == "list" && len(args) == 0:
		return o.ask(func(c *local.Client) error {
			list, err := c.Services(ctx)
			if err == nil {
				err = writeJSON(env.Stdout, list)
			}
			return err
		})
	case verb == "remove" && len(args) == 1:
		return o.ask(func(c *local.Client) error { return c.RemoveService(ctx, args[0]) })
	case verb == "put" && len(args) == 1:
	default:
		return usagef("write postern registry services, services put FILE, or services remove NAME")
	}
	in := env.Stdin
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxServiceFile+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxServiceFile:
		return fmt.Errorf("the service is larger than %d octets", maxServiceFile)
	case !json.Valid(text):
		return errors.New("the service is not written in JSON; docs/provisioning.md shows one")
	}
	return o.ask(func(c *local.Client) error {
		made, err := c.PutService(ctx, text)
		if err == nil {
			err = writeJSON(env.Stdout, made)
		}
		return err
	})
}

func writeJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// ask runs f with the running registry, or hub with one inside.
func (o *registryOptions) ask(f func(*local.Client) error) error {
	paths := sockets(o.socket, "postern-registry", "postern-hub")
	var denied error
	for _, p := range paths {
		err := f(local.NewClient(p))
		switch {
		case errors.Is(err, local.ErrDenied):
			denied = err
		case !errors.Is(err, local.ErrNobody):
			return err
		}
	}
	if denied != nil {
		return denied
	}
	return nobody(paths)
}
