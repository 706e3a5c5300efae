package modbus

import (
	"bytes"
	"errors"
	"testing"

	"postern/drivers"
)

// Modbus over Serial Line V1.02, 6.2.2: the checksum of 02 07 is 12 41.
func TestCRC(t *testing.T) {
	if got := AppendFrame(nil, 2, []byte{7}); !bytes.Equal(got, []byte{0x02, 0x07, 0x41, 0x12}) {
		t.Errorf("% x", got)
	}
	// A request for ten holding registers that is printed in many manuals.
	if got := AppendFrame(nil, 1, request(fnReadHolding, 0, 10)); !bytes.Equal(got, []byte{1, 3, 0, 0, 0, 10, 0xc5, 0xcd}) {
		t.Errorf("% x", got)
	}
	f := AppendFrame(nil, 17, []byte{1, 2, 3})
	for i := range f {
		g := bytes.Clone(f)
		g[i] ^= 1
		if ValidFrame(g) {
			t.Errorf("a flipped bit in octet %d goes unseen", i)
		}
	}
}

func TestFindAnswer(t *testing.T) {
	good := AppendFrame(nil, 5, []byte{3, 2, 0x12, 0x34})
	refused := AppendFrame(nil, 5, []byte{0x83, 2})
	stranger := AppendFrame(nil, 6, []byte{3, 2, 0xaa, 0xaa})
	bad := bytes.Clone(good)
	bad[3] ^= 1
	cat := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	for _, c := range []struct {
		name     string
		b        []byte
		complete bool
		want     []byte
	}{
		{"good", good, false, good[1:5]},
		{"refused", refused, false, refused[1:3]},
		{"noise in front", cat([]byte{0, 0xff}, good), false, good[1:5]},
		{"noise like its head", cat([]byte{5, 3}, good), true, good[1:5]},
		{"stranger first", cat(stranger, good), false, good[1:5]},
		{"damaged", bad, true, nil},
		{"damaged, then good", cat(bad, good), true, good[1:5]},
		{"incomplete", good[:5], false, nil},
		{"incomplete and no more", good[:5], true, nil},
		{"stranger only", stranger, true, nil},
		{"nothing", nil, true, nil},
	} {
		if got := FindAnswer(c.b, 5, 3, c.complete); !bytes.Equal(got, c.want) {
			t.Errorf("%s: % x, want % x", c.name, got, c.want)
		}
	}
}

func TestParseMBAP(t *testing.T) {
	f := AppendMBAP(nil, 0x1234, 9, []byte{3, 2, 0, 1})
	for i := range f {
		if _, _, _, n, err := ParseMBAP(f[:i]); n != 0 || err != nil {
			t.Errorf("%d octets: %d, %v", i, n, err)
		}
	}
	id, unit, pdu, n, err := ParseMBAP(append(f, 0xff))
	if id != 0x1234 || unit != 9 || !bytes.Equal(pdu, []byte{3, 2, 0, 1}) || n != len(f) || err != nil {
		t.Errorf("%x %d % x %d %v", id, unit, pdu, n, err)
	}
	for _, b := range [][]byte{
		{0, 1, 0, 1, 0, 3, 1, 3, 0}, // protocol
		{0, 1, 0, 0, 0, 1, 1},       // no PDU
		{0, 1, 0, 0, 1, 0, 1, 3},    // too long
	} {
		if _, _, _, _, err := ParseMBAP(b); !errors.Is(err, errFraming) || !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("% x: %v", b, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	if _, err := counted(3, []byte{0x83, 2}, 2); !errors.Is(err, IllegalAddress) {
		t.Errorf("exception: %v", err)
	}
	for _, b := range [][]byte{nil, {3}, {4, 2, 0, 1}, {3, 4, 0, 1}, {3, 2, 0, 1, 0}, {0x84, 2}, {0x83, 2, 0}} {
		if _, err := counted(3, b, 2); !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("% x: %v", b, err)
		}
	}
	req := request(fnWriteRegister, 1, 2)
	if err := echoed(req, []byte{6, 0, 1, 0, 2}, 5); err != nil {
		t.Error(err)
	}
	if err := echoed(req, []byte{6, 0, 1, 0, 3}, 5); !errors.Is(err, drivers.ErrProtocol) {
		t.Errorf("another value came back: %v", err)
	}
	if !errors.Is(NoAnswer, drivers.ErrTimeout) || !errors.Is(NoPath, drivers.ErrGone) || errors.Is(IllegalAddress, drivers.ErrTimeout) {
		t.Error("exceptions of gateways are not mapped")
	}
}

func FuzzFindAnswer(f *testing.F) {
	f.Add(AppendFrame(nil, 5, []byte{3, 2, 0x12, 0x34}), byte(5), byte(3))
	f.Add(AppendFrame([]byte{0, 5, 43}, 5, []byte{43, 14, 1, 1, 0, 0, 1, 0, 2, 'a', 'b'}), byte(5), byte(43))
	f.Add([]byte{5, 0x83, 2}, byte(5), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, unit, fn byte) {
		for _, complete := range []bool{false, true} {
			got := FindAnswer(b, unit, fn, complete)
			if got == nil {
				continue
			}
			if got[0]&^exceptionFlag != fn&^exceptionFlag || !bytes.Contains(b, AppendFrame(nil, unit, got)) {
				t.Errorf("% x of % x", got, b)
			}
		}
		id := Identification{}
		_, _, _ = ParseIdentification(b, id)
		_, _ = counted(fn, b, 2)
	})
}

func FuzzParseMBAP(f *testing.F) {
	f.Add(AppendMBAP(nil, 1, 2, []byte{3, 2, 0, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, unit, pdu, n, err := ParseMBAP(b)
		if err == nil && n > 0 && !bytes.Equal(AppendMBAP(nil, id, unit, pdu), b[:n]) {
			t.Errorf("% x does not come back", b)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add("float32", "cdab", "0.001", "", uint64(0x4366_1999))
	f.Add("bcd32", "abcd", "1", "", uint64(0x12345678))
	f.Add("uint16", "badc", "0.1", "3-7", uint64(0xffff))
	f.Add("string", "abcd", "1", "", uint64(0x4142))
	f.Fuzz(func(t *testing.T, typ, order, scale, bits string, raw uint64) {
		ps, err := compile([]Register{{Name: "x", Type: typ, Order: order, Scale: scale, Bits: bits, Decimals: -1, Length: 4}})
		if err != nil {
			return
		}
		p := &ps[0]
		regs := p.registers(raw & p.mask())
		v, err := p.value(regs, 0)
		if err == nil && v.Kind() != p.kind {
			t.Errorf("%v is no %v", v, p.kind)
		}
		if err != nil || !p.integer() || p.width > 0 || p.kind == drivers.KindEnum {
			return
		}
		if back, err := p.encode(v); err != nil || back != p.raw(regs) {
			t.Errorf("%s %s %s: %x reads %v and is written as %x, %v", typ, order, scale, p.raw(regs), v, back, err)
		}
	})
}
