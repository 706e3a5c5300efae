package tcp

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"postern/xmpp"
)

// stubResolver answers with fixed records and notes what it was asked.
type stubResolver struct {
	plain, direct       []*net.SRV
	plainErr, directErr error
	asked               chan string
}

func (r stubResolver) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if r.asked != nil {
		r.asked <- "_" + service + "._" + proto + "." + name
	}
	if service == "xmpps-client" {
		return "", r.direct, r.directErr
	}
	return "", r.plain, r.plainErr
}

var (
	noSuch  = &net.DNSError{Err: "no such host", IsNotFound: true}
	timeout = &net.DNSError{Err: "i/o timeout", IsTimeout: true}
)

func srv(target string, port, prio, weight uint16) *net.SRV {
	return &net.SRV{Target: target, Port: port, Priority: prio, Weight: weight}
}

func TestCoreR01R02R05R06R08R13_Find(t *testing.T) {
	start := func(addr string) xmpp.Target { return xmpp.Target{Addr: addr} }
	direct := func(addr string) xmpp.Target { return xmpp.Target{Addr: addr, Direct: true} }
	for _, tt := range []struct {
		name         string
		domain, addr string
		mode         xmpp.TLSMode
		r            stubResolver
		want         []xmpp.Target
		err          error
	}{
		{"CoreR01", "example.org", "", 0, stubResolver{plain: []*net.SRV{srv("a.example.org.", 15222, 5, 0)}, directErr: noSuch},
			[]xmpp.Target{start("a.example.org:15222")}, nil},
		{"CoreR02 both say no", "example.org", "", 0, stubResolver{plain: []*net.SRV{srv(".", 0, 0, 0)}, direct: []*net.SRV{srv(".", 0, 0, 0)}},
			nil, xmpp.ErrNoService},
		{"CoreR02 one says no, the other nothing", "example.org", "", 0, stubResolver{plain: []*net.SRV{srv(".", 0, 0, 0)}, directErr: noSuch},
			nil, xmpp.ErrNoService},
		{"CoreR05", "example.org", "", 0, stubResolver{plainErr: noSuch, directErr: noSuch}, []xmpp.Target{start("example.org:5222")}, nil},
		{"CoreR05 no answer", "example.org", "", 0, stubResolver{plainErr: timeout, directErr: timeout}, []xmpp.Target{start("example.org:5222")}, nil},
		{"CoreR06 IPv4", "192.0.2.1", "", 0, stubResolver{plain: []*net.SRV{srv("bad.example.", 1, 0, 0)}}, []xmpp.Target{start("192.0.2.1:5222")}, nil},
		{"CoreR06 IPv6", "[2001:db8::1]", "", xmpp.TLSDirect, stubResolver{}, []xmpp.Target{direct("[2001:db8::1]:5223")}, nil},
		{"CoreR06 fixed", "example.org", "localhost:15223", xmpp.TLSDirect, stubResolver{plain: []*net.SRV{srv("bad.example.", 1, 0, 0)}},
			[]xmpp.Target{direct("localhost:15223")}, nil},
		{"CoreR08 D3", "example.org", "", 0, stubResolver{
			plain:  []*net.SRV{srv("a.", 1, 1, 0), srv("b.", 2, 3, 0)},
			direct: []*net.SRV{srv("c.", 3, 2, 0), srv("d.", 4, 3, 0)}},
			[]xmpp.Target{start("a:1"), direct("c:3"), direct("d:4"), start("b:2")}, nil},
		{"CoreR13", "example.org", "", 0, stubResolver{direct: []*net.SRV{srv(".", 0, 0, 0)}, plain: []*net.SRV{srv("a.", 1, 1, 0)}},
			[]xmpp.Target{start("a:1")}, nil},
		{"CoreR13 no records beside", "example.org", "", 0, stubResolver{direct: []*net.SRV{srv(".", 0, 0, 0)}, plainErr: noSuch},
			nil, xmpp.ErrNoService},
		{"D2", "example.org", "", 0, stubResolver{direct: []*net.SRV{srv("a.", 1, 1, 0)}, plainErr: timeout}, []xmpp.Target{direct("a:1")}, nil},
		{"only STARTTLS", "example.org", "", xmpp.TLSStart, stubResolver{direct: []*net.SRV{srv("a.", 1, 1, 0)}, plain: []*net.SRV{srv("b.", 2, 1, 0)}},
			[]xmpp.Target{start("b:2")}, nil},
		{"only direct", "example.org", "", xmpp.TLSDirect, stubResolver{direct: []*net.SRV{srv("a.", 1, 1, 0)}, plain: []*net.SRV{srv("b.", 2, 1, 0)}},
			[]xmpp.Target{direct("a:1")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &Transport{Resolver: tt.r}
			got, err := tr.Find(context.Background(), tt.domain, tt.addr, tt.mode)
			if !errors.Is(err, tt.err) || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := new(Transport).Find(context.Background(), "example.org", "localhost", 0); err == nil {
		t.Error("an address without a port is taken")
	}
}

func TestCoreR01_NamesInALabelForm(t *testing.T) {
	r := stubResolver{asked: make(chan string, 2), plainErr: noSuch, directErr: noSuch}
	got, err := (&Transport{Resolver: r}).Find(context.Background(), "bücher.example", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{<-r.asked, <-r.asked}
	slices.Sort(asked)
	if want := []string{"_xmpp-client._tcp.xn--bcher-kva.example", "_xmpps-client._tcp.xn--bcher-kva.example"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
	if got[0].Addr != "xn--bcher-kva.example:5222" {
		t.Errorf("target %v", got)
	}
}

// The first place of each record must follow the weights, and weight 0 must
// come last but not never first.
func TestCoreR03_WeightedOrder(t *testing.T) {
	r := stubResolver{plain: []*net.SRV{srv("a.", 1, 1, 60), srv("b.", 1, 1, 20), srv("c.", 1, 1, 20), srv("z.", 1, 1, 0)}, directErr: noSuch}
	first, last := map[string]int{}, map[string]int{}
	const n = 20000
	for range n {
		got, err := (&Transport{Resolver: r}).Find(context.Background(), "example.org", "", 0)
		if err != nil || len(got) != 4 {
			t.Fatal(got, err)
		}
		first[got[0].Addr]++
		last[got[3].Addr]++
	}
	for addr, share := range map[string]float64{"a:1": .6, "b:1": .2, "c:1": .2} {
		if f := float64(first[addr]) / n; f < share-.03 || f > share+.03 {
			t.Errorf("%s is first in %.3f of the draws, want %.2f", addr, f, share)
		}
	}
	if f := float64(last["z:1"]) / n; f < .98 {
		t.Errorf("weight 0 is last in %.3f of the draws only", f)
	}
	only := stubResolver{plain: []*net.SRV{srv("y.", 1, 1, 0), srv("z.", 1, 1, 0)}, directErr: noSuch}
	seen := map[string]bool{}
	for range 200 {
		got, _ := (&Transport{Resolver: only}).Find(context.Background(), "example.org", "", 0)
		seen[got[0].Addr] = true
	}
	if len(seen) != 2 {
		t.Error("records of weight 0 alone are not mixed")
	}
}
