package gateway

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/drivers"
	"postern/internal/audit"
	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/hub"
	"postern/xmpp/tcp"
)

// site runs a hub with two accounts and a gateway on it; close ends both.
func latencySite(t *testing.T, dir string) (g *Gateway, client *xmpp.Session) {
	t.Helper()
	ca, err := hub.OpenCA(filepath.Join(dir, "ca"), "hub.example")
	if err != nil {
		t.Fatal(err)
	}
	hubDB, err := store.Open(t.Context(), filepath.Join(dir, "hub.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(hub.Config{Domain: "hub.example", Store: hubDB, TLS: ca.TLS(), Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gw", "boss"} {
		if err := h.AddUser(name, "a long password"); err != nil {
			t.Fatal(err)
		}
	}
	pem, err := os.ReadFile(ca.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	addr := h.Addrs()[0].String()
	t.Setenv("PW", "a long password")
	cfg := parse(t, `
account: {jid: gw@hub.example, password: {env: PW}}
access: {owner: boss@hub.example}
simulate: true
server: {exi: "off"}
nodes:
  - {id: board, kind: contact, line: "chip:2"}
  - {id: pump, kind: relay, line: "chip:1", safe: off}
`)
	cfg.State.Directory = filepath.Join(dir, "state")
	cfg.Server.Address, cfg.Server.CAFile = addr, ca.CertFile()
	if g, err = New(t.Context(), Options{Config: cfg, Socket: filepath.Join(t.TempDir(), "s")}); err != nil {
		t.Fatal(err)
	}
	me := jid.MustParse("boss@hub.example/bench")
	client, err = xmpp.NewSession(xmpp.Config{
		JID: me, Transport: &tcp.Transport{}, Addr: addr, CAs: pool, TLS: xmpp.TLSStart, Handler: new(xmpp.Mux),
		Password: func(context.Context) (string, error) { return "a long password", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{h.Run, g.Run, client.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait(); _ = hubDB.Close() })
	for _, wait := range []func(context.Context) error{g.WaitOnline, client.WaitOnline} {
		if err := wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return g, client
}

// TestStanzaToLine measures the way of a command from the client's stanza over
// the hub and TLS to the simulated line, with its record on the disk before,
// and the share of that record. With POSTERN_BENCH it is long, and the median
// has to be within 2 ms.
func TestStanzaToLine(t *testing.T) {
	n, most := 50, time.Duration(0)
	if os.Getenv("POSTERN_BENCH") != "" {
		n, most = 2000, 2*time.Millisecond
	}
	dir := t.TempDir()
	g, client := latencySite(t, dir)
	line := g.hw.bench.line("chip:1")
	c := control.NewClient(client)
	to := jid.MustParse("gw@hub.example/postern")
	var toLine, toAnswer, commits []time.Duration
	for i := range n + 20 {
		begin := time.Now()
		_, err := c.Set(t.Context(), to, control.SetRequest{Nodes: []node.Ref{{ID: "pump"}}, Assignments: []control.Assignment{{Name: "state", Value: drivers.Bool(i%2 == 0)}}})
		answered := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		moves := line.History()
		if i < 20 { // the first ones warm up
			continue
		}
		toLine = append(toLine, moves[len(moves)-1].Time.Sub(begin))
		toAnswer = append(toAnswer, answered.Sub(begin))
		commits = append(commits, g.audit.Stats().Last)
	}
	for _, l := range [][]time.Duration{toLine, toAnswer, commits} {
		slices.Sort(l)
	}
	p := func(l []time.Duration, q int) time.Duration { return l[len(l)*q/100].Round(10 * time.Microsecond) }
	t.Logf("%d commands, file system %s:\n stanza to line    p50 %v  p99 %v\n stanza to answer  p50 %v  p99 %v\n commit of record  p50 %v  p99 %v (%d %% of stanza to line)\n the rest          p50 %v",
		n, fileSystem(dir), p(toLine, 50), p(toLine, 99), p(toAnswer, 50), p(toAnswer, 99), p(commits, 50), p(commits, 99),
		100*p(commits, 50)/p(toLine, 50), p(toLine, 50)-p(commits, 50))
	if most > 0 && p(toLine, 50) > most {
		t.Errorf("the median is above %v", most)
	}
	// Every one of them is in the record.
	var begun int
	if err := g.db.View(func(tx *store.Tx) error {
		es, _ := audit.List(tx, audit.Query{Limit: 10_000})
		for _, e := range es {
			if e.Outcome == audit.Begun {
				begun++
			}
		}
		return nil
	}); err != nil || begun != n+20 {
		t.Errorf("%d of %d commands are recorded; %v", begun, n+20, err)
	}
}

// fileSystem names the file system of a directory.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return err.Error()
	}
	switch s.Type {
	case 0xEF53:
		return "ext4"
	case 0x01021994:
		return "tmpfs"
	case 0x794c7630:
		return "overlayfs"
	}
	return fmt.Sprintf("%#x", s.Type)
}
