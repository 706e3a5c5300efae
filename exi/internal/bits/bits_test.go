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
		switch rnd.IntN(7) {
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
			text := randomText(rnd)
			writeSet(&w, text)
			check = append(check, func(t *testing.T, r *Reader) {
				if got := readSet(r, len(text)); got != text {
					t.Fatalf("Set = %q, want %q", got, text)
				}
			})
		case 6:
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

// addressSet is a set of characters as a schema restricts text to, with what
// stands for others behind it.
const (
	addressSet = "-./0123456789:@_abcdefghijklmnopqrstuvwxyz"
	setBits    = 6
)

var addressPositions = func() (p [128]uint8) {
	for i := range len(addressSet) {
		p[addressSet[i]] = uint8(i + 1)
	}
	return p
}()

func randomText(rnd *rand.Rand) string {
	b := make([]byte, rnd.IntN(40))
	for i := range b {
		b[i] = addressSet[rnd.IntN(len(addressSet))]
		if rnd.IntN(30) == 0 {
			b[i] = "AZ~\xff"[rnd.IntN(4)]
		}
	}
	return string(b)
}

func writeSet(w *Writer, s string) {
	for {
		s = s[w.Set(s, setBits, &addressPositions):]
		if s == "" {
			return
		}
		if s[0] < 128 && addressPositions[s[0]] > 0 {
			w.NBit(uint64(addressPositions[s[0]]-1), setBits)
		} else {
			w.NBit(uint64(len(addressSet)), setBits)
			w.Uint(uint64(s[0]))
		}
		s = s[1:]
	}
}

func readSet(r *Reader, n int) string {
	var dst []byte
	for len(dst) < n && r.Err() == nil {
		if dst, _ = r.Set(dst, n-len(dst), setBits, []byte(addressSet)); len(dst) == n {
			break
		}
		if i := int(r.NBit(setBits)); i < len(addressSet) {
			dst = append(dst, addressSet[i])
		} else {
			dst = append(dst, byte(r.Uint()))
		}
	}
	return string(dst)
}

// TestSetWritesPlainPositions compares with one n-bit integer for each character.
func TestSetWritesPlainPositions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		lead, text := uint(rnd.IntN(32)), randomText(rnd)
		var fast, plain Writer
		fast.Reset(nil)
		plain.Reset(nil)
		fast.NBit(0, lead)
		plain.NBit(0, lead)
		writeSet(&fast, text)
		for i := range len(text) {
			if p := addressPositions[text[i]&127]; text[i] < 128 && p > 0 {
				plain.NBit(uint64(p-1), setBits)
			} else {
				plain.NBit(uint64(len(addressSet)), setBits)
				plain.Uint(uint64(text[i]))
			}
		}
		if got, want := fast.Bytes(), plain.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("%q behind %d bits: %x, want %x", text, lead, got, want)
		}
	}
}

func TestSetStopsAtTheEnd(t *testing.T) {
	var r Reader
	r.Reset([]byte{0, 0, 0})
	if got, n := r.Set(nil, 100, setBits, []byte(addressSet)); n > 4 || len(got) != n {
		t.Errorf("%d characters in three octets: %q", n, got)
	}
	r.Fail(io.EOF)
	if _, n := r.Set(nil, 1, setBits, []byte(addressSet)); n != 0 {
		t.Error("a reader with an error has characters")
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
