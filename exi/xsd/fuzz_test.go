package xsd

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/exi"
)

// FuzzCompile feeds schema documents: every outcome but a whole Schema or an
// error that says where is a fault, and so is one that takes long.
func FuzzCompile(f *testing.F) {
	f.Add(wrap(one(`<xs:sequence maxOccurs="3"><xs:any/><xs:element name="a" minOccurs="0"/></xs:sequence><xs:anyAttribute/>`)))
	f.Add(wrap(`<xs:simpleType name="t"><xs:restriction base="xs:token"><xs:pattern value="[a-z-[b]]{2}|\d"/><xs:enumeration value="1"/></xs:restriction></xs:simpleType>`))
	f.Add(wrap(`<xs:redefine schemaLocation="s.xsd"><xs:group name="g"/></xs:redefine><xs:include schemaLocation="s.xsd"/><xs:group name="g"><xs:all/></xs:group>`))
	f.Add(wrap(`<xs:complexType name="c" mixed="1"><xs:complexContent><xs:extension base="c"><xs:attribute ref="xml:lang" xmlns:xml="http://www.w3.org/XML/1998/namespace"/></xs:extension></xs:complexContent></xs:complexType>`))
	if root := os.Getenv("POSTERN_VECTORS"); root != "" {
		files, _ := filepath.Glob(filepath.Join(root, "exi", "third-party", "exf-schema*__bit", "schema.xsd"))
		for _, name := range files {
			if text, err := os.ReadFile(name); err == nil {
				f.Add(string(text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Compile(Files{"s.xsd": []byte(text)}, "s.xsd")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.File == "" {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		checkSchema(t, s)
	})
}

// checkSchema walks over all grammars and checks what EXI 1.0 §8.5.4.2 and
// §8.5.4.3 demand of them.
func checkSchema(t *testing.T, s *exi.Schema) {
	seen := map[*exi.State]int{}
	var walk func(st *exi.State)
	var todo []*exi.State
	walk = func(st *exi.State) {
		if _, ok := seen[st]; ok {
			return
		}
		seen[st] = len(seen)
		todo = append(todo, st)
	}
	for _, typ := range s.Types {
		walk(typ.Start)
		walk(typ.Empty)
	}
	walk(s.ElementFragment.Start)
	walk(s.ElementFragment.Empty)
	for len(todo) > 0 {
		st := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if st.StartTag != (st.ContentStart != nil) || st.FirstStartTag && !st.StartTag {
			t.Fatalf("state %d is not marked consistently", seen[st])
		}
		if st.ContentStart != nil {
			walk(st.ContentStart)
		}
		last := -1
		terminals := map[arcKey]bool{}
		for _, p := range st.Prods {
			rank := map[exi.Kind]int{exi.AT: 0, exi.SE: 3, exi.EE: 6, exi.CH: 7}[p.Kind]
			switch {
			case p.Kind == exi.AT && !st.StartTag:
				t.Fatalf("attribute in content state %d", seen[st])
			case p.Match == exi.AnyIn:
				rank++
			case p.Match == exi.Any:
				rank += 2
			}
			if rank < last {
				t.Fatalf("state %d is not in the order of §8.5.4.3", seen[st])
			}
			last = rank
			if p.Kind == exi.SE || p.Kind == exi.AT {
				key := arcKey{p.Match + exi.Match(10*p.Kind), p.Name}
				if terminals[key] {
					t.Fatalf("state %d has a terminal twice", seen[st])
				}
				terminals[key] = true
			}
			if (p.Next == nil) != (p.Kind == exi.EE) {
				t.Fatalf("state %d: %v without a right-hand side", seen[st], p.Kind)
			}
			if p.Next != nil {
				walk(p.Next)
			}
			if p.Elem != nil {
				if p.Elem.Type == nil || p.Elem.Type.Start == nil {
					if p.Elem.Type == nil && st.Prods[0].Kind != exi.EE {
						continue // element fragment
					}
					t.Fatalf("element without a grammar in state %d", seen[st])
				}
				walk(p.Elem.Type.Start)
			}
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range []string{`[a-z-[aeiou]]+`, `(a|b){2,3}\-\s`, `\p{L}*`, `[^\]]`, `\`} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		set, ok, err := patternChars(p)
		if err != nil || !ok {
			return
		}
		if runes, small := set.small(); small {
			for i := 1; i < len(runes); i++ {
				if runes[i] <= runes[i-1] {
					t.Fatalf("set of %q is not sorted: %q", p, runes)
				}
			}
		}
	})
}
