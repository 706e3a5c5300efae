package peertest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Postgres is a PostgreSQL server of its own, from Debian's packages. Its
// superuser is "postern", who needs no password on the socket, and
// PostgresPassword on loopback. It is stopped by Stop. Its methods are for one
// goroutine.
type Postgres struct {
	Dir  string // with data, log and socket
	Port int    // on loopback, and in the socket's name
	Addr string // host:port on loopback

	bin     string
	cred    *syscall.Credential // nil: that of the test
	process *process
}

// PostgresPassword is the password of the user "postern" over TCP.
const PostgresPassword = "pg-0123456789abcdef"

// ErrNoPostgres says that PostgreSQL is not installed.
var ErrNoPostgres = errors.New("peertest: PostgreSQL is not installed")

// NewPostgres starts a server that ends with the test, which is skipped where
// PostgreSQL is not installed.
func NewPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	p, err := StartPostgres()
	if errors.Is(err, ErrNoPostgres) {
		Missing(tb, "PostgreSQL", "postgresql")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("the end of PostgreSQL's log:\n%s", p.LogTail(40))
		}
		os.RemoveAll(p.Dir)
	})
	return p
}

// StartPostgres is NewPostgres for a server that several tests share; Stop and
// removing Dir are the caller's.
func StartPostgres() (*Postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, ErrNoPostgres
	}
	sort.Slice(found, func(i, j int) bool { return debianVersion(found[i]) < debianVersion(found[j]) })
	p := &Postgres{bin: filepath.Dir(found[len(found)-1])}
	if p.Dir, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	if err = p.initialise(); err == nil {
		err = p.Start()
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.LogTail(20))
		p.Stop()
		os.RemoveAll(p.Dir)
		return nil, err
	}
	return p, nil
}

// debianVersion is the 15 of /usr/lib/postgresql/15/bin/initdb.
func debianVersion(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

func (p *Postgres) initialise() error {
	if err := p.dropRoot(); err != nil {
		return err
	}
	ports, err := FreePorts(1)
	if err != nil {
		return err
	}
	p.Port, p.Addr = ports[0], loopback(ports[0])
	password := filepath.Join(p.Dir, "password")
	if err := os.WriteFile(password, []byte(PostgresPassword+"\n"), 0o600); err != nil {
		return err
	}
	if err := p.own(password); err != nil {
		return err
	}
	cmd := p.command("initdb", "-D", p.data(), "-U", "postern", "--auth-local=trust", "--auth-host=scram-sha-256",
		"--pwfile="+password, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("peertest: initdb: %w: %s", err, out)
	}
	return nil
}

// dropRoot chooses whom PostgreSQL, which does not serve root, is run as.
func (p *Postgres) dropRoot() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return fmt.Errorf("peertest: there is no user whom PostgreSQL could run as: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return p.own(p.Dir)
}

// own gives a file to the server's user.
func (p *Postgres) own(path string) error {
	if p.cred == nil {
		return nil
	}
	return os.Chown(path, int(p.cred.Uid), int(p.cred.Gid))
}

func (p *Postgres) data() string { return filepath.Join(p.Dir, "data") }

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred}
	return cmd
}

// Start starts a server that was stopped, with the same data at the same
// address. It does not wait for the disk, so a crash of the machine would lose
// data; one of the server does not. After Kill the processes of its sessions
// need a moment to end, and until then it refuses to start.
func (p *Postgres) Start() error {
	if p.process != nil && p.process.alive() {
		return nil
	}
	err := p.start()
	for end := time.Now().Add(10 * time.Second); errors.Is(err, errEnded) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = p.start()
	}
	return err
}

var errEnded = errors.New("peertest: PostgreSQL ended at once")

