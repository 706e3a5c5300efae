// Package peer starts Modbus slaves and a master that nobody here wrote, for
// tests: pymodbus, and libmodbus in a small program that is compiled when it is
// needed. Without them a test is skipped, or fails when REQUIRE_PEERS is 1.
package peer

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

//go:embed testdata/peer.c
var libmodbus []byte

//go:embed testdata/pymodbus_slave.py
var pymodbus string

// python is Debian's, which has python3-pymodbus; another one in PATH may not.
const python = "/usr/bin/python3"

// Setting is what a slave holds: registers and bits by table (c, d, i, h) and
// address.
type Setting struct {
	Unit, Size int
	Tables     map[string]map[int][]int
}

func (s Setting) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "unit %d\nsize %d\n", s.Unit, s.Size)
	for table, runs := range s.Tables {
		for at, values := range runs {
			fmt.Fprintf(&b, "%s %d %s\n", table, at, strings.Trim(fmt.Sprint(values), "[]"))
		}
	}
	return b.String() + "serve\n"
}

// Slave is a way to start an independent slave. args are rtu TTY BAUD (8E1), or
// tcp PORT at 127.0.0.1; it runs until the end of the test.
type Slave func(t testing.TB, s Setting, args ...string)

// Slaves are those that there are, by name.
func Slaves() map[string]Slave { return map[string]Slave{"pymodbus": Pymodbus, "libmodbus": Libmodbus} }

// Pymodbus is Debian's python3-pymodbus.
func Pymodbus(t testing.TB, s Setting, args ...string) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import pymodbus, serial_asyncio").CombinedOutput(); err != nil {
		missing(t, "python3-pymodbus and python3-serial-asyncio", out, err)
	}
	serve(t, s, exec.Command(python, append([]string{"-c", pymodbus}, args...)...))
}

// Libmodbus is Debian's libmodbus.
func Libmodbus(t testing.TB, s Setting, args ...string) {
	t.Helper()
	serve(t, s, exec.Command(program(t), append([]string{"slave"}, args...)...))
}

func missing(t testing.TB, packages string, out []byte, err error) {
	t.Helper()
	if os.Getenv("REQUIRE_PEERS") == "1" {
		t.Fatalf("install %s: %v\n%s", packages, err, out)
	}
	t.Skipf("needs %s", packages)
}

// program compiles the program of libmodbus.
func program(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "peer.c"), filepath.Join(dir, "peer")
	if err := os.WriteFile(src, libmodbus, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-O1", "-I/usr/include/modbus", "-o", bin, src, "-lmodbus").CombinedOutput(); err != nil {
		missing(t, "gcc, libc6-dev and libmodbus-dev", out, err)
	}
	return bin
}

// start starts cmd, which ends when its standard input is closed at the end of
// the test.
func start(t testing.TB, cmd *exec.Cmd) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	cmd.Stderr = os.Stderr
	w, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Close()
		stop := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		stop.Stop()
	})
	return w, bufio.NewReader(r)
}

func serve(t testing.TB, s Setting, cmd *exec.Cmd) {
	t.Helper()
	in, out := start(t, cmd)
	if _, err := io.WriteString(in, s.String()); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("the slave said %q, %v", line, err)
	}
}

// Master is libmodbus as a master.
type Master struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

// NewMaster starts a master that asks a unit. args are as of Slave.
func NewMaster(t testing.TB, unit int, args ...string) *Master {
	t.Helper()
	m := &Master{t: t}
	m.in, m.out = start(t, exec.Command(program(t), append([]string{"master"}, args...)...))
	if _, err := fmt.Fprintf(m.in, "unit %d\n", unit); err != nil {
		t.Fatal(err)
	}
	return m
}

// Ask sends a request as peer.c has them ("rh 0 2": read two holding registers)
// and returns what it says of the answer.
func (m *Master) Ask(request string) string {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, request); err != nil {
		m.t.Fatal(err)
	}
	line, err := m.out.ReadString('\n')
	if err != nil {
		m.t.Fatalf("%s: the master said %q, %v", request, line, err)
	}
	return strings.TrimSpace(line)
}

// Port returns a TCP port of 127.0.0.1 that was free just now.
func Port(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// Wire connects two pseudo terminals and returns their paths.
func Wire(t testing.TB) (a, b string) {
	t.Helper()
	var far [2]*os.File
	var name [2]string
	for i := range far {
		m, s, err := pty.Open()
		if err != nil {
			t.Skipf("no pty on this machine: %v", err)
		}
		if _, err := term.MakeRaw(int(s.Fd())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		far[i], name[i] = m, s.Name()
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far[0], far[1]) })
	wg.Go(func() { _, _ = io.Copy(far[1], far[0]) })
	t.Cleanup(func() {
		// The copies end when the near ends are closed; both are opened here
		// and by their users, which are gone by now.
		for _, f := range far {
			_ = f.Close()
		}
	})
	return name[0], name[1]
}
