// Command generate makes man pages and shell completions out of what the
// commands say about themselves: it runs the binary's help and nothing else, so
// that there is one text to keep.
//
//	go run ./board/packaging/generate bin/postern dist/share
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: generate BINARY DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1)
	}
}

func run(binary, dir string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	ask := func(args ...string) (string, error) {
		out, err := exec.Command(binary, args...).Output()
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", binary, strings.Join(args, " "), err)
		}
		return string(out), nil
	}
	cmds, err := commands(ask)
	if err != nil {
		return err
	}
	version, err := ask("version")
	if err != nil {
		return err
	}
	files := map[string]string{
		"bash-completion/completions/postern":    bash(cmds),
		"zsh/vendor-completions/_postern":        zsh(cmds),
		"fish/vendor_completions.d/postern.fish": fish(cmds),
		filepath.Join("man/man1", "postern.1"):   overview(cmds, release(version), date()),
	}
	for _, c := range cmds {
		files["man/man1/postern-"+c.name+".1"] = page(c, release(version), date())
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// release cuts "postern 0.1.0+commit (Go …)" down to 0.1.0.
func release(version string) string {
	f := strings.Fields(version)
	if len(f) < 2 {
		return ""
	}
	v, _, _ := strings.Cut(f[1], "+")
	return v
}

// date is that of the sources where it is given, so that two builds are alike.
func date() string {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		var sec int64
		if _, err := fmt.Sscan(s, &sec); err == nil {
			return time.Unix(sec, 0).UTC().Format(time.DateOnly)
		}
	}
	return time.Now().UTC().Format(time.DateOnly)
}
