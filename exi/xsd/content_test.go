package xsd

import (
	"fmt"
	"strings"
	"testing"

	"postern/exi"
)

// one wraps a content model into element e.
func one(content string) string {
	return `<xs:element name="e"><xs:complexType>` + content + `</xs:complexType></xs:element>`
}

func TestContentModels(t *testing.T) {
	el := func(name, occurs string) string {
		return `<xs:element name="` + name + `" type="xs:int" ` + occurs + `/>`
	}
	tests := []struct{ name, body, want string }{
		{"empty type", one(""), `
		0 first: EE | 1
		1: EE`},
		{"optional count runs out (§8.5.4.1.5)", one(`<xs:sequence>` + el("m", `minOccurs="0" maxOccurs="3"`) + el("z", `minOccurs="0" maxOccurs="unbounded"`) + `</xs:sequence>`), `
		0 first: SE(m)→1 SE(z)→2 EE | 3
		1: SE(m)→4 SE(z)→2 EE
		2: SE(z)→2 EE
		3: SE(m)→1 SE(z)→2 EE
		4: SE(m)→2 SE(z)→2 EE`},
		{"repeated group", one(`<xs:sequence minOccurs="0" maxOccurs="2">` + el("m", "") + el("z", `minOccurs="0"`) + `</xs:sequence>`), `
		0 first: SE(m)→1 EE | 2
		1: SE(m)→3 SE(z)→4 EE
		2: SE(m)→1 EE
		3: SE(z)→5 EE
		4: SE(m)→3 EE
		5: EE`},
		{"all in any order (§8.5.4.1.8.3)", one(`<xs:all>` + el("p", "") + el("q", `minOccurs="0"`) + `</xs:all>`), `
		0 first: SE(p)→1 SE(q)→1 EE | 1
		1: SE(p)→1 SE(q)→1 EE`},
		{"choice of sequences with the same first element is made deterministic (§8.5.4.2.2)",
			one(`<xs:choice><xs:sequence>` + el("a", "") + el("b", "") + `</xs:sequence><xs:sequence>` + el("a", "") + el("c", "") + `</xs:sequence></xs:choice>`), `
		0 first: SE(a)→1 | 2
		1: SE(b)→3 SE(c)→3
		2: SE(a)→1
		3: EE`},
		{"schema order, wildcards behind elements (§8.5.4.3)",
			one(`<xs:choice><xs:any namespace="##other"/><xs:any namespace="urn:b urn:a"/>` + el("z", "") + el("a", "") + `</xs:choice>`), `
		0 first: SE(z)→1 SE(a)→1 SE(urn:a:*)→1 SE(urn:b:*)→1 SE(*)→1 | 2
		1: EE
		2: SE(z)→1 SE(a)→1 SE(urn:a:*)→1 SE(urn:b:*)→1 SE(*)→1`},
		{"mixed", `<xs:element name="e"><xs:complexType mixed="true"><xs:sequence>` + el("a", "") + `</xs:sequence></xs:complexType></xs:element>`, `
		0 first: SE(a)→1 CH→2 | 2
		1: EE CH→1
		2: SE(a)→1 CH→2`},
		{"empty mixed", `<xs:element name="e"><xs:complexType mixed="true"/></xs:element>`, `
		0 first: EE CH→1 | 1
		1: EE CH→1`},
		{"maxOccurs 0 is no particle", one(`<xs:sequence>` + el("a", `minOccurs="0" maxOccurs="0"`) + el("b", "") + `</xs:sequence>`), `
		0 first: SE(b)→1 | 2
		1: EE
		2: SE(b)→1`},
		{"nested optional repetition", one(`<xs:sequence maxOccurs="unbounded">` + el("a", `minOccurs="0" maxOccurs="unbounded"`) + `</xs:sequence>`), `
		0 first: SE(a)→1 EE | 1
		1: SE(a)→1 EE`},
		{"simple type (§8.5.4.1.3.1)", `<xs:element name="e" type="xs:int"/>`, `
		0 first: CH→1 | 2
		1: EE
		2: CH→1`},
		{"ur-type", `<xs:element name="e"/>`, `
		0 first: AT(*)→0 SE(*)→1 EE CH→1 | 1
		1: SE(*)→1 EE CH→1`},
		{"substitution group (§8.5.4.1.6)", `
		<xs:element name="head" type="xs:int" abstract="true"/><xs:element name="b" substitutionGroup="head"/>
		<xs:element name="a" substitutionGroup="b"/>` + one(`<xs:sequence><xs:element ref="head" minOccurs="2" maxOccurs="2"/></xs:sequence>`), `
		0 first: SE(a)→1 SE(b)→1 SE(head)→1 | 2
		1: SE(a)→3 SE(b)→3 SE(head)→3
		2: SE(a)→1 SE(b)→1 SE(head)→1
		3: EE`},
		{"named group in place", `<xs:group name="g"><xs:choice>` + el("x", "") + el("y", "") + `</xs:choice></xs:group>` +
			one(`<xs:sequence>`+el("y", `minOccurs="0"`)+`<xs:group ref="g" maxOccurs="2"/></xs:sequence>`), `
		0 first: SE(y)→1 SE(x)→2 | 3
		1: SE(x)→4 SE(y)→4 EE
		2: SE(x)→5 SE(y)→5 EE
		3: SE(y)→1 SE(x)→2
		4: SE(x)→5 SE(y)→5 EE
		5: EE`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkGrammar(t, grammarOf(t, tt.body, "e"), tt.want)
		})
	}
}

