package config

import (
	"fmt"
	"slices"
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
		"-\n", "- a:\n", "- a:\n  b:\n", "- {a: , b: }\n", "- {a, b}\n", "- # x\n", "- a: # x\n", "- a:\n  - \n", "- a:\n  # x\n", "- 'a':\n", "- [a: ]\n", "- {a}\n", "- {a: [b], c}\n",
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

// Keys and entries without a value are counted, and no others: for each the
// parser moves all that follows, so that only their number bounds its time.
func TestEmptyValuesAreCounted(t *testing.T) {
	counted := func(data string) bool {
		_, problems := Parse("f", []byte(data), testKinds())
		return slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.What, "without a value") })
	}
	for _, unit := range []string{
		"-\n", "- # x\n", "- a:\n", "- 'a':\n", "- a: # x\n", "- a:\n  # x\n", "- a:\n  b: 1\n", "- \n  - ", "- a:\n  - \n",
		"- {a}\n", "- {a: }\n", "- {a, b: 1}\n", "- {a: [b], c}\n", "- {a # x\n  }\n",
	} {
		if !counted(strings.Repeat(unit, maxEmpty+1)) {
			t.Errorf("%q is not counted", unit)
		}
		if counted(strings.Repeat(unit, maxEmpty/8)) {
			t.Errorf("%q is counted too often", unit)
		}
	}
	for _, unit := range []string{
		"- a\n", "-\n  a: b\n", "- a: b\n", "- a:\n  - b\n", "- a:\n    b: c\n", "- a: # x\n    b: c\n", "- - a\n", "- {}\n", "- []\n",
		"- {a: b, c: [d, e], f: {g: h}}\n", "- [a, {b: c}, d]\n", "- a: |\n    b\n", "- a: ''\n", "- # x\n  a: b\n", "- \"a\": {}\n",
	} {
		if counted(strings.Repeat(unit, maxEmpty+1)) {
			t.Errorf("%q is counted", unit)
		}
	}
}
