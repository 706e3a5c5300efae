package dnssd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/peertest"
)

// announce runs until the test ends and returns the host's name.
func announce(t *testing.T, s Service) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	host := make(chan string, 1)
	go func() { done <- Options{Loopback: true, Share: true}.Announce(ctx, s, func(h string) { host <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case h := <-host:
		return h
	case err := <-done:
		done <- nil
		t.Skipf("this machine does no multicast: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("not announced within 10 s")
	}
	return ""
}

var site = Service{Instance: "Postern hub", Type: "_xmpp-client._tcp", Host: "postern-test", Addr: netip.MustParseAddr("192.0.2.7"), Port: 5222,
	Text: map[string]string{"txtvers": "1", "ordom": "site.example"}}

func Test0347R03_TheServiceIsFound(t *testing.T) {
	host := announce(t, site)
	found, err := Options{Loopback: true}.Find(t.Context(), site.Type, 5*time.Second, func(s Service) bool { return s.Host == host })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found {
		if s.Host == host {
			if s.HostPort() != "192.0.2.7:5222" || s.Text["ordom"] != "site.example" || s.Text["txtvers"] != "1" || s.Instance != site.Instance {
				t.Errorf("%+v", s)
			}
			return
		}
	}
	t.Errorf("not found: %+v", found)
}

// Two machines that want the same name get different ones.
func Test0347R04_NamesThatAreTaken(t *testing.T) {
	s := site
	s.Host = "postern-twice"
	if one, two := announce(t, s), announce(t, s); one != "postern-twice.local" || two != "postern-twice-1.local" {
		t.Errorf("%s and %s", one, two)
	}
}

// The records are those that another program expects.
func TestAnotherImplementationFindsIt(t *testing.T) {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import zeroconf").Run() != nil {
		peertest.Missing(t, "zeroconf for "+python, "python3-zeroconf")
	}
	s := site
	s.Host, s.Instance = "postern-peer", "Postern for a peer"
	announce(t, s)
	out, err := exec.Command(python, "-c", `
import time, zeroconf
class L(zeroconf.ServiceListener):
    def add_service(self, z, t, n):
        i = z.get_service_info(t, n, 3000)
        if i: print(n, i.server, i.port, [str(a) for a in i.parsed_addresses()], i.properties, flush=True)
    def update_service(self, z, t, n): pass
    def remove_service(self, z, t, n): pass
z = zeroconf.Zeroconf(ip_version=zeroconf.IPVersion.V4Only)
b = zeroconf.ServiceBrowser(z, "_xmpp-client._tcp.local.", L())
time.sleep(4)
z.close()
`).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Postern for a peer._xmpp-client._tcp.local. postern-peer.local. 5222 ['192.0.2.7']") || !strings.Contains(string(out), "b'ordom': b'site.example'") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 5353})
	if err != nil {
		t.Skip("the port is taken here: ", err)
	}
	defer c.Close()
	if err := (Options{}).Announce(t.Context(), site, nil); !errors.Is(err, ErrTaken) {
		t.Errorf("%v", err)
	}
}
