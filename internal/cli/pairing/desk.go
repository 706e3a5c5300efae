package pairing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
	"postern/xmpp"
)

// registryHelp describes what all operator's commands of this package take.
const registryHelp = `  --registry JID     address of the thing registry (default: $POSTERN_REGISTRY,
                     else the code's, else what the account's server has)
  --json             one JSON document instead of text
` + cli.CommonHelp

// options are what all of them take.
type options struct {
	cli.Common
	registry string
	json     bool
}

func (o *options) add(f cli.Flags) {
	o.Add(f)
	f.StringVar(&o.registry, "registry", "", "")
	f.BoolVar(&o.json, "json", false, "")
}

// desk is an operator at a registry's desk.
type desk struct {
	provisioning.Registry
	env *cli.Env
	op  *cli.Operator
	ctx context.Context
}

// open logs in and finds the service with a feature. hint is an address that
// counts where nobody gave another.
func (o *options) open(ctx context.Context, env *cli.Env, feature string, hint jid.JID) (*desk, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	given := o.registry
	if given == "" {
		given = env.Getenv("POSTERN_REGISTRY")
	}
	addr := hint
	if given != "" {
		var err error
		if addr, err = xmpp.ParseJID(given); err != nil {
			return nil, cli.Usagef("--registry: %q is no address: %v", given, err)
		}
	}
	op, err := env.Operate(ctx, o.Common)
	if err != nil {
		return nil, err
	}
	d := &desk{env: env, op: op, ctx: op.Alive()}
	if addr.String() == "" {
		if addr, err = provisioning.Find(d.ctx, op, op.Own(), feature, provisioning.Places{}); err != nil {
			defer op.Close()
			if d.ctx.Err() != nil {
				return nil, op.Refusal(op.Own().Domain(), d.ctx.Err())
			}
			return nil, cli.Fail(cli.ExitUnreachable, "name it with --registry, or ask whoever runs the server; postern registry is one",
				fmt.Errorf("the server of %s has no %s", op.Own(), serviceName(feature)))
		}
	}
	d.Registry = provisioning.Registry{Session: op, Addr: addr}
	return d, nil
}

func serviceName(feature string) string {
	if feature == provisioning.NSOwner {
		return "service that owners can ask (" + feature + ")"
	}
	return "thing registry"
}

// refused words what the registry answered. about is what was asked about.
func (d *desk) refused(err error, about string) error {
	var e *xmpp.Error
	if !errors.As(err, &e) {
		return d.op.Refusal(d.Addr, err)
	}
	fail := func(code int, text, hint string) error { return cli.Fail(code, hint, errors.New(text)) }
	switch e.Condition {
	case xmpp.ItemNotFound:
		return fail(cli.ExitFailure, about+" is unknown to "+d.Addr.String()+", or not yours", "postern things lists what is yours")
	case xmpp.ResourceConstraint:
		return fail(cli.ExitFailure, d.Addr.String()+": "+words(e), "the registry bounds how often it is asked; try again later")
	case xmpp.BadRequest:
		return fail(cli.ExitFailure, d.Addr.String()+": "+words(e), "")
	case xmpp.ServiceUnavailable, xmpp.FeatureNotImplemented:
		return fail(cli.ExitUnreachable, d.Addr.String()+" does not offer this", "is it running, and is it Postern's? --registry names another")
	}
	return d.op.Refusal(d.Addr, err)
}

func words(e *xmpp.Error) string {
	if e.Text != "" {
		return e.Text
	}
	return "the answer is " + string(e.Condition)
}

// when shows a time of a list.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// jsonTime is a time for programs.
func jsonTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// said prints the outcome: a sentence, or a document for programs.
func (d *desk) said(asJSON bool, doc map[string]any, format string, args ...any) error {
	if asJSON {
		doc["version"] = 1
		return cli.WriteJSON(d.env.Stdout, doc)
	}
	_, err := fmt.Fprintf(d.env.Stdout, format+"\n", args...)
	return err
}

// parseNode reads --node and --source.
func parseNode(id, source string) (provisioning.Ref, error) {
	if id == "" && source != "" {
		return provisioning.Ref{}, cli.Usagef("--source needs --node")
	}
	return provisioning.Ref{ID: id, Source: source}, nil
}
