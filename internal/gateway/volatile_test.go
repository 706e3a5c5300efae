package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/control"
	"postern/xmpp"
)

// A state directory that cannot be written keeps nobody from measuring: the
// gateway starts with what is there, and says what it does not keep.
func TestReadOnlyState(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("a file system cannot be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	t.Setenv("POSTERN_TEST_PASSWORD", "x")
	t.Setenv("TMPDIR", t.TempDir())
	make := func() *Gateway {
		cfg := parse(t, basicConfig)
		cfg.State.Directory, cfg.Local.Socket = dir, filepath.Join(t.TempDir(), "s")
		g, err := New(t.Context(), Options{Config: cfg, Session: func(c *xmpp.Config) { c.Transport = nowhere{c.Transport} }})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	end := func(g *Gateway) {
		for _, f := range []func() error{g.hw.closeAll, g.closeStore, g.door.Close} {
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	}
	end(make())
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	g := make()
	st := g.Status()
	if !strings.Contains(strings.Join(st.Problems, "\n"), "cannot be written") || st.Healthy {
		t.Errorf("%v", st.Problems)
	}
	if st.Gateway.History == nil {
		t.Error("readings of this run are not even in memory")
	}
	if err := newAuditor(g.audit, g.log, nil, g.volatile).Begin(t.Context(), &control.Command{}); err == nil {
		t.Error("a remote command has no durable record and is carried out")
	}
	tmp := g.volatileDir
	end(g)
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("the temporary state stays: %v", err)
	}
}

// nowhere is a transport that is not used.
type nowhere struct{ xmpp.Transport }
