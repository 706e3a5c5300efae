package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/dnssd"
	"postern/xmpp"
	"postern/xmpp/tcp"
)

// records is a DNS that knows some domains.
type records map[string]string

func (r records) LookupSRV(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	if host, ok := r[name]; ok && service == "xmpp-client" {
		return "", []*net.SRV{{Target: host, Port: 5222}}, nil
	}
	return "", nil, errors.New("no such domain")
}

// The order is: the configuration, DNS, DHCP, the local network.
func Test0347R02_WhereServersAreFound(t *testing.T) {
	dir := t.TempDir()
	lease := filepath.Join(dir, "2")
	if err := os.WriteFile(lease, []byte("# This is private data.\nADDRESS=192.0.2.9\nOPTION_224=70726f6e746f2e6c6f63616c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	service := func(domain, addr string) dnssd.Service {
		s := dnssd.Service{Addr: netip.MustParseAddr(addr), Port: 5222, Text: map[string]string{"txtvers": "1"}}
		if domain != "" {
			s.Text["ordom"] = domain
		}
		return s
	}
	for _, c := range []struct {
		name, addr string
		dns        records
		known      bool
		dhcp       bool
		there      []dnssd.Service
		want       string
	}{
		{name: "configured", addr: "10.0.0.1:5222", dhcp: true, want: "10.0.0.1:5222"},
		{name: "SRV records", dns: records{"site.example": "xmpp.site.example"}, dhcp: true, want: "xmpp.site.example:5222"},
		{name: "the domain's own address", known: true, dhcp: true, want: "site.example:5222"},
		{name: "DHCP", dhcp: true, want: "pronto.local:5222"},
		{name: "DHCP before the local network", dhcp: true, there: []dnssd.Service{service("site.example", "192.0.2.3")}, want: "pronto.local:5222 192.0.2.3:5222"},
		{name: "those for the domain first, those for others never",
			there: []dnssd.Service{service("", "192.0.2.5"), service("other.example", "192.0.2.4"), service("site.example", "192.0.2.3")}, want: "192.0.2.3:5222 192.0.2.5:5222"},
		{name: "nothing", want: "site.example:5222"},
	} {
		l := &localTransport{
			Transport: &tcp.Transport{Resolver: c.dns}, knows: func(context.Context, string) bool { return c.known },
			browse: func(_ context.Context, domain string) ([]dnssd.Service, error) { return c.there, nil },
		}
		if c.dhcp {
			l.dhcp = []string{filepath.Join(dir, "1"), lease}
		}
		got, err := l.Find(t.Context(), "site.example", c.addr, xmpp.TLSAuto)
		var list []string
		for _, x := range got {
			list = append(list, x.Addr)
		}
		if err != nil || strings.Join(list, " ") != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, list, err, c.want)
		}
	}
}

func TestOptionsOfDHCPClients(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options")
	for text, want := range map[string]string{
		"OPTION_224=70726f6e746f2e6c6f63616c":             "pronto.local",
		"option-224 = \"xmpp.site.example\";":             "xmpp.site.example",
		"new_option_224=server":                           "server",
		"224 70:72:6f:6e:74:6f":                           "pronto",
		"OPTION_84=old.example\nOPTION_224=new.example":   "new.example",
		"OPTION_84=old.example":                           "old.example",
		"OPTION_224=bad host/../x":                        "",
		"OPTION_225=x.example":                            "",
		"OPTION_224=":                                     "",
		"":                                                "",
		strings.Repeat("X=y\n", 30000) + "OPTION_224=far": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := dhcpServer(file); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
	if got := dhcpServer(filepath.Join(t.TempDir(), "missing")); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzDHCPOptions(f *testing.F) {
	f.Add("OPTION_224=70726f6e746f2e6c6f63616c")
	f.Add("option-224 = \"x\";")
	file := filepath.Join(f.TempDir(), "options")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := dhcpServer(file); got != "" && !hostLike(got) {
			t.Errorf("%q gives %q", text, got)
		}
	})
}
