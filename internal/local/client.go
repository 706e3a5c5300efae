package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// Errors of a Client. Match them with errors.Is.
var (
	// ErrNobody: no daemon listens there.
	ErrNobody = errors.New("nobody listens")
	// ErrDenied: the peer may not open the door, or not do this.
	ErrDenied = errors.New("not permitted")
)

// Client talks to the daemon behind one socket. It is safe for concurrent use.
type Client struct{ path string }

// NewClient returns a client for the socket at path. It connects on demand.
func NewClient(path string) *Client { return &Client{path} }

// Path returns the socket.
func (c *Client) Path() string { return c.path }

// Status asks the daemon how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, "GET", "/v1/status", nil, &s)
	return s, err
}

// Users lists the accounts of a hub.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var u []User
	err := c.call(ctx, "GET", "/v1/users", nil, &u)
	return u, err
}

// AddUser makes an account on a hub and returns its bare JID.
func (c *Client) AddUser(ctx context.Context, name, password string) (string, error) {
	var u User
	err := c.call(ctx, "POST", "/v1/users", Credentials{Name: name, Password: password}, &u)
	return u.JID, err
}

// SetPassword changes the password of an account of a hub.
func (c *Client) SetPassword(ctx context.Context, name, password string) error {
	return c.call(ctx, "PUT", "/v1/users", Credentials{Name: name, Password: password}, nil)
}

// RemoveUser removes an account of a hub and everything kept for it.
func (c *Client) RemoveUser(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/users", Credentials{Name: name}, nil)
}

// answerTime is how long a daemon may take.
const answerTime = 10 * time.Second

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var data []byte
	if in != nil {
		var err error
		if data, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return c.explain(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	// A daemon that refuses a long request answers before it has read it all:
	// what it says counts more than the broken writing.
	werr := writeRequest(conn, method, path, data)
	status, answer, err := readAnswer(bufio.NewReader(conn))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("local door %s: %w", c.path, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("local door %s: %w", c.path, errors.Join(werr, err))
	case status >= 300:
		return refusal(status, answer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("local door %s: the answer is not understood (another version?): %w", c.path, err)
	}
	return nil
}

func refusal(status int, answer []byte) error {
	var p problem
	if json.Unmarshal(answer, &p) != nil {
		p.Error = fmt.Sprintf("the daemon answers %d", status)
	}
	switch status {
	case StatusForbidden:
		return fmt.Errorf("%w: %s", ErrDenied, p.Error)
	case StatusNotFound:
		return errors.New("this daemon does not do that (gateway and hub differ); name the other with --socket")
	}
	return errors.New(p.Error)
}

// explain makes the errors of connecting readable.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrNobody, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the socket %s may be opened by its owner and group only; try sudo", ErrDenied, c.path)
	}
	return fmt.Errorf("local door %s: %w", c.path, err)
}
