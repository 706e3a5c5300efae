package peertest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Accounts exist on every server, with the password "pw-" + name.
var Accounts = [...]string{"device", "gateway", "owner", "operator", "reader", "stranger"}

// Options change how a server is set up. The zero value is what the plain
// constructors use.
type Options struct {
	// TLS12 limits the server to TLS 1.2, on which both servers offer SCRAM
	// with channel binding.
	TLS12 bool
	// PlainAllowed lets clients log in without TLS, so that what goes over the
	// wire can be read. Never use it to make a test pass.
	PlainAllowed bool
	// NotAfter is when the server's certificate ends; zero means in a day. A
	// past time gives an expired certificate.
	NotAfter time.Time
	// Names are the DNS names in the certificate; empty means the domain.
	Names []string
	// HashedStore keeps hashed passwords only: Prosody then offers no SASL
	// mechanism but SCRAM-SHA-1. ejabberd ignores it.
	HashedStore bool
	// ClientCerts makes Prosody log accounts in by client certificates of its
	// own authority and in no other way (SASL EXTERNAL). It needs the Debian
	// package prosody-modules. ejabberd ignores it.
	ClientCerts bool
	// ResumeTimeout is how long a broken session can be resumed (XEP-0198);
	// zero means 60 s. Whole seconds.
	ResumeTimeout time.Duration
	// LogDebug writes the server's log at its most detailed level.
	LogDebug bool
	// Register lets clients make accounts (XEP-0077).
	Register bool
	// Components are domains that external components may serve (XEP-0114),
	// with the secret ComponentSecret at Server.Component.
	Components []string
}

// ComponentSecret is what components share with a server.
const ComponentSecret = "cs-0123456789abcdef"

// Server is a running server. Its methods are for the goroutine of the test
// that started it; the fields do not change once it runs.
type Server struct {
	Name      string // "prosody" or "ejabberd"
	Domain    string // what comes after the @ of its accounts
	Addr      string // host:port for STARTTLS
	DirectTLS string // host:port for direct TLS (XEP-0368)
	Component string // host:port for components, where Options name some
	CAFile    string // PEM file of the authority that signed its certificate
	CA        *CA
	Dir       string // configuration, data and logs
	LogFile   string

	tb      testing.TB
	opt     Options
	impl    implementation
	process *process
}

// implementation is what differs between the servers.
type implementation interface {
	// configure picks ports, writes all files and fills the addresses in.
	configure(s *Server) error
	command(s *Server) (*exec.Cmd, error)
	// ready says whether the running server serves the test.
	ready(s *Server) bool
	// populate makes the accounts; it runs once, after the first start.
	populate(s *Server) error
	addAccount(s *Server, name, password string) error
	befriend(s *Server, a, b string) error
}

// Prosody starts Prosody with Nagle's algorithm off.
func Prosody(tb testing.TB) *Server { return ProsodyWith(tb, Options{}) }

// Ejabberd starts ejabberd.
func Ejabberd(tb testing.TB) *Server { return EjabberdWith(tb, Options{}) }

// ProsodyWith is Prosody with options.
func ProsodyWith(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.ClientCerts {
		if _, err := os.Stat(clientCertModule); err != nil {
			Missing(tb, "Prosody's module for logins by certificate", "prosody-modules")
		}
	}
	return start(tb, "prosody", o, &prosody{})
}

// EjabberdWith is Ejabberd with options.
func EjabberdWith(tb testing.TB, o Options) *Server {
	tb.Helper()
	return start(tb, "ejabberd", o, &ejabberd{})
}

// Each runs f as a parallel sub-test with each of the servers: they wait more
// than they compute. The sub-tests run when the caller's test function has
// returned.
func Each(t *testing.T, f func(t *testing.T, s *Server)) { EachWith(t, Options{}, f) }

// EachWith is Each with options.
func EachWith(t *testing.T, o Options, f func(t *testing.T, s *Server)) {
	each(t, o, func(t *testing.T, start func() *Server) {
		t.Parallel()
		f(t, start())
	})
}

// EachInTurn is EachWith one after the other, for what is measured.
func EachInTurn(t *testing.T, o Options, f func(t *testing.T, s *Server)) {
	each(t, o, func(t *testing.T, start func() *Server) { f(t, start()) })
}

func each(t *testing.T, o Options, run func(t *testing.T, start func() *Server)) {
	t.Run("prosody", func(t *testing.T) { run(t, func() *Server { return ProsodyWith(t, o) }) })
	t.Run("ejabberd", func(t *testing.T) { run(t, func() *Server { return EjabberdWith(t, o) }) })
}

// Missing skips the test because something it needs is not installed, or
// fails it when REQUIRE_PEERS=1.
func Missing(tb testing.TB, what, debianPackage string) {
	tb.Helper()
	msg := fmt.Sprintf("%s is not installed (Debian package %s; make test as root installs it)", what, debianPackage)
	if os.Getenv("REQUIRE_PEERS") == "1" {
		tb.Fatal("REQUIRE_PEERS=1: " + msg)
	}
	remember(msg)
	tb.Skip(msg)
}

