package xmpp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// once runs a session that does not retry and returns Run's error; script
// plays the server.
func once(t *testing.T, o xmpptest.Options, change func(*xmpp.Config), script func(*xmpptest.Server)) error {
	t.Helper()
	srv := xmpptest.NewServer(t, o)
	cfg := srv.Config()
	cfg.NoRetry = true
	if change != nil {
		change(&cfg)
	}
	s, err := xmpp.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	script(srv)
	return <-done
}

func noPassword(t *testing.T) func(*xmpp.Config) {
	return func(c *xmpp.Config) {
		c.Password = func(context.Context) (string, error) {
			t.Error("the password was asked for")
			return "", nil
		}
	}
}

func TestCoreR20_AddressNotInTheClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		xmpptest.Start(t, srv.Config())
		p := srv.Accept()
		if h := p.Open(); h.From.String() != "" || h.To.String() != "example.org" || h.Lang != "en" {
			t.Errorf("before TLS: %+v", h)
		}
		p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
		p.Expect("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.Handshake()
		if h := p.Open(); h.From.String() != "thing@example.org" {
			t.Errorf("behind TLS: %+v", h)
		}
		p.Cut()
	})
}

// Features from before TLS, with mechanisms an attacker put in, are forgotten.
func TestCoreR28_FeaturesBeforeTLSAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		cfg := srv.Config()
		cfg.AllowPlain = true
		xmpptest.Start(t, cfg)
		p := srv.Accept()
		p.Open()
		p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" +
			"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
		p.Expect("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		p.Handshake()
		p.Open()
		p.OfferLogin()
		auth := p.Read()
		if m, _ := auth.Root().Attr(exi.N("", "mechanism")); m.String() != "SCRAM-SHA-256" {
			t.Errorf("the client chose %s", m)
		}
		p.Cut()
	})
}

func TestCoreR53_NoLoginWithoutTLS(t *testing.T) {
	for name, answer := range map[string]string{
		"stream error": "<stream:error><unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
		"failure":      "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>",
		"nonsense":     "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := once(t, xmpptest.Options{}, noPassword(t), func(srv *xmpptest.Server) {
					p := srv.Accept()
					p.Open()
					p.OfferLogin()
					p.Expect("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") // tried although not offered
					p.Send(answer)
					p.Pump()
					_, _ = p.Next()
				})
				if err == nil {
					t.Error("no error")
				}
				t.Log(err)
			})
		})
	}
}

func TestCoreR58_SessionRefusesPipelinedOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := once(t, xmpptest.Options{}, noPassword(t), func(srv *xmpptest.Server) {
			p := srv.Accept()
			p.Open()
			p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
			p.Read()
			p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features>")
			p.Pump()
			_, _ = p.Next()
		})
		if err == nil || !strings.Contains(err.Error(), "unprotected") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCoreR59R60R61_Certificates(t *testing.T) {
	san := func(oid asn1.ObjectIdentifier, tag int, text string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			inner, _ := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(text)})
			id, _ := asn1.Marshal(oid)
			wrapped, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner})
			other, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(id, wrapped...)})
			all, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: other})
			c.DNSNames = nil
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: all}}
		}
	}
	srvID := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
	xmppAddr := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	names := func(n ...string) func(*x509.Certificate) { return func(c *x509.Certificate) { c.DNSNames = n } }
	for _, tt := range []struct {
		name string
		o    xmpptest.Options
		ok   bool
		err  string
	}{
		{"DNS name", xmpptest.Options{}, true, ""},
		{"other name", xmpptest.Options{Certificate: names("other.example")}, false, "not example.org"},
		{"name of the host instead of the domain", xmpptest.Options{Certificate: names("server.example")}, false, "not example.org"},
		{"wildcard for one label", xmpptest.Options{Certificate: names("*.org")}, true, ""},
		{"SRV-ID", xmpptest.Options{Certificate: san(srvID, asn1.TagIA5String, "_xmpp-client.example.org")}, true, ""},
		{"SRV-ID of servers", xmpptest.Options{Certificate: san(srvID, asn1.TagIA5String, "_xmpp-server.example.org")}, false, ""},
		{"SRV-ID of another domain", xmpptest.Options{Certificate: san(srvID, asn1.TagIA5String, "_xmpp-client.example.com")}, false, ""},
		{"XmppAddr", xmpptest.Options{Certificate: san(xmppAddr, asn1.TagUTF8String, "example.org")}, true, ""},
		{"XmppAddr of an account", xmpptest.Options{Certificate: san(xmppAddr, asn1.TagUTF8String, "thing@example.org")}, false, ""},
		{"common name only", xmpptest.Options{Certificate: func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "example.org" }}, false, ""},
		{"expired", xmpptest.Options{Certificate: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }}, false, "expired"},
		{"not yet valid", xmpptest.Options{Certificate: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }}, false, "expired or is not yet valid"},
		{"for clients only", xmpptest.Options{Certificate: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }}, false, "key usage"},
		{"TLS 1.1", xmpptest.Options{TLS: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }}, false, "protocol version"},
		{"TLS 1.2", xmpptest.Options{TLS: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reached bool
				err := once(t, tt.o, func(c *xmpp.Config) {
					c.Password = func(context.Context) (string, error) { return "", errors.New("stop here") }
				}, func(srv *xmpptest.Server) {
					p := srv.Accept()
					p.Open()
					p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
					p.Read()
					p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
					if p.TryHandshake() == nil && p.TryOpen() == nil {
						reached = true
						p.OfferLogin()
						_, _ = p.Next()
					}
					p.Cut()
				})
				if reached != tt.ok || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("the login is reached: %v; %v", reached, err)
				}
				var bad *xmpp.CertError
				if errors.As(err, &bad) == tt.ok && tt.name != "TLS 1.1" {
					t.Errorf("CertError: %v", err)
				}
			})
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := once(t, xmpptest.Options{}, func(c *xmpp.Config) { c.CAs = x509.NewCertPool() }, func(srv *xmpptest.Server) {
				p := srv.Accept()
				p.Open()
				p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
				p.Read()
				p.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
				_ = p.TryHandshake()
				p.Cut()
			})
			var bad *xmpp.CertError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), "private CA") {
				t.Errorf("error %v", err)
			}
		})
	})
}

