package i2c

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"postern/drivers"
)

func TestFind(t *testing.T) {
	root := fstest.MapFS{
		"sys/class/i2c-dev/i2c-1/name":  {Data: []byte("bcm2835 (i2c@7e804000)\n")},
		"sys/class/i2c-dev/i2c-20/name": {Data: []byte("DDC\n")},
	}
	for name, want := range map[string]int{
		"1": 1, "i2c-1": 1, "/dev/i2c-7": 7, "I2C1": 1, "DDC": 20, "bcm2835 (i2c@7e804000)": 1,
	} {
		if n, err := Find(root, name); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", name, n, err, want)
		}
	}
	for _, name := range []string{"", "i2c-x", "-1", "ddc"} {
		if n, err := Find(root, name); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%q: %d, %v; want ErrGone", name, n, err)
		}
	}
	if _, err := Find(fstest.MapFS{}, "DDC"); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("without any bus: %v", err)
	}
}

func TestOpenMissingBus(t *testing.T) {
	if b, err := Open("4093"); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("%v, %v; want ErrGone", b, err)
	}
}

func TestClassify(t *testing.T) {
	for no, want := range map[syscall.Errno]error{
		syscall.ENXIO: drivers.ErrGone, syscall.EREMOTEIO: drivers.ErrGone, syscall.ENODEV: drivers.ErrGone,
		syscall.ETIMEDOUT: drivers.ErrTimeout, syscall.EIO: drivers.ErrProtocol,
	} {
		// As periph's sysfs package gives it: the errno is only text.
		if err := classify("i2c-1", 0x76, fmt.Errorf("sysfs-i2c: %v", no)); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", no, err, want)
		}
	}
	if classify("i2c-1", 1, nil) != nil {
		t.Error("an error from none")
	}
}

type echo struct{ last []byte }

func (e *echo) Tx(w, r []byte) error {
	if len(w) > 0 {
		e.last = append(e.last[:0], w...)
	}
	copy(r, e.last)
	return nil
}

func TestSimFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSim("sim")
		s.Attach(0x10, &echo{})
		s.Attach(0x11, &echo{})
		r := make([]byte, 2)
		if err := s.Tx(0x10, []byte{1, 2}, r); err != nil || r[0] != 1 || r[1] != 2 {
			t.Fatalf("healthy: %v %v", r, err)
		}
		if err := s.Tx(0x12, nil, r); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("no chip: %v", err)
		}
		s.SetFault(0x10, Dead)
		if err := s.Tx(0x10, []byte{1}, r); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("dead: %v", err)
		}
		s.SetFault(0x10, Noise)
		if err := s.Tx(0x10, []byte{1, 2}, r); err != nil || r[0] == 1 || r[1] == 2 {
			t.Errorf("noise: %v %v", r, err)
		}
		s.SetFault(0x10, Late)
		start := time.Now()
		if err := s.Tx(0x10, []byte{1, 2}, r); err != nil || time.Since(start) != 30*time.Millisecond {
			t.Errorf("late: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.TxContext(ctx, 0x10, nil, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late and cancelled: %v", err)
		}
		s.SetFault(0x10, Stuck)
		if err := s.Tx(0x11, nil, r); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("the neighbour of a stuck chip: %v", err)
		}
		s.SetFault(0x10, Healthy)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Tx(0x11, nil, r); !errors.Is(err, drivers.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestChipGivesTheCause(t *testing.T) {
	s := NewSim("sim")
	c := NewChip(s, 0x10)
	err := c.Do(t.Context(), func() error {
		_ = c.Tx(0x10, []byte{0}, nil)
		return errors.New("something failed") // as libraries do
	})
	if !errors.Is(err, drivers.ErrGone) {
		t.Errorf("error %v, want ErrGone", err)
	}
	if err := c.Tx(0x10, nil, make([]byte, 1)); err == nil {
		t.Error("a transaction outside of Do")
	}
}

func TestChipCloseEndsARunningCall(t *testing.T) {
	s := NewSim("sim")
	s.Attach(0x10, &echo{})
	c := NewChip(s, 0x10)
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Do(context.Background(), func() error {
			close(started)
			for {
				if err := c.Tx(0x10, nil, make([]byte, 1)); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
		})
	}()
	<-started
	c.Close()
	if err := <-done; !errors.Is(err, drivers.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

// Sensirion SHT3x data sheet, 4.12: the checksum of 0xbeef is 0x92.
func TestCRC8(t *testing.T) {
	if c := CRC8(0xbe, 0xef); c != 0x92 {
		t.Errorf("0x%02x, the data sheet says 0x92", c)
	}
	w, err := CheckedWords(AppendWords(nil, 0xbeef, 1), 2)
	if err != nil || w[0] != 0xbeef || w[1] != 1 {
		t.Errorf("%x, %v", w, err)
	}
	if _, err := CheckedWords([]byte{0xbe, 0xef, 0x93}, 1); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("a wrong checksum: %v", err)
	}
	if _, err := CheckedWords([]byte{0xbe, 0xef}, 1); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("too short: %v", err)
	}
}

func FuzzCheckedWords(f *testing.F) {
	f.Add([]byte{0xbe, 0xef, 0x92}, 1) // the SHT3x data sheet's example
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > 64 {
			return
		}
		words, err := CheckedWords(b, n)
		if err == nil && !bytes.Equal(AppendWords(nil, words...), b[:3*n]) {
			t.Errorf("% x is read as %x", b, words)
		}
	})
}
