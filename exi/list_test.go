package exi

import "testing"

// KeepListSpace has white space that a list cannot carry go as text.
func TestKeepListSpace(t *testing.T) {
	ints := &Datatype{Codec: CodecList, Item: &Datatype{Codec: CodecInteger}}
	words := &Datatype{Codec: CodecList, Item: &Datatype{Codec: CodecString}}
	for _, d := range []*Datatype{ints, words} {
		for _, tt := range []struct {
			text string
			kept bool
		}{
			{"", true}, {"1", true}, {"1 2 30", true},
			{" ", false}, {" 1", false}, {"1 ", false}, {"1  2", false}, {"1\t2", false}, {"1\n2", false}, {"1 \r2", false},
		} {
			v := Str(tt.text)
			p := parsed{keepSpace: true}
			b := (&typeBinder{memo: map[*Datatype]*dtype{}}).bind(d)
			if got := p.set(b, &v); got != tt.kept {
				t.Errorf("%q as a list: %v", tt.text, got)
			}
			if p := (parsed{}); !p.set(b, &v) {
				t.Errorf("%q without KeepListSpace is no list", tt.text)
			}
		}
	}
}
