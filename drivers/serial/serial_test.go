package serial

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"postern/drivers"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func config(port string) Config {
	return Config{Port: port, Baud: 19200, DataBits: 8, Parity: "even", StopBits: "1"}
}

// line is a serial line whose far end the test holds; the near end is a
// symbolic link, as udev makes it.
type line struct {
	t    *testing.T
	link string
	far  *os.File
	tty  *os.File
}

func newLine(t *testing.T) *line {
	l := &line{t: t, link: filepath.Join(t.TempDir(), "port")}
	l.plug()
	t.Cleanup(l.unplug)
	return l
}

func (l *line) plug() {
	l.t.Helper()
	far, tty, err := pty.Open()
	if err != nil {
		l.t.Skipf("no pty on this machine: %v", err)
	}
	if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
		l.t.Fatal(err)
	}
	l.far, l.tty = far, tty
	if err := os.Symlink(tty.Name(), l.link); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) unplug() {
	if l.far == nil {
		return
	}
	_ = l.far.Close()
	_ = l.tty.Close()
	_ = os.Remove(l.link)
	l.far = nil
}

func TestReadWriteDeadline(t *testing.T) {
	l := newLine(t)
	p, err := Open(config(l.link), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, err := l.far.Read(b); err != nil || string(b[:n]) != "ping" {
		t.Fatalf("the far end read %q, %v", b[:n], err)
	}
	if err := p.SetReadDeadline(time.Now().Add(60 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if n, err := p.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || n != 0 {
		t.Errorf("read %d, %v; want a deadline", n, err)
	}
	if took := time.Since(start); took < 50*time.Millisecond || took > 500*time.Millisecond {
		t.Errorf("the deadline of 60 ms took %v", took)
	}
	_ = p.SetReadDeadline(time.Time{})
	if _, err := l.far.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(p, b[:4]); err != nil || string(b[:n]) != "pong" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	// What came before the deadline is given even when it has passed.
	_, _ = l.far.Write([]byte("x"))
	time.Sleep(10 * time.Millisecond)
	_ = p.SetReadDeadline(time.Now().Add(-time.Second))
	if n, err := p.Read(b); n != 1 || err != nil {
		t.Errorf("read %d, %v past the deadline", n, err)
	}
	_, _ = l.far.Write([]byte("old"))
	time.Sleep(10 * time.Millisecond)
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %q after a flush, %v", b[:n], err)
	}
}

func TestDeadlineMovedWhileReading(t *testing.T) {
	l := newLine(t)
	p, err := Open(config(l.link), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	done := make(chan error)
	go func() { _, err := p.Read(make([]byte, 1)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	_ = p.SetReadDeadline(time.Now())
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Read did not follow the new deadline")
	}
	_ = p.SetReadDeadline(time.Time{})
	go func() { _, err := p.Read(make([]byte, 1)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	_ = p.Close()
	if err := <-done; !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("Read beside Close: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := p.Write([]byte("x")); !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

// 1,000 cycles in the long run, fewer with -short.
func TestUnplugAndReplug(t *testing.T) {
	cycles := 1000
	if testing.Short() {
		cycles = 50
	}
	l := newLine(t)
	p, err := Open(config(l.link), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.retryNow()
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	b := make([]byte, 8)
	for i := range cycles {
		if _, err := p.Write([]byte("hi")); err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		if n, err := l.far.Read(b); err != nil || string(b[:n]) != "hi" {
			t.Fatalf("cycle %d: far end read %q, %v", i, b[:n], err)
		}
		l.unplug()
		_ = p.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := p.Read(b); !errors.Is(err, drivers.ErrGone) {
			t.Fatalf("cycle %d: Read of an unplugged port: %v", i, err)
		}
		if _, err := p.Write(b); !errors.Is(err, drivers.ErrGone) {
			t.Fatalf("cycle %d: Write to an unplugged port: %v", i, err)
		}
		l.plug()
		p.retryNow()
	}
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors before, %d after %d cycles", before, after, cycles)
	}
	if after := runtime.NumGoroutine(); after > goroutines {
		t.Errorf("%d goroutines before, %d after %d cycles", goroutines, after, cycles)
	}
}

// retryNow skips the pause between attempts.
func (p *Port) retryNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retry = time.Time{}
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(e)
}

func TestMissingPortIsNoFailureOfOpen(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	p, err := Open(config(link), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("x")); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("Write: %v", err)
	}
}

func TestRS485RefusedByTheDriver(t *testing.T) {
	l := newLine(t)
	cfg := config(l.link)
	cfg.RS485.Enabled = true
	p, err := Open(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), "RS-485") {
		t.Errorf("a pty has no direction control: %v", err)
	}
}

func TestResolve(t *testing.T) {
	root := t.TempDir()
	usb := func(tty, dev, vendor, product, serial string) {
		d := filepath.Join(root, "sys/devices/usb1", dev)
		itf := filepath.Join(d, dev+":1.0", tty)
		for _, dir := range []string{itf, filepath.Join(root, "sys/class/tty", tty)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for f, s := range map[string]string{"idVendor": vendor, "idProduct": product, "serial": serial} {
			if err := os.WriteFile(filepath.Join(d, f), []byte(s+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(itf, filepath.Join(root, "sys/class/tty", tty, "device")); err != nil {
			t.Fatal(err)
		}
	}
	usb("ttyUSB0", "1-1", "0403", "6001", "A5")
	usb("ttyUSB1", "1-2", "0403", "6001", "B6")
	usb("ttyACM0", "1-3", "2341", "0043", "C7")
	for port, want := range map[string]string{
		"usb:0403:6001:A5": "/dev/ttyUSB0", "usb:0403:6001:B6": "/dev/ttyUSB1",
		"usb:2341:0043": "/dev/ttyACM0", "/dev/ttyS0": "/dev/ttyS0",
	} {
		if got, err := Resolve(root, port); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", port, got, err, want)
		}
	}
	for _, port := range []string{"usb:0403:6001", "usb:dead:beef", "usb:0403", "usb:0403:6001:Z"} {
		if got, err := Resolve(root, port); err == nil {
			t.Errorf("%s: %s", port, got)
		}
	}
}

func TestUnstable(t *testing.T) {
	if Unstable("/dev/ttyUSB0") == "" || Unstable("/dev/ttyACM1") == "" {
		t.Error("no warning for a name that changes")
	}
	for _, p := range []string{"/dev/ttyAMA0", "/dev/serial0", "/dev/serial/by-id/x", "usb:1:2:3"} {
		if Unstable(p) != "" {
			t.Errorf("a warning for %s", p)
		}
	}
}

func TestCharTime(t *testing.T) {
	c := config("x")
	if got, want := c.CharTime(), 11*time.Second/19200; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	c.Parity = "none"
	if got, want := c.CharTime(), 10*time.Second/19200; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