func TestAttributeUses(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"optional before required, sorted by name", one(`<xs:attribute name="c"/><xs:attribute name="b" use="required"/><xs:attribute name="a"/>`), `
		0 first: AT(a)→1 AT(b)→2 | 3
		1 start: AT(b)→2 | 3
		2 start: AT(c)→4 EE | 3
		3: EE
		4 start: EE | 3`},
		{"wildcard alone leads back to state 0", one(`<xs:anyAttribute/>`), `
		0 first: AT(*)→0 EE | 1
		1: EE`},
		{"wildcard with an optional attribute, too", one(`<xs:attribute name="a"/><xs:anyAttribute namespace="urn:y urn:x"/>`), `
		0 first: AT(a)→1 AT(urn:x:*)→0 AT(urn:y:*)→0 EE | 2
		1 start: AT(urn:x:*)→1 AT(urn:y:*)→1 EE | 2
		2: EE`},
		{"prohibited by a restriction", `<xs:complexType name="B"><xs:attribute name="a"/><xs:attribute name="b"/></xs:complexType>
		<xs:element name="e"><xs:complexType><xs:complexContent><xs:restriction base="B"><xs:attribute name="a" use="prohibited"/>
		<xs:attribute name="b" use="required"/></xs:restriction></xs:complexContent></xs:complexType></xs:element>`, `
		0 first: AT(b)→1 | 2
		1 start: EE | 2
		2: EE`},
		{"extension adds to base and group", `<xs:attributeGroup name="g"><xs:attribute name="m"/><xs:anyAttribute namespace="urn:q"/></xs:attributeGroup>
		<xs:complexType name="B"><xs:sequence><xs:element name="x"/></xs:sequence><xs:attribute name="z" use="required"/></xs:complexType>
		<xs:element name="e"><xs:complexType><xs:complexContent><xs:extension base="B"><xs:sequence><xs:element name="y"/></xs:sequence>
		<xs:attributeGroup ref="g"/></xs:extension></xs:complexContent></xs:complexType></xs:element>`, `
		0 first: AT(m)→1 AT(z)→2 AT(urn:q:*)→0 | 3
		1 start: AT(z)→2 AT(urn:q:*)→1 | 3
		2 start: AT(urn:q:*)→2 SE(x)→4 | 3
		3: SE(x)→4
		4: SE(y)→5
		5: EE`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkGrammar(t, grammarOf(t, tt.body, "e"), tt.want)
		})
	}
}

