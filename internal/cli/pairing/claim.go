package pairing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
	"postern/xmpp"
)

const claimHelp = `Usage: postern claim CODE|FILE|- [--private] [flags]

Makes a thing yours, by the code that postern pair shows on it or that stands
on its label: XEP-0347's form, or an iotdisco: URI. FILE holds the code, or is a
photo of the QR code (PNG or JPEG; not in the small build for gateways); "-"
reads the code from standard input, as a scanner types it.

  postern claim 'IoTDisco;SN:4711;MAN:example.org;KEY:K7DQ2M4ZB5XW'
  postern claim label.jpg --private

Quote the code: the shell would end the command at its first semicolon.

  --private          nobody finds the thing by searching the registry
  --node N           the node, where several things have the same tags;
  --source S         its data source
` + registryHelp

// Claim is the command postern claim.
func Claim(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("claim", claim(ctx, &env, args))
}

func claim(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	f := cli.NewFlags("claim", claimHelp)
	o.add(f)
	private := f.Bool("private", false, "")
	node := f.String("node", "", "")
	source := f.String("source", "", "")
	rest, err := f.Arguments(env, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return cli.Usagef("give one code, in quotes, or a file that holds it")
	}
	ref, err := parseNode(*node, *source)
	if err != nil {
		return err
	}
	code, err := readCode(env, rest[0])
	if err != nil {
		return err
	}
	d, err := o.open(ctx, env, provisioning.NSDiscovery, code.Registry)
	if err != nil {
		return err
	}
	defer d.op.Close()
	got, err := d.Claim(d.ctx, provisioning.Mine{Ref: ref, Private: *private, Tags: code.Tags})
	if err != nil {
		if errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
			return cli.Fail(cli.ExitFailure, "is it online, and is the label from after it was last given up? postern pair on it shows its code",
				fmt.Errorf("%s knows nothing with exactly these tags that could become yours", d.Addr))
		}
		return d.refused(err, "the thing")
	}
	name := what(got.JID.Bare().String(), got.Ref.String())
	return d.said(o.json, map[string]any{"thing": got.JID.Bare().String(), "node": got.Ref.ID, "source": got.Source,
		"private": got.Private, "registry": d.Addr.String()},
		"%s is yours.\n  postern read %s\n  postern rules add %s WHO read   lets somebody else read it", cli.Clean(name), got.JID.Bare(), got.JID.Bare())
}

// readCode gets the claim code that an argument is, or leads to.
func readCode(env *cli.Env, arg string) (provisioning.Code, error) {
	text, err := codeText(env, arg)
	if err != nil {
		return provisioning.Code{}, err
	}
	code, err := provisioning.ParseCode(strings.TrimSpace(text))
	if err != nil {
		return code, cli.Fail(cli.ExitUsage, "", err)
	}
	return code, nil
}

// maxFile bounds a file with a code or photo.
const maxFile = 32 << 20

func codeText(env *cli.Env, arg string) (string, error) {
	switch {
	case arg == "-":
		b, err := io.ReadAll(io.LimitReader(env.Stdin, 64<<10))
		return string(b), err
	case strings.EqualFold(arg, "IoTDisco"):
		return "", cli.Usagef("the code ends at its first semicolon: put it into quotes")
	case looksLikeCode(arg):
		return arg, nil
	}
	file, err := os.Open(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return "", cli.Usagef("%q is neither a claim code, which begins with IoTDisco; or iotdisco:, nor a file", arg)
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxFile:
		return "", cli.Fail(cli.ExitUsage, "make it smaller", fmt.Errorf("%s is larger than 32 MiB", arg))
	case looksLikeCode(string(bytes.TrimSpace(data[:min(len(data), 64)]))):
		return string(data), nil
	}
	text, err := decodeImage(data)
	if err != nil {
		return "", cli.Fail(cli.ExitFailure, "", fmt.Errorf("%s: %w", arg, err))
	}
	return text, nil
}

func looksLikeCode(s string) bool {
	return strings.HasPrefix(s, "IoTDisco;") || len(s) > 9 && strings.EqualFold(s[:9], "iotdisco:")
}

const disownHelp = `Usage: postern disown THING [--node N] [flags]

Gives a thing up: it forgets you, what you allowed to others ends, and it shows
a new claim code, so that somebody else can claim it. Labels that were printed
before are worth nothing then. The thing must be online to agree.

  postern disown gateway@site.example

  --node N, --source S    a node that was claimed by itself
` + registryHelp

