package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Statuses of an Error.
const (
	StatusBadRequest = 400
	StatusForbidden  = 403
	StatusNotFound   = 404
	StatusConflict   = 409
)

// Error is an answer other than 200.
type Error struct {
	Status int
	Text   string // for a person
}

// Error makes *Error an error.
func (e *Error) Error() string { return e.Text }

// Request is what a Handler gets.
type Request struct {
	Method, Path string
	Peer         Peer
	body         []byte
}

// Body reads the JSON body into v, strictly.
func (r *Request) Body(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{StatusBadRequest, "the request is not what was expected: " + err.Error()}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &Error{StatusBadRequest, "the request is followed by something"}
	}
	return nil
}

// Handler answers a request by a value, which is sent as JSON, or by an error:
// an *Error as it is, others with status 409.
type Handler func(ctx context.Context, r *Request) (any, error)

// Server is the daemon's side of the door.
type Server struct {
	// Path is the socket, at most 100 octets. Its directory is made if need be.
	Path string
	// Handlers are the handlers by method and path: "GET /v1/status".
	Handlers map[string]Handler
	Logger   *slog.Logger // nil discards

	listener *net.UnixListener
}

// maxConns bounds the requests at a time.
const maxConns = 16

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

// Times that a peer may take.
const (
	requestTime = 5 * time.Second
	graceTime   = 500 * time.Millisecond // for requests under way at the end
)

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
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	slots := make(chan struct{}, maxConns)
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("local door: %w", errors.Join(err, s.listener.Close()))
		}
		select {
		case slots <- struct{}{}:
		default:
			s.Logger.Warn("local door: too many requests at a time")
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.converse(ctx, c)
		})
	}
}

// converse serves one connection: one request, one answer.
func (s *Server) converse(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(requestTime))
	soon := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now().Add(graceTime)) })
	defer soon()
	r, err := readRequest(bufio.NewReader(c))
	if err != nil {
		if errors.Is(err, errMalformed) || errors.Is(err, errTooLong) {
			s.reply(c, nil, &Error{StatusBadRequest, err.Error()})
		}
		return
	}
	if r.Peer, err = credentials(c); err != nil {
		s.Logger.Warn("local door: a peer without credentials was refused", "err", err)
		s.reply(c, nil, &Error{StatusForbidden, "the kernel does not say who you are"})
		return
	}
	v, err := s.dispatch(ctx, r)
	s.reply(c, v, err)
}

// dispatch admits everybody whom the mode of the socket let in to look, and
// trusted peers to change.
func (s *Server) dispatch(ctx context.Context, r *Request) (any, error) {
	if r.Method != "GET" && !r.Peer.Trusted() {
		s.Logger.Warn("local door: refused", "uid", r.Peer.UID, "pid", r.Peer.PID, "request", r.Method+" "+r.Path)
		return nil, &Error{StatusForbidden, "only root and the daemon's own user may change things"}
	}
	h := s.Handlers[r.Method+" "+r.Path]
	if h == nil {
		return nil, &Error{StatusNotFound, ""}
	}
	return h(ctx, r)
}

// problem is an error on the wire.
type problem struct {
	Error string `json:"error"`
}

// reply answers. A peer that is gone need not be told.
func (s *Server) reply(w io.Writer, v any, err error) {
	status := 200
	var e *Error
	switch {
	case errors.As(err, &e):
		status, v = e.Status, problem{e.Text}
	case err != nil:
		status, v = StatusConflict, problem{err.Error()}
	}
	data, err := json.Marshal(v)
	if err != nil {
		s.Logger.Error("local door: an answer cannot be written", "err", err)
		return
	}
	_ = writeAnswer(w, status, append(data, '\n'))
}

// Peer is the process at the other end of the socket, as the kernel says.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// Trusted tells whether the peer may change things: root and the daemon's own
// user. The socket's group may look.
func (p Peer) Trusted() bool { return p.UID == 0 || p.UID == uint32(os.Geteuid()) }

func credentials(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
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
