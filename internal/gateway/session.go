package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"postern/exi"
	"postern/internal/config"
	"postern/internal/existate"
	"postern/provisioning"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// sessionConfig turns the configuration of account and server into that of a
// session. Certificates are read now, the password whenever it is needed.
func sessionConfig(cfg *config.Config) (xmpp.Config, error) {
	out := xmpp.Config{
		Transport:  findingLocally(&tcp.Transport{}, cfg),
		Addr:       cfg.Server.Address,
		AllowPlain: cfg.Server.AllowPlain,
		NoResume:   !cfg.Server.Resume,
	}
	j, err := xmpp.ParseJID(cfg.Account.JID)
	if err == nil {
		j, err = j.WithResource(cfg.Account.Resource)
	}
	if err != nil {
		return out, fmt.Errorf("account: %w", err)
	}
	out.JID = j
	switch cfg.Server.TLS {
	case "starttls":
		out.TLS = xmpp.TLSStart
	case "direct":
		out.TLS = xmpp.TLSDirect
	}
	if s := cfg.Account.Password; !s.IsZero() {
		out.Password = func(context.Context) (string, error) { return s.Read() }
	}
	if f := cfg.Server.CAFile; f != "" {
		if out.CAs, err = readCAs(f); err != nil {
			return out, fmt.Errorf("server.ca_file: %w", err)
		}
	}
	if f := cfg.Account.Certificate; f != "" {
		cert, err := tls.LoadX509KeyPair(f, cfg.Account.Key)
		if err != nil {
			return out, fmt.Errorf("account.certificate_file: %w", err)
		}
		out.ClientCert = &cert
	}
	return out, nil
}

func readCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// urgent are requests that other handlers may wait for: a provisioning server
// challenges a token before it answers.
var urgent = []exi.Name{provisioning.NameTokenChallenge}

// newSession makes the session that hands stanzas to mux.
func (g *Gateway) newSession(mux *xmpp.Mux) (*xmpp.Session, error) {
	c, err := sessionConfig(g.cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.Handler = mux
	if g.cfg.Account.Register {
		c.BeforeLogin = g.registration(c)
	}
	c.Logger = g.log.With("part", "xmpp")
	c.OnOnline = g.online
	c.Urgent = urgent
	// Outputs may have to be made safe when the server is away for long.
	c.OnState = func(st xmpp.State) {
		g.control.Link(st.Phase == xmpp.Online)
		if g.pairing != nil && g.pairing.thing != nil && st.Phase != xmpp.Online {
			g.pairing.thing.Offline()
		}
	}
	if mode := g.cfg.Server.EXI; mode == "auto" || mode == "port" {
		log := g.log.With("part", "exi")
		g.exi = &compress.Client{Known: existate.New(g.db, "exi", log), Server: c.JID.Domainpart(), Logger: log}
		switch g.cfg.Server.EXIKeep {
		case "tables":
			g.exi.Want = compress.Params{SessionWide: true}
		case "window":
			g.exi.Want = compress.Params{SessionWide: true, Window: true, Alignment: exi.ByteAligned}
		}
		c.Compress = g.exi.Negotiate
		if mode == "port" {
			c.Transport = &compress.PortTransport{Base: c.Transport, Client: g.exi, Addr: g.cfg.Server.EXIPort}
		}
	}
	if g.opt.Session != nil {
		g.opt.Session(&c)
	}
	return xmpp.NewSession(c)
}
