package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs a server with the given handler in a temporary directory.
func start(t *testing.T, h map[string]Handler) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", SocketName)
	s := &Server{Path: path, Handlers: h}
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
	mux := map[string]Handler{"GET /v1/status": func(_ context.Context, r *Request) (any, error) {
		if p := r.Peer; int(p.PID) != os.Getpid() || int(p.UID) != os.Getuid() || !p.Trusted() {
			t.Errorf("peer %+v", p)
		}
		return want, nil
	}}
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
	mux := map[string]Handler{"POST /v1/users": func(_ context.Context, r *Request) (any, error) {
		var c Credentials
		if err := r.Body(&c); err != nil {
			return nil, err
		}
		return nil, errors.New(c.Name + " exists")
	}}
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
	ok := func(context.Context, *Request) (any, error) { return 1, nil }
	s := &Server{Logger: slog.New(slog.DiscardHandler), Handlers: map[string]Handler{"GET /x": ok, "POST /x": ok, "PUT /x": ok, "DELETE /x": ok}}
	stranger, self, root := Peer{UID: uint32(os.Geteuid()) + 4711}, Peer{UID: uint32(os.Geteuid())}, Peer{}
	for _, c := range []struct {
		method string
		peer   Peer
		want   int
	}{
		{"GET", stranger, 0}, {"POST", stranger, 403}, {"PUT", stranger, 403}, {"DELETE", stranger, 403},
		{"POST", root, 0}, {"POST", self, 0}, {"PATCH", self, 404},
	} {
		_, err := s.dispatch(t.Context(), &Request{Method: c.method, Path: "/x", Peer: c.peer})
		got := 0
		if e := (*Error)(nil); errors.As(err, &e) {
			got = e.Status
		}
		if got != c.want {
			t.Errorf("%s by %+v: %d, want %d", c.method, c.peer, got, c.want)
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
	path, stop := start(t, nil)
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

// A client of another make gets along with the door.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	path, stop := start(t, map[string]Handler{"GET /v1/status": func(context.Context, *Request) (any, error) { return Status{Role: "hub"}, nil }})
	defer stop()
	out, err := exec.Command(curl, "-sS", "-i", "--unix-socket", path, "http://postern/v1/status").Output()
	if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 200 OK") || !strings.Contains(string(out), `"role":"hub"`) {
		t.Errorf("%s %v", out, err)
	}
	out, err = exec.Command(curl, "-sS", "-i", "--unix-socket", path, "http://postern/none").Output()
	if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 404") {
		t.Errorf("%s %v", out, err)
	}
}

func TestMalformedRequests(t *testing.T) {
	path, stop := start(t, nil)
	defer stop()
	for _, text := range []string{
		"hello\r\n\r\n", "GET /\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nnonsense\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 70) + "\r\n",
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text)) // the door may have answered and closed already
		status, _, err := readAnswer(bufio.NewReader(c))
		if err != nil || status != StatusBadRequest {
			t.Errorf("%.40q: %d %v", text, status, err)
		}
		c.Close()
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /v1/users HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("GET /v1/status HTTP/1.1\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRequest(bufio.NewReader(bytes.NewReader(data)))
		if err == nil && (r.Method == "" && !strings.HasPrefix(string(data), " ") || r.Path[0] != '/' || len(r.body) > maxBody) {
			t.Fatalf("%+v", r)
		}
		if _, data, err := readAnswer(bufio.NewReader(bytes.NewReader(data))); err == nil && len(data) > maxAnswer {
			t.Fatal("too long")
		}
	})
}
