package xsd

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"postern/exi"
)

const xs = `xmlns:xs="http://www.w3.org/2001/XMLSchema"`

func TestIncludeImportChameleon(t *testing.T) {
	files := Files{
		"dir/main.xsd": []byte(`<xs:schema ` + xs + ` targetNamespace="urn:m" xmlns:m="urn:m" xmlns:o="urn:o" elementFormDefault="qualified" attributeFormDefault="qualified">
		<xs:include schemaLocation="../common.xsd"/><xs:import namespace="urn:o" schemaLocation="http://example.org/other.xsd"/>
		<xs:import namespace="urn:unused" schemaLocation="nowhere.xsd"/>
		<xs:import namespace="http://www.w3.org/XML/1998/namespace"/>
		<xs:element name="e"><xs:complexType><xs:sequence><xs:element name="q" type="m:T"/><xs:element name="u" form="unqualified" type="o:T"/>
		 <xs:any namespace="urn:w ##local"/></xs:sequence>
		 <xs:attribute name="a"/><xs:attribute name="b" form="unqualified"/><xs:attribute ref="xml:lang"/></xs:complexType></xs:element></xs:schema>`),
		"common.xsd": []byte(`<xs:schema ` + xs + `><xs:simpleType name="T"><xs:restriction base="B"/></xs:simpleType>
		<xs:simpleType name="B"><xs:restriction base="xs:int"/></xs:simpleType><xs:include schemaLocation="dir/main.xsd"/></xs:schema>`),
		"dir/other.xsd": []byte(`<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:o"><simpleType name="T"><restriction base="string"/></simpleType></schema>`),
	}
	delete(files, "common.xsd") // first without, to see the error
	if _, err := Compile(files, "dir/main.xsd"); err == nil || !strings.Contains(err.Error(), "dir/main.xsd:2: include ../common.xsd") {
		t.Errorf("missing include: %v", err)
	}
	files["common.xsd"] = []byte(`<xs:schema ` + xs + `><xs:simpleType name="T"><xs:restriction base="B"/></xs:simpleType>
		<xs:simpleType name="B"><xs:restriction base="xs:int"/></xs:simpleType></xs:schema>`)
	s, err := Compile(files, "dir/main.xsd")
	if err != nil {
		t.Fatal(err)
	}
	if s.Types[exi.N("urn:m", "T")] == nil || s.Types[exi.N("urn:m", "B")] == nil {
		t.Error("types of the chameleon are not in the including namespace")
	}
	var uris []string
	locals := map[string][]string{}
	for _, p := range s.URIs {
		uris = append(uris, p.URI)
		locals[p.URI] = p.Locals
	}
	if want := []string{"", exi.NSXML, exi.NSXSI, exi.NSXSD, "urn:m", "urn:o", "urn:w"}; !slices.Equal(uris, want) {
		t.Errorf("URIs %q, want %q", uris, want)
	}
	if got, want := locals["urn:m"], []string{"B", "T", "a", "e", "q"}; !slices.Equal(got, want) {
		t.Errorf("local names %q, want %q", got, want)
	}
	if got, want := locals[""], []string{"b", "u"}; !slices.Equal(got, want) {
		t.Errorf("unqualified names %q, want %q", got, want)
	}
}

func TestRedefine(t *testing.T) {
	s, err := Compile(Files{
		"a.xsd": []byte(`<xs:schema ` + xs + `><xs:complexType name="T"><xs:sequence><xs:element name="x"/></xs:sequence></xs:complexType>
		<xs:group name="G"><xs:sequence><xs:element name="g"/></xs:sequence></xs:group>
		<xs:attributeGroup name="A"><xs:attribute name="a"/></xs:attributeGroup><xs:element name="e" type="T"/></xs:schema>`),
		"b.xsd": []byte(`<xs:schema ` + xs + `><xs:redefine schemaLocation="a.xsd">
		<xs:complexType name="T"><xs:complexContent><xs:extension base="T"><xs:sequence><xs:group ref="G"/></xs:sequence><xs:attributeGroup ref="A"/></xs:extension></xs:complexContent></xs:complexType>
		<xs:group name="G"><xs:sequence><xs:group ref="G"/><xs:element name="h"/></xs:sequence></xs:group>
		<xs:attributeGroup name="A"><xs:attributeGroup ref="A"/><xs:attribute name="b" use="required"/></xs:attributeGroup>
		</xs:redefine></xs:schema>`),
	}, "b.xsd")
	if err != nil {
		t.Fatal(err)
	}
	checkGrammar(t, dumpTrim(s, s.Elements[exi.N("", "e")].Type.Start), `
	0 first: AT(a)→1 AT(b)→2 | 3
	1 start: AT(b)→2 | 3
	2 start: SE(x)→4 | 3
	3: SE(x)→4
	4: SE(g)→5
	5: SE(h)→6
	6: EE`)
}

