package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs a server with the given handler in a temporary directory.
func start(t *testing.T, h http.Handler) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", SocketName)
	s := &Server{Path: path, Handler: h}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return path, stop
}

func TestStatusThroughTheDoor(t *testing.T) {
	want := Status{Role: "gateway", Version: "1", Started: time.Now().UTC().Truncate(time.Second), Healthy: true,
		Gateway: &Gateway{Nodes: []Node{{ID: "a", Fields: []Field{{Name: "t", Value: "21.50", Unit: "°C"}}}}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		if p := PeerOf(r); int(p.PID) != os.Getpid() || int(p.UID) != os.Getuid() || !p.Trusted() {
			t.Errorf("peer %+v", p)
		}
		Reply(w, http.StatusOK, want)
	})
	path, stop := start(t, mux)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	got, err := NewClient(path).Status(t.Context())
	if err != nil || got.Version != "1" || got.Gateway.Nodes[0].Fields[0].Value != "21.50" || !got.Started.Equal(want.Started) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := NewClient(path).Users(t.Context()); err == nil || !strings.Contains(err.Error(), "does not do that") {
		t.Errorf("users of a gateway: %v", err)
	}
	stop()
	if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNobody) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left behind")
	}
}

func TestErrorsComeThrough(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/users", func(w http.ResponseWriter, r *http.Request) {
		var c Credentials
		if err := Body(r, &c); err != nil {
			Fail(w, http.StatusBadRequest, err.Error())
			return
		}
		Fail(w, http.StatusConflict, c.Name+" exists")
	})
	path, stop := start(t, mux)
	defer stop()
	if _, err := NewClient(path).AddUser(t.Context(), "anna", "x"); err == nil || err.Error() != "anna exists" {
		t.Errorf("%v", err)
	}
	if _, err := NewClient(path).AddUser(t.Context(), "anna", strings.Repeat("x", maxBody)); err == nil {
		t.Error("a huge request was taken")
	}
}

func TestOnlyTrustedPeersChange(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Reply(w, 200, 1) })}
	s.Logger = discard()
	try := func(method string, pr any) int {
		r, _ := http.NewRequest(method, "http://x/v1/users", http.NoBody)
		r = r.WithContext(context.WithValue(r.Context(), peerKey{}, pr))
		w := &recorder{}
		s.serve(w, r)
		return w.status
	}
	stranger := peerResult{peer: Peer{UID: uint32(os.Geteuid()) + 4711}}
	for _, c := range []struct {
		method string
		pr     any
		want   int
	}{
		{"GET", stranger, 200}, {"POST", stranger, 403}, {"PUT", stranger, 403}, {"DELETE", stranger, 403},
		{"POST", peerResult{peer: Peer{UID: 0}}, 200}, {"POST", peerResult{peer: Peer{UID: uint32(os.Geteuid())}}, 200},
		{"GET", peerResult{err: errors.New("x")}, 403}, {"GET", nil, 403},
	} {
		if got := try(c.method, c.pr); got != c.want {
			t.Errorf("%s by %+v: %d, want %d", c.method, c.pr, got, c.want)
		}
	}
}

func TestListenReplacesOnlyWhatIsDead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	// A socket whose process died.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	s := &Server{Path: path}
	if err := s.Listen(); err != nil {
		t.Fatalf("a dead socket stands in the way: %v", err)
	}
	defer s.listener.Close()
	if err := (&Server{Path: path}).Listen(); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("two daemons: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&Server{Path: file}).Listen(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: %v", err)
	}
	if err := (&Server{Path: "/" + strings.Repeat("x", 101)}).Listen(); err == nil || !strings.Contains(err.Error(), "100 octets") {
		t.Errorf("long path: %v", err)
	}
}

func TestHalfRequestDoesNotHoldTheDoor(t *testing.T) {
	path, stop := start(t, http.NotFoundHandler())
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HT")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	stop()
	if d := time.Since(begin); d > 900*time.Millisecond {
		t.Errorf("stopping took %v", d)
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/x")
	if p := Path("postern"); p != "/run/x/postern.sock" || Candidates("postern")[0] != p {
		t.Error(p)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	want := "/run/postern-hub/postern.sock"
	if os.Geteuid() != 0 {
		want = "/run/user/1/postern-hub/postern.sock"
	}
	if p := Path("postern-hub"); p != want {
		t.Error(p)
	}
}
