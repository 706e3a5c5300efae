package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"postern/internal/cli"
)

const versionHelp = `Usage: postern version [--json]

Prints the version, the commit it was built from, and the Go version.
`

// release is the version of the source; a build from a commit adds which.
const release = "0.1.0"

// Version returns the version of this binary: 0.1.0+1a2b3c4d5e6f, with -dirty
// when the source was changed.
func Version() string {
	v := release
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	commit, dirty := "", false
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if commit != "" {
		v += "+" + commit
		if dirty {
			v += "-dirty"
		}
	}
	return v
}

// ShowVersion is the command postern version.
func ShowVersion(_ context.Context, env cli.Env, args []string) int {
	f := newFlags("version", versionHelp)
	asJSON := f.Bool("json", false, "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) > 0 {
		err = usagef("there are no arguments")
	}
	if err != nil {
		return finish(&env, "version", err)
	}
	if *asJSON {
		err = json.NewEncoder(env.Stdout).Encode(map[string]string{
			"version": Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
		return finish(&env, "version", err)
	}
	_, err = fmt.Fprintf(env.Stdout, "postern %s (%s, %s/%s)\n", Version(), strings.Replace(runtime.Version(), "go", "Go ", 1), runtime.GOOS, runtime.GOARCH)
	return finish(&env, "version", err)
}
