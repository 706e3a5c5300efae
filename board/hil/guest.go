// Package hil runs tests on a real kernel's interfaces without a board: it
// boots a stock Debian arm64 kernel in QEMU, with simulated hardware at the far
// ends of its buses, and does in the guest what a test asks for. setup.sh makes
// the kernel ready; make hil runs it and the tests.
package hil

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/board/hil/agent"
	"postern/board/hil/vhosti2c"
	"postern/drivers/i2c"
)

// Environment names the directory that setup.sh printed; without it the tests
// are skipped.
const Environment = "POSTERN_HIL"

// Options say what the guest has.
type Options struct {
	Modules  []string             // kernel modules, without those they depend on
	Packages map[string]string    // guest path → Go command to build, "test:PACKAGE" for its tests
	Chips    map[uint16]i2c.Slave // on the virtual I2C bus; nil: no bus
	Devices  []string             // further arguments of QEMU
	// System is a disk of system.sh: the guest boots the systemd on it, with
	// Files added, and what is reset starts again.
	System string
	Files  map[string]string // guest path → path here
}

// Guest is a running guest. Its methods are for tests and fail them.
type Guest struct {
	tb   testing.TB
	dir  string
	addr string // of the agent, forwarded
	qmp  *qmp
	args []string      // of QEMU
	done chan struct{} // closed when QEMU has ended
	kill func()
	log  *console
}

// Boot starts a guest that ends with the test.
func Boot(tb testing.TB, o Options) *Guest {
	tb.Helper()
	cache := os.Getenv(Environment)
	if cache == "" {
		tb.Skip(Environment + " is not set; make hil runs this test")
	}
	g := &Guest{tb: tb, dir: tb.TempDir(), log: &console{}}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the end of the guest's console:\n%s", g.log.tail(60))
		}
	})
	g.pack(cache, o)
	port := freePort(tb)
	g.addr = fmt.Sprintf("127.0.0.1:%d", port)
	args := []string{"-M", "virt,memory-backend=mem", "-cpu", "cortex-a53", "-smp", "2", "-m", "320", "-accel", "tcg,thread=multi",
		"-object", "memory-backend-memfd,id=mem,size=320M,share=on", "-nographic", "-no-reboot",
		"-kernel", filepath.Join(cache, "vmlinuz"), "-initrd", filepath.Join(g.dir, "disk"), "-append", "console=ttyAMA0 panic=-1 quiet",
		"-qmp", "unix:" + filepath.Join(g.dir, "qmp") + ",server=on,wait=off",
		"-netdev", fmt.Sprintf("user,id=net,hostfwd=tcp:%s-:%d", g.addr, agent.Port), "-device", "virtio-net-pci,netdev=net,romfile="}
	if o.Chips != nil {
		socket := filepath.Join(g.dir, "i2c")
		g.serveChips(socket, o.Chips)
		args = append(args, "-chardev", "socket,path="+socket+",id=i2c", "-device", "vhost-user-i2c-pci,chardev=i2c,event_idx=off")
	}
	if o.System != "" {
		args = append(args, "-drive", "if=none,id=system,format=raw,snapshot=on,file="+o.System, "-device", "virtio-blk-pci,drive=system",
			"-action", "reboot=reset,watchdog=reset")
	}
	g.args = append(args, o.Devices...)
	g.start()
	tb.Cleanup(func() { g.kill() })
	g.await(60 * time.Second)
	return g
}

// pack builds the guest's disk.
func (g *Guest) pack(cache string, o Options) {
	g.tb.Helper()
	files := map[string][]byte{}
	tree, err := findModules(filepath.Join(cache, "modules"))
	if err != nil {
		g.tb.Fatal(err)
	}
	modules := append([]string{"virtio_pci", "virtio_net", "configfs"}, o.Modules...)
	if o.System != "" {
		modules = append(modules, "virtio_blk", "ext4")
	}
	order, err := tree.order(modules)
	if err != nil {
		g.tb.Fatal(err)
	}
	var list strings.Builder
	for _, path := range order {
		g.add(files, "m/"+filepath.Base(path), path)
		list.WriteString(filepath.Base(path) + "\n")
	}
	files["modules"] = []byte(list.String())
	if o.System != "" {
		files["system/etc/motd"] = []byte("A guest of the tests.\n") // that it is there is what hands over
	}
	for name, path := range o.Files {
		g.add(files, "system/"+strings.TrimPrefix(name, "/"), path)
	}
	builds := map[string]string{"init": "postern/board/hil/init"}
	for name, pkg := range o.Packages {
		builds[strings.TrimPrefix(name, "/")] = pkg
	}
	for name, pkg := range builds {
		out := filepath.Join(g.dir, strings.ReplaceAll(name, "/", "_"))
		args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg}
		if tests, ok := strings.CutPrefix(pkg, "test:"); ok {
			args = []string{"test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", out, tests}
		}
		c := exec.Command("go", args...)
		c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
		if text, err := c.CombinedOutput(); err != nil {
			g.tb.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, text)
		}
		g.add(files, name, out)
	}
	if err := writeDisk(filepath.Join(g.dir, "disk"), files); err != nil {
		g.tb.Fatal(err)
	}
}

func (g *Guest) add(files map[string][]byte, name, path string) {
	g.tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		g.tb.Fatal(err)
	}
	files[name] = b
}

