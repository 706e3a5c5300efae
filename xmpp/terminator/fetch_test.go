package terminator

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/xmpp/compress"
)

func kindOf(err error) string {
	var f *compress.FetchError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return [...]string{"error", "httpError", "invalidUrl", "timeout", "invalidContentType"}[f.Kind]
	}
	return "error"
}

func Test0322R24_FetchingMapsFailures(t *testing.T) {
	schema := `<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:example:d"/>`
	mux := http.NewServeMux()
	mux.HandleFunc("/s/ok.xsd", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		_, _ = w.Write([]byte(schema))
	})
	mux.HandleFunc("/s/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html></html>")) })
	mux.HandleFunc("/s/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte(strings.Repeat("x", compress.MaxSchema+1)))
	})
	mux.HandleFunc("/s/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(3 * time.Second):
		}
	})
	mux.HandleFunc("/s/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/secret", http.StatusFound) })
	mux.HandleFunc("/secret", func(http.ResponseWriter, *http.Request) { t.Error("fetched beyond the list") })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	f, err := NewDownloads(srv.URL+"/s/", "http://no-such-host.invalid/")
	if err != nil {
		t.Fatal(err)
	}
	f.private = true
	f.timeout = 300 * time.Millisecond
	for url, want := range map[string]string{
		srv.URL + "/s/ok.xsd": "", srv.URL + "/s/none": "httpError", srv.URL + "/s/html": "invalidContentType",
		srv.URL + "/s/large": "error", srv.URL + "/s/slow": "timeout", srv.URL + "/s/away": "httpError",
		srv.URL + "/secret": "invalidUrl", srv.URL + "/s/../secret": "invalidUrl", "ftp://example.org/x": "invalidUrl",
		"http://no-such-host.invalid/x": "invalidUrl", "file:///etc/passwd": "invalidUrl", "": "invalidUrl",
	} {
		text, err := f.Fetch(t.Context(), url)
		if got := kindOf(err); got != want || want == "" && string(text) != schema {
			t.Errorf("%s: %q (%v), want %q", url, got, err, want)
		}
	}
	f.private = false
	if _, err := f.Fetch(t.Context(), srv.URL+"/s/ok.xsd"); kindOf(err) != "invalidUrl" {
		t.Errorf("a loopback address was fetched from: %v", err)
	}
}

func TestFetchingByHTTPS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		_, _ = w.Write([]byte("<schema/>"))
	}))
	defer srv.Close()
	f, err := NewDownloads(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	f.private = true
	if _, err := f.Fetch(t.Context(), srv.URL+"/a.xsd"); err == nil {
		t.Error("a certificate of nobody's was accepted")
	}
	f.tls = srv.Client().Transport.(*http.Transport).TLSClientConfig
	if text, err := f.Fetch(t.Context(), srv.URL+"/a.xsd"); err != nil || string(text) != "<schema/>" {
		t.Errorf("got %q, %v", text, err)
	}
}

// An answer that ends early, says more than it holds, or never ends its header
// is none.
func TestAnswersThatAreNone(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
	for name, text := range map[string]string{
		"empty": "", "cut": ok, "no HTTP": "SSH-2.0-x\r\n\r\n", "short": ok + "Content-Length: 10\r\n\r\n<a/>",
		"chunked": ok + "Transfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\n\r\n",
		"length":  ok + "Content-Length: -1\r\n\r\n<a/>", "huge": ok + "Content-Length: 999999999\r\n\r\n<a/>",
		"header": ok + strings.Repeat("x: y\r\n", 20_000) + "\r\n<a/>", "line": ok + strings.Repeat("x", 1<<20),
		"status": "HTTP/1.1 2000 OK\r\n\r\n",
	} {
		if got, err := answer(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, err := answer(strings.NewReader(ok + "Content-Length: 4\r\n\r\n<a/>")); err != nil || string(got) != "<a/>" {
		t.Errorf("a good answer: %q, %v", got, err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := answer(strings.NewReader(s)); err == nil && len(got) > compress.MaxSchema {
			t.Errorf("%d octets", len(got))
		}
	})
}

func TestPrivateAddresses(t *testing.T) {
	for a, want := range map[string]bool{
		"127.0.0.1": false, "10.1.2.3": false, "192.168.1.1": false, "172.16.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "fe80::1": false,
		"fd00::1": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false,
		"9.9.9.9": true, "2620:fe::fe": true,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: public %v", a, got)
		}
	}
}

func TestPlacesToDownloadFrom(t *testing.T) {
	for _, bad := range []string{"", "example.org", "ftp://example.org/", "https://user@example.org/", "https://example.org/?q"} {
		if _, err := NewDownloads(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
