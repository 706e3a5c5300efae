package tcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/idna"

	"postern/xmpp"
)

// Resolver looks up SRV records; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// The ports without SRV records (RFC 6120 §14.7; 5223 is a habit).
const (
	portStart  = "5222"
	portDirect = "5223"
)

// Find returns where a domain's clients connect to, in the order to try
// (RFC 6120 §3.2, XEP-0368 §3):
//
//	addr given             → that host and port
//	domain is an address   → that address
//	SRV records            → merged by priority, by weight within one; at equal
//	                         priority direct TLS first: it saves a round trip
//	all of them "."        → xmpp.ErrNoService
//	no records, no answer  → the domain itself
//
// When there are records, the domain itself is never tried.
func (t *Transport) Find(ctx context.Context, domain, addr string, mode xmpp.TLSMode) ([]xmpp.Target, error) {
	direct := mode == xmpp.TLSDirect
	if addr != "" {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("tcp: %q is not of the form host:port", addr)
		}
		return []xmpp.Target{{Addr: addr, Direct: direct}}, nil
	}
	self := []xmpp.Target{target(asciiHost(domain), portStart, false)}
	if direct {
		self[0] = target(asciiHost(domain), portDirect, true)
	}
	if net.ParseIP(strings.Trim(domain, "[]")) != nil {
		return self, nil
	}
	records, none, err := t.lookup(ctx, asciiHost(domain), mode)
	switch {
	case err != nil:
		return nil, err
	case len(records) > 0:
		return order(records), nil
	case none:
		return nil, fmt.Errorf("tcp: %s: %w", domain, xmpp.ErrNoService)
	}
	return self, nil
}

func target(host, port string, direct bool) xmpp.Target {
	return xmpp.Target{Addr: net.JoinHostPort(host, port), Direct: direct}
}

// asciiHost returns the name as DNS wants it (RFC 6120 §3.2.1).
func asciiHost(domain string) string {
	if ip := strings.Trim(domain, "[]"); net.ParseIP(ip) != nil {
		return ip
	}
	if a, err := idna.Lookup.ToASCII(domain); err == nil {
		return a
	}
	return domain
}

type record struct {
	*net.SRV
	direct bool
}

// lookup asks for both kinds of records at once. none says that the domain uses
// SRV records to say that there is no such service. A failed look-up counts as
// no record: what the other one gave is used.
func (t *Transport) lookup(ctx context.Context, name string, mode xmpp.TLSMode) (records []record, none bool, err error) {
	type result struct {
		addrs []*net.SRV
		err   error
	}
	services := []string{"xmpp-client", "xmpps-client"}
	var results [2]result
	var wg sync.WaitGroup
	for i, service := range services {
		if mode == xmpp.TLSStart && i == 1 || mode == xmpp.TLSDirect && i == 0 {
			continue
		}
		wg.Go(func() { _, results[i].addrs, results[i].err = t.resolver().LookupSRV(ctx, service, "tcp", name) })
	}
	wg.Wait()
	if ctx.Err() != nil && len(results[0].addrs)+len(results[1].addrs) == 0 && errors.Is(ctx.Err(), context.Canceled) {
		return nil, false, ctx.Err()
	}
	for i, r := range results {
		for _, a := range r.addrs {
			if a.Target == "." || a.Target == "" {
				none = true
				continue
			}
			records = append(records, record{a, i == 1})
		}
	}
	return records, none, nil
}

// order sorts by priority, direct TLS first within one, and draws the order
// within these by weight (RFC 2782).
func order(records []record) []xmpp.Target {
	sort.SliceStable(records, func(i, j int) bool {
		a, b := &records[i], &records[j]
		return a.Priority < b.Priority || a.Priority == b.Priority && a.direct && !b.direct
	})
	targets := make([]xmpp.Target, 0, len(records))
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].Priority == records[0].Priority && records[n].direct == records[0].direct {
			n++
		}
		shuffle(records[:n])
		for _, r := range records[:n] {
			host := strings.TrimSuffix(r.Target, ".")
			targets = append(targets, target(host, strconv.Itoa(int(r.Port)), r.direct))
		}
		records = records[n:]
	}
	return targets
}

// shuffle draws one record after the other, each with a chance proportional to
// its weight among those left; weight 0 counts a little, so that it is drawn
// last but not never.
func shuffle(records []record) {
	const scale = 1 << 8
	chance := func(r record) int { return int(r.Weight)*scale + 1 }
	for ; len(records) > 1; records = records[1:] {
		sum := 0
		for _, r := range records {
			sum += chance(r)
		}
		pick := rand.N(sum)
		for i, r := range records {
			if pick -= chance(r); pick < 0 {
				records[0], records[i] = records[i], records[0]
				break
			}
		}
	}
}