// serveChips answers for the chips on the guest's I2C bus until it ends.
func (g *Guest) serveChips(socket string, chips map[uint16]i2c.Slave) {
	g.tb.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		g.tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.AcceptUnix()
		if err == nil {
			err = errors.Join(vhosti2c.Serve(c, chips, g.log), c.Close())
		}
		if err != nil && !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(g.log, "hil: I2C:", err)
		}
	})
	g.tb.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
}

func (g *Guest) start() {
	g.tb.Helper()
	c := exec.Command("qemu-system-aarch64", g.args...)
	c.Stdout, c.Stderr = g.log, g.log
	if err := c.Start(); err != nil {
		g.tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		if err := c.Wait(); err != nil {
			fmt.Fprintln(g.log, "hil: QEMU:", err)
		}
		close(done)
	}()
	g.done = done
	g.kill = func() {
		_ = c.Process.Kill() // it may have ended by itself
		<-done
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		q, err := dialQMP(filepath.Join(g.dir, "qmp"))
		if err == nil {
			g.qmp = q
			return
		}
		if time.Since(begin) > 10*time.Second || g.Ended() {
			g.tb.Fatalf("QEMU does not start: %v\n%s", err, g.log.tail(20))
		}
	}
}

// await waits for the agent.
func (g *Guest) await(limit time.Duration) {
	g.tb.Helper()
	begin := time.Now()
	for {
		_, err := g.ask(agent.Request{Op: "read", Path: "/proc/uptime"}, 500*time.Millisecond)
		if err == nil {
			g.tb.Logf("guest is up after %.1f s", time.Since(begin).Seconds())
			return
		}
		if time.Since(begin) > limit || g.Ended() {
			g.tb.Fatalf("the guest does not come up: %v\n%s", err, g.log.tail(60))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (g *Guest) ask(r agent.Request, limit time.Duration) (agent.Answer, error) {
	var a agent.Answer
	c, err := net.DialTimeout("tcp", g.addr, limit)
	if err != nil {
		return a, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return a, err
	}
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Run runs a program in the guest, at most limit, and returns what it printed.
func (g *Guest) Run(limit time.Duration, env map[string]string, argv ...string) (string, error) {
	a, err := g.ask(agent.Request{Op: "run", Argv: argv, Env: env}, limit)
	return a.Text, err
}

// Start starts a program in the guest, whose output goes to the console.
func (g *Guest) Start(argv ...string) (pid int) {
	g.tb.Helper()
	return g.must(agent.Request{Op: "start", Argv: argv}).PID
}

// Mount mounts a device of the guest, with the file system that it has.
func (g *Guest) Mount(device, dir, kind string) {
	g.tb.Helper()
	g.must(agent.Request{Op: "mount", Path: dir, Argv: []string{device, kind}})
}

// Signal sends a signal to a process in the guest.
func (g *Guest) Signal(pid, number int) {
	g.tb.Helper()
	g.must(agent.Request{Op: "signal", PID: pid, Num: number})
}

// Read returns a file of the guest without the white space around.
func (g *Guest) Read(path string) string {
	g.tb.Helper()
	return strings.TrimSpace(g.must(agent.Request{Op: "read", Path: path}).Text)
}

// TryRead is Read for a guest that may end meanwhile.
func (g *Guest) TryRead(path string) (string, error) {
	a, err := g.ask(agent.Request{Op: "read", Path: path}, time.Second)
	return strings.TrimSpace(a.Text), err
}

// Write writes a file of the guest.
func (g *Guest) Write(path, text string) {
	g.tb.Helper()
	g.must(agent.Request{Op: "write", Path: path, Text: text})
}

// Mkdir makes a directory of the guest and those above it.
func (g *Guest) Mkdir(path string) {
	g.tb.Helper()
	g.must(agent.Request{Op: "mkdir", Path: path})
}

func (g *Guest) must(r agent.Request) agent.Answer {
	g.tb.Helper()
	return g.mustIn(r, 20*time.Second)
}

func (g *Guest) mustIn(r agent.Request, limit time.Duration) agent.Answer {
	g.tb.Helper()
	a, err := g.ask(r, limit)
	if err != nil {
		g.tb.Fatalf("%s %s%s in the guest: %v", r.Op, r.Path, strings.Join(r.Argv, " "), err)
	}
	return a
}

// QMP gives QEMU a command and decodes its answer into result, if that is not
// nil.
func (g *Guest) QMP(command string, arguments, result any) {
	g.tb.Helper()
	raw, err := g.qmp.do(command, arguments)
	if err == nil && result != nil {
		err = json.Unmarshal(raw, result)
	}
	if err != nil {
		g.tb.Fatal(err)
	}
}

// Saw tells whether QEMU reported an event.
func (g *Guest) Saw(event string) bool { return g.qmp.seen(event) }

// Ended tells whether the guest has ended.
func (g *Guest) Ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// Console returns what the guest printed.
func (g *Guest) Console() string { return g.log.tail(1 << 20) }

// freePort returns a TCP port that nothing listens on.
func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// console keeps the last megabyte of what the guest printed.
type console struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.b.Len() > 1<<20 {
		_, _ = io.CopyN(io.Discard, &c.b, 1<<19)
	}
	return c.b.Write(p)
}

// tail returns the last n lines.
func (c *console) tail(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(c.b.String(), "\r", ""), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
