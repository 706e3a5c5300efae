package exi_test

import (
	"bytes"
	"fmt"
	"io"

	"postern/exi"
)

// A Doc holds one element. An Encoder turns it into an EXI body and a Decoder
// back into a Doc.
func Example() {
	name, value := exi.N("", "name"), exi.N("", "value")
	var d exi.Doc
	d.Start(exi.N("urn:example:readings", "reading"))
	d.Attr(name, exi.Str("Temperature"))
	d.Attr(value, exi.FloatValue(2150, -2)) // 21.50, digits kept
	d.End()

	enc, err := exi.NewEncoder(exi.DefaultOptions())
	if err != nil {
		panic(err)
	}
	body, err := enc.Append(nil, &d)
	if err != nil {
		panic(err)
	}
	dec, err := exi.NewDecoder(exi.DefaultOptions())
	if err != nil {
		panic(err)
	}
	var back exi.Doc
	if _, err := dec.DecodeBytes(body, &back); err != nil {
		panic(err)
	}
	v, _ := back.Root().Attr(value)
	fmt.Println(back.Root().Name().Value().Local, v, len(body), "octets")
	// Output: reading 21.50 61 octets
}

// Keep makes both ends remember names, values and grammars from one body to
// the next, so that what repeats costs a few bits.
func ExampleEncoder_Keep() {
	enc, err := exi.NewEncoder(exi.DefaultOptions())
	if err != nil {
		panic(err)
	}
	enc.Keep(true)
	var d exi.Doc
	d.Element(exi.N("urn:example:readings", "state"), exi.Str("running"))
	for range 3 {
		body, err := enc.Append(nil, &d)
		if err != nil {
			panic(err)
		}
		fmt.Println(len(body), "octets")
	}
	// Output:
	// 36 octets
	// 3 octets
	// 3 octets
}

// Documents that do not fit in memory go through the streaming layer.
func ExampleDocumentWriter() {
	var buf bytes.Buffer
	o := exi.DefaultOptions()
	o.ValuePartitionCapacity = 1000 // bounds the memory of both ends
	o.OptionsInHeader = true        // tells the reader so
	w, err := exi.NewDocumentWriter(&buf, o)
	if err != nil {
		panic(err)
	}
	for _, ev := range []exi.Event{
		{Kind: exi.SE, Name: exi.N("", "list")},
		{Kind: exi.SE, Name: exi.N("", "entry")},
		{Kind: exi.CH, Value: exi.IntValue(42)},
		{Kind: exi.EE},
		{Kind: exi.EE},
		{Kind: exi.ED},
	} {
		if err := w.Event(ev); err != nil {
			panic(err)
		}
	}
	r, err := exi.NewDocumentReader(&buf, exi.DefaultOptions())
	if err != nil {
		panic(err)
	}
	var ev exi.Event
	for {
		if err := r.Next(&ev); err == io.EOF {
			break
		} else if err != nil {
			panic(err)
		}
		fmt.Print(ev.Kind, " ")
	}
	// Output: SD SE SE CH EE EE ED
}
