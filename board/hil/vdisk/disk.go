// Package vdisk is a disk for a guest that loses power: it has a volatile write
// cache, as disks and cards have. What the guest has not flushed is lost when
// the power is cut, all of it or any part of it, in any order.
//
// It is a server of the NBD protocol, which QEMU is a client of
// (-drive driver=nbd,server.type=unix,...).
package vdisk

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// SectorSize is what a write reaches the disk in, whole or not at all.
const SectorSize = 512

// Disk is a file with a write cache in front of it. It is safe for concurrent
// use.
type Disk struct {
	// Lies makes the disk take a flush for done that it has not done, as bad
	// cards do. It is set before the disk is served.
	Lies bool

	mu    sync.Mutex
	file  *os.File
	size  int64
	cache map[int64][]byte // by sector, what was written since the last flush
	stats Stats
	left  int           // writes and flushes until the disk is dead, if trip is not nil
	trip  chan struct{} // closed when it is
	dead  bool
}

// Stats are counts since the disk was opened.
type Stats struct {
	Written int64 // octets that were written to the disk
	Flushes int
}

// Open opens the disk whose sectors are in the file at path. Its size is that
// of the file, which has to be a multiple of SectorSize.
func Open(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("vdisk: %w", err)
	}
	st, err := f.Stat()
	if err == nil && (st.Size() == 0 || st.Size()%SectorSize != 0) {
		err = fmt.Errorf("%s: a disk cannot have %d octets", path, st.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vdisk: %w", err), f.Close())
	}
	return &Disk{file: f, size: st.Size(), cache: map[int64][]byte{}}, nil
}

// Close closes the file without what was not flushed.
func (d *Disk) Close() error { return d.file.Close() }

// Stats returns the counts.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

var errRange = errors.New("vdisk: outside of the disk, or not in whole sectors")

// Trip makes the disk dead after n more writes and flushes: it does and answers
// nothing any more, and the channel is closed. Cut revives it.
func (d *Disk) Trip(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.trip, d.dead = n, make(chan struct{}), false
	return d.trip
}

// alive tells whether the disk may do one more thing. change: a write or a
// flush. mu is held.
func (d *Disk) alive(change bool) bool {
	if d.trip != nil && !d.dead && change {
		if d.dead = d.left <= 0; d.dead {
			close(d.trip)
		}
		d.left--
	}
	return !d.dead
}

// errDead: the power is off. Nothing is answered.
var errDead = errors.New("vdisk: the power is off")

func (d *Disk) fits(n int, off int64) bool {
	return n%SectorSize == 0 && off%SectorSize == 0 && off >= 0 && off <= d.size-int64(n)
}

// ReadAt reads whole sectors, those that were not flushed included.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.alive(false):
		return 0, errDead
	case !d.fits(len(p), off):
		return 0, errRange
	}
	if n, err := d.file.ReadAt(p, off); err != nil {
		return n, err
	}
	for i := 0; i < len(p); i += SectorSize {
		if s, ok := d.cache[(off+int64(i))/SectorSize]; ok {
			copy(p[i:], s)
		}
	}
	return len(p), nil
}

// WriteAt writes whole sectors into the cache.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.alive(true):
		return 0, errDead
	case !d.fits(len(p), off):
		return 0, errRange
	}
	for i := 0; i < len(p); i += SectorSize {
		d.cache[(off+int64(i))/SectorSize] = slices.Clone(p[i : i+SectorSize])
	}
	d.stats.Written += int64(len(p))
	return len(p), nil
}

// Flush makes what was written durable.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.alive(true) {
		return errDead
	}
	d.stats.Flushes++
	if d.Lies {
		return nil
	}
	return d.settle(func(int64) bool { return true })
}

// settle moves sectors for which keep reports true from the cache to the file.
// mu is held.
func (d *Disk) settle(keep func(sector int64) bool) error {
	for s, data := range d.cache {
		if !keep(s) {
			continue
		}
		if _, err := d.file.WriteAt(data, s*SectorSize); err != nil {
			return err
		}
		delete(d.cache, s)
	}
	return nil
}

// Cut is a power cut: of the sectors in the cache a part reaches the disk, and
// the rest is lost. share is how likely it is for each sector to survive; 0
// loses all of them and 1 none. The disk then goes on. It must not be served
// meanwhile.
func (d *Disk) Cut(r *rand.Rand, share float64) (lost, saved int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.cache)
	err = d.settle(func(int64) bool { return r.Float64() < share })
	lost = len(d.cache)
	clear(d.cache)
	d.trip, d.dead = nil, false
	return lost, before - lost, err
}

var _ interface {
	io.ReaderAt
	io.WriterAt
} = (*Disk)(nil)
