package vdisk

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openDisk(t *testing.T) *Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 64*SectorSize), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// fill is a sector of the octet c.
func fill(c byte) []byte { return bytes.Repeat([]byte{c}, SectorSize) }

func write(t *testing.T, d *Disk, sector int64, c byte) {
	t.Helper()
	if _, err := d.WriteAt(fill(c), sector*SectorSize); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, d *Disk, sector int64, c byte) {
	t.Helper()
	p := make([]byte, SectorSize)
	if _, err := d.ReadAt(p, sector*SectorSize); err != nil || !bytes.Equal(p, fill(c)) {
		t.Errorf("sector %d holds %q, want %q; %v", sector, p[0], c, err)
	}
}

func TestCutLosesWhatWasNotFlushed(t *testing.T) {
	d := openDisk(t)
	r := rand.New(rand.NewPCG(1, 2))
	write(t, d, 1, 'a')
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, d, 1, 'b')
	write(t, d, 2, 'c')
	holds(t, d, 1, 'b')
	if lost, saved, err := d.Cut(r, 0); lost != 2 || saved != 0 || err != nil {
		t.Errorf("lost %d, saved %d, %v", lost, saved, err)
	}
	holds(t, d, 1, 'a')
	holds(t, d, 2, 0)

	for s := range int64(64) {
		write(t, d, s, 'd')
	}
	lost, saved, err := d.Cut(r, 0.5)
	if lost+saved != 64 || lost < 16 || saved < 16 || err != nil {
		t.Errorf("lost %d, saved %d, %v", lost, saved, err)
	}
	write(t, d, 3, 'e')
	if lost, saved, err := d.Cut(r, 1); lost != 0 || saved != 1 || err != nil {
		t.Errorf("lost %d, saved %d, %v", lost, saved, err)
	}
	holds(t, d, 3, 'e')
}

func TestTripStopsBetweenWrites(t *testing.T) {
	d := openDisk(t)
	dead := d.Trip(2)
	write(t, d, 1, 'a')
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 1, 'a') // reading counts for nothing
	select {
	case <-dead:
		t.Fatal("the disk is dead too early")
	default:
	}
	if _, err := d.WriteAt(fill('b'), SectorSize); err != errDead {
		t.Errorf("a write on a dead disk: %v", err)
	}
	<-dead
	if err := d.Flush(); err != errDead {
		t.Errorf("a flush of a dead disk: %v", err)
	}
	if _, err := d.ReadAt(fill('b'), 0); err != errDead {
		t.Errorf("a read of a dead disk: %v", err)
	}
	if _, _, err := d.Cut(rand.New(rand.NewPCG(1, 2)), 0); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 1, 'a')
	write(t, d, 1, 'c')
}

func TestWholeSectorsOfTheDiskOnly(t *testing.T) {
	d := openDisk(t)
	for _, x := range []struct {
		n   int
		off int64
	}{{SectorSize, 64 * SectorSize}, {2 * SectorSize, 63 * SectorSize}, {SectorSize, 1}, {1, 0}, {SectorSize, -SectorSize}, {SectorSize, 1<<63 - 512}} {
		if _, err := d.WriteAt(make([]byte, x.n), x.off); err != errRange {
			t.Errorf("%d octets at %d: %v", x.n, x.off, err)
		}
		if _, err := d.ReadAt(make([]byte, x.n), x.off); err != errRange {
			t.Errorf("%d octets at %d: %v", x.n, x.off, err)
		}
	}
}

// client is the far end of a connection.
type client struct {
	t *testing.T
	c net.Conn
}

func dial(t *testing.T, d *Disk) *client {
	t.Helper()
	far, near := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.Serve(near) }()
	t.Cleanup(func() {
		_ = far.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	if err := far.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t, far}
}

func (c *client) send(parts ...any) {
	c.t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.BigEndian, p); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := c.c.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// option sends an option and returns the type and the data of its first reply.
func (c *client) option(option uint32, data string) (kind uint32, reply []byte) {
	c.t.Helper()
	c.send(uint64(magicOption), option, uint32(len(data)), []byte(data))
	return c.reply()
}

