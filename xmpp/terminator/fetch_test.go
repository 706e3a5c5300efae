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
	f.client.Timeout = 200 * time.Millisecond
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