func dumpTrim(s *exi.Schema, st *exi.State) string { return strings.TrimSpace(dump(s, st)) }

// Errors name the file, the line and the construct; several are reported at
// once.
func TestErrorsSayWhere(t *testing.T) {
	_, err := Compile(Files{"f.xsd": []byte(`<xs:schema ` + xs + ` xmlns:o="urn:o">
<xs:import namespace="urn:o" schemaLocation="o.xsd"/>
<xs:element name="e"
  type="Nope"/><xs:element name="f" type="o:T"/>
<xs:complexType name="C"><xs:sequence>
 <xs:element ref="missing" minOccurs="3" maxOccurs="2"/></xs:sequence></xs:complexType>
<xs:simpleType name="S"><xs:restriction base="xs:string"><xs:pattern value="("/></xs:restriction></xs:simpleType>
</xs:schema>`)}, "f.xsd")
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{
		`f.xsd:3: element e: type "Nope"`,
		`f.xsd:4: element f: type "T" of namespace "urn:o": the import's document "o.xsd" was not found`,
		`f.xsd:6: element missing: minOccurs 3`,
		`f.xsd:6: element missing: element "missing"`,
		`f.xsd:7: pattern (: pattern: missing )`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	var e *Error
	if !errors.As(err, &e) || e.File != "f.xsd" {
		t.Errorf("no *Error: %v", err)
	}
	for name, text := range map[string]string{
		"not XML": "<a", "wrong root": "<a/>", "empty": "", "other namespace": `<schema/>`, "undeclared prefix": `<xs:schema/>`,
	} {
		if _, err := Compile(Files{"f.xsd": []byte(text)}, "f.xsd"); !errors.As(err, &e) || e.File != "f.xsd" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Compile(Files{}, "none.xsd"); err == nil || !strings.Contains(err.Error(), "none.xsd") {
		t.Errorf("missing document: %v", err)
	}
}

// The result does not depend on the order of the documents.
func TestOrderOfDocumentsDoesNotMatter(t *testing.T) {
	files := Files{
		"a.xsd": []byte(`<xs:schema ` + xs + ` targetNamespace="urn:a"><xs:element name="z" type="xs:int"/><xs:attribute name="q"/></xs:schema>`),
		"b.xsd": []byte(`<xs:schema ` + xs + ` targetNamespace="urn:b"><xs:element name="z"/><xs:element name="a"/></xs:schema>`),
	}
	s, err := Compile(files, "a.xsd", "b.xsd")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Compile(files, "b.xsd", "a.xsd")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dumpTrim(s, s.ElementFragment.Start), dumpTrim(r, r.ElementFragment.Start); got != want {
		t.Errorf("%s\n%s", got, want)
	}
	var names []string
	for _, e := range s.DocumentElements {
		names = append(names, e.Name.Value().Space+" "+e.Name.Value().Local)
	}
	if want := []string{"urn:b a", "urn:a z", "urn:b z"}; !slices.Equal(names, want) {
		t.Errorf("document elements %q, want %q", names, want)
	}
}

// A schema may bring XML Schema's own document, with its document type
// declaration: the built-in types stay what they are.
func TestBuiltinTypesCannotBeRedeclared(t *testing.T) {
	s, err := Compile(Files{
		"a b.xsd": []byte(`<?xml version="1.0"?><!DOCTYPE xs:schema PUBLIC "-//W3C//DTD XMLSCHEMA 200102//EN" "XMLSchema.dtd" [
		<!-- it's > a comment --> <!ATTLIST xs:schema id ID #IMPLIED> <!ENTITY % p ""> ]>
		<xs:schema ` + xs + ` targetNamespace="http://www.w3.org/2001/XMLSchema"><xs:simpleType name="byte"><xs:restriction base="xs:anySimpleType"/></xs:simpleType>
		<xs:simpleType name="extra"><xs:restriction base="xs:byte"/></xs:simpleType></xs:schema>`),
		"m.xsd": []byte(`<xs:schema ` + xs + `><xs:import namespace="http://www.w3.org/2001/XMLSchema" schemaLocation="a%20b.xsd"/><xs:element name="e" type="xs:extra"/></xs:schema>`),
	}, "m.xsd")
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Elements[exi.N("", "e")].Type.Simple; d.Codec != exi.CodecNBit || d.Bits != 8 {
		t.Errorf("codec %d", d.Codec)
	}
}
