package schemas

import (
	"testing"
)

func TestSetCompiles(t *testing.T) {
	s, err := Set()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states, %d global elements, %d URIs", s.States, len(s.DocumentElements), len(s.URIs))
	for _, n := range []string{"message", "presence", "iq"} {
		for _, e := range s.DocumentElements {
			if e.Name.Value().Local == n {
				t.Logf("%s: first state %d productions, content %d", n, len(e.Type.Start.Prods), len(e.Type.Start.ContentStart.Prods))
			}
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(); err != nil {
			b.Fatal(err)
		}
	}
}
