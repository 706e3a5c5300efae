package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Conn is what framing works on: a serial.Port, a net.Conn, a pipe.
type Conn interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// framer sends a request to a unit and returns the PDU that answers it. It is
// called by one goroutine at a time. Errors are drivers.ErrTimeout when nothing
// came, drivers.ErrProtocol when something unusable came, drivers.ErrGone when
// the line failed, or those of ctx.
type framer interface {
	exchange(ctx context.Context, unit byte, pdu []byte, timeout time.Duration) ([]byte, error)
}

// rtu frames by time and checksum, on a serial line or a TCP stream.
//
//	unit | PDU (function, data) | CRC low, CRC high
//
// Between frames the line is silent for 3.5 characters; within one no gap is
// longer than maxGap. The standard's 1.5 characters cannot be kept behind a USB
// adapter or an operating system, and are not needed, because the length of an
// answer follows from its head.
type rtu struct {
	conn    Conn
	char    time.Duration // one character on the wire; 0 over TCP
	silence time.Duration

	quiet time.Time // since when the line is silent
	dirty bool      // the last exchange failed: something may still come
	late  [256]time.Time
	buf   []byte
}

const (
	// maxGap is the longest pause within a frame: USB adapters deliver in
	// blocks, typically every 16 ms.
	maxGap = 50 * time.Millisecond
	// maxDrain bounds how long a chattering line is listened to before a
	// request.
	maxDrain = 500 * time.Millisecond
	maxFrame = 256
	maxNoise = 1024 // octets taken for one answer, noise included
)

// silenceFor is the standard's pause: 3.5 characters, and a fixed 1.75 ms
// above 19,200 Bd (Modbus over Serial Line V1.02, 2.5.1.1).
func silenceFor(baud int, char time.Duration) time.Duration {
	if baud > 19200 {
		return 1750 * time.Microsecond
	}
	return char * 7 / 2
}

func (r *rtu) exchange(ctx context.Context, unit byte, pdu []byte, timeout time.Duration) ([]byte, error) {
	defer serial.Interrupt(ctx, r.conn)()
	if err := r.clear(ctx, unit); err != nil {
		return nil, err
	}
	frame := AppendFrame(nil, unit, pdu)
	if _, err := r.conn.Write(frame); err != nil {
		r.dirty = true
		return nil, lost(err)
	}
	sent := time.Now().Add(time.Duration(len(frame)) * r.char)
	r.quiet = sent
	if unit == 0 { // a broadcast has no answer
		return nil, serial.Pause(ctx, sent.Add(broadcastPause))
	}
	got, err := r.receive(ctx, unit, frame, sent.Add(timeout))
	if err != nil {
		r.dirty = true
		if errors.Is(err, drivers.ErrTimeout) || ctx.Err() != nil {
			r.late[unit] = time.Now().Add(timeout)
		}
		return nil, err
	}
	r.late[unit] = time.Time{}
	return got, nil
}

// broadcastPause lets all units work on a broadcast (V1.02, 2.4.1).
const broadcastPause = 100 * time.Millisecond

// clear makes the line silent. After a failure it listens until nothing comes
// any more. A unit that gave no answer in time may still give it: before that
// same unit is asked again it has once more its time, so that the late answer
// is not taken for the next one. Other units need not wait, since their
// answers carry another address.
func (r *rtu) clear(ctx context.Context, unit byte) error {
	if f, ok := r.conn.(interface{ Flush() error }); ok {
		if err := f.Flush(); err != nil {
			return lost(err)
		}
	}
	if r.dirty {
		until := time.Now().Add(maxDrain)
		if err := r.drain(ctx, until, r.silence+2*time.Millisecond); err != nil {
			return err
		}
		if late := r.late[unit]; time.Now().Before(late) {
			if err := r.awaitLate(ctx, unit, late); err != nil {
				return err
			}
		}
		r.dirty = false
	}
	return serial.Pause(ctx, r.quiet.Add(r.silence))
}

