package terminator

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/xmpp/compress"
)

// Downloads fetches schemas for clients (0322-R23) from the places that an
// operator has named, and from nowhere else (decision D25). It implements
// compress.Fetcher.
//
// It speaks as much of HTTP/1.0 as that takes: net/http would make the program
// on every device a megabyte larger for the sake of this. Redirects are not
// followed; their status is the answer.
type Downloads struct {
	allow   []*url.URL
	timeout time.Duration
	tls     *tls.Config
	private bool // tests fetch from loopback
}

// Bounds of a download.
const (
	fetchTime   = 15 * time.Second
	fetchHeader = 64 << 10 // octets
)

// NewDownloads returns a fetcher for documents below the given URLs. Those are
// https, or http for an operator who trusts the path to that server.
func NewDownloads(below ...string) (*Downloads, error) {
	f := &Downloads{timeout: fetchTime, tls: &tls.Config{MinVersion: tls.VersionTLS12}}
	for _, s := range below {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			return nil, fmt.Errorf("terminator: %q is no place to download schemas from; give https://host/folder/", s)
		}
		if !strings.HasSuffix(u.Path, "/") {
			u.Path += "/"
		}
		f.allow = append(f.allow, u)
	}
	return f, nil
}

// errPrivate: the name leads to an address that only this network can reach.
var errPrivate = errors.New("the address is not a public one")

// control checks each address before it is connected to, whatever a name
// resolves to by then.
func (f *Downloads) control(_ context.Context, _, addr string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if !f.private && !public(ap.Addr()) {
		return errPrivate
	}
	return nil
}

// shared is where carriers' address translation and special services live.
var shared = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

func public(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range shared {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

// allowed reports whether u is below a place of the list.
func (f *Downloads) allowed(u *url.URL) bool {
	for _, a := range f.allow {
		if u.Scheme == a.Scheme && strings.EqualFold(u.Host, a.Host) && u.User == nil && strings.HasPrefix(path.Clean(u.Path), a.Path) {
			return true
		}
	}
	return false
}

// Fetch implements compress.Fetcher.
func (f *Downloads) Fetch(ctx context.Context, s string) ([]byte, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > 2048 || !f.allowed(u) {
		return nil, &compress.FetchError{Kind: compress.BadURL, Message: "schemas are not downloaded from there"}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	nc, err := f.dial(ctx, u)
	if err != nil {
		return nil, failure(err)
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: application/xml, text/xml\r\n\r\n", u.RequestURI(), u.Host); err != nil {
		return nil, failure(err)
	}
	text, err := answer(nc)
	var known *compress.FetchError
	if err != nil && !errors.As(err, &known) && !errors.Is(err, errLarge) {
		err = failure(err)
	}
	return text, err
}

func (f *Downloads) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = u.Scheme // the service's name stands for its port
	}
	d := &net.Dialer{ControlContext: f.control}
	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme == "http" {
		return nc, err
	}
	c := f.tls.Clone()
	c.ServerName = u.Hostname()
	layer := tls.Client(nc, c)
	if err := layer.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return layer, nil
}

var (
	errLarge = fmt.Errorf("larger than %d octets", compress.MaxSchema)
	errHTTP  = errors.New("the answer is not HTTP")
)

// answer reads an answer of HTTP/1.0: it ends with the connection, or where
// its header says so.
func answer(r io.Reader) ([]byte, error) {
	head := bufio.NewReader(&io.LimitedReader{R: r, N: fetchHeader + compress.MaxSchema + 1})
	line, err := head.ReadString('\n')
	if err != nil {
		return nil, err
	}
	proto, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || !strings.HasPrefix(proto, "HTTP/1.") || status < 200 || status > 599 {
		return nil, errHTTP
	}
	typ, length := "", int64(-1)
	for read := 0; ; {
		line, err := head.ReadString('\n')
		if read += len(line); err != nil || read > fetchHeader {
			return nil, errors.Join(errHTTP, err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-type":
			typ = value
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil || length < 0 {
				return nil, errHTTP
			}
		case "transfer-encoding", "content-encoding":
			if !strings.EqualFold(value, "identity") {
				return nil, errHTTP // not asked for
			}
		}
	}
	if status != 200 {
		return nil, &compress.FetchError{Kind: compress.BadStatus, Status: status, Message: strings.ToValidUTF8(reason[:min(len(reason), 100)], "?")}
	}
	if !xmlType(typ) {
		return nil, &compress.FetchError{Kind: compress.NotASchema, Type: strings.ToValidUTF8(typ[:min(len(typ), 100)], "?"), Message: "not XML"}
	}
	return body(head, length)
}

// body reads the content; length is -1 where the header gives none.
func body(r io.Reader, length int64) ([]byte, error) {
	if length > compress.MaxSchema {
		return nil, errLarge
	}
	text, err := io.ReadAll(io.LimitReader(r, compress.MaxSchema+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > compress.MaxSchema:
		return nil, errLarge
	case length >= 0 && int64(len(text)) != length:
		return nil, io.ErrUnexpectedEOF
	}
	return text, nil
}

// failure says what kind of failure err is (0322-R24).
func failure(err error) error {
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errPrivate):
		return &compress.FetchError{Kind: compress.BadURL, Message: errPrivate.Error()}
	case errors.As(err, &dns) && !dns.IsTimeout:
		return &compress.FetchError{Kind: compress.BadURL, Message: "the host is not known"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &compress.FetchError{Kind: compress.NoAnswer, Message: "no answer in time"}
	}
	return &compress.FetchError{Message: "the download failed"} // no details of our network
}

// xmlType reports whether a content type may be that of a schema.
func xmlType(s string) bool {
	typ, _, _ := strings.Cut(s, ";")
	typ = strings.ToLower(strings.TrimSpace(typ))
	return typ == "application/xml" || typ == "text/xml" || strings.HasSuffix(typ, "+xml")
}
