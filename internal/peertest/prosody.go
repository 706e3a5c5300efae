package peertest

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

//go:embed prosody.cfg.lua.tmpl
var prosodyConfig string

type prosody struct {
	ports   []int
	friends map[string][]string // rosters, by account
}

func (p *prosody) command(s *Server) (*exec.Cmd, error) {
	path, err := lookPath("prosody")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-F", "--config", filepath.Join(s.Dir, "prosody.cfg.lua"))
	cmd.Dir = s.Dir
	return cmd, nil
}

func (p *prosody) configure(s *Server) (err error) {
	if p.ports, err = FreePorts(3); err != nil {
		return err
	}
	s.Addr = loopback(p.ports[0])
	s.DirectTLS = loopback(p.ports[1])
	if len(s.opt.Components) > 0 {
		s.Component = loopback(p.ports[2])
	}
	return writeTemplate(filepath.Join(s.Dir, "prosody.cfg.lua"), prosodyConfig, map[string]any{
		"Dir": s.Dir, "Domain": s.Domain, "C2S": p.ports[0], "Direct": p.ports[1], "Log": s.LogFile,
		"TLS12": s.opt.TLS12, "Plain": s.opt.PlainAllowed, "Auth": s.authentication(), "Debug": s.opt.LogDebug, "ClientCerts": s.opt.ClientCerts,
		"Resume":   int(s.opt.ResumeTimeout.Seconds()),
		"Register": s.opt.Register, "Components": s.opt.Components, "ComponentPort": p.ports[2], "ComponentSecret": ComponentSecret,
	})
}

// clientCertModule is where Debian puts the module for Options.ClientCerts.
const clientCertModule = "/usr/lib/prosody/modules/mod_auth_ccert/mod_auth_ccert.lua"

// authentication names the module that checks logins.
func (s *Server) authentication() string {
	switch {
	case s.opt.ClientCerts:
		return "ccert"
	case s.opt.HashedStore:
		return "internal_hashed"
	}
	return "internal_plain"
}

func (p *prosody) ready(s *Server) bool {
	// The log tells that the ports are this process's own.
	log, err := os.ReadFile(s.LogFile)
	if err != nil {
		return false
	}
	for _, service := range []string{"'c2s'", "'c2s_direct_tls'"} {
		if !strings.Contains(string(log), "Activated service "+service) {
			return false
		}
	}
	return open(s.Addr) && open(s.DirectTLS)
}

// populate writes the accounts into the file store, which Prosody reads when
// somebody logs in: its tool takes half a second for each.
func (p *prosody) populate(s *Server) error {
	for _, name := range Accounts {
		if err := p.addAccount(s, name, s.Password(name)); err != nil {
			return err
		}
	}
	return nil
}

func (p *prosody) addAccount(s *Server, name, password string) error {
	if s.opt.HashedStore {
		return p.register(s, name, password)
	}
	return p.store(s, "accounts", name, fmt.Sprintf("return { [\"password\"] = %s; };\n", strconv.Quote(password)))
}

// register uses Prosody's own tool, which knows how to hash.
func (p *prosody) register(s *Server, name, password string) error {
	path, err := lookPath("prosodyctl")
	if err != nil {
		return err
	}
	out, err := exec.Command(path, "--config", filepath.Join(s.Dir, "prosody.cfg.lua"), "register", name, s.Domain, password).CombinedOutput()
	if err != nil {
		return fmt.Errorf("peertest: prosodyctl register %s: %w: %s", name, err, out)
	}
	return nil
}

func (p *prosody) befriend(s *Server, a, b string) error {
	if p.friends == nil {
		p.friends = map[string][]string{}
	}
	p.friends[a] = append(p.friends[a], b)
	p.friends[b] = append(p.friends[b], a)
	for _, user := range []string{a, b} {
		var items strings.Builder
		items.WriteString("return {\n[false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n")
		for _, friend := range p.friends[user] {
			fmt.Fprintf(&items, "[%s] = { [\"subscription\"] = \"both\"; [\"groups\"] = {}; };\n", strconv.Quote(s.JID(friend)))
		}
		items.WriteString("};\n")
		if err := p.store(s, "roster", user, items.String()); err != nil {
			return err
		}
	}
	return nil
}

func (p *prosody) store(s *Server, store, user, content string) error {
	dir := filepath.Join(s.Dir, "data", strings.ReplaceAll(s.Domain, ".", "%2e"), store)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("peertest: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, user+".dat"), []byte(content), 0o600)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func writeTemplate(path, text string, data map[string]any) error {
	t, err := template.New(filepath.Base(path)).Option("missingkey=error").Parse(text)
	if err != nil {
		return fmt.Errorf("peertest: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("peertest: %w", err)
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
