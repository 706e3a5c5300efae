package xsd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/exi"
)

// node is one element of a schema document in the XML Schema namespace.
// Documentation is not kept.
type node struct {
	kind  string // local name
	attrs []attr // those in no namespace
	kids  []*node
	ns    *scope
	doc   *document
	line  int
}

type attr struct{ name, value string }

// scope is one namespace declaration; the chain towards the root gives all
// that are in force.
type scope struct {
	outer       *scope
	prefix, uri string
}

// document is a schema document under one target namespace: a document without
// one that is included by several others (a chameleon) exists once for each.
type document struct {
	name      string
	target    string
	chameleon bool // target comes from the including document
	root      *node
	qualElems bool // elementFormDefault="qualified"
	qualAttrs bool
}

func (n *node) String() string {
	for _, a := range n.attrs {
		switch a.name {
		case "name", "ref", "base", "value", "schemaLocation", "namespace":
			if len(a.value) > 80 {
				return n.kind + " " + a.value[:80] + "…"
			}
			return n.kind + " " + a.value
		}
	}
	return n.kind
}

// attr returns an attribute's value, white space collapsed at the ends; ok is
// false when it is absent.
func (n *node) attr(name string) (string, bool) {
	for i := range n.attrs {
		if n.attrs[i].name == name {
			return strings.Trim(n.attrs[i].value, " \t\r\n"), true
		}
	}
	return "", false
}

func (n *node) has(name string) bool { _, ok := n.attr(name); return ok }

func (n *node) is(name, value string) bool {
	v, _ := n.attr(name)
	return v == value
}

func (n *node) isTrue(name string) bool {
	v, _ := n.attr(name)
	return v == "true" || v == "1"
}

// child returns the first child of one of the given kinds.
func (n *node) child(kinds ...string) *node {
	for _, k := range n.kids {
		for _, kind := range kinds {
			if k.kind == kind {
				return k
			}
		}
	}
	return nil
}

// lookup finds the namespace bound to a prefix.
func (s *scope) lookup(prefix string) (string, bool) {
	for ; s != nil; s = s.outer {
		if s.prefix == prefix {
			return s.uri, true
		}
	}
	if prefix == "xml" {
		return exi.NSXML, true
	}
	return "", prefix == ""
}

// parse reads a schema document.
func (c *compiler) parse(name string, text []byte) (*document, error) {
	d := &document{name: name}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if c.octets += len(text); c.octets > maxOctets {
		return nil, &Error{File: name, Msg: fmt.Sprintf("the schema documents have more than %d octets", maxOctets)}
	}
	dec := xml.NewDecoder(bytes.NewReader(text))
	dec.CharsetReader = toUTF8
	var open []*node
	for {
		line, _ := dec.InputPos() // where the token begins
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			line, _ = dec.InputPos()
			return nil, &Error{File: name, Line: line, Msg: "not well-formed XML: " + syntaxMessage(err)}
		}
		switch t := tok.(type) {
		case xml.StartElement:
			n := c.element(d, open, &t, line)
			if len(open) == 0 && (d.root != nil || t.Name.Space != exi.NSXSD || n.kind != "schema") {
				return nil, &Error{File: name, Line: line, Construct: t.Name.Local, Msg: "not the one schema element of XML Schema that a schema document has"}
			}
			if t.Name.Space != exi.NSXSD || n.kind == "annotation" {
				if err := dec.Skip(); err != nil {
					return nil, &Error{File: name, Line: line, Msg: "not well-formed XML: " + syntaxMessage(err)}
				}
				continue
			}
			if c.nodes++; len(open) >= maxDepth || c.nodes > maxNodes {
				return nil, &Error{File: name, Line: line, Construct: n.String(), Msg: fmt.Sprintf(
					"more than %d elements or more than %d levels of them", maxNodes, maxDepth)}
			}
			if len(open) == 0 {
				d.root = n
			} else {
				top := open[len(open)-1]
				top.kids = append(top.kids, n)
			}
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	if d.root == nil {
		return nil, &Error{File: name, Msg: "no schema element in the document"}
	}
	d.target, _ = d.root.attr("targetNamespace")
	d.qualElems = d.root.is("elementFormDefault", "qualified")
	d.qualAttrs = d.root.is("attributeFormDefault", "qualified")
	return d, nil
}

func (c *compiler) element(d *document, open []*node, t *xml.StartElement, line int) *node {
	n := &node{kind: t.Name.Local, doc: d, line: line}
	if len(open) > 0 {
		n.ns = open[len(open)-1].ns
	}
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns":
			n.ns = &scope{n.ns, a.Name.Local, a.Value}
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			n.ns = &scope{n.ns, "", a.Value}
		case a.Name.Space == "":
			if n.attrs == nil {
				n.attrs = make([]attr, 0, len(t.Attr))
			}
			n.attrs = append(n.attrs, attr{a.Name.Local, a.Value})
		}
	}
	return n
}

func syntaxMessage(err error) string {
	var s *xml.SyntaxError
	if errors.As(err, &s) {
		return s.Msg
	}
	return err.Error()
}

// toUTF8 accepts the encodings besides UTF-8 that schema documents are seen
// in.
func toUTF8(label string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "us-ascii", "ascii":
		return in, nil
	case "iso-8859-1", "latin1":
		b, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		var out strings.Builder
		for _, o := range b {
			out.WriteRune(rune(o))
		}
		return strings.NewReader(out.String()), nil
	}
	return nil, fmt.Errorf("encoding %q is not supported; convert the document to UTF-8", label)
}