// toLogin plays the server up to the mechanisms.
func toLogin(srv *xmpptest.Server) *xmpptest.Peer {
	p := srv.Accept()
	p.StartTLS()
	p.Open()
	p.OfferLogin()
	return p
}

func TestCoreR18_WrongPasswordStopsHammering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Password: "another"})
		s := xmpptest.Start(t, srv.Config())
		fail := func() {
			p := toLogin(srv)
			if p.SCRAM(p.Read()) {
				t.Error("logged in")
			}
			p.Pump()
			if _, err := p.Next(); !errors.Is(err, xmpp.ErrStreamEnd) {
				t.Errorf("CoreR29: the client ends with %v", err)
			}
			p.Cut()
		}
		fail()
		began := time.Now()
		synctest.Wait()
		st := s.State()
		var refused *xmpp.AuthError
		if st.Phase != xmpp.Held || !errors.As(st.Err, &refused) || refused.Condition != "not-authorized" {
			t.Errorf("state %+v", st)
		}
		fail()
		if d := time.Since(began); d < 42*time.Minute || d > 78*time.Minute {
			t.Errorf("D6: tries again after %v", d)
		}
		if n := srv.Dials(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestCoreR68R69R70_SASLFailures(t *testing.T) {
	failure := func(c string) string {
		return "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><" + c + "/><text xml:lang='en'>so it is</text></failure>"
	}
	for _, tt := range []struct{ name, answer, err string }{
		{"temporary", failure("temporary-auth-failure"), "temporary-auth-failure (so it is)"},
		{"disabled", failure("account-disabled"), "account-disabled"},
		{"CoreR68 bad base64", "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>!!!</challenge>", "base64"},
		{"CoreR69 success at once", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "does not prove"},
		{"CoreR69 success with nonsense", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dj1BQUFB</success>", "does not prove"},
		{"CoreR78", "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + "cj1hLHM9YixpPTEwMDAwMDAwMDA=" + "</challenge>", "nonce"},
		{"something else", "<message/>", "SASL answer expected"},
		{"stream error", "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "policy-violation"},
		{"end", "</stream:stream>", "closed the stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
					p := toLogin(srv)
					auth := p.Read().Root()
					if got, _ := base64.StdEncoding.DecodeString(auth.Text().String()); !strings.HasPrefix(string(got), "y,,n=thing,r=") {
						t.Errorf("CoreR70, CoreR87: %s", got)
					}
					p.Send(tt.answer)
					p.Pump()
					_, _ = p.Next()
				})
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestOtherMechanismAfterInvalidMechanism(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Mechanisms: []string{"SCRAM-SHA-512", "SCRAM-SHA-1"}})
		s := xmpptest.Start(t, srv.Config())
		p := toLogin(srv)
		p.Read()
		p.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>")
		if !p.SCRAM(p.Read()) {
			t.Fatal("the second try failed")
		}
		p.OfferSession()
		p.Bind()
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Fatal(err)
		}
		if m := s.State().Mechanism; m != "SCRAM-SHA-1" {
			t.Errorf("mechanism %s", m)
		}
	})
}

func TestCoreR65_PlainOnTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{Mechanisms: []string{"PLAIN"}})
		cfg := srv.Config()
		cfg.AllowPlain = true
		xmpptest.Start(t, cfg)
		p := toLogin(srv)
		p.Expect("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHRoaW5nAHBlbmNpbA==</auth>")
		p.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
		p.OfferSession()
		p.Bind()
	})
}

