package xsd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/exi"
)

// compileText compiles one document in no namespace with the given top-level
// declarations.
func compileText(t testing.TB, body string) *exi.Schema {
	t.Helper()
	s, err := Compile(Files{"s.xsd": []byte(wrap(body))}, "s.xsd")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wrap(body string) string {
	return `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">` + body + `</xs:schema>`
}

func grammarOf(t testing.TB, body, element string) string {
	t.Helper()
	s := compileText(t, body)
	e := s.Elements[exi.N("", element)]
	if e == nil {
		t.Fatalf("no element %s", element)
	}
	return strings.TrimSpace(dump(s, e.Type.Start))
}

func checkGrammar(t *testing.T, got, want string) {
	t.Helper()
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(l))
	}
	if want = strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// EXI 1.0 appendix H.2: the normalised grammars of product and order.
func TestAppendixH(t *testing.T) {
	const body = `
	<xs:element name="product"><xs:complexType>
	 <xs:sequence maxOccurs="2">
	  <xs:element name="description" type="xs:string" minOccurs="0"/>
	  <xs:element name="quantity" type="xs:integer"/>
	  <xs:element name="price" type="xs:float"/>
	 </xs:sequence>
	 <xs:attribute name="sku" type="xs:string" use="required"/>
	 <xs:attribute name="color" type="xs:string" use="optional"/>
	</xs:complexType></xs:element>
	<xs:element name="order"><xs:complexType><xs:sequence>
	 <xs:element ref="product" maxOccurs="unbounded"/>
	</xs:sequence></xs:complexType></xs:element>`
	checkGrammar(t, grammarOf(t, body, "product"), `
	0 first: AT(color)→1 AT(sku)→2 | 3
	1 start: AT(sku)→2 | 3
	2 start: SE(description)→4 SE(quantity)→5 | 3
	3: SE(description)→4 SE(quantity)→5
	4: SE(quantity)→5
	5: SE(price)→6
	6: SE(description)→7 SE(quantity)→8 EE
	7: SE(quantity)→8
	8: SE(price)→9
	9: EE`)
	checkGrammar(t, grammarOf(t, body, "order"), `
	0 first: SE(product)→1 | 2
	1: SE(product)→1 EE
	2: SE(product)→1`)
}

func TestVectorSchemasCompile(t *testing.T) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		t.Skip("POSTERN_VECTORS names no folder of test vectors")
	}
	dirs, _ := filepath.Glob(filepath.Join(root, "exi", "*", "*", "schema.xsd"))
	bad, _ := filepath.Glob(filepath.Join(root, "exi", "*", "bad", "*", "schema.xsd"))
	dirs = append(dirs, bad...)
	if len(dirs) < 500 {
		t.Fatalf("only %d schemas below %s", len(dirs), root)
	}
	seen := map[string]bool{}
	for _, f := range dirs {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(text)] {
			continue
		}
		seen[string(text)] = true
		s, err := Compile(FS(os.DirFS(filepath.Dir(f))), "schema.xsd")
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		t.Logf("%s: %d types, %d elements", filepath.Base(filepath.Dir(f)), len(s.Types), len(s.Elements))
	}
	t.Logf("%d different schemas", len(seen))
}
