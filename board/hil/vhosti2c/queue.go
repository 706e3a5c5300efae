package vhosti2c

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// queue is a split virtqueue: descriptors of 16 octets (address u64, length
// u32, flags u16, next u16), a ring of heads that the guest offers, and one of
// heads that are done.
type queue struct {
	size              uint32
	desc, avail, used []byte
	last              uint16 // of the offered ones that was taken
	kick, call        int    // event descriptors; −1: none
}

const (
	flagNext     = 1
	flagWrite    = 2 // the device writes
	flagIndirect = 4

	// Of a request's head: address u16 (shifted left by one), padding u16,
	// flags u32.
	requestFailNext = 1
	requestRead     = 2

	statusOK    = 0
	statusError = 1

	maxChain = 16
)

// process answers all requests that wait, and tells the guest.
func (b *backend) process() {
	q := &b.queue
	if q.avail == nil || q.used == nil || q.size == 0 {
		return
	}
	failed := false
	for q.last != le.Uint16(q.avail[2:]) {
		head := le.Uint16(q.avail[4+2*(uint32(q.last)%q.size):])
		q.last++
		written, follows := b.answer(head, &failed)
		if !follows {
			failed = false
		}
		at := le.Uint16(q.used[2:])
		e := q.used[4+8*(uint32(at)%q.size):]
		le.PutUint32(e, uint32(head))
		le.PutUint32(e[4:], uint32(written))
		le.PutUint16(q.used[2:], at+1)
	}
	if q.call >= 0 {
		_, _ = unix.Write(q.call, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // QEMU is gone when this fails
	}
}

// answer runs one request and returns how many octets it wrote. failed tells
// whether an earlier request of the same transfer failed; follows whether one
// more belongs to it.
func (b *backend) answer(head uint16, failed *bool) (written int, follows bool) {
	out, in := b.chain(head)
	if len(out) == 0 || len(out[0]) < 8 || len(in) == 0 || len(in[len(in)-1]) < 1 {
		return 0, false
	}
	flags := le.Uint32(out[0][4:])
	follows = flags&requestFailNext != 0
	addr := le.Uint16(out[0]) >> 1
	chip := b.chips[addr]
	ok := chip != nil && !*failed
	if ok {
		var w, r []byte
		if flags&requestRead != 0 && len(in) > 1 {
			r = in[0]
		} else if len(out) > 1 {
			w = append(w, out[1]...)
		}
		err := chip.Tx(w, r)
		if ok = err == nil; ok {
			written = len(r)
		} else {
			fmt.Fprintf(b.log, "i2c: 0x%02x refuses % x and %d octets: %v\n", addr, w, len(r), err)
		}
	}
	*failed = !ok
	status := in[len(in)-1]
	if status[0] = statusError; ok {
		status[0] = statusOK
	}
	return written + 1, follows
}

// chain collects the buffers of a request: what the guest gives, and what it
// wants.
func (b *backend) chain(head uint16) (out, in [][]byte) {
	table, i := b.queue.desc, int(head)
	if d := table[16*i:]; le.Uint16(d[12:])&flagIndirect != 0 {
		table, i = b.guest(le.Uint64(d), le.Uint32(d[8:])), 0
	}
	for range maxChain {
		if len(table) < 16*(i+1) {
			return nil, nil
		}
		d := table[16*i:]
		buf, flags := b.guest(le.Uint64(d), le.Uint32(d[8:])), le.Uint16(d[12:])
		if flags&flagWrite != 0 {
			in = append(in, buf)
		} else {
			out = append(out, buf)
		}
		if flags&flagNext == 0 {
			return out, in
		}
		i = int(le.Uint16(d[14:]))
	}
	return nil, nil
}