// A particle that may occur very often costs one state an occurrence and no
// deep recursion; beyond exactOccurs it counts as unbounded.
func TestLargeMaxOccurs(t *testing.T) {
	for _, n := range []int64{999, 32000, 1 << 20, 1 << 40} {
		s := compileText(t, one(fmt.Sprintf(`<xs:sequence><xs:element name="m" type="xs:int" minOccurs="2" maxOccurs="%d"/></xs:sequence>`, n)))
		st := s.Elements[exi.N("", "e")].Type.Start
		steps := int64(0)
		for seen := map[*exi.State]bool{}; !seen[st]; steps++ {
			seen[st] = true
			if st.Prods[0].Kind != exi.SE {
				break
			}
			if got := len(st.Prods); steps < 2 && got != 1 || steps >= 2 && got != 2 {
				t.Fatalf("maxOccurs %d: %d productions after %d occurrences", n, got, steps)
			}
			st = st.Prods[0].Next
		}
		if n <= exactOccurs && (steps != n || st.Prods[0].Kind != exi.EE) {
			t.Errorf("maxOccurs %d: %d occurrences accepted", n, steps)
		}
		if n > exactOccurs && steps > 4 {
			t.Errorf("maxOccurs %d: %d states", n, steps)
		}
	}
}

func TestHostileSchemasAreBounded(t *testing.T) {
	bomb := func() string {
		var b strings.Builder
		b.WriteString(`<xs:group name="g0"><xs:sequence><xs:element name="x"/></xs:sequence></xs:group>`)
		for i := 1; i < 40; i++ {
			fmt.Fprintf(&b, `<xs:group name="g%d"><xs:sequence><xs:group ref="g%d"/><xs:group ref="g%d"/></xs:sequence></xs:group>`, i, i-1, i-1)
		}
		return b.String() + one(`<xs:group ref="g39"/>`)
	}
	chain := func() string {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, `<xs:complexType name="t%d"><xs:complexContent><xs:extension base="t%d"/></xs:complexContent></xs:complexType>`, i, i+1)
		}
		return b.String() + `<xs:complexType name="t5000"/>`
	}
	optional := func() string {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, `<xs:element name="x%d" minOccurs="0"/>`, i)
		}
		return one(`<xs:sequence maxOccurs="unbounded">` + b.String() + `</xs:sequence>`)
	}
	attrs := func() string {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, `<xs:attribute name="x%d"/>`, i)
		}
		return one(b.String())
	}
	el := `<xs:element name="a" minOccurs="0" maxOccurs="500"/>`
	tests := []struct{ name, body, want string }{
		{"group bomb", bomb(), "s.xsd:1"},
		{"chain of types", chain(), "derived from each other"},
		{"many optional elements", optional(), "steps"},
		{"many optional attributes", attrs(), "productions"},
		{"nested counts", one(`<xs:sequence maxOccurs="500"><xs:sequence maxOccurs="500">` + el + el + `</xs:sequence></xs:sequence>`), "more than"},
		{"group in itself", `<xs:group name="g"><xs:sequence><xs:group ref="g"/></xs:sequence></xs:group>` + one(`<xs:group ref="g"/>`), "contains itself"},
		{"attribute group in itself", `<xs:attributeGroup name="g"><xs:attributeGroup ref="g"/></xs:attributeGroup>` + one(`<xs:attributeGroup ref="g"/>`), "contains itself"},
		{"type from itself", `<xs:simpleType name="t"><xs:restriction base="t"/></xs:simpleType>`, "derived from itself"},
		{"substitution circle", `<xs:element name="a" substitutionGroup="b"/><xs:element name="b" substitutionGroup="a"/>`, "leads back"},
		{"deep nesting", strings.Repeat("<xs:sequence>", 300), "levels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(Files{"s.xsd": []byte(wrap(tt.body))}, "s.xsd")
			if err == nil {
				t.Fatal("compiled")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %.300q does not say %q", err, tt.want)
			}
		})
	}
}
