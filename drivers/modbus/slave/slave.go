// Package slave is a Modbus slave with simulated units, for demonstrations and
// tests: on a pty, which the master opens like any serial port, and on streams
// with RTU or TCP framing.
package slave

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"postern/drivers/modbus"
	"postern/drivers/serial"
)

// Fault is what a unit does wrong, until another one is set.
type Fault uint8

// The faults.
const (
	Healthy  Fault = iota
	Silent         // gives no answer
	BadCRC         // answers with a wrong checksum
	Late           // answers after Server.Lateness
	CutShort       // stops in the middle of the answer
	Noisy          // sends some octets of noise in front of the answer
	Stranger       // answers with another unit's address first
)

// Server holds units and serves them. Fields are set before Run.
type Server struct {
	// Baud paces the server as a line of this speed would: an answer is there
	// when its last bit would be. Zero: at once.
	Baud int
	// Delay is the time that a unit takes for an answer.
	Delay time.Duration
	// Lateness is the additional time of a Late unit.
	Lateness time.Duration

	mu     sync.Mutex
	units  map[byte]*modbus.Image
	faults map[byte]Fault
	count  int

	master, tty *os.File
	path        string
}

// New returns a server of the units by address.
func New(units map[byte]*modbus.Image) *Server {
	return &Server{units: units, faults: map[byte]Fault{}, Lateness: 400 * time.Millisecond}
}

// SetFault makes a unit misbehave, or behave again.
func (s *Server) SetFault(unit byte, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[unit] = f
}

// Requests returns how many requests came for units that the server has.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// PTY opens a pseudo terminal and returns the path of the end that the master
// opens as its serial port. Run serves the other end and closes both.
func (s *Server) PTY() (string, error) {
	master, tty, err := openPTY()
	if err != nil {
		return "", fmt.Errorf("slave: no pseudo terminal (is /dev/pts mounted?): %w", err)
	}
	// The server keeps the near end open, too: otherwise the far end fails
	// whenever no master has the port open.
	s.master, s.tty, s.path = master, tty, tty.Name()
	return s.path, nil
}

// Run serves the pseudo terminal until ctx is done, and then returns nil.
func (s *Server) Run(ctx context.Context) error {
	if s.master == nil {
		return errors.New("slave: Run without PTY")
	}
	defer s.tty.Close()
	return s.ServeRTU(ctx, s.master)
}

// Stream is what the server works on; it closes it at the end.
type Stream interface {
	io.ReadWriteCloser
}

// ServeRTU serves RTU frames on a stream until ctx is done (nil) or the stream
// fails.
func (s *Server) ServeRTU(ctx context.Context, rw Stream) error {
	stop := context.AfterFunc(ctx, func() { _ = rw.Close() })
	defer func() {
		if stop() {
			_ = rw.Close()
		}
	}()
	var buf []byte
	b := make([]byte, 512)
	last := time.Now()
	for {
		n, err := rw.Read(b)
		if err != nil {
			return ended(ctx, err)
		}
		if time.Since(last) > 100*time.Millisecond {
			buf = buf[:0] // the rest of something
		}
		last = time.Now()
		buf = append(buf, b[:n]...)
		for {
			unit, pdu, rest, ok := nextRequest(buf)
			if !ok {
				break
			}
			if err := s.answerRTU(ctx, rw, last, unit, pdu); err != nil {
				return ended(ctx, err)
			}
			buf = rest
		}
		if len(buf) > 512 {
			buf = buf[:0]
		}
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("slave: %w", err)
}

// nextRequest takes the first valid frame of b, skipping what is none.
func nextRequest(b []byte) (unit byte, pdu, rest []byte, ok bool) {
	for i := 0; i+4 <= len(b); i++ {
		n := modbus.RequestLength(b[i+1:])
		if end := i + 1 + n + 2; n > 0 && end <= len(b) && modbus.ValidFrame(b[i:end]) {
			return b[i], b[i+1 : i+1+n], b[end:], true
		}
	}
	return 0, nil, b, false
}

func (s *Server) answerRTU(ctx context.Context, w io.Writer, heard time.Time, unit byte, pdu []byte) error {
	s.mu.Lock()
	image, fault := s.units[unit], s.faults[unit]
	if image != nil {
		s.count++
	}
	s.mu.Unlock()
	if unit == 0 { // a broadcast: all do it, nobody answers
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, u := range s.units {
			Handle(u, pdu)
		}
		return nil
	}
	if image == nil || fault == Silent {
		return nil
	}
	frame := modbus.AppendFrame(nil, unit, Handle(image, pdu))
	wait := s.Delay + s.onWire(len(pdu)+3) + s.silence() + s.onWire(len(frame))
	switch fault {
	case BadCRC:
		frame[len(frame)-1] ^= 0x55
	case CutShort:
		frame = frame[:len(frame)/2]
	case Noisy:
		frame = append([]byte{0x00, 0xff, unit, 0xf8}, frame...)
	case Stranger:
		frame = append(modbus.AppendFrame(nil, unit+1, Handle(image, pdu)), frame...)
	case Late:
		wait += s.Lateness
	}
	if err := serial.Pause(ctx, heard.Add(wait)); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}

// onWire is how long n characters of 11 bits take.
func (s *Server) onWire(n int) time.Duration {
	if s.Baud == 0 {
		return 0
	}
	return time.Duration(n) * 11 * time.Second / time.Duration(s.Baud)
}

// silence is the pause by which a unit knows that the request is complete.
func (s *Server) silence() time.Duration {
	if s.Baud > 19200 {
		return 1750 * time.Microsecond
	}
	return s.onWire(7) / 2
}

// ServeTCP serves TCP frames on a stream until ctx is done (nil) or the stream
// ends.
func (s *Server) ServeTCP(ctx context.Context, rw Stream) error {
	stop := context.AfterFunc(ctx, func() { _ = rw.Close() })
	defer func() {
		if stop() {
			_ = rw.Close()
		}
	}()
	var buf []byte
	heard := time.Now()
	b := make([]byte, 512)
	for {
		id, unit, pdu, n, err := modbus.ParseMBAP(buf)
		if err != nil {
			return fmt.Errorf("slave: %w", err)
		}
		if n == 0 {
			k, err := rw.Read(b)
			if err != nil {
				return ended(ctx, err)
			}
			buf, heard = append(buf, b[:k]...), time.Now()
			continue
		}
		if err := s.answerTCP(ctx, rw, heard, id, unit, pdu); err != nil {
			return ended(ctx, err)
		}
		buf = append(buf[:0], buf[n:]...)
	}
}

func (s *Server) answerTCP(ctx context.Context, w io.Writer, heard time.Time, id uint16, unit byte, pdu []byte) error {
	s.mu.Lock()
	image, fault := s.units[unit], s.faults[unit]
	s.mu.Unlock()
	answer := []byte{pdu[0] | 0x80, byte(modbus.NoAnswer)}
	switch {
	case fault == Silent:
		return nil
	case image != nil:
		answer = Handle(image, pdu)
	}
	wait := s.Delay
	if fault == Late {
		wait += s.Lateness
	}
	if err := serial.Pause(ctx, heard.Add(wait)); err != nil {
		return err
	}
	_, err := w.Write(modbus.AppendMBAP(nil, id, unit, answer))
	return err
}
