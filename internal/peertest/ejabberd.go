package peertest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

//go:embed ejabberd.yml.tmpl
var ejabberdConfig string

type ejabberd struct {
	ports []int
	api   string
}

// command runs the Erlang emulator itself: ejabberdctl wants a user of its own
// and a port mapper that all nodes of the machine would share.
func (e *ejabberd) command(s *Server) (*exec.Cmd, error) {
	erl, err := lookPath("erl")
	if err != nil {
		return nil, err
	}
	libs, err := ejabberdLibs()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(erl, "-noinput", "+K", "true", "+P", "20000", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		"-kernel", "inet_dist_use_interface", "{127,0,0,1}",
		"-mnesia", "dir", `"`+filepath.Join(s.Dir, "db")+`"`, "-s", "ejabberd")
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "HOME="+s.Dir, "ERL_LIBS="+libs, "ERL_MAX_PORTS=4096", "ERL_CRASH_DUMP_BYTES=0",
		"EJABBERD_CONFIG_PATH="+filepath.Join(s.Dir, "ejabberd.yml"), "EJABBERD_LOG_PATH="+s.LogFile)
	return cmd, nil
}

var erlLibs = regexp.MustCompile(`(?m)^ERL_LIBS='?([^'\n]+)'?$`)

// ejabberdLibs asks the installed control script where the program lies: the
// place has the machine's architecture in it.
func ejabberdLibs() (string, error) {
	ctl, err := lookPath("ejabberdctl")
	if err != nil {
		return "", err
	}
	script, err := os.ReadFile(ctl)
	if err != nil {
		return "", err
	}
	m := erlLibs.FindSubmatch(script)
	if m == nil {
		return "", fmt.Errorf("peertest: %s does not set ERL_LIBS", ctl)
	}
	return string(m[1]), nil
}

func (e *ejabberd) configure(s *Server) (err error) {
	if e.ports, err = FreePorts(4); err != nil {
		return err
	}
	s.Addr = loopback(e.ports[0])
	s.DirectTLS = loopback(e.ports[1])
	if len(s.opt.Components) > 0 {
		s.Component = loopback(e.ports[3])
	}
	e.api = "http://" + loopback(e.ports[2]) + "/api/"
	if err := os.MkdirAll(filepath.Join(s.Dir, "db"), 0o700); err != nil {
		return fmt.Errorf("peertest: %w", err)
	}
	return writeTemplate(filepath.Join(s.Dir, "ejabberd.yml"), ejabberdConfig, map[string]any{
		"Dir": s.Dir, "Domain": s.Domain, "C2S": e.ports[0], "Direct": e.ports[1], "HTTP": e.ports[2],
		"TLS12": s.opt.TLS12, "Plain": s.opt.PlainAllowed, "Debug": s.opt.LogDebug,
		"Resume":   int(s.opt.ResumeTimeout.Seconds()),
		"Register": s.opt.Register, "Components": s.opt.Components, "ComponentPort": e.ports[3], "ComponentSecret": ComponentSecret,
	})
}

func (e *ejabberd) ready(s *Server) bool {
	if !open(s.Addr) || !open(s.DirectTLS) {
		return false
	}
	// The interface answers for this server's own domain only.
	return e.call("registered_users", map[string]any{"host": s.Domain}) == nil
}

func (e *ejabberd) populate(s *Server) error {
	for _, name := range Accounts {
		if err := e.addAccount(s, name, s.Password(name)); err != nil {
			return err
		}
	}
	return nil
}

func (e *ejabberd) addAccount(s *Server, name, password string) error {
	err := e.call("register", map[string]any{"user": name, "host": s.Domain, "password": password})
	if err != nil && strings.Contains(err.Error(), "409") { // it exists
		return e.call("change_password", map[string]any{"user": name, "host": s.Domain, "newpass": password})
	}
	return err
}

func (e *ejabberd) befriend(s *Server, a, b string) error {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		err := e.call("add_rosteritem", map[string]any{
			"localuser": pair[0], "localhost": s.Domain, "user": pair[1], "host": s.Domain,
			"nick": pair[1], "group": "", "subs": "both",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// call uses the administration interface, which listens on loopback only.
func (e *ejabberd) call(command string, args map[string]any) error {
	body, err := json.Marshal(args)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(e.api+command, "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("peertest: ejabberd %s: %w", command, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("peertest: ejabberd %s: %s: %s", command, resp.Status, text)
	}
	return nil
}
