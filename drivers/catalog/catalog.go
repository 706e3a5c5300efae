// Package catalog holds the descriptions of instruments that come with Postern:
// one YAML file for each model, which names its channels and the document that
// they were read from. What a description may say is in internal/gateway.
package catalog

import (
	"embed"
	"path"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the models, sorted.
func Names() []string {
	entries, _ := files.ReadDir(".") // embedded: it cannot fail
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

// Read returns the description of a model; ok is false when there is none of
// that name.
func Read(name string) (data []byte, ok bool) {
	data, err := files.ReadFile(path.Base(name) + ".yaml")
	return data, err == nil
}
