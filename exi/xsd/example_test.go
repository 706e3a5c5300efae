package xsd_test

import (
	"bufio"
	"bytes"
	"fmt"

	"postern/exi"
	"postern/exi/xsd"
)

// A schema makes a document small: names come from the grammar, values are
// coded by their types. Here the event codes of the attributes and the end take
// no bits at all, because a strict stream has no other choice.
func ExampleCompile() {
	schema, err := xsd.Compile(xsd.Files{"reading.xsd": []byte(`
		<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
		 <xs:element name="reading">
		  <xs:complexType>
		   <xs:attribute name="celsius" type="xs:decimal" use="required"/>
		   <xs:attribute name="ok" type="xs:boolean" use="required"/>
		  </xs:complexType>
		 </xs:element>
		</xs:schema>`)}, "reading.xsd")
	if err != nil {
		fmt.Println(err)
		return
	}
	o := exi.DefaultOptions()
	o.Schema, o.Strict = schema, true
	enc, err := exi.NewEncoder(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	var d exi.Doc
	d.Start(exi.N("", "reading"))
	d.Attr(exi.N("", "celsius"), exi.DecimalValue(215, -1))
	d.Attr(exi.N("", "ok"), exi.BoolValue(true))
	d.End()
	body, err := enc.Append(nil, &d)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d octets: %x\n", len(body), body)

	dec, err := exi.NewDecoder(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := dec.Decode(bufio.NewReader(bytes.NewReader(body)), &d); err != nil {
		fmt.Println(err)
		return
	}
	v, _ := d.Root().Attr(exi.N("", "celsius"))
	fmt.Println(v)
	// Output:
	// 3 octets: 054160
	// 21.5
}

func ExampleError() {
	_, err := xsd.Compile(xsd.Files{"a.xsd": []byte(`<schema xmlns="http://www.w3.org/2001/XMLSchema">
  <element name="e" type="missing"/>
</schema>`)}, "a.xsd")
	fmt.Println(err)
	// Output:
	// a.xsd:2: element e: type "missing" of namespace "http://www.w3.org/2001/XMLSchema" is not declared
}
