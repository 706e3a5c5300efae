// Package vhosti2c is the far end of a guest's I2C bus: QEMU's
// vhost-user-i2c device hands it each transfer, and simulated chips answer. So
// drivers run through a real kernel's I2C layer without any hardware.
//
// Sources: QEMU docs/interop/vhost-user; Virtual I/O Device (VIRTIO) 1.2, 2.7
// (split virtqueues) and 5.18 (I2C adapter).
package vhosti2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/drivers/i2c"
)

// Requests of the vhost-user protocol that QEMU sends to this kind of device.
const (
	getFeatures         = 1
	setMemTable         = 5
	setVringNum         = 8
	setVringAddr        = 9
	setVringBase        = 10
	getVringBase        = 11
	setVringKick        = 12
	setVringCall        = 13
	getProtocolFeatures = 15
	getQueueNum         = 17

	featureVersion1  = 1 << 32
	featureProtocol  = 1 << 30
	featureZeroBytes = 1 << 0 // VIRTIO_I2C_F_ZERO_LENGTH_REQUEST

	isReply = 1<<2 | 1 // of version 1
)

var le = binary.LittleEndian

// region is a part of the guest's memory that QEMU shares.
type region struct {
	guest, size, user uint64
	mem               []byte
}

// backend serves one connection of QEMU. Requests and transfers run on one
// goroutine: it waits for the socket and for kicks.
type backend struct {
	conn    *net.UnixConn
	chips   map[uint16]i2c.Slave
	log     io.Writer
	regions []region
	queue   queue
}

// Serve answers for the chips, by their 7-bit addresses, on one connection of
// QEMU until it hangs up. What a chip refuses is told to log.
func Serve(c *net.UnixConn, chips map[uint16]i2c.Slave, log io.Writer) error {
	b := &backend{conn: c, chips: chips, log: log, queue: queue{kick: -1, call: -1}}
	return b.serve()
}

// serve runs until QEMU hangs up.
func (b *backend) serve() error {
	raw, err := b.conn.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var ready [2]unix.PollFd
		var pollErr error
		err := raw.Control(func(fd uintptr) {
			ready = [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(b.queue.kick), Events: unix.POLLIN}}
			_, pollErr = unix.Poll(ready[:], -1)
		})
		if errors.Is(pollErr, unix.EINTR) {
			continue
		}
		if err := errors.Join(err, pollErr); err != nil {
			return err
		}
		if ready[1].Revents&unix.POLLIN != 0 {
			var count [8]byte
			if _, err := unix.Read(b.queue.kick, count[:]); err == nil {
				b.process()
			}
		}
		if ready[0].Revents == 0 {
			continue
		}
		if err := b.request(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// request takes one request: code u32, flags u32, size u32, payload, with
// descriptors beside it.
func (b *backend) request() error {
	head, oob := make([]byte, 12), make([]byte, 256)
	n, on, _, _, err := b.conn.ReadMsgUnix(head, oob)
	if err != nil {
		return err
	}
	if n < len(head) {
		return io.EOF
	}
	size := le.Uint32(head[8:])
	if size > 1<<16 {
		return fmt.Errorf("a request of %d octets", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(b.conn, payload); err != nil {
		return err
	}
	return b.handle(le.Uint32(head), payload, descriptors(oob[:on]))
}

func descriptors(oob []byte) []int {
	var fds []int
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

func (b *backend) reply(code uint32, payload []byte) error {
	r := le.AppendUint32(nil, code)
	r = le.AppendUint32(r, isReply)
	r = le.AppendUint32(r, uint32(len(payload)))
	_, err := b.conn.Write(append(r, payload...))
	return err
}

func (b *backend) handle(code uint32, p []byte, fds []int) error {
	q := &b.queue
	switch code {
	case getFeatures:
		return b.reply(code, le.AppendUint64(nil, featureVersion1|featureProtocol|featureZeroBytes))
	case getProtocolFeatures:
		return b.reply(code, le.AppendUint64(nil, 0))
	case getQueueNum:
		return b.reply(code, le.AppendUint64(nil, 1))
	case setMemTable:
		return b.mapMemory(p, fds)
	case setVringNum:
		q.size = le.Uint32(p[4:])
	case setVringAddr:
		q.desc, q.used, q.avail = b.user(le.Uint64(p[8:])), b.user(le.Uint64(p[16:])), b.user(le.Uint64(p[24:]))
	case setVringBase:
		q.last = uint16(le.Uint32(p[4:]))
	case getVringBase:
		q.kick = -1
		return b.reply(code, le.AppendUint32(le.AppendUint32(nil, le.Uint32(p)), uint32(q.last)))
	case setVringKick:
		if len(fds) > 0 {
			q.kick = fds[0]
		}
	case setVringCall:
		if len(fds) > 0 {
			q.call = fds[0]
		}
	}
	return nil
}

func (b *backend) mapMemory(p []byte, fds []int) error {
	b.regions = nil
	for i := range int(le.Uint32(p)) {
		r := p[8+32*i:]
		size, offset := le.Uint64(r[8:]), le.Uint64(r[24:])
		m, err := unix.Mmap(fds[i], 0, int(size+offset), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map the guest's memory: %w", err)
		}
		b.regions = append(b.regions, region{le.Uint64(r), size, le.Uint64(r[16:]), m[offset:]})
	}
	return nil
}

// user returns the memory at an address of QEMU.
func (b *backend) user(a uint64) []byte {
	for _, r := range b.regions {
		if a >= r.user && a < r.user+r.size {
			return r.mem[a-r.user:]
		}
	}
	return nil
}

// guest returns n octets at an address of the guest.
func (b *backend) guest(a uint64, n uint32) []byte {
	for _, r := range b.regions {
		if a >= r.guest && a+uint64(n) <= r.guest+r.size {
			return r.mem[a-r.guest:][:n]
		}
	}
	return nil
}
