package exi

import (
	"errors"
	"fmt"
	"testing"
)

var (
	nMessage = N("jabber:client", "message")
	nBody    = N("jabber:client", "body")
	nFrom    = N("", "from")
	nTo      = N("", "to")
	nFields  = N("urn:xmpp:iot:sensordata", "fields")
	nNumeric = N("urn:xmpp:iot:sensordata", "numeric")
	nName    = N("", "name")
	nValue   = N("", "value")
)

// buildFields records a stanza with ten fields.
func buildFields(d *Doc) {
	d.Reset()
	d.Start(nMessage)
	d.Attr(nFrom, Str("device@example.org"))
	d.Attr(nTo, Str("client@example.org/amr"))
	d.Start(nFields)
	for i := range 10 {
		d.Start(nNumeric)
		d.Attr(nName, Str("Temperature"))
		d.Attr(nValue, FloatValue(2340+int64(i), -2))
		d.End()
	}
	d.End()
	d.End()
}

func TestDocBuildAndWalk(t *testing.T) {
	var d Doc
	buildFields(&d)
	if !d.Complete() || d.Depth() != 0 {
		t.Fatal("not complete")
	}
	root := d.Root()
	if v, ok := root.Attr(nTo); !ok || !v.Is("client@example.org/amr") {
		t.Errorf("to = %q, %v", v, ok)
	}
	if _, ok := root.Attr(nName); ok {
		t.Error("an attribute of a child was found")
	}
	n := 0
	for f := range root.Child(nFields).Children() {
		v, _ := f.Attr(nValue)
		if m, e, ok := v.Dec(); !ok || m != 2340+int64(n) || e != -2 {
			t.Errorf("field %d is %d E %d", n, m, e)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d fields", n)
	}
	if c := root.Child(nBody).Child(nBody).Next(); c.Valid() || c.Name() != (Name{}) || !c.Text().IsZero() {
		t.Error("the zero Cursor points somewhere")
	}
}

func TestDocText(t *testing.T) {
	var d Doc
	d.Start(nMessage)
	d.Text(Str("a"))
	d.Element(nBody, Str("inner"))
	d.Text(IntValue(7))
	d.End()
	if got := d.Root().Text(); !got.Is("a7") {
		t.Errorf("text %q", got)
	}
	if got := d.Root().First().Text(); !got.Is("inner") {
		t.Errorf("inner text %q", got)
	}
}

func TestDocMisuse(t *testing.T) {
	for name, f := range map[string]func(*Doc){
		"end without start":        func(d *Doc) { d.End() },
		"attribute at the top":     func(d *Doc) { d.Attr(nTo, Value{}) },
		"attribute behind text":    func(d *Doc) { d.Start(nBody); d.Text(Str("x")); d.Attr(nTo, Value{}) },
		"attribute behind a child": func(d *Doc) { d.Start(nBody); d.Element(nBody, Value{}); d.Attr(nTo, Value{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(new(Doc))
		}()
	}
	var d Doc
	if err := d.Add(Event{Kind: EE}); !errors.Is(err, ErrUnbalanced) {
		t.Errorf("Add gave %v", err)
	}
	if err := d.Add(Event{Kind: NS}); !errors.Is(err, ErrAttribute) {
		t.Errorf("Add gave %v", err)
	}
	if d.Len() != 0 {
		t.Error("refused events were recorded")
	}
}

func TestDocCopyAndAppend(t *testing.T) {
	var src, dst, whole Doc
	src.Start(nMessage)
	src.Attr(nTo, src.Borrow([]byte("someone")))
	src.Element(nBody, src.Borrow([]byte("hello")))
	src.End()
	dst.Copy(&src)
	whole.Start(nFields)
	whole.AppendElement(src.Root())
	whole.AppendElement(Cursor{})
	whole.End()
	src.Reset()
	src.Borrow([]byte("XXXXXXXXXXXXXXXX"))
	for _, d := range []*Doc{&dst, &whole} {
		c := d.Root()
		if d == &whole {
			c = c.First()
		}
		v, _ := c.Attr(nTo)
		if !v.Is("someone") || !c.Child(nBody).Text().Is("hello") || !d.Complete() {
			t.Errorf("copied %q, %q", v, c.Child(nBody).Text())
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var d, back Doc
	buildFields(&d)
	if n := testing.AllocsPerRun(100, func() { buildFields(&d) }); n != 0 {
		t.Errorf("building: %v allocations", n)
	}
	sum := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		for f := d.Root().First().First(); f.Valid(); f = f.Next() {
			v, _ := f.Attr(nValue)
			m, _, _ := v.Dec()
			sum += m
		}
	}); n != 0 {
		t.Errorf("walking: %v allocations", n)
	}
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			enc, err := NewEncoder(DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			dec, err := NewDecoder(DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			enc.Keep(keep)
			dec.Keep(keep)
			var buf []byte
			round := func() {
				if buf, err = enc.Append(buf[:0], &d); err != nil {
					t.Fatal(err)
				}
				if _, err := dec.DecodeBytes(buf, &back); err != nil {
					t.Fatal(err)
				}
			}
			round()
			if n := testing.AllocsPerRun(100, round); n != 0 {
				t.Errorf("coding: %v allocations", n)
			}
		})
	}
}