// Disown is the command postern disown.
func Disown(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("disown", disown(ctx, &env, args))
}

// aboutThing parses the options of commands about one thing.
func aboutThing(env *cli.Env, f cli.Flags, o *options, args []string, most int) (rest []string, thing jid.JID, ref provisioning.Ref, err error) {
	o.add(f)
	node := f.String("node", "", "")
	source := f.String("source", "", "")
	if rest, err = f.Arguments(env, args); err != nil {
		return nil, thing, ref, err
	}
	if len(rest) == 0 || len(rest) > most {
		return nil, thing, ref, cli.Usagef("give the address of one thing, like gateway@site.example")
	}
	if thing, err = cli.ParseThing(rest[0]); err != nil {
		return nil, thing, ref, err
	}
	ref, err = parseNode(*node, *source)
	return rest, thing.Bare(), ref, err
}

func disown(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	_, thing, ref, err := aboutThing(env, cli.NewFlags("disown", disownHelp), &o, args, 1)
	if err != nil {
		return err
	}
	d, err := o.open(ctx, env, provisioning.NSDiscovery, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	name := what(thing.String(), ref.String())
	if err := d.Disown(d.ctx, thing, ref); err != nil {
		if errors.Is(err, &xmpp.Error{Condition: xmpp.NotAllowed}) {
			return cli.Fail(cli.ExitUnreachable, "it must be online to agree; if it is gone for good, its owner stays you, which harms nobody",
				fmt.Errorf("%s does not answer", cli.Clean(name)))
		}
		return d.refused(err, name)
	}
	return d.said(o.json, map[string]any{"thing": thing.String(), "node": ref.ID, "source": ref.Source, "disowned": true},
		"%s is nobody's now; postern pair on it shows its new code.", cli.Clean(name))
}

const transferHelp = `Usage: postern transfer THING NEWOWNER [--node N] [flags]
       postern transfer THING --accept | --withdraw

Hands a thing over: its owner offers it, the new owner accepts within 7 days.
What the former owner allowed to others ends then.

  postern transfer gateway@site.example operator@site.example
  postern transfer gateway@site.example --accept        as the new owner

  --accept           take a thing that is offered to you
  --withdraw         take an offer back
  --node N, --source S    a node that was claimed by itself
` + registryHelp

// Transfer is the command postern transfer.
func Transfer(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("transfer", transfer(ctx, &env, args))
}

func transfer(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	f := cli.NewFlags("transfer", transferHelp)
	accept := f.Bool("accept", false, "")
	withdraw := f.Bool("withdraw", false, "")
	rest, thing, ref, err := aboutThing(env, f, &o, args, 2)
	if err != nil {
		return err
	}
	var to jid.JID
	switch {
	case *accept && *withdraw:
		return cli.Usagef("--accept and --withdraw exclude each other")
	case (*accept || *withdraw) == (len(rest) == 2):
		return cli.Usagef("name the new owner, or say --accept or --withdraw")
	case len(rest) == 2:
		if to, err = xmpp.ParseJID(rest[1]); err != nil || to.Localpart() == "" {
			return cli.Usagef("%q is not the address of an account", rest[1])
		}
	}
	d, err := o.open(ctx, env, provisioning.NSOwner, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	name := what(thing.String(), ref.String())
	doc := map[string]any{"thing": thing.String(), "node": ref.ID, "source": ref.Source}
	if *accept {
		if err := d.Accept(d.ctx, thing, ref); err != nil {
			if errors.Is(err, &xmpp.Error{Condition: xmpp.ItemNotFound}) {
				return cli.Fail(cli.ExitFailure, "an offer stands for 7 days; ask for a new one", fmt.Errorf("%s is not offered to you", cli.Clean(name)))
			}
			return d.refused(err, name)
		}
		doc["owner"] = d.op.Own().String()
		return d.said(o.json, doc, "%s is yours.", cli.Clean(name))
	}
	if err := d.Offer(d.ctx, thing, ref, to.Bare()); err != nil {
		return d.refused(err, name)
	}
	if *withdraw {
		doc["offered"] = nil
		return d.said(o.json, doc, "%s is no longer offered.", cli.Clean(name))
	}
	doc["offered"] = to.Bare().String()
	return d.said(o.json, doc, "%s is offered to %s, who takes it with: postern transfer %s --accept", cli.Clean(name), to.Bare(), thing)
}