func (c *client) reply() (kind uint32, data []byte) {
	c.t.Helper()
	h := c.read(20)
	return binary.BigEndian.Uint32(h[12:]), c.read(int(binary.BigEndian.Uint32(h[16:])))
}

// do sends a request and returns the error and the data of its answer.
func (c *client) do(flags, kind uint16, off uint64, n uint32, data []byte) (errno uint32, got []byte) {
	c.t.Helper()
	const cookie = 0x1122334455667788
	c.send(uint32(magicRequest), flags, kind, uint64(cookie), off, n, data)
	h := c.read(replyHeadLen)
	if binary.BigEndian.Uint32(h) != magicSimple || binary.BigEndian.Uint64(h[8:]) != cookie {
		c.t.Fatalf("answer %x", h)
	}
	if errno = binary.BigEndian.Uint32(h[4:]); errno == 0 && kind == cmdRead {
		got = c.read(int(n))
	}
	return errno, got
}

// ready shakes hands as QEMU does.
func ready(t *testing.T, d *Disk) *client {
	t.Helper()
	c := dial(t, d)
	if h := c.read(18); binary.BigEndian.Uint64(h) != magicInit || binary.BigEndian.Uint64(h[8:]) != magicOption {
		t.Fatalf("greeting %x", h)
	}
	c.send(uint32(fixedNewstyle | noZeroes))
	const structuredReply = 8
	if kind, _ := c.option(structuredReply, ""); kind != repErrUnknown {
		t.Fatalf("an option that nobody knows gets %x", kind)
	}
	kind, info := c.option(optGo, "\x00\x00\x00\x00\x00\x00")
	if kind != repInfo || binary.BigEndian.Uint64(info[2:]) != 64*SectorSize {
		t.Fatalf("reply %x %x", kind, info)
	}
	if kind, _ := c.reply(); kind != repInfo {
		t.Fatalf("reply %x", kind)
	}
	if kind, _ := c.reply(); kind != repAck {
		t.Fatalf("reply %x", kind)
	}
	return c
}

func TestProtocol(t *testing.T) {
	d := openDisk(t)
	c := ready(t, d)
	if errno, _ := c.do(0, cmdWrite, SectorSize, SectorSize, fill('a')); errno != 0 {
		t.Fatal(errno)
	}
	if errno, _ := c.do(flagFUA, cmdWrite, 2*SectorSize, SectorSize, fill('b')); errno != 0 {
		t.Fatal(errno)
	}
	if errno, got := c.do(0, cmdRead, SectorSize, 2*SectorSize, nil); errno != 0 || !bytes.Equal(got, append(fill('a'), fill('b')...)) {
		t.Errorf("%d, %q", errno, got)
	}
	if errno, _ := c.do(0, cmdRead, 64*SectorSize, SectorSize, nil); errno != errnoInvalid {
		t.Errorf("behind the end: %d", errno)
	}
	if errno, _ := c.do(0, 99, 0, 0, nil); errno != errnoInvalid {
		t.Errorf("an unknown command: %d", errno)
	}
	// A request that the power cut in two does nothing.
	c.send(uint32(magicRequest), uint16(flagFUA), uint16(cmdWrite), uint64(1), uint64(0), uint32(SectorSize), fill('c')[:100])
	_ = c.c.Close()
	if lost, saved, err := d.Cut(rand.New(rand.NewPCG(1, 2)), 0); lost != 1 || saved != 0 || err != nil {
		t.Errorf("lost %d, saved %d, %v", lost, saved, err)
	}
	holds(t, d, 0, 0)
	holds(t, d, 1, 0)
	holds(t, d, 2, 'b')

	c = ready(t, d)
	c.do(0, cmdWrite, 3*SectorSize, SectorSize, fill('d'))
	if errno, _ := c.do(0, cmdFlush, 0, 0, nil); errno != 0 {
		t.Error(errno)
	}
	c.send(uint32(magicRequest), uint16(0), uint16(cmdDisconnect), uint64(1), uint64(0), uint32(0))
	if st := d.Stats(); st.Flushes != 1 || st.Written != 3*SectorSize {
		t.Errorf("%+v", st)
	}
	holds(t, d, 3, 'd')
}
