package deflate

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	kp "github.com/klauspost/compress/flate"
)

// generate makes n octets of a kind, the same ones everywhere.
func generate(kind string, n int) []byte {
	x := uint32(12345)
	var out []byte
	for len(out) < n {
		x = (x*1103515245 + 12345) & 0x7fffffff
		b := byte(x >> 16)
		switch kind {
		case "random":
			out = append(out, b)
		case "letters":
			out = append(out, "etaoin shrdlu"[b%13])
		case "runs":
			out = append(out, bytes.Repeat([]byte{b%4 + 65}, int(b)/8+1)...)
		case "records":
			out = fmt.Appendf(out, "<field name=\"Temperature\" value=\"%d.%d\" unit=\"C\"/>", b%40, x%10)
		}
	}
	return out[:n]
}

// goldens are lengths and the first half of the SHA-256 of what zlib 1.2.13
// makes of the same input at its default level.
var goldens = []struct {
	kind string
	n    int
	size int
	sum  string
}{
	{"random", 0, 2, "9b4fb24edd6d1d88"},
	{"random", 1, 3, "bcbcf3a6578ceeee"},
	{"random", 3, 5, "cd54b88f01b0d6f2"},
	{"random", 100, 105, "f7ab60a143796d72"},
	{"random", 5000, 5005, "ed0d549bc21fe745"},
	{"random", 40000, 40015, "2be8389519b51ca4"},
	{"random", 300000, 300095, "c59c86736262f92d"},
	{"letters", 0, 2, "9b4fb24edd6d1d88"},
	{"letters", 1, 3, "f2d0f26c78217d08"},
	{"letters", 3, 5, "408f389a1b286361"},
	{"letters", 100, 70, "f0f5d753406c0cc8"},
	{"letters", 5000, 2728, "8727c1475381e0e8"},
	{"letters", 40000, 21977, "b2e31d72bb4b7381"},
	{"letters", 300000, 157393, "0cd5152ce3f42c22"},
	{"runs", 0, 2, "9b4fb24edd6d1d88"},
	{"runs", 1, 3, "368f084eda77ca9e"},
	{"runs", 3, 5, "16347429e0aa5da5"},
	{"runs", 100, 18, "36a3c7d1802fbf48"},
	{"runs", 5000, 361, "d80ebd59dec63125"},
	{"runs", 40000, 2628, "f2a3a1cc785d3469"},
	{"runs", 300000, 19160, "0bdaa4f24c2bad9d"},
	{"records", 0, 2, "9b4fb24edd6d1d88"},
	{"records", 1, 3, "c2ecefbf22ed97eb"},
	{"records", 3, 5, "89dd80b29181a48f"},
	{"records", 100, 58, "6deaa59d2febbc71"},
	{"records", 5000, 355, "f67f6442697bc0e4"},
	{"records", 40000, 2047, "09b192036bcecff3"},
	{"records", 300000, 13878, "b87a71f87ce74f24"},
}

func TestSameAsZlib(t *testing.T) {
	var e Encoder
	for _, g := range goldens {
		got := e.Append([]byte("x"), generate(g.kind, g.n))[1:]
		sum := sha256.Sum256(got)
		if len(got) != g.size || hex.EncodeToString(sum[:8]) != g.sum {
			t.Errorf("%s of %d: %d octets, sum %x; want %d, %s", g.kind, g.n, len(got), sum[:8], g.size, g.sum)
		}
	}
}

func TestInflates(t *testing.T) {
	var e Encoder
	for _, kind := range []string{"random", "letters", "runs", "records"} {
		for _, n := range []int{0, 1, 2, 3, 4, 257, 258, 259, 32768, 65536, 65537, 150000} {
			src := generate(kind, n)
			r := bytes.NewReader(append(e.Append(nil, src), "tail"...))
			got, err := io.ReadAll(flate.NewReader(r))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s of %d: %v", kind, n, err)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "tail" {
				t.Errorf("%s of %d: %q behind the stream", kind, n, rest)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var e Encoder
	src := generate("records", 20000)
	dst := e.Append(nil, src)
	if n := testing.AllocsPerRun(20, func() { dst = e.Append(dst[:0], src) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInflates(f *testing.F) {
	f.Add([]byte("abcabcabcabc"), 3)
	f.Fuzz(func(t *testing.T, p []byte, times int) {
		src := bytes.Repeat(p, 1+times&63)
		var e Encoder
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(e.Append(nil, src))))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatal(err)
		}
	})
}

// BenchmarkAppend compares with the two libraries at their default levels.
func BenchmarkAppend(b *testing.B) {
	for _, kind := range []string{"letters", "records"} {
		for _, n := range []int{200, 40000} {
			src := generate(kind, n)
			b.Run(fmt.Sprintf("own/%s/%d", kind, n), func(b *testing.B) {
				var e Encoder
				var dst []byte
				b.SetBytes(int64(n))
				for b.Loop() {
					dst = e.Append(dst[:0], src)
				}
				b.ReportMetric(float64(len(dst)), "octets")
			})
			b.Run(fmt.Sprintf("std/%s/%d", kind, n), func(b *testing.B) {
				var buf bytes.Buffer
				w, _ := flate.NewWriter(&buf, flate.DefaultCompression)
				b.SetBytes(int64(n))
				for b.Loop() {
					buf.Reset()
					w.Reset(&buf)
					_, _ = w.Write(src)
					_ = w.Close()
				}
				b.ReportMetric(float64(buf.Len()), "octets")
			})
			b.Run(fmt.Sprintf("klauspost/%s/%d", kind, n), func(b *testing.B) {
				var buf bytes.Buffer
				w, _ := kp.NewWriter(&buf, kp.DefaultCompression)
				b.SetBytes(int64(n))
				for b.Loop() {
					buf.Reset()
					w.Reset(&buf)
					_, _ = w.Write(src)
					_ = w.Close()
				}
				b.ReportMetric(float64(buf.Len()), "octets")
			})
		}
	}
}
