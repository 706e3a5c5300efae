package daemon

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
)

const schemaHelp = `Usage: postern schema [--example | --hardware | --models | --model NAME]

Prints the JSON Schema of gateway configurations, for editors that complete
and check while one types.

Options:
  --example    print a commented configuration to start from instead
  --hardware   print the table of supported hardware (Markdown) instead
  --models     list the models that a node can name, and the document that
               each was read from, instead
  --model NAME print the description of one, to start an own one from, with
               the requests that it is read with, instead

Examples:
  postern schema > postern.schema.json
  postern schema --example > postern.yaml
  postern schema --model eastron-sdm72d-m > models/my-meter.yaml

An editor with a YAML language server uses the schema when the first line of
the configuration says:
  # yaml-language-server: $schema=postern.schema.json
`

// Schema is the command postern schema.
func Schema(_ context.Context, env cli.Env, args []string) int {
	f := newFlags("schema", schemaHelp)
	example := f.Bool("example", false, "")
	hardware := f.Bool("hardware", false, "")
	models := f.Bool("models", false, "")
	model := f.String("model", "", "")
	rest, err := f.parse(&env, args)
	switch {
	case err == nil && len(rest) > 0:
		err = usagef("there are no arguments")
	case err == nil && atMostOne(*example, *hardware, *models, *model != "") != nil:
		err = atMostOne(*example, *hardware, *models, *model != "")
	}
	if err != nil {
		return finish(&env, "schema", err)
	}
	var out []byte
	switch kinds := gateway.Kinds(); {
	case *example:
		out = config.Example(kinds)
	case *hardware:
		out = config.Hardware(kinds)
	case *models:
		out = listModels(kinds.Models())
	case *model != "":
		if out, err = gateway.Model(*model); err != nil {
			return finish(&env, "schema", err)
		}
	default:
		if out, err = config.Schema(kinds); err != nil {
			return finish(&env, "schema", err)
		}
	}
	_, err = env.Stdout.Write(out)
	return finish(&env, "schema", err)
}

// atMostOne refuses two options that each print something else.
func atMostOne(options ...bool) error {
	n := 0
	for _, o := range options {
		if o {
			n++
		}
	}
	if n > 1 {
		return usagef("--example, --hardware, --models and --model each print one thing; choose one")
	}
	return nil
}

func listModels(models []config.Model) []byte {
	var b []byte
	for _, m := range models {
		b = fmt.Appendf(b, "%s (kind %s): %s %s\n", m.Name, m.Kind, m.Vendor, m.Device)
		if m.Factory != "" {
			b = fmt.Appendf(b, "    from the factory: %s\n", m.Factory)
		}
		var names []string
		for _, c := range m.Channels {
			names = append(names, c.Name)
		}
		b = fmt.Appendf(b, "    channels: %s\n    source: %s\n", strings.Join(names, ", "), m.Source)
	}
	return b
}
