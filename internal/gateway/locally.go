package gateway

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"postern/exi"
	"postern/internal/config"
	"postern/internal/dnssd"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/register"
	"postern/xmpp/tcp"
)

// localTransport finds a domain's server in the local network when DNS does
// not know the domain (XEP-0347 §3.1): first the host that DHCP named, then
// those that announce themselves for the domain. Whoever is found must still
// have the domain's certificate.
type localTransport struct {
	*tcp.Transport
	dhcp   []string // files
	knows  func(ctx context.Context, host string) bool
	browse func(ctx context.Context, domain string) ([]dnssd.Service, error)
}

// leases are where systemd-networkd keeps what DHCP told.
const leases = "/run/systemd/netif/leases/*"

// findingLocally adds the search where the configuration wants it.
func findingLocally(t *tcp.Transport, cfg *config.Config) xmpp.Transport {
	if !cfg.Server.Local {
		return t
	}
	files := []string{cfg.Server.DHCPFile}
	if cfg.Server.DHCPFile == "" {
		files, _ = filepath.Glob(leases) // the pattern is right
	}
	return &localTransport{Transport: t, dhcp: files, knows: resolves, browse: browse}
}

func resolves(ctx context.Context, host string) bool {
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	return err == nil && len(addrs) > 0
}

// browseTime is how long answers of the local network are waited for.
const browseTime = 3 * time.Second

func browse(ctx context.Context, domain string) ([]dnssd.Service, error) {
	return dnssd.Options{}.Find(ctx, "_xmpp-client._tcp", browseTime, func(s dnssd.Service) bool { return s.Text["ordom"] == domain })
}

// Find implements xmpp.Transport.
func (l *localTransport) Find(ctx context.Context, domain, addr string, mode xmpp.TLSMode) ([]xmpp.Target, error) {
	targets, err := l.Transport.Find(ctx, domain, addr, mode)
	if err != nil || addr != "" || len(targets) != 1 {
		return targets, err
	}
	host, _, err := net.SplitHostPort(targets[0].Addr)
	if err != nil || !strings.EqualFold(host, domain) || l.knows(ctx, host) {
		return targets, nil // there are records
	}
	var found []xmpp.Target
	for _, file := range l.dhcp {
		if name := dhcpServer(file); name != "" {
			if !strings.Contains(name, ".") { // 0347-D21
				name += ".local"
			}
			found = append(found, xmpp.Target{Addr: net.JoinHostPort(name, "5222")})
		}
	}
	services, err := l.browse(ctx, domain)
	if err != nil && len(found) == 0 {
		return targets, nil // the domain's own name gives the error to show
	}
	// Those that say that they are for the domain come first; ordom is only
	// recommended, so the others are tried too.
	sort.SliceStable(services, func(i, j int) bool { return rank(services[i], domain) < rank(services[j], domain) })
	for _, s := range services {
		if rank(s, domain) < 2 {
			found = append(found, xmpp.Target{Addr: s.HostPort()})
		}
	}
	if len(found) == 0 {
		return targets, nil
	}
	return found, nil
}

func rank(s dnssd.Service, domain string) int {
	switch s.Text["ordom"] {
	case domain:
		return 0
	case "":
		return 1
	}
	return 2
}

// dhcpOption is the site option of XEP-0347 §3.1.1; 84 is what it would be if it
// were registered.
const dhcpOption, dhcpRegistered = "224", "84"

// maxLease bounds what is read of a file.
const maxLease = 64 << 10

// dhcpServer reads the XMPP server's name from what a DHCP client keeps:
// OPTION_224=70726f6e746f2e6c6f63616c (systemd-networkd), or option 224 with
// its text after an equals sign or a space. It is empty where there is none.
func dhcpServer(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	other := ""
	for n := 0; sc.Scan() && n < maxLease; n += len(sc.Bytes()) + 1 {
		key, value, ok := strings.Cut(strings.TrimSpace(sc.Text()), "=")
		if !ok {
			if key, value, ok = strings.Cut(key, " "); !ok {
				continue
			}
		}
		number := strings.TrimLeft(strings.ToLower(strings.TrimSpace(key)), "-_ ehinoptw")
		value = strings.Trim(strings.TrimSpace(value), `"';`)
		if b, err := hex.DecodeString(strings.ReplaceAll(value, ":", "")); err == nil && len(b) > 0 {
			value = string(b)
		}
		value = strings.ToLower(strings.TrimRight(value, ".\x00"))
		if !hostLike(value) {
			continue
		}
		switch number {
		case dhcpOption:
			return value
		case dhcpRegistered:
			other = value
		}
	}
	return other
}

// hostLike reports whether a text is a host's name.
func hostLike(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
}

// madeBucket keeps which account was made, so that it is tried once.
var madeBucket = store.Bucket[string]{Name: "account"}

const madeKey = "registered"

// registration makes the account before the first login.
func (g *Gateway) registration(c xmpp.Config) func(context.Context, xmpp.Conn, exi.Cursor) error {
	want := c.JID.Bare().String()
	a := &register.Account{
		JID: c.JID, Password: c.Password,
		Known: func() bool {
			known := ""
			err := g.db.View(func(tx *store.Tx) (err error) {
				known, _, err = madeBucket.Get(tx, madeKey)
				return err
			})
			if err != nil {
				g.log.Warn("whether the account was made is not known", "err", err)
			}
			return known == want
		},
		Made: func(made bool) error {
			if made {
				g.log.Info("the account was made on the server", "account", want)
			}
			err := g.db.Update(func(tx *store.Tx) error { return madeBucket.Put(tx, madeKey, want) })
			if err != nil {
				return fmt.Errorf("account: that it was made cannot be kept: %w", err)
			}
			return nil
		},
	}
	return func(ctx context.Context, conn xmpp.Conn, features exi.Cursor) error {
		err := a.BeforeLogin(ctx, conn, features)
		var e *xmpp.Error
		if errors.As(err, &e) || errors.Is(err, register.ErrForm) {
			// The account may be there all the same: the login tells.
			g.log.Warn("the server does not make the account", "err", err)
			return nil
		}
		return err
	}
}
