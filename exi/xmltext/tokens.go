package xmltext

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"postern/exi"
)

// Tokens returns the element at c as tokens of encoding/xml, without
// namespace declarations. It is for code that wants structs filled by tags;
// nothing on the way of a stanza uses it.
func Tokens(c exi.Cursor) xml.TokenReader {
	x := &tokenReader{}
	if c.Valid() {
		for e := range c.Events() {
			x.ev = append(x.ev, e)
		}
	}
	return x
}

type tokenReader struct {
	ev []*exi.Event
	i  int
}

func xmlName(n exi.Name) xml.Name {
	q := n.Value()
	return xml.Name{Space: q.Space, Local: q.Local}
}

// Token returns the next token; io.EOF behind the element's end.
func (x *tokenReader) Token() (xml.Token, error) {
	for x.i < len(x.ev) {
		e := x.ev[x.i]
		x.i++
		switch e.Kind {
		case exi.SE:
			return x.start(e), nil
		case exi.EE:
			return xml.EndElement{Name: xmlName(e.Name)}, nil
		case exi.CH:
			return xml.CharData(e.Value.String()), nil
		case exi.CM:
			return xml.Comment(e.Value.String()), nil
		case exi.PI:
			return xml.ProcInst{Target: e.Name.Value().Local, Inst: []byte(e.Value.String())}, nil
		}
	}
	return nil, io.EOF
}

func (x *tokenReader) start(e *exi.Event) xml.StartElement {
	t := xml.StartElement{Name: xmlName(e.Name)}
	for ; x.i < len(x.ev); x.i++ {
		switch e := x.ev[x.i]; e.Kind {
		case exi.AT:
			t.Attr = append(t.Attr, xml.Attr{Name: xmlName(e.Name), Value: e.Value.String()})
		case exi.NS, exi.SC:
		default:
			return t
		}
	}
	return t
}

// FromTokens appends the one element that r starts with to d. Names must come
// with their namespaces, as xml.Decoder.Token gives them; attributes that
// declare namespaces are left out, and so are comments and instructions.
func FromTokens(d *exi.Doc, r xml.TokenReader) error {
	depth := 0
	for {
		t, err := r.Token()
		if t == nil && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("xmltext: tokens of an element: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			d.Start(exi.N(t.Name.Space, t.Name.Local))
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				space := a.Name.Space
				if space == "xml" {
					space = exi.NSXML
				}
				d.Attr(exi.N(space, a.Name.Local), exi.Str(a.Value))
			}
		case xml.CharData:
			if depth > 0 && len(t) > 0 {
				d.Text(exi.Str(string(t)))
			}
		case xml.EndElement:
			if depth--; depth < 0 {
				return fmt.Errorf("xmltext: tokens of an element: %w", exi.ErrUnbalanced)
			}
			d.End()
			if depth == 0 {
				return nil
			}
		}
	}
}
