// Package dnssd finds services in the local network and announces them there
// (DNS-SD over multicast DNS, RFC 6763, RFC 6762).
package dnssd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
)

// Service is one instance of a service.
type Service struct {
	Instance string // for people
	Type     string // _xmpp-client._tcp
	Host     string // name.local
	Addr     netip.Addr
	Port     uint16
	Text     map[string]string
}

// HostPort is where the service is reached.
func (s Service) HostPort() string {
	return net.JoinHostPort(s.Addr.String(), strconv.Itoa(int(s.Port)))
}

// ErrTaken says that another program of this machine does multicast DNS.
var ErrTaken = errors.New("dnssd: port 5353 is taken: another program announces for this machine; tell it about the service")

// maxFound bounds what a network can make Find keep.
const maxFound = 32

// Options are for tests; the zero value is for the product.
type Options struct {
	// Loopback uses the loopback interface too.
	Loopback bool
	// Share takes the port although another program has it.
	Share bool
}

func (o Options) list() (opts []mdns.ServerOption) {
	if o.Loopback {
		opts = append(opts, mdns.WithIncludeLoopback(true))
	}
	return append(opts, mdns.WithCacheRefresh(false))
}

func listen() (*ipv4.PacketConn, error) {
	addr, err := net.ResolveUDPAddr("udp4", mdns.DefaultAddressIPv4)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenUDP("udp4", addr) // a multicast address is shared with other programs
	if err != nil {
		return nil, err
	}
	return ipv4.NewPacketConn(c), nil
}

// Find returns the services of a type that answer within wait, or until ctx is
// done. It stops waiting when enough says so; nil: never.
func (o Options) Find(ctx context.Context, typ string, wait time.Duration, enough func(Service) bool) ([]Service, error) {
	pc, err := listen()
	if err != nil {
		return nil, fmt.Errorf("dnssd: %w", err)
	}
	conn, err := mdns.NewServer(pc, nil, o.list()...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dnssd: %w", err), pc.Close())
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var mu sync.Mutex
	var found []Service
	conn.OnServiceDiscovered(func(e mdns.ServiceEvent) {
		s := Service{Instance: e.Instance.Instance, Type: typ, Host: strings.TrimSuffix(e.Instance.Host, "."), Addr: e.Addr, Port: e.Instance.Port, Text: make(map[string]string)}
		for _, t := range e.Instance.Text {
			s.Text[strings.ToLower(t.Key)] = string(t.Value)
		}
		mu.Lock()
		defer mu.Unlock()
		if s.Addr.IsValid() && s.Port != 0 && len(found) < maxFound {
			found = append(found, s)
		}
		if enough != nil && enough(s) {
			cancel()
		}
	})
	if err := conn.Browse(ctx, typ); err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("dnssd: %w", err)
	}
	<-ctx.Done()
	mu.Lock()
	defer mu.Unlock()
	// Of several, the choice is the same each time.
	sort.Slice(found, func(i, j int) bool { return found[i].Instance+found[i].Host < found[j].Instance+found[j].Host })
	return found, nil
}

// probeTime is how long it takes to find out that nobody has a host name
// (RFC 6762 §8.1 waits 750 ms).
const probeTime = 900 * time.Millisecond

// Announce tells the local network about a service of this machine until ctx
// is done. The host name is made of s.Host, with -1, -2, … behind it while
// somebody else has it. ready, unless nil, gets the name.
func (o Options) Announce(ctx context.Context, s Service, ready func(host string)) error {
	if !o.Share && taken() {
		return ErrTaken
	}
	host, err := o.freeName(ctx, s.Host)
	if err != nil {
		return err
	}
	pc, err := listen()
	if err != nil {
		return fmt.Errorf("dnssd: %w", err)
	}
	inst := mdns.ServiceInstance{Instance: s.Instance, Service: s.Type, Domain: "local", Host: host + ".", Port: s.Port}
	keys := make([]string, 0, len(s.Text))
	for k := range s.Text {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		inst.Text = append(inst.Text, mdns.TXTEntry{Key: k, Value: []byte(s.Text[k])})
	}
	opts := append(o.list(), mdns.WithLocalNames(host), mdns.WithService(inst))
	if s.Addr.IsValid() {
		opts = append(opts, mdns.WithLocalAddress(s.Addr.AsSlice()))
	}
	conn, err := mdns.NewServer(pc, nil, opts...)
	if err != nil {
		return errors.Join(fmt.Errorf("dnssd: %w", err), pc.Close())
	}
	if ready != nil {
		ready(host)
	}
	<-ctx.Done()
	return conn.Close()
}

// taken reports whether another program has the port for itself.
func taken() bool {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 5353})
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	_ = c.Close()
	return false
}

// maxNames is how many names are tried.
const maxNames = 20

// freeName returns a host name that nobody answers for (0347-R04).
func (o Options) freeName(ctx context.Context, base string) (string, error) {
	pc, err := listen()
	if err != nil {
		return "", fmt.Errorf("dnssd: %w", err)
	}
	conn, err := mdns.NewServer(pc, nil, o.list()...)
	if err != nil {
		return "", errors.Join(fmt.Errorf("dnssd: %w", err), pc.Close())
	}
	defer conn.Close()
	base = strings.TrimSuffix(base, ".local")
	for i := range maxNames {
		name := base + ".local"
		if i > 0 {
			name = base + "-" + strconv.Itoa(i) + ".local"
		}
		pctx, cancel := context.WithTimeout(ctx, probeTime)
		_, _, err := conn.QueryAddr(pctx, name)
		cancel()
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return name, nil // nobody answers
		}
	}
	return "", fmt.Errorf("dnssd: the names %s to %s-%d are all taken", base, base, maxNames-1)
}

// HostName is this machine's name as a host of the local network.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "postern"
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name)
	if clean = strings.Trim(clean, "-"); clean == "" {
		return "postern"
	}
	return clean
}
