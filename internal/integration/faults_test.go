package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// backOnline is how long a gateway may take to be back after a loss: its first
// attempt comes within 10 s, its second within 3 s more.
const backOnline = 40 * time.Second

// slowNodes has a meter that never answers, so that a read-out lasts, and the
// pump.
const slowNodes = `
  - {id: slow, kind: modbus, bus: dead, unit: 7, interval: 1h, read_timeout: 6s, registers: [{name: x, address: 0}]}
  - {id: pump, kind: relay, line: "panel:OUT1", simulate: true}
`

// TestServerDiesInTheMiddleOfARead: the reader is told at once, the gateway
// comes back by itself and is read again.
func TestServerDiesInTheMiddleOfARead(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		line := newSerialLine(t)
		g := startGateway(t, s, gatewayOptions{nodes: slowNodes, buses: fmt.Sprintf(
			"\n  dead: {type: modbus, transport: rtu, timeout: 3s, retries: 1, serial: {port: %s}}\n", line.a)})
		o := newOperator(t).login(t, s, "owner")
		g.waitPhase("online", 10*time.Second)

		ended := make(chan outcome, 1)
		go func() { ended <- o.postern(t, "read", s.JID("gateway")+"/postern", "--timeout", "30s") }()
		time.Sleep(700 * time.Millisecond)
		s.Kill()
		select {
		case r := <-ended:
			if r.code != cli.ExitUnreachable {
				t.Errorf("exit code %d: %s", r.code, r.err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the reader hangs")
		}
		s.Start()
		g.waitPhase("online", backOnline)
		if r := o.postern(t, "read", s.JID("gateway"), "--node", "pump"); r.code != cli.ExitOK {
			t.Errorf("after the restart: exit code %d: %s", r.code, r.err)
		}
		g.unmoved()
	})
}

// TestLinkIsCut: the session is resumed, what was sent meanwhile arrives, and
// nothing leaks.
func TestLinkIsCut(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		proxy := peertest.NewProxy(t, s.Addr)
		g := startGateway(t, s, gatewayOptions{addr: proxy.Addr})
		o := newOperator(t).login(t, s, "owner")
		gw := s.JID("gateway")
		if r := o.postern(t, "read", gw); r.code != cli.ExitOK {
			t.Fatalf("exit code %d: %s", r.code, r.err)
		}
		before, err := g.status()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			proxy.Cut()
			g.waitPhase("waiting", 5*time.Second)
			// The server keeps the request until the gateway is back.
			if r := o.postern(t, "read", gw+"/postern", "--timeout", "40s"); r.code != cli.ExitOK {
				t.Errorf("read across the cut: exit code %d: %s", r.code, r.err)
			}
		}
		after := g.waitPhase("online", backOnline)
		if c := after.Gateway.Connection; c.Resumes != 2 {
			t.Errorf("%d of %d connections resumed the session", c.Resumes, c.Connects)
		}
		if a, b := after.Memory.Goroutines, before.Memory.Goroutines; a > b+2 {
			t.Errorf("%d goroutines, %d before the cuts", a, b)
		}
		g.unmoved()
	})
}

// TestLinkFreezes: a link that stands still for a while loses nothing; a
// gateway that finds it frozen still ends when asked.
func TestLinkFreezes(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	proxy := peertest.NewProxy(t, s.Addr)
	g := startGateway(t, s, gatewayOptions{addr: proxy.Addr})
	o := newOperator(t).login(t, s, "owner")
	g.waitPhase("online", 10*time.Second)

	proxy.Freeze()
	ended := make(chan outcome, 1)
	go func() { ended <- o.postern(t, "read", s.JID("gateway")+"/postern", "--timeout", "30s") }()
	short := o.postern(t, "read", s.JID("gateway")+"/postern", "--timeout", "1s")
	if short.code != cli.ExitTimeout || short.took > 4*time.Second {
		t.Errorf("read over the frozen link: exit code %d after %v: %s", short.code, short.took, short.err)
	}
	proxy.Resume()
	if r := <-ended; r.code != cli.ExitOK {
		t.Errorf("the patient reader: exit code %d: %s", r.code, r.err)
	}
	if st := g.waitPhase("online", 5*time.Second); st.Gateway.Connection.Connects != 1 {
		t.Errorf("%d connections for a link that only stood still", st.Gateway.Connection.Connects)
	}
	g.unmoved()

	proxy.Freeze()
	if took := g.stop(); took > 3*time.Second {
		t.Errorf("ending over a frozen link took %v", took)
	}
	g.start() // the login freezes
	g.waitPhase("connecting", 5*time.Second)
	if took := g.stop(); took > 3*time.Second {
		t.Errorf("ending in a frozen login took %v", took)
	}
}

// TestWrongPassword: one attempt, then quiet; the status and the log say what
// to do; with the right password a restart gets it online.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		proxy := peertest.NewProxy(t, s.Addr)
		g := startGateway(t, s, gatewayOptions{addr: proxy.Addr, password: "wrong"})
		st := g.waitPhase("held", 15*time.Second)
		if st.Healthy || !strings.Contains(strings.Join(st.Problems, "\n")+st.Gateway.Connection.Error, "password") {
			t.Errorf("the status says %+v", st)
		}
		if !strings.Contains(g.log.String(), "password") {
			t.Errorf("the log does not speak of the password")
		}
		time.Sleep(15 * time.Second)
		if n := proxy.Accepted(); n > 2 {
			t.Errorf("%d connections with a wrong password", n)
		}
		if strings.Contains(g.log.String(), "=wrong") {
			t.Error("the password is in the log")
		}
		g.write(s, gatewayOptions{addr: proxy.Addr})
		g.stop()
		g.start()
		g.waitPhase("online", 20*time.Second)
	})
}