// drain discards what comes until the line is silent for quiet, but not past
// until.
func (r *rtu) drain(ctx context.Context, until time.Time, quiet time.Duration) error {
	var b [maxFrame]byte
	for {
		now := time.Now()
		if !now.Before(until) {
			return nil
		}
		n, err := r.read(ctx, b[:], now.Add(quiet))
		if n > 0 {
			r.quiet = time.Now()
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
}

// awaitLate listens for a late answer until its time is over, or it has come.
func (r *rtu) awaitLate(ctx context.Context, unit byte, until time.Time) error {
	var b [maxFrame]byte
	seen := 0
	for seen < maxNoise {
		n, err := r.read(ctx, b[:], until)
		if n > 0 {
			r.quiet = time.Now()
			if seen += n; b[0] == unit {
				return r.drain(ctx, until, max(r.silence, maxGap))
			}
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
	return nil
}

// read reads with a deadline and prefers the error of ctx.
func (r *rtu) read(ctx context.Context, b []byte, deadline time.Time) (int, error) {
	if err := r.conn.SetReadDeadline(deadline); err != nil {
		return 0, lost(err)
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return 0, context.Cause(ctx)
	}
	n, err := r.conn.Read(b)
	if n > 0 {
		return n, nil
	}
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, os.ErrDeadlineExceeded
	}
	return 0, lost(err)
}

// lost says that the line itself failed, where err does not say more.
func lost(err error) error {
	if errors.Is(err, drivers.ErrGone) || errors.Is(err, drivers.ErrClosed) {
		return err
	}
	return fmt.Errorf("the line failed: %w: %w", err, drivers.ErrGone)
}

// receive collects octets until they hold the answer of unit to the request.
func (r *rtu) receive(ctx context.Context, unit byte, req []byte, deadline time.Time) ([]byte, error) {
	r.buf = r.buf[:0]
	var b [maxFrame]byte
	for taken := 0; taken < maxNoise; {
		until := deadline
		if len(r.buf) > 0 {
			until = time.Now().Add(max(maxGap, 4*r.char))
		}
		n, err := r.read(ctx, b[:], until)
		silent := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case n > 0:
			taken += n
			r.quiet = time.Now()
			r.buf = append(r.buf, b[:n]...)
			if isRead(req[1]) {
				r.buf = trimEcho(r.buf, req)
			}
		case !silent:
			return nil, err
		}
		if f := FindAnswer(r.buf, unit, req[1], silent); f != nil {
			return bytes.Clone(f), nil // buf is the next exchange's
		}
		if !silent {
			continue
		}
		if len(r.buf) >= 2 && r.buf[0] == unit && r.buf[1]&^exceptionFlag == req[1] {
			return nil, garbage("answer % x is cut short or disturbed", head(r.buf))
		}
		if !time.Now().Before(deadline) {
			return nil, drivers.ErrTimeout
		}
		r.buf = r.buf[:0] // noise or a late frame of another unit; the answer may still come
	}
	return nil, garbage("%d octets without an answer", maxNoise)
}

func isRead(fn byte) bool { return fn <= fnReadInput }

func trimEcho(b, req []byte) []byte {
	if bytes.HasPrefix(b, req) {
		return b[len(req):]
	}
	return b
}

// FindAnswer looks for the answer of unit to function fn in the octets of a
// serial line: it skips noise in front (RS-485 lines make some when the sender
// switches on) and frames of others. It returns the PDU, or nil. While the
// frame at the first fitting place is incomplete it waits for the rest, unless
// complete says that nothing more comes.
func FindAnswer(b []byte, unit, fn byte, complete bool) []byte {
	for i := 0; i+4 <= len(b); i++ {
		if b[i] != unit || b[i+1]&^exceptionFlag != fn {
			continue
		}
		n := AnswerLength(b[i+1:])
		switch {
		case n < 0:
			continue
		case n == 0 || i+1+n+2 > len(b):
			if !complete {
				return nil
			}
			continue
		}
		if ValidFrame(b[i : i+1+n+2]) {
			return b[i+1 : i+1+n]
		}
	}
	return nil
}
