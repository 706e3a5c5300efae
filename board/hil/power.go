package hil

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/board/hil/vdisk"
)

// DiskModules are the kernel modules that a Disk needs.
var DiskModules = []string{"virtio_blk", "ext4"}

// Disk is a disk of a guest that survives it, with a file system (ext4) on it.
// In the guest it is /dev/vda.
type Disk struct {
	*vdisk.Disk
	Devices []string // arguments of QEMU: for Options.Devices

	// served are the connections of guests; they have ended when it is 0.
	served sync.WaitGroup
}

// NewDisk makes a disk of so many MiB that lives as long as the test.
func NewDisk(tb testing.TB, mib int64) *Disk {
	tb.Helper()
	if os.Getenv(Environment) == "" {
		tb.Skip(Environment + " is not set; make powercut runs this test")
	}
	dir := tb.TempDir()
	path, socket := filepath.Join(dir, "disk"), filepath.Join(dir, "nbd")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(mib<<20), f.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0", path).CombinedOutput(); err != nil {
		tb.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	d := &Disk{Devices: []string{
		"-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path=" + socket,
		"-device", "virtio-blk-pci,drive=disk,write-cache=on"}}
	if d.Disk, err = vdisk.Open(path); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.served.Add(1)
			go func() {
				defer d.served.Done()
				if err := d.Serve(c); err != nil {
					tb.Errorf("the guest's disk: %v", err)
				}
			}()
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
		d.served.Wait()
		_ = d.Close()
	})
	return d
}

// PowerCut kills the guest at once. What it sent to its disk and did not flush
// is with the disk still; see vdisk.Disk.Cut.
func (g *Guest) PowerCut(d *Disk) {
	g.tb.Helper()
	g.kill()
	d.served.Wait()
}

// PowerOn boots the guest again.
func (g *Guest) PowerOn() {
	g.tb.Helper()
	g.start()
	g.await(60 * time.Second)
}
