package xsd

import (
	"errors"
	"strings"

	"postern/exi"
)

// docKey identifies a loaded document: chameleons exist once for each target
// namespace.
type docKey struct{ name, target string }

// global is a top-level component of a kind that may be redefined. old is what
// a redefinition replaces and refers to by its own name.
type global struct {
	node *node
	old  *global
	busy bool // being expanded: guards against groups that contain themselves
}

// table holds the top-level components of one symbol space.
type table map[exi.Name]*global

// loader reads the documents of a schema and collects their components.
func (c *compiler) load(names []string) {
	for _, name := range names {
		c.loadOne(nil, "", name, "", anyTarget)
	}
}

// Demands on the target namespace of a document to be loaded.
type targetRule uint8

const (
	anyTarget  targetRule = iota // a document given to Compile
	sameTarget                   // include, redefine: the same, or none
	thisTarget                   // import: the one asked for
)

// loadOne loads the document at a location unless it is there already. at is
// the element that refers to it.
func (c *compiler) loadOne(at *node, from, location, namespace string, rule targetRule) *document {
	name, text, err := c.resolver.Schema(from, location, namespace)
	if err != nil {
		c.unresolved(at, location, namespace, rule, err)
		return nil
	}
	if rule == sameTarget {
		if d := c.docs[docKey{name, namespace}]; d != nil {
			return d
		}
	} else if d := c.byName[name]; d != nil {
		return d
	}
	if len(c.docs) >= maxDocuments {
		c.fail(at, "more than %d schema documents", maxDocuments)
		return nil
	}
	d, err := c.parse(name, text)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && len(c.errs) < maxErrors {
			c.errs = append(c.errs, e)
		}
		return nil
	}
	switch {
	case rule == sameTarget && d.target == "" && namespace != "":
		d.target, d.chameleon = namespace, true
	case rule == sameTarget && d.target != namespace, rule == thisTarget && d.target != namespace:
		c.fail(at, "%s has the target namespace %q, not %q", name, d.target, namespace)
		return nil
	}
	c.docs[docKey{name, d.target}] = d
	if !d.chameleon {
		c.byName[name] = d
	}
	c.order = append(c.order, d)
	c.collect(d)
	return d
}

// unresolved reports a document that could not be had. An import is only a
// hint where to look: what is missing shows when something refers to it.
func (c *compiler) unresolved(at *node, location, namespace string, rule targetRule, err error) {
	notFound := errors.Is(err, ErrNotFound)
	switch {
	case rule == thisTarget && notFound && namespace == exi.NSXML:
		c.loadXMLNamespace()
	case rule == thisTarget && notFound:
		c.missing[namespace] = location
	case at == nil:
		c.errs = append(c.errs, &Error{File: location, Msg: err.Error()})
	default:
		c.fail(at, "%v", err)
	}
}

// collect enters the top-level components of d and loads what it refers to.
func (c *compiler) collect(d *document) {
	for _, n := range d.root.kids {
		switch n.kind {
		case "include":
			location, _ := n.attr("schemaLocation")
			c.loadOne(n, d.name, location, d.target, sameTarget)
		case "import":
			c.loadImport(d, n)
		case "redefine":
			c.redefine(d, n)
		case "notation":
		default:
			if t := c.tableOf(n.kind); t != nil {
				c.enter(t, n)
			} else {
				c.fail(n, "not allowed at the top of a schema")
			}
		}
	}
}

func (c *compiler) loadImport(d *document, n *node) {
	ns, _ := n.attr("namespace")
	location, _ := n.attr("schemaLocation")
	if ns == d.target {
		c.fail(n, "a schema cannot import its own target namespace %q; use include", ns)
		return
	}
	if ns == exi.NSXSD && location == "" {
		return // the built-in types
	}
	c.loadOne(n, d.name, location, ns, thisTarget)
}

