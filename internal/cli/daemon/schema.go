package daemon

import (
	"context"

	"postern/internal/cli"
	"postern/internal/config"
	"postern/internal/gateway"
)

const schemaHelp = `Usage: postern schema [--example | --hardware]

Prints the JSON Schema of gateway configurations, for editors that complete
and check while one types.

Options:
  --example    print a commented configuration to start from instead
  --hardware   print the table of supported hardware (Markdown) instead

Examples:
  postern schema > postern.schema.json
  postern schema --example > postern.yaml

An editor with a YAML language server uses the schema when the first line of
the configuration says:
  # yaml-language-server: $schema=postern.schema.json
`

// Schema is the command postern schema.
func Schema(_ context.Context, env cli.Env, args []string) int {
	f := newFlags("schema", schemaHelp)
	example := f.Bool("example", false, "")
	hardware := f.Bool("hardware", false, "")
	rest, err := f.parse(&env, args)
	switch {
	case err == nil && len(rest) > 0:
		err = usagef("there are no arguments")
	case err == nil && *example && *hardware:
		err = usagef("--example and --hardware are two things; choose one")
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
	default:
		if out, err = config.Schema(kinds); err != nil {
			return finish(&env, "schema", err)
		}
	}
	_, err = env.Stdout.Write(out)
	return finish(&env, "schema", err)
}
