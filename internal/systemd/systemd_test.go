package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the manager's end of the socket.
type manager struct {
	*net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &manager{c, path}
}

func (m *manager) next(t *testing.T) (string, []*os.File) {
	t.Helper()
	_ = m.SetReadDeadline(time.Now().Add(10 * time.Second))
	data, oob := make([]byte, 4096), make([]byte, 1024)
	n, on, _, _, err := m.ReadMsgUnix(data, oob)
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range msgs {
		fds, err := unix.ParseUnixRights(&msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return string(data[:n]), files
}

func env(kv ...string) func(string) string {
	return func(k string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == k {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestMessages(t *testing.T) {
	m := newManager(t)
	n := New(env("NOTIFY_SOCKET", m.path))
	for want, send := range map[string]func() error{
		"READY=1":                       n.Ready,
		"STOPPING=1":                    n.Stopping,
		"WATCHDOG=1":                    n.Alive,
		"WATCHDOG=trigger":              n.Failed,
		"STATUS=a b":                    func() error { return n.Status("a\nb") },
		"EXTEND_TIMEOUT_USEC=1500000":   func() error { return n.Extend(1500 * time.Millisecond) },
		"FDSTOREREMOVE=1\nFDNAME=pump":  func() error { return n.Discard("pump") },
		"RELOADING=1\nMONOTONIC_USEC=*": n.Reloading,
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		got, _ := m.next(t)
		if head, ok := strings.CutSuffix(want, "*"); ok {
			us, err := strconv.ParseUint(strings.TrimPrefix(got, head), 10, 64)
			if err != nil || us == 0 {
				t.Errorf("%q: %v", got, err)
			}
		} else if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStoreSendsTheDescriptor(t *testing.T) {
	m := newManager(t)
	n := New(env("NOTIFY_SOCKET", m.path))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := n.Store("line", w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	text, files := m.next(t)
	if text != "FDSTORE=1\nFDNAME=line" || len(files) != 1 {
		t.Fatalf("%q with %d descriptors", text, len(files))
	}
	_, _ = files[0].Write([]byte("x"))
	_ = files[0].Close()
	if got, err := io.ReadAll(r); string(got) != "x" || err != nil {
		t.Errorf("%q, %v: the manager got another descriptor", got, err)
	}
	for _, name := range []string{"", "a:b", "a b", "a\nREADY=1", "ä", strings.Repeat("x", 256)} {
		if n.Store(name, r) == nil || n.Discard(name) == nil {
			t.Errorf("%q was taken as a name", name)
		}
	}
}

func TestBarrier(t *testing.T) {
	m := newManager(t)
	n := New(env("NOTIFY_SOCKET", m.path))
	done := make(chan error, 1)
	go func() { done <- n.Barrier(t.Context()) }()
	text, files := m.next(t)
	if text != "BARRIER=1" || len(files) != 1 {
		t.Fatalf("%q with %d descriptors", text, len(files))
	}
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond): // shows only that it waits
	}
	_ = files[0].Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := n.Barrier(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a manager that does not answer: %v", err)
	}
}

func TestWithoutManager(t *testing.T) {
	for _, n := range []*Notifier{New(env()), New(env("NOTIFY_SOCKET", "relative")), {}} {
		if err := errors.Join(n.Ready(), n.Store("x"), n.Barrier(t.Context())); err != nil || n.Managed() {
			t.Errorf("%v %v", err, n.Managed())
		}
		n.KeepAlive(t.Context(), nil, nil) // returns at once
	}
	n := New(env("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none")))
	if n.Ready() == nil {
		t.Error("a manager that is not there is no error")
	}
}

func TestWatchdogTime(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", "", 30 * time.Second}, {"30000000", self, 30 * time.Second}, {"30000000", "1", 0},
		{"", "", 0}, {"-5", "", 0}, {"x", "", 0}, {"99999999999999999999", "", 0},
	} {
		n := New(env("NOTIFY_SOCKET", "/run/n", "WATCHDOG_USEC", c.usec, "WATCHDOG_PID", c.pid))
		if got := n.WatchdogTime(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	m := newManager(t)
	n := New(env("NOTIFY_SOCKET", m.path, "WATCHDOG_USEC", "4000"))
	ctx, cancel := context.WithCancel(t.Context())
	calls, failed := 0, errors.New("stuck")
	var reports []error
	done := make(chan bool)
	go func() {
		defer close(done)
		n.KeepAlive(ctx, func() error {
			calls++
			if calls == 2 {
				return failed
			}
			return nil
		}, func(err error) { reports = append(reports, err) })
	}()
	for range 3 {
		if text, _ := m.next(t); text != "WATCHDOG=1" {
			t.Errorf("%q", text)
		}
	}
	cancel()
	<-done
	if calls < 4 || len(reports) != 1 || reports[0] != failed {
		t.Errorf("%d calls, reports %v", calls, reports)
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{"pump": "pump", "pinctrl-bcm2711:GPIO17": "pinctrl-bcm2711%3AGPIO17", "a b%": "a%20b%25"} {
		if got := Name(in); got != want || checkName(got) != nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestInheritedChild is the child of TestInherited: descriptors have numbers,
// which a test cannot choose in its own process.
func TestInheritedChild(t *testing.T) {
	if os.Getenv("SYSTEMD_TEST_CHILD") == "" {
		t.Skip("part of TestInherited")
	}
	_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	for name, files := range Inherited(os.Getenv, os.Unsetenv) {
		for _, f := range files {
			flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
			fmt.Fprintf(f, "%s %d %v %s;", name, flags, err, os.Getenv("LISTEN_FDS"))
		}
	}
	if len(Inherited(os.Getenv, os.Unsetenv)) != 0 {
		t.Error("handed out twice")
	}
}

func TestInherited(t *testing.T) {
	var files []*os.File
	for range 2 {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInheritedChild$")
	cmd.Env = append(os.Environ(), "SYSTEMD_TEST_CHILD=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=one:two")
	cmd.ExtraFiles = files
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, name := range []string{"one", "two"} {
		got, err := os.ReadFile(files[i].Name())
		if want := name + " 1 <nil> ;"; err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	self := strconv.Itoa(os.Getpid())
	for _, e := range [][]string{{"LISTEN_PID", "1", "LISTEN_FDS", "1"}, {"LISTEN_FDS", "1"}, {"LISTEN_PID", self, "LISTEN_FDS", "x"}, {"LISTEN_PID", self, "LISTEN_FDS", "-1"}, {"LISTEN_PID", self, "LISTEN_FDS", "100000"}} {
		if got := Inherited(env(e...), nil); got != nil {
			t.Errorf("%v: %v", e, got)
		}
	}
}

// systemd-notify is the other end's own client; what it sends is what this
// package sends.
func TestAsSystemdNotify(t *testing.T) {
	tool, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Skip("systemd-notify is not installed")
	}
	m := newManager(t)
	cmd := exec.Command(tool, "--ready", "--no-block")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v %s", err, errs.String())
	}
	theirs, _ := m.next(t)
	if err := New(env("NOTIFY_SOCKET", m.path)).Ready(); err != nil {
		t.Fatal(err)
	}
	if ours, _ := m.next(t); ours != theirs {
		t.Errorf("%q, systemd-notify says %q", ours, theirs)
	}
}
