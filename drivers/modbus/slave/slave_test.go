package slave

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"postern/drivers/modbus"
)

func image() *modbus.Image {
	m := modbus.NewImage()
	m.SetRegisters(modbus.Holdings, 0, 1, 2, 3)
	m.SetRegisters(modbus.Inputs, 65535, 9)
	m.SetBits(modbus.Coils, 0, true, false, true)
	m.SetBits(modbus.Discretes, 5, true)
	return m
}

func TestHandle(t *testing.T) {
	for _, c := range []struct{ name, req, want string }{
		{"holdings", "\x03\x00\x00\x00\x03", "\x03\x06\x00\x01\x00\x02\x00\x03"},
		{"beyond the end", "\x03\x00\x01\x00\x03", "\x83\x02"},
		{"none", "\x03\x00\x00\x00\x00", "\x83\x03"},
		{"too many", "\x03\x00\x00\x00\x7e", "\x83\x03"},
		{"the last address", "\x04\xff\xff\x00\x01", "\x04\x02\x00\x09"},
		{"past the last address", "\x04\xff\xff\x00\x02", "\x84\x02"},
		{"coils", "\x01\x00\x00\x00\x03", "\x01\x01\x05"},
		{"discrete", "\x02\x00\x05\x00\x01", "\x02\x01\x01"},
		{"write coil", "\x05\x00\x01\xff\x00", "\x05\x00\x01\xff\x00"},
		{"write coil with nonsense", "\x05\x00\x01\x12\x34", "\x85\x03"},
		{"write register", "\x06\x00\x02\x12\x34", "\x06\x00\x02\x12\x34"},
		{"write a missing register", "\x06\x00\x09\x12\x34", "\x86\x02"},
		{"write coils", "\x0f\x00\x00\x00\x02\x01\x02", "\x0f\x00\x00\x00\x02"},
		{"write registers", "\x10\x00\x00\x00\x01\x02\x00\x07", "\x10\x00\x00\x00\x01"},
		{"write registers with a wrong count", "\x10\x00\x00\x00\x02\x02\x00\x07", "\x90\x03"},
		{"unknown function", "\x63", "\xe3\x01"},
		{"too short", "\x03\x00", "\x83\x03"},
		{"empty", "", "\x80\x01"},
		{"identification", "\x2b\x0e\x04\x02", "\x2b\x0e\x04\x01\x00\x00\x01\x02\x011"},
	} {
		if got := Handle(image(), []byte(c.req)); string(got) != c.want {
			t.Errorf("%s: % x, want % x", c.name, got, c.want)
		}
	}
}

func FuzzHandle(f *testing.F) {
	for _, s := range []string{"\x03\x00\x00\x00\x03", "\x17\x00\x00\x00\x01\x00\x01\x00\x01\x02\x00\x05", "\x2b\x0e\x01\x00", "\x16\x00\x00\x00\xf2\x00\x25"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		got := Handle(image(), pdu)
		if len(got) < 2 || len(got) > 253 {
			t.Errorf("% x is answered with %d octets", pdu, len(got))
		}
		if n := modbus.AnswerLength(got); n > 0 && n != len(got) {
			t.Errorf("% x is answered with % x, whose length reads %d", pdu, got, n)
		}
	})
}

func TestGarbageBeforeARequest(t *testing.T) {
	near, far := net.Pipe()
	s := New(map[byte]*modbus.Image{1: image()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.ServeRTU(ctx, far) }()
	req := modbus.AppendFrame([]byte{0xde, 0xad, 1, 3}, 1, []byte{3, 0, 0, 0, 1})
	if _, err := near.Write(req); err != nil {
		t.Fatal(err)
	}
	want := modbus.AppendFrame(nil, 1, []byte{3, 2, 0, 1})
	got := make([]byte, len(want))
	_ = near.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(near, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("% x, %v; want % x", got, err, want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("at the end: %v", err)
	}
}

func TestRunEndsAndFreesThePTY(t *testing.T) {
	s := New(nil)
	path, err := s.PTY()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	time.Sleep(10 * time.Millisecond)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Run does not end")
	}
	if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		_ = f.Close()
		t.Errorf("%s still exists", path)
	}
}

// A request is found behind whatever noise, and nothing is taken for one that
// has no valid checksum.
func FuzzNextRequest(f *testing.F) {
	f.Add([]byte{0xde, 0xad}, byte(1), []byte{3, 0, 0, 0, 1})
	f.Add([]byte{1, 0x10, 0, 0, 0, 1, 2}, byte(9), []byte{0x2b, 0x0e, 1, 0})
	f.Fuzz(func(t *testing.T, noise []byte, unit byte, pdu []byte) {
		if len(noise) > 300 || len(pdu) == 0 || modbus.RequestLength(pdu) != len(pdu) {
			return
		}
		frame := modbus.AppendFrame(nil, unit, pdu)
		if u, p, rest, ok := nextRequest(frame); !ok || u != unit || !bytes.Equal(p, pdu) || len(rest) != 0 {
			t.Fatalf("% x: %d % x, % x, %v", frame, u, p, rest, ok)
		}
		all := append(bytes.Clone(noise), frame...)
		u, p, rest, ok := nextRequest(all)
		if !ok || len(rest) >= len(all) || !modbus.ValidFrame(modbus.AppendFrame(nil, u, p)) {
			t.Errorf("% x: nothing is found: % x, % x, %v", all, p, rest, ok)
		}
	})
}
