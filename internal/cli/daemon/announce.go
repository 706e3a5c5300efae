package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"postern/internal/dnssd"
)

// announce tells the local network about a hub until ctx is done, unless it
// listens on loopback only or another program announces for this machine.
func (s *site) announce(ctx context.Context, log *slog.Logger) error {
	port := 0
	for _, a := range s.hub.Addrs() {
		if t, ok := a.(*net.TCPAddr); ok && !t.IP.IsLoopback() {
			port = t.Port
			break
		}
	}
	if port == 0 || !s.announced {
		<-ctx.Done()
		return nil
	}
	svc := dnssd.Service{
		Instance: "Postern hub " + s.domain, Type: "_xmpp-client._tcp", Host: dnssd.HostName(), Port: uint16(port),
		Text: map[string]string{"txtvers": "1", "ordom": s.domain},
	}
	err := dnssd.Options{}.Announce(ctx, svc, func(host string) { log.Info("announced in the local network", "host", host, "domain", s.domain) })
	switch {
	case errors.Is(err, dnssd.ErrTaken):
		log.Info("not announced in the local network", "why", err)
	case err != nil && ctx.Err() == nil:
		log.Warn("not announced in the local network", "err", err)
	}
	<-ctx.Done()
	return nil
}
