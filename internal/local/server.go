package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Server is the daemon's side of the door.
type Server struct {
	// Path is the socket, at most 100 octets. Its directory is made if need be.
	Path string
	// Handler serves the requests. The Peer of a request is PeerOf(r).
	Handler http.Handler
	Logger  *slog.Logger // nil discards

	listener *net.UnixListener
}

// maxBody bounds what a request may send.
const maxBody = 64 << 10

// Listen opens the socket with mode 0660. A socket that was left behind is
// replaced; one that answers is not.
func (s *Server) Listen() error {
	if len(s.Path) > 100 {
		return fmt.Errorf("local door: the path %s is longer than the 100 octets a socket may have; choose another", s.Path)
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o750); err != nil {
		return fmt.Errorf("local door: %w", err)
	}
	if fi, err := os.Lstat(s.Path); err == nil {
		if fi.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("local door: %s exists and is no socket; move it away", s.Path)
		}
		if c, err := net.DialTimeout("unix", s.Path, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("local door: another daemon listens on %s; stop it, or choose another socket", s.Path)
		}
		if err := os.Remove(s.Path); err != nil {
			return fmt.Errorf("local door: %w", err)
		}
	}
	// The mode has to be right from the first moment.
	old := syscall.Umask(0o117)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("local door: %w", err)
	}
	s.listener = l
	return nil
}

// Close gives up a socket that was opened by Listen and is not run.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx is done; requests under way then get half a second. It
// listens first if Listen was not called. All goroutines end with it.
func (s *Server) Run(ctx context.Context) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.listener == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       s.connContext,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(s.listener) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
		err = <-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("local door: %w", err)
	}
	return nil
}

// Peer is the process at the other end of the socket, as the kernel says.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// Trusted tells whether the peer may change things: root and the daemon's own
// user. The socket's group may look.
func (p Peer) Trusted() bool { return p.UID == 0 || p.UID == uint32(os.Geteuid()) }

type peerKey struct{}

// peerResult is what SO_PEERCRED gave for a connection.
type peerResult struct {
	peer Peer
	err  error
}

func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	var r peerResult
	r.peer, r.err = credentials(c)
	return context.WithValue(ctx, peerKey{}, r)
}

func credentials(c net.Conn) (Peer, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *syscall.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) {
		cred, cerr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, cerr); err != nil {
		return Peer{}, err
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// PeerOf returns the peer of a request that came through a Server.
func PeerOf(r *http.Request) Peer {
	pr, _ := r.Context().Value(peerKey{}).(peerResult)
	return pr.peer
}

// serve admits known peers only: everybody whom the mode of the socket let in
// may look, only trusted ones may change.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	pr, ok := r.Context().Value(peerKey{}).(peerResult)
	if !ok || pr.err != nil {
		s.Logger.Warn("local door: a peer without credentials was refused", "err", pr.err)
		Fail(w, http.StatusForbidden, "the kernel does not say who you are")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !pr.peer.Trusted() {
		s.Logger.Warn("local door: refused", "uid", pr.peer.UID, "pid", pr.peer.PID, "request", r.Method+" "+r.URL.Path)
		Fail(w, http.StatusForbidden, "only root and the daemon's own user may change things")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.Handler.ServeHTTP(w, r)
}

// problem is an error on the wire.
type problem struct {
	Error string `json:"error"`
}

// Fail answers a request with an error.
func Fail(w http.ResponseWriter, status int, text string) {
	Reply(w, status, problem{text})
}

// Reply answers a request with v as JSON.
func Reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer is gone: nobody is left to tell
}

// Body reads the JSON body of a request into v, strictly.
func Body(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the request is not what was expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the request is followed by something")
	}
	return nil
}