func (c *compiler) redefine(d *document, n *node) {
	location, _ := n.attr("schemaLocation")
	if c.loadOne(n, d.name, location, d.target, sameTarget) == nil {
		return
	}
	for _, k := range n.kids {
		t := c.tableOf(k.kind)
		if t == nil || k.kind == "element" || k.kind == "attribute" {
			c.fail(k, "only types and groups can be redefined")
			continue
		}
		name := c.declaredName(k)
		old := t[name]
		if old == nil {
			c.fail(k, "%s does not define what is redefined here", location)
			continue
		}
		t[name] = &global{node: k, old: old}
	}
}

func (c *compiler) tableOf(kind string) table {
	switch kind {
	case "element":
		return c.elements
	case "attribute":
		return c.attributes
	case "complexType", "simpleType":
		return c.types
	case "group":
		return c.groups
	case "attributeGroup":
		return c.attrGroups
	}
	return nil
}

// declaredName is the expanded name of a top-level component.
func (c *compiler) declaredName(n *node) exi.Name {
	name, _ := n.attr("name")
	if name == "" {
		c.fail(n, "has no name")
	}
	return exi.N(n.doc.target, name)
}

func (c *compiler) enter(t table, n *node) {
	name := c.declaredName(n)
	if c.builtin[name] != nil && (n.kind == "simpleType" || n.kind == "complexType") {
		return // the definitions in XML Schema's own document are for show
	}
	if old := t[name]; old != nil {
		if old.node != n {
			c.fail(n, "already declared at %s:%d", old.node.doc.name, old.node.line)
		}
		return
	}
	t[name] = &global{node: n}
}

// qname resolves a QName in the value of an attribute of n. The unprefixed
// names of a chameleon document belong to the including schema's namespace.
func (c *compiler) qname(n *node, value string) exi.Name {
	prefix, local, ok := strings.Cut(value, ":")
	if !ok {
		prefix, local = "", value
	}
	uri, ok := n.ns.lookup(prefix)
	if !ok {
		c.fail(n, "prefix %q of %q is not declared", prefix, value)
	}
	if uri == "" && n.doc.chameleon {
		uri = n.doc.target
	}
	return exi.N(uri, local)
}

// undeclared reports a reference to a component that no document declares.
func (c *compiler) undeclared(n *node, what string, name exi.Name) {
	q := name.Value()
	switch location, ok := c.missing[q.Space]; {
	case ok && location == "":
		c.fail(n, "%s %q of namespace %q: the import names no document, and there is no other of that namespace", what, q.Local, q.Space)
		return
	case ok:
		c.fail(n, "%s %q of namespace %q: the import's document %q was not found", what, q.Local, q.Space, location)
		return
	}
	c.fail(n, "%s %q of namespace %q is not declared", what, q.Local, q.Space)
}

// xmlNamespace declares the attributes of the XML namespace, for schemas that
// import it without bringing a document for it.
const xmlNamespace = `<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/XML/1998/namespace">
<attribute name="lang" type="language"/>
<attribute name="space"><simpleType><restriction base="NCName"><enumeration value="default"/><enumeration value="preserve"/></restriction></simpleType></attribute>
<attribute name="base" type="anyURI"/>
<attribute name="id" type="ID"/>
<attributeGroup name="specialAttrs" xmlns:xml="http://www.w3.org/XML/1998/namespace"><attribute ref="xml:base"/><attribute ref="xml:lang"/><attribute ref="xml:space"/><attribute ref="xml:id"/></attributeGroup>
</schema>`

func (c *compiler) loadXMLNamespace() {
	const name = "(built-in xml namespace)"
	if c.byName[name] != nil {
		return
	}
	d, err := c.parse(name, []byte(xmlNamespace))
	if err != nil {
		c.errs = append(c.errs, &Error{File: name, Msg: err.Error()})
		return
	}
	c.byName[name] = d
	c.docs[docKey{name, d.target}] = d
	c.order = append(c.order, d)
	c.collect(d)
}
