package xmpp

import (
	"fmt"
	"strings"
	"testing"
)

func TestJIDCache(t *testing.T) {
	c := newJIDCache(4)
	for i := range 100 {
		s := fmt.Sprintf("A%d@example.org/r", i)
		for range 2 {
			j, err := c.parse(s)
			if err != nil || j.String() != fmt.Sprintf("a%d@example.org/r", i) {
				t.Fatal(j, err)
			}
		}
		if n := len(c.new) + len(c.old); n > 8 {
			t.Fatalf("%d entries", n)
		}
	}
	if _, err := c.parse("@"); err == nil {
		t.Error("no error")
	}
	if _, err := c.parse(strings.Repeat("a", 4000)); err == nil {
		t.Error("no error")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.parse("A99@example.org/r"); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a known address", n)
	}
	var none *jidCache
	if j, err := none.parse("a@b"); err != nil || j.String() != "a@b" {
		t.Error(j, err)
	}
}

func TestCoreR115_IDs(t *testing.T) {
	s := new(Session)
	seen := make(map[string]bool)
	for range 10000 {
		id := s.newID()
		if len(id) < 16 || seen[id] || strings.ContainsAny(id, "<>&'\" ") {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func FuzzJIDCache(f *testing.F) {
	f.Add("a@b/c")
	f.Add("Ⅷ@example.org/ⅷ")
	c := newJIDCache(8)
	f.Fuzz(func(t *testing.T, s string) {
		j, err := c.parse(s)
		if err != nil {
			return
		}
		// A prepared address is its own form, and writing does not change it.
		again, err := c.parse(string(appendAddr(nil, j)))
		if err != nil || !again.Equal(j) || string(appendAddr(nil, j)) != j.String() {
			t.Errorf("%q gives %q, then %q, %v", s, j, again, err)
		}
	})
}
