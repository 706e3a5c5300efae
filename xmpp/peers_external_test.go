package xmpp_test

import (
	"testing"

	"postern/internal/peertest"
	"postern/xmpp"
)

// A client certificate with one address logs in without any name (authzid "=");
// with a stranger's address it does not.
func TestCoreR97_PeerEXTERNAL(t *testing.T) {
	srv := peertest.ProsodyWith(t, peertest.Options{ClientCerts: true})
	for _, mode := range []xmpp.TLSMode{xmpp.TLSStart, xmpp.TLSDirect} {
		cert, err := srv.CA.KeyPair(peertest.Leaf{XmppAddr: srv.JID("device")})
		if err != nil {
			t.Fatal(err)
		}
		cfg := peerConfig(srv, "device")
		cfg.Password, cfg.ClientCert = nil, &cert
		if cfg.TLS = mode; mode == xmpp.TLSDirect {
			cfg.Addr = srv.DirectTLS
		}
		s := runPeer(t, cfg)
		if st := s.State(); st.Mechanism != "EXTERNAL" || st.JID.Bare().String() != srv.JID("device") {
			t.Errorf("state %+v", st)
		}
	}
	other, err := peertest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.KeyPair(peertest.Leaf{XmppAddr: srv.JID("device")})
	if err != nil {
		t.Fatal(err)
	}
	cfg := peerConfig(srv, "device")
	cfg.Password, cfg.ClientCert, cfg.NoRetry = nil, &forged, true
	session, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Run(t.Context()); err == nil {
		t.Error("a certificate of another authority logged in")
	} else {
		t.Log(err)
	}
}
