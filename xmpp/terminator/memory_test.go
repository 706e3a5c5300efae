package terminator

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// The memory of idle clients is measured in a process of its own: this test
// binary, started again as a terminator.

const childEnv = "POSTERN_TERMINATOR_CHILD"

type childConfig struct {
	Server    string // the server's address
	Cert, Key []byte
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		child(text)
		return
	}
	os.Exit(m.Run())
}

func child(text string) {
	var c childConfig
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	check(json.Unmarshal([]byte(text), &c))
	cert, err := tls.X509KeyPair(c.Cert, c.Key)
	check(err)
	lib, err := compress.NewLibrary()
	check(err)
	t, err := New(Config{
		Domain: jid.MustParse("example.org"), TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Upstream: Upstream{Addr: c.Server}, MaxPerAddress: 10_000,
		EXI: &compress.Server{Library: lib, Configs: &compress.Memory{}},
	})
	check(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(ln.Addr())
	check(t.Serve(context.Background(), ln, false))
}

// bareServer lets everybody in and then only listens.
func bareServer(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go serveBare(nc)
		}
	}()
	return ln.Addr().String()
}

func serveBare(nc net.Conn) {
	c := tcp.Server(nc, tcp.Options{})
	defer c.Abort()
	h := xmpp.Header{From: jid.MustParse("example.org"), Version: "1.0"}
	var d exi.Doc
	for _, mech := range []bool{true, false} {
		if _, err := c.Open(context.Background(), h); err != nil {
			return
		}
		d.Reset()
		d.Start(nameFeatures)
		if mech {
			d.Start(nameMechanisms)
			d.Element(nameMechanism, exi.Str("PLAIN"))
			d.End()
		}
		d.End()
		if c.WriteElements(&d) != nil || c.ReadElement(&d) != nil {
			return
		}
		d.Reset()
		if mech {
			d.Element(nameSuccess, exi.Value{})
		} else {
			d.Start(exi.N(xmpp.NSClient, "iq"))
			d.Attr(exi.N("", "type"), exi.Str("result"))
			d.Attr(exi.N("", "id"), exi.Str("bind"))
			d.End()
		}
		if c.WriteElements(&d) != nil {
			return
		}
	}
	for c.ReadElement(&d) == nil {
	}
}

// enter logs in at the terminator and leaves the connection open.
func enter(addr string, ca *tls.Config, client *compress.Client) (*tcp.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tcp.Client(nc, tcp.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	h := xmpp.Header{To: jid.MustParse("example.org"), Version: "1.0"}
	var d exi.Doc
	step := func(write func()) error {
		if write != nil {
			d.Reset()
			write()
			if err := c.WriteElements(&d); err != nil {
				return err
			}
		}
		return c.ReadElement(&d)
	}
	openStream := func() error {
		if _, err := c.Open(ctx, h); err != nil {
			return err
		}
		return step(nil)
	}
	if err := openStream(); err != nil {
		return nil, err
	}
	if err := step(func() { d.Element(nameStartTLS, exi.Value{}) }); err != nil {
		return nil, err
	}
	if err := c.StartTLS(ctx, ca); err != nil {
		return nil, err
	}
	if err := openStream(); err != nil {
		return nil, err
	}
	err = step(func() {
		d.Start(exi.N(xmpp.NSSASL, "auth"))
		d.Attr(exi.N("", "mechanism"), exi.Str("PLAIN"))
		d.Text(exi.Str("AHgAeA=="))
		d.End()
	})
	if err != nil {
		return nil, err
	}
	if err := openStream(); err != nil {
		return nil, err
	}
	if on, err := client.Negotiate(ctx, c, d.Root()); err != nil || !on {
		return nil, fmt.Errorf("negotiation: %v, %v", on, err)
	}
	if err := openStream(); err != nil {
		return nil, err
	}
	return c, step(func() {
		d.Start(exi.N(xmpp.NSClient, "iq"))
		d.Attr(exi.N("", "type"), exi.Str("set"))
		d.Attr(exi.N("", "id"), exi.Str("bind"))
		d.Start(exi.N(xmpp.NSBind, "bind"))
		d.End()
		d.End()
	})
}

// TestMemoryOfIdleClients connects clients with TLS and EXI and looks at the
// terminator's memory: 200 of them by default, TERMINATOR_CLIENTS otherwise.
func TestMemoryOfIdleClients(t *testing.T) {
	n := 200
	if v := os.Getenv("TERMINATOR_CLIENTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err == nil {
		lim.Cur = lim.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
		if lim.Cur < uint64(3*n) {
			t.Skipf("%d clients need more than %d file descriptors", n, lim.Cur)
		}
	}
	ca, err := peertest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(peertest.Leaf{Names: []string{"example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := json.Marshal(childConfig{Server: bareServer(t), Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(conf))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatal("the terminator did not start")
	}
	addr := line.Text()
	known := &compress.Memory{}
	lib, err := compress.NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	clientTLS := &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}
	connect := func() (*tcp.Conn, error) {
		return enter(addr, clientTLS, &compress.Client{Known: known, Server: "example.org", Library: lib})
	}
	first, err := connect() // the schemas are compiled now
	if err != nil {
		t.Fatal(err)
	}
	before := peertest.AnonKB(cmd.Process.Pid)
	conns := make([]*tcp.Conn, n)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				conns[i], errs[w] = connect()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	after := peertest.AnonKB(cmd.Process.Pid)
	each := float64(after-before) / float64(n)
	t.Logf("%d idle clients: %d KB before, %d KB after: %.1f KB a client", n, before, after, each)
	if n >= 1000 && each > 64 {
		t.Errorf("%.1f KB for each idle client; at most 64 are wanted", each)
	}
	_ = first.Abort()
	for _, c := range conns {
		_ = c.Abort()
	}
}