func TestCoreR97_External(t *testing.T) {
	for _, tt := range []struct {
		addrs int
		want  string
	}{{1, "="}, {0, "dGhpbmdAZXhhbXBsZS5vcmc="}, {2, "dGhpbmdAZXhhbXBsZS5vcmc="}} {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{Mechanisms: []string{"EXTERNAL", "SCRAM-SHA-1"},
				TLS: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }})
			cfg := srv.Config()
			cfg.Password = nil
			cfg.ClientCert = xmpptest.ClientCertificate(t, strings.Fields(strings.Repeat("thing@example.org ", tt.addrs))...)
			s := xmpptest.Start(t, cfg)
			p := toLogin(srv)
			p.Expect("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>" + tt.want + "</auth>")
			if n := len(p.TLS().PeerCertificates); n == 0 {
				t.Error("no client certificate")
			}
			p.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
			p.OfferSession()
			p.Bind()
			if err := s.WaitOnline(context.Background()); err != nil || s.State().Mechanism != "EXTERNAL" {
				t.Error(err, s.State())
			}
		})
	}
}

func TestCoreR26R27_Features(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, _ := online(t, xmpptest.Options{
			BeforeLogin: "<x xmlns='urn:example:unknown'><optional/></x>",
			AfterLogin:  "<ver xmlns='urn:xmpp:features:rosterver'/><y xmlns='urn:example:unknown'/>",
		}, nil)
		if !s.HasFeature(exi.N("urn:xmpp:features:rosterver", "ver")) || s.HasFeature(exi.N("urn:x", "y")) {
			t.Error("features")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
			p := srv.Accept()
			p.Open()
			p.Send("<stream:features><odd xmlns='urn:example:must'><required/></odd></stream:features>")
			var se *xmpp.StreamError
			if _, err := p.Next(); !errors.As(err, &se) || se.Condition != "unsupported-feature" || se.Text != "urn:example:must odd" {
				t.Errorf("the client says %v", err)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "unsupported-feature") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCoreR24_OldServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
			p := srv.Accept()
			p.Raw("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='example.org' id='1'><message/>")
		})
		if err == nil || !strings.Contains(err.Error(), "unsupported-version") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCoreR102R104_Bind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{NoSM: true})
		cfg := srv.Config()
		cfg.JID = jid.MustParse("thing@example.org/wish")
		s := xmpptest.Start(t, cfg)
		p := srv.Accept()
		p.Authenticate()
		c := p.Read().Root()
		if got := c.First().First().Text().String(); got != "wish" {
			t.Errorf("asked for %q", got)
		}
		id, _ := c.Attr(exi.N("", "id"))
		p.Send("<iq type='error' id='" + id.String() + "'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		c = p.Read().Root()
		if c.First().First().Valid() {
			t.Errorf("the second try: %s", xmpptest.TextAt(t, c))
		}
		id, _ = c.Attr(exi.N("", "id"))
		p.Send("<message from='a@example.org/b' id='early'/>" +
			"<iq type='result' id='" + id.String() + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>thing@example.org/other</jid></bind></iq>")
		p.Pump()
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := s.LocalAddr().Resourcepart(); got != "other" || s.Stats().In != 1 {
			t.Errorf("%s, %d stanzas", got, s.Stats().In)
		}
		if s.State().Resumable {
			t.Error("resumable without stream management")
		}
	})
}

