package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"postern/internal/local"
	"postern/internal/peertest"
)

// front is a running postern terminator.
type front struct {
	t         *testing.T
	args      []string
	addr, exi string // the ordinary port and the dedicated one
	cmd       *exec.Cmd
	log       *logBuffer
}

func startFront(t *testing.T, s *peertest.Server, more ...string) *front {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := s.CA.Issue(peertest.Leaf{Names: []string{s.Domain}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ports, err := peertest.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), exi: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	f.args = []string{
		"terminator", "--domain", s.Domain, "--server", s.Addr, "--listen", f.addr, "--listen-exi", f.exi,
		"--cert", filepath.Join(dir, "cert"), "--key", filepath.Join(dir, "key"), "--state", dir,
	}
	if s.Name != "ejabberd" { // whose link may be plain on loopback
		f.args = append(f.args, "--link", "starttls", "--ca", s.CAFile)
	}
	f.args = append(f.args, more...)
	f.start()
	t.Cleanup(func() {
		f.stop()
		if t.Failed() {
			t.Logf("log of the terminator:\n%s", f.log)
		}
	})
	return f
}

func (f *front) start() {
	f.t.Helper()
	f.log = &logBuffer{}
	f.cmd = exec.Command(binary, f.args...)
	f.cmd.Stdout, f.cmd.Stderr = f.log, f.log
	if err := f.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, 10*time.Second, func() error {
		nc, err := net.Dial("tcp", f.exi)
		if err == nil {
			err = nc.Close()
		}
		return err
	})
}

func (f *front) stop() {
	_ = f.cmd.Process.Signal(syscall.SIGTERM)
	_ = f.cmd.Wait()
}

// connection is what postern status says about the gateway's connection.
func (g *gateway) connection() (c local.Connection, err error) {
	out, err := exec.Command(binary, "status", "--json", "--socket", g.socket).Output()
	var s local.Status
	if jerr := json.Unmarshal(out, &s); jerr != nil || s.Gateway == nil {
		return c, fmt.Errorf("status: %w, %v: %s", jerr, err, out)
	}
	return s.Gateway.Connection, nil
}

// online waits for a connection beyond the first so many.
func (g *gateway) online(connects uint64) local.Connection {
	g.t.Helper()
	var c local.Connection
	eventually(g.t, 40*time.Second, func() (err error) {
		if c, err = g.connection(); err == nil && (c.Phase != "online" || c.Connects <= connects) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
	return c
}

// A client that knows XML alone reads and switches a gateway that speaks EXI
// through the terminator, on either port and with all that can be kept from
// stanza to stanza, before and after a cut cable and restarts of both ends.
func TestEXIThroughTheTerminator(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		port, keep string
		options    []string // that status shows besides
	}{
		{port: "auto"}, {port: "port"},
		{port: "auto", keep: "tables", options: []string{"sessionWideBuffers"}},
		{port: "auto", keep: "window", options: []string{"sessionWideBuffers", "window"}},
	} {
		port := v.port
		peertest.EachWith(t, peertest.Options{PlainAllowed: true}, func(t *testing.T, s *peertest.Server) {
			s.Befriend("gateway", "owner")
			f := startFront(t, s, "--shared-tables")
			o := gatewayOptions{server: "  tls: starttls\n  exi: " + port + "\n"}
			proxy := peertest.NewProxy(t, f.addr)
			o.addr = proxy.Addr
			if port == "port" {
				proxy = peertest.NewProxy(t, f.exi)
				o.server += fmt.Sprintf("  exi_port: %q\n", proxy.Addr)
			}
			if v.keep != "" {
				o.server += "  exi_keep: " + v.keep + "\n"
			}
			g := startGateway(t, s, o)
			c := g.online(0)
			if c.Encoding != "exi" || c.EXI == nil || c.EXI.Dedicated != (port == "port") {
				t.Fatalf("exi: %s: %+v, %+v", port, c, c.EXI)
			}
			for _, want := range v.options {
				if !slices.Contains(c.EXI.Options, want) {
					t.Errorf("exi_keep: %s: options %v", v.keep, c.EXI.Options)
				}
			}
			p := startPeer(t, s, "owner")
			gw := p.waitOnline(s.JID("gateway"))
			use := func(on string) {
				t.Helper()
				set := p.do("set", map[string]any{"to": gw, "nodes": []string{"pump"}, "fields": [][3]string{{"state", "boolean", on}}})
				if set["result"] == nil || set["error"] != nil {
					t.Fatalf("set: %v", set)
				}
				all := p.do("read", map[string]any{"to": gw})
				if all["done"] != true {
					t.Fatalf("read: %v", all)
				}
				if v := slixField(t, all, "pump", "state")["value"]; v != on {
					t.Errorf("the pump is %v, want %s", v, on)
				}
				slixField(t, all, "climate", "temperature")
			}
			use("true")
			if c = g.online(0); c.EXI.Out == 0 || c.EXI.XMLOut < 2*c.EXI.Out || c.EXI.XMLIn < c.EXI.In {
				t.Errorf("traffic %+v", c.EXI)
			}
			proxy.Cut()
			if c = g.online(c.Connects); c.Encoding != "exi" || c.Resumes != 1 {
				t.Errorf("after a cut: %+v", c)
			}
			use("false")
			f.stop()
			f.start()
			if c = g.online(c.Connects); c.Encoding != "exi" || c.Resumes != 2 {
				t.Errorf("after a restart of the terminator: %+v", c)
			}
			use("true")
			s.Restart()
			if c = g.online(c.Connects); c.Encoding != "exi" {
				t.Errorf("after a restart of the server: %+v", c)
			}
		})
	}
}