func (p *Postgres) start() error {
	cmd := p.command("postgres", "-D", p.data(), "-k", p.Dir, "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port),
		"-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=32MB", "-c", "dynamic_shared_memory_type=mmap",
		"-c", "unix_socket_permissions=0777", "-c", "log_min_messages=warning")
	var err error
	if p.process, err = startProcess(cmd, p.logFile()); err != nil {
		return fmt.Errorf("peertest: start PostgreSQL: %w", err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !p.process.alive() {
			return errEnded
		}
		if p.SQL("postgres", "select 1") == nil {
			return nil
		}
	}
	p.process.kill()
	return errors.New("peertest: PostgreSQL did not serve within 30 s")
}

// SQL runs statements in a database by psql, as an administrator would.
func (p *Postgres) SQL(database, statements string) error {
	_, err := p.Query(database, statements)
	return err
}

// Query is SQL for statements that give something: columns divided by |, rows
// by line ends.
func (p *Postgres) Query(database, statements string) (string, error) {
	cmd := p.command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", p.Dir, "-p", strconv.Itoa(p.Port), "-U", "postern", "-d", database, "-c", statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("peertest: psql: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// URL is the address of a database on the socket.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://postern@/%s?host=%s&port=%d", database, url.QueryEscape(p.Dir), p.Port)
}

// Stop ends the server and all its connections in order.
func (p *Postgres) Stop() {
	if p.process == nil {
		return
	}
	p.process.signal(syscall.SIGINT) // SIGTERM would wait for the clients
	select {
	case <-p.process.done:
	case <-time.After(10 * time.Second):
		p.process.kill()
	}
}

// Kill ends the server as a crash would. Its children notice that and end too;
// the data is recovered at the next start.
func (p *Postgres) Kill() {
	if p.process != nil {
		p.process.kill()
	}
}

// UseTLS restarts the server with a certificate for name, and returns the file
// of the authority that signed it.
func (p *Postgres) UseTLS(name string) (caFile string, err error) {
	ca, err := NewCA()
	if err != nil {
		return "", err
	}
	cert, key, err := ca.Issue(Leaf{Names: []string{name}})
	if err != nil {
		return "", err
	}
	caFile = filepath.Join(p.Dir, "ca.pem")
	for path, data := range map[string][]byte{caFile: ca.PEM(), filepath.Join(p.data(), "server.crt"): cert, filepath.Join(p.data(), "server.key"): key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", err
		}
		if err := p.own(path); err != nil {
			return "", err
		}
	}
	if err := p.SQL("postgres", "alter system set ssl = on"); err != nil {
		return "", err
	}
	p.Stop()
	return caFile, p.Start()
}

func (p *Postgres) logFile() string { return filepath.Join(p.Dir, "postgres.log") }

// LogTail returns the last lines of the server's log.
func (p *Postgres) LogTail(lines int) string {
	data, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// PostgresPool is a server that the tests of a package share. The zero value
// is ready; the server starts when the first test wants a database.
type PostgresPool struct {
	once   sync.Once
	server *Postgres
	err    error
	n      atomic.Int64
}

// Database makes a database that is there until the test ends.
func (p *PostgresPool) Database(tb testing.TB) (server *Postgres, name string) {
	tb.Helper()
	p.once.Do(func() { p.server, p.err = StartPostgres() })
	if errors.Is(p.err, ErrNoPostgres) {
		Missing(tb, "PostgreSQL", "postgresql")
	}
	if p.err != nil {
		tb.Fatal(p.err)
	}
	name = "test" + strconv.FormatInt(p.n.Add(1), 10)
	if err := p.server.SQL("postgres", "create database "+name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.server.SQL("postgres", "drop database "+name+" with (force)"); err != nil {
			tb.Error(err)
		}
	})
	return p.server, name
}

// Main runs the tests of a package and stops the server; TestMain calls it.
func (p *PostgresPool) Main(m *testing.M) (code int) {
	code = m.Run()
	if p.server != nil {
		p.server.Stop()
		os.RemoveAll(p.server.Dir)
	}
	return code
}
