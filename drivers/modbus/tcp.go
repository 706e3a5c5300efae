package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// mbap frames on a TCP stream (Modbus Messaging on TCP/IP V1.0b, 3.1.3):
//
//	transaction u16 | protocol u16 = 0 | length u16 | unit u8 | PDU
//
// The transaction number tells an answer from a late one.
type mbap struct {
	conn Conn
	id   uint16
	buf  []byte // what was read beyond the last frame
}

const mbapHeader = 7

// errFraming: the stream is out of step and must be opened anew.
var errFraming = errors.New("frames on the TCP stream are out of step")

func (m *mbap) exchange(ctx context.Context, unit byte, pdu []byte, timeout time.Duration) ([]byte, error) {
	defer serial.Interrupt(ctx, m.conn)()
	m.id++
	if _, err := m.conn.Write(AppendMBAP(nil, m.id, unit, pdu)); err != nil {
		return nil, lost(err)
	}
	deadline := time.Now().Add(timeout)
	for {
		id, u, got, n, err := ParseMBAP(m.buf)
		switch {
		case err != nil:
			return nil, err
		case n == 0:
			if err := m.fill(ctx, deadline); err != nil {
				return nil, err
			}
			continue
		}
		answer := append([]byte(nil), got...)
		m.buf = append(m.buf[:0], m.buf[n:]...)
		if id == m.id && u == unit {
			return answer, nil
		} // else a late answer to an older request
	}
}

func (m *mbap) fill(ctx context.Context, deadline time.Time) error {
	if err := m.conn.SetReadDeadline(deadline); err != nil {
		return lost(err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var b [512]byte
	n, err := m.conn.Read(b[:])
	m.buf = append(m.buf, b[:n]...)
	switch {
	case n > 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return drivers.ErrTimeout
	}
	return lost(err)
}

// AppendMBAP appends the TCP frame of a PDU to dst.
func AppendMBAP(dst []byte, id uint16, unit byte, pdu []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(pdu)+1))
	return append(append(dst, unit), pdu...)
}

// ParseMBAP takes the first frame of b, which has n octets; n is 0 while b
// holds no whole frame.
func ParseMBAP(b []byte) (id uint16, unit byte, pdu []byte, n int, err error) {
	if len(b) < mbapHeader {
		return 0, 0, nil, 0, nil
	}
	size := int(be16(b[4:]))
	if be16(b[2:]) != 0 || size < 2 || size > maxPDU+1 {
		return 0, 0, nil, 0, fmt.Errorf("%w (% x): %w", errFraming, b[:mbapHeader], drivers.ErrProtocol)
	}
	if n = 6 + size; len(b) < n {
		return 0, 0, nil, 0, nil
	}
	return be16(b), b[6], b[mbapHeader:n], n, nil
}
