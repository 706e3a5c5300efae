// Generate writes what is derived from the table of kinds into the folder given
// as argument: the example configuration, its JSON Schema, and the table of
// supported hardware.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/gateway"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name the folder")
	}
	kinds := gateway.Kinds()
	schema, err := config.Schema(kinds)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"example.yaml":        config.Example(kinds),
		"postern.schema.json": schema,
		"hardware.md":         config.Hardware(kinds),
	} {
		if err := os.WriteFile(filepath.Join(args[0], name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
