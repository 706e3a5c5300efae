package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
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
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the socket at path. It connects on demand.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Timeout = 10 * time.Second
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}
	return c
}

// Path returns the socket.
func (c *Client) Path() string { return c.path }

// Status asks the daemon how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Users lists the accounts of a hub.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var u []User
	err := c.call(ctx, http.MethodGet, "/v1/users", nil, &u)
	return u, err
}

// AddUser makes an account on a hub and returns its bare JID.
func (c *Client) AddUser(ctx context.Context, name, password string) (string, error) {
	var u User
	err := c.call(ctx, http.MethodPost, "/v1/users", Credentials{Name: name, Password: password}, &u)
	return u.JID, err
}

// SetPassword changes the password of an account of a hub.
func (c *Client) SetPassword(ctx context.Context, name, password string) error {
	return c.call(ctx, http.MethodPut, "/v1/users", Credentials{Name: name, Password: password}, nil)
}

// RemoveUser removes an account of a hub and everything kept for it.
func (c *Client) RemoveUser(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/users", Credentials{Name: name}, nil)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("local door %s: %w", c.path, err)
	}
	if resp.StatusCode >= 300 {
		return refusal(resp, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("local door %s: the answer is not understood (another version?): %w", c.path, err)
	}
	return nil
}

func refusal(resp *http.Response, data []byte) error {
	var p problem
	if json.Unmarshal(data, &p) != nil || p.Error == "" {
		p.Error = resp.Status
	}
	if resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%w: %s", ErrDenied, p.Error)
	}
	if resp.StatusCode == http.StatusNotFound && p.Error == resp.Status {
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
