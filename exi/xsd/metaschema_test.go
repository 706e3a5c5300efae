package xsd

import (
	"slices"
	"strings"
	"testing"

	"postern/exi"
)

func TestSchemaForSchemas(t *testing.T) {
	s, err := ForSchemas()
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, s)
	var names []string
	for _, e := range s.DocumentElements {
		names = append(names, e.Name.Value().Local)
	}
	// XML Schema part 1 and 2: 41 elements at the top level.
	want := "all annotation any anyAttribute appinfo attribute attributeGroup choice complexContent complexType " +
		"documentation element enumeration field fractionDigits group import include key keyref length list " +
		"maxExclusive maxInclusive maxLength minExclusive minInclusive minLength notation pattern redefine " +
		"restriction schema selector sequence simpleContent simpleType totalDigits union unique whiteSpace"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("elements\n%s\nwant\n%s", got, want)
	}
	// The names of a schema document's own types are in the string table of
	// the XML Schema namespace beside the built-in ones.
	if len(s.URIs) != 4 || s.URIs[3].URI != exi.NSXSD {
		t.Fatalf("URIs %v", s.URIs)
	}
	for _, n := range []string{"openAttrs", "simpleExplicitGroup", "derivationSet", "maxLength", "unsignedByte"} {
		if !slices.Contains(s.URIs[3].Locals, n) {
			t.Errorf("no local name %s", n)
		}
	}
	if slices.Contains(s.URIs[3].Locals, "elementContent") || slices.Contains(s.URIs[3].Locals, "schemaTop") {
		t.Error("names of groups are in the string table")
	}
	checkGrammar(t, dumpTrim(s, s.Elements[exi.N(exi.NSXSD, "appinfo")].Type.Start), `
	0 first: AT(source)→1 AT(*)→0 SE(*)→2 EE CH→2 | 2
	1 start: AT(*)→1 SE(*)→2 EE CH→2 | 2
	2: SE(*)→2 EE CH→2`)
}
