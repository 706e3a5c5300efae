package saslprep

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// The examples of RFC 4013 §3, and one for each rule.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "\u0007": "!", "\u0627\u0031": "!",
		"": "", "a\u00a0b": "a b", "a\u200bb": "a b", "p\u00e4ss": "päss", "pa\u0308ss": "päss", "\u0627\u0031\u0628": "\u0627\u0031\u0628",
		"\u0627a\u0628": "!", "1\u0627": "!", "\ufffd": "!", "\U0001f511": "!", "a\xffb": "!", "\ue000": "!", "a\tb": "!", "\u1d62": "!",
	} {
		got, err := Prepare(in)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%+q: %+q (%v), want %+q", in, got, err, want)
		}
	}
}

// corrected are ideographs whose decompositions Unicode has corrected since 3.2
// (Corrigendum 4); nothing is known to depend on the wrong ones.
const corrected = "\U0002f868\U0002f874\U0002f91f\U0002f95f\U0002f9bf"

// Every code point that means something, alone and in company, and random strings, against Python's
// tables and its Unicode 3.2.
func TestAgainstPython(t *testing.T) {
	if exec.Command("python3", "-c", "import stringprep").Run() != nil {
		if os.Getenv("REQUIRE_PEERS") == "1" {
			t.Fatal("python3 is not here")
		}
		t.Skip("python3 is not here")
	}
	var cases []string
	add := func(s string) {
		if !strings.ContainsAny(s, corrected) {
			cases = append(cases, s)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var near []rune // of the tables' edges, where faults would be
	for _, t := range []table{unassigned, ignored, spaces, prohibited, randAL, left} {
		for _, r := range t {
			near = append(near, max(r[0]-1, 0), r[0], r[1], r[1]+1)
		}
	}
	for r := rune(0); r <= 0x10ffff; r++ {
		if !utf8.ValidRune(r) || r > 0x34000 && r%61 != 0 { // beyond is nearly nothing
			continue
		}
		if add(string(r)); r < 0x3400 || r%61 == 0 {
			add("a" + string(r))
			add("\u0627" + string(r) + "\u0628")
		}
	}
	for range 50_000 {
		var b strings.Builder
		for range 1 + rng.IntN(5) {
			if r := near[rng.IntN(len(near))]; utf8.ValidRune(r) {
				b.WriteRune(r)
			}
		}
		add(b.String())
	}
	var in bytes.Buffer
	for _, s := range cases {
		fmt.Fprintln(&in, hex(s))
	}
	cmd := exec.Command("python3", "testdata/judge.py")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	refused := 0
	for i, s := range cases {
		if !sc.Scan() {
			t.Fatalf("only %d answers", i)
		}
		got, err := Prepare(s)
		text := hex(got)
		if err != nil {
			text = "!"
			refused++
		}
		if text != sc.Text() {
			t.Errorf("%s: %s, Python says %s", hex(s), text, sc.Text())
		}
	}
	t.Logf("%d strings, %d of them refused", len(cases), refused)
}

func hex(s string) string {
	var b strings.Builder
	for i, r := range []rune(s) {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%x", r)
	}
	return b.String()
}

func FuzzPrepare(f *testing.F) {
	for _, s := range []string{"user", "I\u00adX", "\u0627\u0031\u0628", "\xff", "\u00a0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := Prepare(s)
		if err != nil {
			return
		}
		if again, err := Prepare(out); err != nil || again != out {
			t.Errorf("%q becomes %q, and that %q, %v", s, out, again, err)
		}
	})
}
