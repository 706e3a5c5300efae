package serial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"postern/drivers"
)

// gadget is the far end of a USB cable: a CDC-ACM function of the kernel on a
// virtual USB port (dummy_hcd), made through configfs. Plugging and unplugging
// is binding it to the port.
type gadget struct {
	t   *testing.T
	dir string
}

const gadgets = "/sys/kernel/config/usb_gadget"

func newGadget(t *testing.T, serial string) *gadget {
	t.Helper()
	if _, err := os.Stat(gadgets); err != nil {
		t.Skip("no USB gadgets on this machine; this test runs in a guest that has dummy_hcd")
	}
	g := &gadget{t, filepath.Join(gadgets, "bench")}
	for _, d := range []string{"", "strings/0x409", "configs/c.1", "functions/acm.usb0"} {
		if err := os.Mkdir(filepath.Join(g.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g.write("idVendor", "0x1d6b")
	g.write("idProduct", "0x0104")
	g.write("strings/0x409/serialnumber", serial)
	if err := os.Symlink(g.dir+"/functions/acm.usb0", g.dir+"/configs/c.1/acm.usb0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(g.dir+"/UDC", []byte("\n"), 0)
		for _, d := range []string{"configs/c.1/acm.usb0", "functions/acm.usb0", "configs/c.1", "strings/0x409", ""} {
			_ = os.Remove(filepath.Join(g.dir, d))
		}
	})
	return g
}

func (g *gadget) write(file, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gadget) plug()   { g.t.Helper(); g.write("UDC", "dummy_udc.0") }
func (g *gadget) unplug() { g.t.Helper(); g.write("UDC", "\n") }

// reflect sends back what comes until the port is closed. Unplugging hangs the
// far end up as well.
func reflect(far *Port) {
	b := make([]byte, 64)
	for {
		n, err := far.Read(b)
		switch {
		case errors.Is(err, drivers.ErrClosed):
			return
		case err != nil:
			time.Sleep(20 * time.Millisecond)
		default:
			_, _ = far.Write(b[:n]) // the test misses it
		}
	}
}

// converse sends a line until it comes back: what was sent while the far end
// was not open yet is lost.
func converse(t *testing.T, p *Port, line string) {
	t.Helper()
	var last error
	for begin := time.Now(); time.Since(begin) < 15*time.Second; {
		_, err := p.Write([]byte(line))
		if err == nil {
			_ = p.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			b := make([]byte, len(line))
			if _, err = io.ReadFull(p, b); err == nil && string(b) == line {
				return
			}
			_ = p.Flush() // a lost port says so at the next turn
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%q does not come back: %v", line, last)
}

// TestKernelReplug unplugs a CDC-ACM adapter twenty times while its port is
// read, and plugs it in again: the reader is told, the port comes back by its
// USB name, and nothing is left behind.
func TestKernelReplug(t *testing.T) {
	g := newGadget(t, "BENCH-1")
	g.plug()
	far, err := Open(Config{Port: "/dev/ttyGS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go reflect(far)
	p, err := Open(Config{Port: "usb:1d6b:0104:BENCH-1", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	converse(t, p, "first\n")
	runtime.GC()
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	for i := range 20 {
		told := make(chan error, 1)
		if err := p.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := p.Read(make([]byte, 16))
			told <- err
		}()
		g.unplug()
		if err := <-told; !errors.Is(err, drivers.ErrGone) {
			t.Fatalf("cycle %d: the reader of an unplugged port got %v, want ErrGone", i, err)
		}
		g.plug()
		converse(t, p, fmt.Sprintf("cycle %d\n", i))
	}
	if n := descriptors(t); n > fds {
		t.Errorf("%d descriptors after 20 cycles, %d before", n, fds)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines after 20 cycles, %d before", n, goroutines)
	}
}
