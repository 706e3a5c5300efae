// Package xsd compiles XML Schema 1.0 to the grammars of schema-informed EXI
// (EXI 1.0 §8.5), an [exi.Schema].
//
// It builds what EXI needs of a schema and no more: names, type hierarchy,
// content models, attribute uses, the representation of simple types. It is no
// validator: identity constraints, length facets, default and fixed values are
// read over, and a schema that breaks one of XML Schema's finer rules (unique
// particle attribution, valid restriction) compiles all the same.
//
// Schema text comes from a [Resolver]: memory, an embedded folder, a folder on
// disk. Nothing is ever fetched over a network; a location that the Resolver
// does not know is an error for include and redefine, and for import as soon
// as something of that namespace is referred to.
//
// A schema may come from a peer, so everything is bounded: size, depth and
// number of documents, expanded particles, states and productions. What goes
// over a bound is an [Error] that names file, line and construct.
package xsd
