package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A hostile file must not keep the gateway busy: whatever a file of the
// largest size repeats, it is read or refused soon (a quadratic parser would
// take minutes).
func TestHostileFilesEndSoon(t *testing.T) {
	for _, unit := range []string{
		"a", "- ", "a: ", "\n", "- a\n", "a: b\n", "[", "{", "[]", "\"", "'", "|\n", "a: |\n", "# x\n", "&a ", "*a\n",
		"? ", "? a\n: b\n", "<<: *a\n", "!", "%", "\t", " ", "a:\n ", "---\n", "\\", "\"\\n", "x: 'a\n", "- - a\n", "\r", "\u2028",
		"a: {b: [c, d]}\n", "- {a: 1}\n", ":", ": ", ",", "a, ", "x#", "> a\n  b\n",
		"- \"a\"\n", "- {a: b}\n", "\"\n", "'\n", ": \n", ",\n", "- [a,b,c,d,e,f]\n", "- \n  - ",
	} {
		size := maxFile / 2
		if testing.Short() {
			size = maxFile / 16
		}
		data := strings.Repeat(unit, size/len(unit))
		start := time.Now()
		Parse("f", []byte(data), testKinds())
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%q: %v", unit, d)
		} else if testing.Verbose() && d > 300*time.Millisecond {
			fmt.Printf("%q %v\n", unit, d.Round(time.Millisecond))
		}
	}
}