// remember adds a line to the file named by POSTERN_SKIPPED, from which make
// test says at its end what was not tested.
func remember(msg string) {
	path := os.Getenv("POSTERN_SKIPPED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, "skipped: "+msg)
}

// startTries bounds how often a start is repeated with other ports.
const startTries = 4

func start(tb testing.TB, name string, o Options, impl implementation) *Server {
	tb.Helper()
	if o.ResumeTimeout == 0 {
		o.ResumeTimeout = time.Minute
	}
	s := &Server{Name: name, Domain: name + ".example", Dir: tempDir(tb), tb: tb, opt: o, impl: impl}
	s.LogFile = filepath.Join(s.Dir, name+".log")
	if _, err := impl.command(s); err != nil {
		Missing(tb, name, name)
	}
	if err := s.makeCertificates(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("%s: end of %s\n%s", name, s.LogFile, s.LogTail(60))
		}
	})
	var err error
	for range startTries { // a port may be taken between choosing and using it
		if err = impl.configure(s); err != nil {
			tb.Fatal(err)
		}
		if err = s.launch(); err == nil {
			break
		}
	}
	if err == nil {
		err = impl.populate(s)
	}
	if err != nil {
		tb.Fatalf("%v\n%s", err, s.LogTail(60))
	}
	return s
}

// tempDir makes a directory with a short path: the paths of sockets in it are
// limited to about 100 octets.
func tempDir(tb testing.TB) string {
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *Server) makeCertificates() error {
	ca, err := NewCA()
	if err != nil {
		return err
	}
	s.CA = ca
	s.CAFile = filepath.Join(s.Dir, "ca.pem")
	if err := os.WriteFile(s.CAFile, ca.PEM(), 0o644); err != nil {
		return err
	}
	return s.Certify(s.opt.NotAfter, s.opt.Names...)
}

// Certify replaces the server's certificate on disk. A running server uses it
// after a restart. A zero notAfter means in a day, no names the domain.
func (s *Server) Certify(notAfter time.Time, names ...string) error {
	if len(names) == 0 {
		names = []string{s.Domain, "*." + s.Domain}
	}
	cert, key, err := s.CA.Issue(Leaf{NotAfter: notAfter, Names: names})
	if err != nil {
		return err
	}
	all := append(append([]byte{}, cert...), s.CA.PEM()...)
	files := map[string][]byte{"server.pem": all, "server.key": key, "server.all.pem": append(all[:len(all):len(all)], key...)}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// JID returns the bare address of an account, as text.
func (s *Server) JID(account string) string { return account + "@" + s.Domain }

// Password returns the password that an account of Accounts has.
func (s *Server) Password(account string) string { return "pw-" + account }

// PasswordFile writes an account's password to a file and returns its path.
func (s *Server) PasswordFile(account string) string {
	s.tb.Helper()
	path := filepath.Join(s.Dir, account+".password")
	if err := os.WriteFile(path, []byte(s.Password(account)+"\n"), 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return path
}

// Pool holds the server's authority.
func (s *Server) Pool() *x509.CertPool { return s.CA.Pool() }

// TLSConfig is what a client of the server uses.
func (s *Server) TLSConfig() *tls.Config {
	return &tls.Config{ServerName: s.Domain, RootCAs: s.Pool(), MinVersion: tls.VersionTLS12}
}

// AddAccount makes another account, or changes its password.
func (s *Server) AddAccount(name, password string) {
	s.tb.Helper()
	if err := s.impl.addAccount(s, name, password); err != nil {
		s.tb.Fatal(err)
	}
}

// Befriend subscribes two accounts to each other's presence, as if both had
// asked and agreed. Sessions that are already open may not notice.
func (s *Server) Befriend(a, b string) {
	s.tb.Helper()
	if err := s.impl.befriend(s, a, b); err != nil {
		s.tb.Fatal(err)
	}
}

// Running reports whether the server's process is alive.
func (s *Server) Running() bool { return s.process != nil && s.process.alive() }

// Start starts a stopped server again, at the same addresses and with the
// same data.
func (s *Server) Start() {
	s.tb.Helper()
	if s.Running() {
		return
	}
	if err := s.launch(); err != nil {
		s.tb.Fatalf("%v\n%s", err, s.LogTail(60))
	}
}

// Stop asks the server to end, which closes its streams in an orderly way,
// and waits for it.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.stop()
	}
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.kill()
	}
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// PID is the process of a running server.
func (s *Server) PID() int { return s.process.pid() }

// MemoryKB returns the resident memory of the server's process.
func (s *Server) MemoryKB() int {
	if !s.Running() {
		return 0
	}
	return residentKB(s.process.pid())
}

// LogTail returns the last lines of the server's log, or of its output when it
// did not get as far as logging.
func (s *Server) LogTail(lines int) string {
	data, err := os.ReadFile(s.LogFile)
	if err != nil || len(data) == 0 {
		if data, err = os.ReadFile(s.outputFile()); err != nil {
			return err.Error()
		}
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

func (s *Server) outputFile() string { return filepath.Join(s.Dir, s.Name+".out") }

// launch starts the process and waits until it serves.
func (s *Server) launch() error {
	cmd, err := s.impl.command(s)
	if err != nil {
		return err
	}
	if s.process, err = startProcess(cmd, s.outputFile()); err != nil {
		return fmt.Errorf("peertest: start %s: %w", s.Name, err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if !s.process.alive() {
			return fmt.Errorf("peertest: %s ended at once", s.Name)
		}
		if s.impl.ready(s) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.process.kill()
	return fmt.Errorf("peertest: %s did not open %s within 30 s", s.Name, s.Addr)
}
