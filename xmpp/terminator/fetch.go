package terminator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"postern/xmpp/compress"
)

// Downloads fetches schemas for clients (0322-R23) from the places that an
// operator has named, and from nowhere else (decision D25). It implements
// compress.Fetcher with net/http, which the programs have in them already for
// the local door.
type Downloads struct {
	allow   []*url.URL
	client  *http.Client
	private bool // tests fetch from loopback
}

// Bounds of a download.
const (
	fetchTime      = 15 * time.Second
	fetchRedirects = 3
)

// NewDownloads returns a fetcher for documents below the given URLs. Those are
// https, or http for an operator who trusts the path to that server.
func NewDownloads(below ...string) (*Downloads, error) {
	f := &Downloads{}
	for _, s := range below {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			return nil, fmt.Errorf("terminator: %q is no place to download schemas from; give https://host/folder/", s)
		}
		if !strings.HasSuffix(u.Path, "/") {
			u.Path += "/"
		}
		f.allow = append(f.allow, u)
	}
	dialer := &net.Dialer{Timeout: fetchTime, ControlContext: f.control}
	f.client = &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: f.redirect,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchTime, MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives: true, // rare, and nothing is to stay open
		},
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

func (f *Downloads) redirect(r *http.Request, via []*http.Request) error {
	if len(via) > fetchRedirects || !f.allowed(r.URL) {
		return http.ErrUseLastResponse
	}
	return nil
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &compress.FetchError{Kind: compress.BadURL, Message: "not a URL"}
	}
	req.Header.Set("Accept", "application/xml, text/xml, application/xsd+xml")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, failure(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &compress.FetchError{Kind: compress.BadStatus, Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	}
	if typ := resp.Header.Get("Content-Type"); !xmlType(typ) {
		return nil, &compress.FetchError{Kind: compress.NotASchema, Type: typ, Message: "not XML"}
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, compress.MaxSchema+1))
	if err != nil {
		return nil, failure(err)
	}
	if len(text) > compress.MaxSchema {
		return nil, fmt.Errorf("larger than %d octets", compress.MaxSchema)
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
	typ, _, err := mime.ParseMediaType(s)
	return err == nil && (typ == "application/xml" || typ == "text/xml" || strings.HasSuffix(typ, "+xml"))
}
