package vdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Numbers of the protocol (https://github.com/NetworkBlockDevice/nbd, doc/proto.md).
const (
	magicInit    = 0x4e42444d41474943 // NBDMAGIC
	magicOption  = 0x49484156454F5054 // IHAVEOPT
	magicReply   = 0x3e889045565a9
	magicRequest = 0x25609513
	magicSimple  = 0x67446698

	// Handshake flags, the same for both sides.
	fixedNewstyle = 1
	noZeroes      = 2

	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck         = 1
	repInfo        = 3
	repErrUnknown  = 1<<31 | 1
	infoExport     = 0
	infoBlockSize  = 3
	optionMost     = 4096
	requestMost    = 32 << 20
	transmission   = 1 | 4 | 8 // these flags stand, flushes and FUA are known
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	flagFUA        = 1
	errnoIO        = 5
	errnoInvalid   = 22
	replyHeadLen   = 16
	requestHeadLen = 28
)

// Serve answers one client until it disconnects or ends, in which case what it
// had not flushed stays in the cache. A request that has not come as a whole
// does nothing. Serve closes c.
func (d *Disk) Serve(c net.Conn) error {
	defer c.Close()
	zeroes, err := d.greet(c)
	if err == nil {
		err = d.negotiate(c, zeroes)
	}
	for err == nil {
		err = d.request(c)
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, errDone} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return fmt.Errorf("vdisk: NBD: %w", err)
}

// errDone: the client said that it has done.
var errDone = errors.New("done")

// greet sends the greeting and reads the client's flags.
func (d *Disk) greet(c net.Conn) (zeroes bool, err error) {
	b := binary.BigEndian.AppendUint64(nil, magicInit)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, fixedNewstyle|noZeroes)
	if _, err := c.Write(b); err != nil {
		return false, err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return false, err
	}
	f := binary.BigEndian.Uint32(flags[:])
	if f&fixedNewstyle == 0 {
		return false, errors.New("the client is too old: it does not know the fixed newstyle handshake")
	}
	return f&noZeroes == 0, nil
}

// negotiate answers options until one of them begins the transmission.
func (d *Disk) negotiate(c net.Conn, zeroes bool) error {
	for {
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		option, n := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
		if binary.BigEndian.Uint64(head[:]) != magicOption || n > optionMost {
			return errors.New("an option does not make sense")
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil { // there is one export, whatever it is called
			return err
		}
		reply := func(kind uint32, data []byte) error {
			b := binary.BigEndian.AppendUint64(nil, magicReply)
			for _, v := range []uint32{option, kind, uint32(len(data))} {
				b = binary.BigEndian.AppendUint32(b, v)
			}
			_, err := c.Write(append(b, data...))
			return err
		}
		export := binary.BigEndian.AppendUint64(nil, uint64(d.size))
		export = binary.BigEndian.AppendUint16(export, transmission)
		switch option {
		case optExportName:
			if zeroes {
				export = append(export, make([]byte, 124)...)
			}
			_, err := c.Write(export)
			return err
		case optInfo, optGo:
			sizes := binary.BigEndian.AppendUint16(nil, infoBlockSize)
			for _, v := range []uint32{SectorSize, 4096, requestMost} {
				sizes = binary.BigEndian.AppendUint32(sizes, v)
			}
			err := errors.Join(reply(repInfo, append([]byte{0, infoExport}, export...)), reply(repInfo, sizes), reply(repAck, nil))
			if err != nil || option == optGo {
				return err
			}
		case optAbort:
			return errors.Join(reply(repAck, nil), errDone)
		default:
			if err := reply(repErrUnknown, nil); err != nil {
				return err
			}
		}
	}
}

// request reads a request as a whole, does it and answers.
func (d *Disk) request(c net.Conn) error {
	var h [requestHeadLen]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return err
	}
	flags, kind := binary.BigEndian.Uint16(h[4:]), binary.BigEndian.Uint16(h[6:])
	off, n := int64(binary.BigEndian.Uint64(h[16:])), binary.BigEndian.Uint32(h[24:])
	if binary.BigEndian.Uint32(h[:]) != magicRequest || n > requestMost {
		return errors.New("a request does not make sense")
	}
	out := make([]byte, replyHeadLen, replyHeadLen+int(n))
	binary.BigEndian.PutUint32(out, magicSimple)
	copy(out[8:], h[8:16]) // the cookie
	var err error
	switch kind {
	case cmdRead:
		out = out[:replyHeadLen+int(n)]
		if _, err = d.ReadAt(out[replyHeadLen:], off); err != nil {
			out = out[:replyHeadLen]
		}
	case cmdWrite:
		data := make([]byte, n)
		if _, err := io.ReadFull(c, data); err != nil {
			return err
		}
		if _, err = d.WriteAt(data, off); err == nil && flags&flagFUA != 0 {
			err = d.through(int64(n), off)
		}
	case cmdFlush:
		err = d.Flush()
	case cmdDisconnect:
		return errDone
	default:
		err = errRange
	}
	switch {
	case errors.Is(err, errDead):
		return nil
	case errors.Is(err, errRange):
		binary.BigEndian.PutUint32(out[4:], errnoInvalid)
	case err != nil:
		binary.BigEndian.PutUint32(out[4:], errnoIO)
	}
	_, err = c.Write(out)
	return err
}

// through makes what was just written durable (FUA), and nothing else.
func (d *Disk) through(n, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Lies {
		return nil
	}
	return d.settle(func(sector int64) bool { return sector*SectorSize >= off && sector*SectorSize < off+n })
}
