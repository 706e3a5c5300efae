package bits

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// script writes a random mixture of fields and returns a function that reads
// it back.
func script(rnd *rand.Rand, aligned bool) ([]byte, func(*testing.T, *Reader)) {
	var w Writer
	w.SetAligned(aligned)
	w.Reset(nil)
	var check []func(*testing.T, *Reader)
	for range 400 {
		switch rnd.IntN(6) {
		case 0:
			k := uint(rnd.IntN(33))
			v := rnd.Uint64() & (1<<k - 1)
			w.NBit(v, k)
			check = append(check, func(t *testing.T, r *Reader) {
				if got := r.NBit(k); got != v {
					t.Fatalf("NBit(%d) = %#x, want %#x", k, got, v)
				}
			})
		case 1:
			v := rnd.Uint64() >> (1 + rnd.IntN(63))
			w.Uint(v)
			check = append(check, func(t *testing.T, r *Reader) {
				if got := r.Uint(); got != v {
					t.Fatalf("Uint = %d, want %d", got, v)
				}
			})
		case 2:
			v := new(big.Int).Lsh(big.NewInt(rnd.Int64()), uint(rnd.IntN(200)))
			w.UintBig(v)
			check = append(check, func(t *testing.T, r *Reader) {
				u, b := r.UintBig()
				if b == nil {
					b = new(big.Int).SetUint64(u)
				}
				if b.Cmp(v) != 0 {
					t.Fatalf("UintBig = %v, want %v", b, v)
				}
			})
		case 3:
			s := strings.Repeat("abcdefghijk", rnd.IntN(8))
			if n := w.ASCII(s); n != len(s) {
				panic("ASCII stopped early")
			}
			check = append(check, func(t *testing.T, r *Reader) {
				got, n := r.ASCII(nil, len(s))
				for ; n < len(s); n++ {
					got = append(got, byte(r.Bits(8)))
				}
				if string(got) != s {
					t.Fatalf("ASCII = %q, want %q", got, s)
				}
			})
		case 4:
			s := strings.Repeat("\xff\x01", rnd.IntN(20))
			w.Octets(s)
			check = append(check, func(t *testing.T, r *Reader) {
				if got := string(r.Octets(nil, len(s))); got != s {
					t.Fatalf("Octets = %q, want %q", got, s)
				}
			})
		case 5:
			w.Align()
			check = append(check, func(_ *testing.T, r *Reader) { r.Align() })
		}
	}
	return w.Bytes(), func(t *testing.T, r *Reader) {
		for _, f := range check {
			f(t, r)
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		aligned := i%2 == 0
		data, check := script(rnd, aligned)
		tail := []byte("behind")
		all := append(append([]byte(nil), data...), tail...)

		var r Reader
		r.SetAligned(aligned)
		r.Reset(all)
		check(t, &r)
		r.Finish()
		if !bytes.Equal(r.Rest(), tail) {
			t.Fatalf("slice: %d octets left, want %d", len(r.Rest()), len(tail))
		}

		src := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(all)), 16)
		r.ResetSource(src, 0)
		check(t, &r)
		if got := (r.Pos() + 7) / 8; got != int64(len(data)) {
			t.Fatalf("position %d, want %d", got, len(data))
		}
		r.Finish()
		rest, _ := io.ReadAll(src)
		if !bytes.Equal(rest, tail) {
			t.Fatalf("source: left %q, want %q", rest, tail)
		}
	}
}

func TestReaderNeverWaitsForMoreThanItNeeds(t *testing.T) {
	pr, pw := io.Pipe()
	go func() { _, _ = pw.Write([]byte{0xAB}) }()
	var r Reader
	r.ResetSource(bufio.NewReader(pr), 0)
	if got := r.Bits(8); got != 0xAB {
		t.Fatalf("got %#x", got)
	}
	r.Finish()
	_ = pw.Close()
}

func TestErrorsAreSticky(t *testing.T) {
	var r Reader
	r.Reset([]byte{0xFF})
	r.Bits(4)
	if r.Bits(8); !errors.Is(r.Err(), io.ErrUnexpectedEOF) {
		t.Fatalf("err = %v", r.Err())
	}
	for range 100 {
		if r.Bits(32) != 0 {
			t.Fatal("bits behind the end are not zero")
		}
	}
	if r.Pos() != 4 && r.Pos() != 8 {
		t.Fatalf("error position %d", r.Pos())
	}
	r.Reset(bytes.Repeat([]byte{0xFF}, 5000))
	if r.Uint(); !errors.Is(r.Err(), ErrOverflow) {
		t.Fatalf("err = %v", r.Err())
	}
	r.Reset(bytes.Repeat([]byte{0xFF}, 5000))
	if r.UintBig(); !errors.Is(r.Err(), ErrOverflow) {
		t.Fatalf("err = %v", r.Err())
	}
}

func TestLimit(t *testing.T) {
	var r Reader
	src := bufio.NewReader(bytes.NewReader(make([]byte, 1000)))
	r.ResetSource(src, 100)
	n := 0
	for ; r.Err() == nil; n++ {
		r.Bits(8)
	}
	if !errors.Is(r.Err(), ErrTooLong) || n != 101 {
		t.Fatalf("stopped after %d octets with %v", n, r.Err())
	}
}

func TestTake(t *testing.T) {
	var w Writer
	w.Reset(nil)
	var got []byte
	for range 100 {
		w.Bits(5, 3)
		got = append(got, w.Take()...)
	}
	got = append(got, w.Bytes()...)
	if w.Pos() != 304 || len(got) != 38 {
		t.Fatalf("%d bits in %d octets", w.Pos(), len(got))
	}
	var r Reader
	r.Reset(got)
	for range 100 {
		if r.Bits(3) != 5 {
			t.Fatal("wrong bits")
		}
	}
}

func BenchmarkBits(b *testing.B) {
	data := make([]byte, 1<<16)
	var r Reader
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Reset(data)
		for range len(data) * 8 / 5 {
			r.Bits(5)
		}
	}
}
