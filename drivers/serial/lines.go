package serial

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"postern/drivers"
)

// Conn is what lines and frames come from: a Port, or a stand-in for one.
type Conn interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// maxLine bounds a line; what is longer is noise or a wrong speed, and dropped.
const maxLine = 4096

// Lines reads lines of text with deadlines. One goroutine uses it at a time.
type Lines struct {
	conn Conn
	end  string
	buf  []byte // what came behind the last line
}

// NewLines returns a reader of lines that end with end, which is not empty.
func NewLines(conn Conn, end string) *Lines { return &Lines{conn: conn, end: end} }

// Forget drops what came and was not read.
func (l *Lines) Forget() error {
	l.buf = l.buf[:0]
	return Flush(l.conn)
}

// Next returns the next line without its end and without white space around
// it. After the deadline it returns os.ErrDeadlineExceeded; a line that is not
// complete then stays for the next call. The caller lets the end of ctx move
// the deadline of the connection (see Interrupt).
func (l *Lines) Next(ctx context.Context, deadline time.Time) (string, error) {
	for {
		if i := bytes.Index(l.buf, []byte(l.end)); i >= 0 {
			line := Trim(string(l.buf[:i]))
			l.buf = append(l.buf[:0], l.buf[i+len(l.end):]...)
			return line, nil
		}
		if len(l.buf) > maxLine {
			l.buf = l.buf[:0]
		}
		var b [256]byte
		n, err := Fetch(ctx, l.conn, b[:], deadline)
		if err != nil {
			return "", err
		}
		l.buf = append(l.buf, b[:n]...)
	}
}

// Trim takes off what Next takes off: line ends, spaces and zeros.
func Trim(line string) string { return strings.Trim(line, "\r\n\x00 ") }

// Interrupt lets the end of ctx end a read of conn, until stop is called. After
// stop the deadline is the caller's again: one that was about to be moved does
// not hit the next read.
func Interrupt(ctx context.Context, conn interface{ SetReadDeadline(time.Time) error }) (stop func()) {
	moved := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(moved)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !cancel() {
			<-moved
		}
	}
}

// CheckNMEA takes the dollar sign and the checksum off a line such as
// $SDDBT,7.8,f,2.4,M,1.3,F*0D: it is the exclusive or of the octets between
// them (NMEA 0183).
func CheckNMEA(line string) (string, error) {
	body, sum, ok := strings.Cut(strings.TrimPrefix(line, "$"), "*")
	if !ok || len(sum) != 2 {
		return "", fmt.Errorf("line %.40q has no checksum: %w", line, drivers.ErrProtocol)
	}
	if want := nmeaSum(body); !strings.EqualFold(want, sum) {
		return "", fmt.Errorf("line %.40q has checksum %s: %w", line, want, drivers.ErrProtocol)
	}
	return body, nil
}

// NMEA puts the dollar sign in front of a line and the checksum behind it.
func NMEA(body string) string { return "$" + body + "*" + nmeaSum(body) }

func nmeaSum(body string) string {
	sum := byte(0)
	for i := range len(body) {
		sum ^= body[i]
	}
	return fmt.Sprintf("%02X", sum)
}