// TestExpiredCertificate: nothing is sent to a server whose certificate is no
// longer valid; with a new one the gateway comes by itself.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	o := peertest.Options{NotAfter: time.Now().Add(-time.Hour)}
	peertest.EachWith(t, o, func(t *testing.T, s *peertest.Server) {
		proxy := peertest.NewProxy(t, s.Addr)
		g := startGateway(t, s, gatewayOptions{addr: proxy.Addr})
		var st status
		eventually(t, 15*time.Second, func() (err error) {
			if st, err = g.status(); err == nil && !strings.Contains(st.Gateway.Connection.Error, "expired") {
				err = fmt.Errorf("the status says %q", st.Gateway.Connection.Error)
			}
			return err
		})
		if st.Healthy {
			t.Error("the status says it is healthy")
		}
		op := newOperator(t)
		r := op.postern(t, "login", s.JID("owner"), "--server", s.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile("owner"))
		if r.code != cli.ExitUnreachable || !strings.Contains(r.err, "expired") {
			t.Errorf("login: exit code %d: %s", r.code, r.err)
		}
		if log := s.LogTail(1000); strings.Contains(log, "Authenticated as") || strings.Contains(log, "Accepted c2s SCRAM") {
			t.Errorf("somebody logged in:\n%s", log)
		}
		time.Sleep(5 * time.Second)
		if n := proxy.Accepted(); n > 4 {
			t.Errorf("%d connections to a server with an expired certificate", n)
		}
		if err := s.Certify(time.Time{}); err != nil {
			t.Fatal(err)
		}
		s.Restart()
		g.waitPhase("online", 2*backOnline)
	})
}

// TestUnknownAuthority: the same for a certificate that nobody vouches for.
func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	ca, err := peertest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other := *s
	other.CAFile = filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other.CAFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, &other, gatewayOptions{})
	eventually(t, 15*time.Second, func() error {
		st, err := g.status()
		if err == nil && !strings.Contains(st.Gateway.Connection.Error, "authority") {
			err = fmt.Errorf("the status says %q", st.Gateway.Connection.Error)
		}
		return err
	})
	if log := s.LogTail(1000); strings.Contains(log, "Authenticated as") {
		t.Errorf("somebody logged in:\n%s", log)
	}
}

// TestRefusedConnections: a server that is away is tried again, with pauses.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	proxy := peertest.NewProxy(t, s.Addr)
	proxy.Refuse()
	g := startGateway(t, s, gatewayOptions{addr: proxy.Addr})
	time.Sleep(20 * time.Second)
	if n := proxy.Accepted(); n < 2 || n > 8 {
		t.Errorf("%d connections in 20 s", n)
	}
	proxy.Resume()
	g.waitPhase("online", backOnline)
}

// TestHostileStanzasThroughTheServer: what a stranger can get past a real
// server neither stops the gateway nor moves the pump.
func TestHostileStanzasThroughTheServer(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		g := startGateway(t, s, gatewayOptions{})
		g.waitPhase("online", 10*time.Second)
		full := s.JID("gateway") + "/postern"
		set := "<set xmlns='urn:xmpp:iot:control'><node nodeId='pump'/><boolean name='state' value='true'/></set>"
		big := strings.Repeat("x", 150_000)
		for _, tc := range []struct{ name, xml string }{
			{"forged from", "<iq type='set' id='a' from='" + s.JID("owner") + "/x' to='" + full + "'>" + set + "</iq>"},
			{"long message", "<message to='" + full + "'><body>" + big + "</body></message>"},
			{"long message to the account", "<message to='" + s.JID("gateway") + "'><body>" + big + "</body></message>"},
			{"long request", "<iq type='get' id='b' to='" + full + "'><req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true' serviceToken='" + big + "'/></iq>"},
			{"deep request", "<iq type='get' id='c' to='" + full + "'>" + strings.Repeat("<a xmlns='urn:example:a'>", 1000) + strings.Repeat("</a>", 1000) + "</iq>"},
			{"set in a message", "<message to='" + full + "'>" + set + "</message>"},
			{"set in a groupchat message", "<message type='groupchat' to='" + full + "'>" + set + "</message>"},
		} {
			c := dialStranger(t, s)
			c.send(tc.xml)
			c.send("<presence/>") // the server has read what came before
			c.drain(300 * time.Millisecond)
			c.c.Close()
		}
		g.waitPhase("online", 2*backOnline)
		o := newOperator(t).login(t, s, "owner")
		eventually(t, 2*backOnline, func() error {
			if r := o.postern(t, "read", full, "--node", "pump", "--timeout", "5s"); r.code != cli.ExitOK {
				return fmt.Errorf("exit code %d: %s", r.code, r.err)
			}
			return nil
		})
		st, err := g.status()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d connections in all", st.Gateway.Connection.Connects)
		if st.Gateway.Connection.Connects > 8 {
			t.Errorf("%d connections: a stored message throws the gateway off again and again", st.Gateway.Connection.Connects)
		}
		g.unmoved()
	})
}