func TestCoreR106_LegacySession(t *testing.T) {
	for feature, asked := range map[string]bool{
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>":                     true,
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{AfterLogin: feature})
			s := xmpptest.Start(t, srv.Config())
			p := srv.Accept()
			p.Authenticate()
			if asked {
				p.BindAs("")
				d := p.Answer("")
				if d.Root().First().Name() != exi.N(xmpp.NSSession, "session") {
					t.Errorf("got %s", xmpptest.Text(t, d))
				}
				p.Enable()
			} else {
				p.Bind()
			}
			if err := s.WaitOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCoreR31R32R33_Redirects(t *testing.T) {
	redirect := func(p *xmpptest.Peer, to string) {
		p.Open()
		p.Send("<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + to + "</see-other-host></stream:error></stream:stream>")
		p.Cut()
	}
	t.Run("followed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{})
			s := xmpptest.Start(t, srv.Config())
			redirect(srv.Accept(), "[2001:db8::5]:5333")
			p := srv.Login() // the certificate must still be the domain's
			if err := s.WaitOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := srv.Addrs(); strings.Join(got, " ") != "server.example:5222 [2001:db8::5]:5333" {
				t.Errorf("connected to %q", got)
			}
			_ = p
		})
	})
	t.Run("names without a port are looked up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{})
			s := xmpptest.Start(t, srv.Config())
			redirect(srv.Accept(), "other.example")
			redirect(srv.Accept(), "2001:db8::7")
			srv.Login()
			if err := s.WaitOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(srv.Addrs(), " "); got != "server.example:5222 other.example:5222 [2001:db8::7]:5222" {
				t.Errorf("connected to %q", got)
			}
		})
	})
	t.Run("unreachable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := xmpptest.NewServer(t, xmpptest.Options{})
			s := xmpptest.Start(t, srv.Config())
			redirect(srv.Accept(), "dead.example:1")
			srv.Accept().Cut()
			srv.Login() // back at the ordinary place, after a while
			if err := s.WaitOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(srv.Addrs(), " "); got != "server.example:5222 dead.example:1 server.example:5222" {
				t.Errorf("connected to %q", got)
			}
		})
	})
	t.Run("in circles", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
				redirect(srv.Accept(), "a.example:1")
				redirect(srv.Accept(), "b.example:1")
				redirect(srv.Accept(), "a.example:1")
			})
			if err == nil || !strings.Contains(err.Error(), "circles") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
				for _, h := range []string{"a", "b", "c", "d", "e", "f"} {
					redirect(srv.Accept(), h+".example:1")
				}
			})
			if err == nil || !strings.Contains(err.Error(), "circles") {
				t.Errorf("error %v", err)
			}
		})
	})
}

// Direct TLS goes through the same verification.
func TestCoreR14_CertificatesOfDirectTLS(t *testing.T) {
	for name, ok := range map[string]bool{"example.org": true, "other.example": false} {
		synctest.Test(t, func(t *testing.T) {
			err := once(t, xmpptest.Options{Certificate: func(c *x509.Certificate) { c.DNSNames = []string{name} }}, func(c *xmpp.Config) {
				c.TLS = xmpp.TLSDirect
				c.Password = func(context.Context) (string, error) {
					if !ok {
						t.Error("the password was asked for")
					}
					return "", errors.New("stop here")
				}
			}, func(srv *xmpptest.Server) {
				p := srv.Accept()
				if p.TryHandshake() == nil && p.TryOpen() == nil {
					// CoreR10: starttls inside TLS is not taken up.
					p.Send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" +
						"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>")
					_, _ = p.Next()
				}
				p.Cut()
			})
			var bad *xmpp.CertError
			if errors.As(err, &bad) == ok || ok && !strings.Contains(err.Error(), "stop here") {
				t.Errorf("a certificate for %s: %v", name, err)
			}
		})
	}
}

// records is a DNS with SRV records.
type records []*net.SRV

func (r records) LookupSRV(_ context.Context, service, _, _ string) (string, []*net.SRV, error) {
	if service == "xmpps-client" {
		return "", nil, nil
	}
	return "", r, nil
}

func TestCoreR04_NoWayAroundTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{})
		srv.Down(true)
		cfg := srv.Config()
		tr := srv.Transport()
		tr.Resolver = records{{Target: "a.example.", Port: 1, Priority: 1}, {Target: "b.example.", Port: 2, Priority: 2}}
		cfg.Transport, cfg.Addr, cfg.NoRetry = tr, "", true
		s, err := xmpp.NewSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(context.Background()); err == nil {
			t.Error("no error")
		}
		if got := strings.Join(srv.Addrs(), " "); got != "a.example:1 b.example:2" {
			t.Errorf("connected to %s", got)
		}
	})
}

// A second login resumes the TLS session of the first, and verifies the
// certificate all the same.
func TestCoreR17_TLSTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, s, p := online(t, xmpptest.Options{}, nil)
		if p.TLS().DidResume {
			t.Error("the first handshake resumes something")
		}
		p.Cut()
		p, _ = srv.Resume(0)
		if !p.TLS().DidResume {
			t.Error("the second handshake is a full one")
		}
		if err := s.WaitOnline(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := once(t, xmpptest.Options{}, nil, func(srv *xmpptest.Server) {
			p := srv.Accept()
			p.Open()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 31*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestCoreR126R127_CompressionBetweenLoginAndBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmpptest.NewServer(t, xmpptest.Options{AfterLogin: "<compression xmlns='http://jabber.org/features/compress'><method>exi</method></compression>"})
		cfg := srv.Config()
		var seen int
		cfg.Compress = func(_ context.Context, _ xmpp.Conn, features exi.Cursor) (bool, error) {
			if features.Child(exi.N("http://jabber.org/features/compress", "compression")).Valid() {
				seen++
			}
			return true, nil
		}
		s := xmpptest.Start(t, cfg)
		p := srv.Accept()
		p.Authenticate()
		p.OfferSession() // anew, behind the compression
		p.Bind()
		if err := s.WaitOnline(context.Background()); err != nil || seen != 1 {
			t.Error(err, seen)
		}
	})
}
