// Package xmltext is the XML text codec of exi.Doc.
//
// [StreamReader] and [AppendElement] serve XMPP streams: UTF-8 only, with the
// restrictions of RFC 6120 §11, hard limits, and no allocations in steady
// state. [Reader] and [Writer] serve whole documents of any size, with
// comments, processing instructions, a document type and prefixes as EXI can
// carry them. Nothing in this package ever opens a file or a connection: no
// external entity, no external subset.
//
// XML is read by XML 1.0 (Fifth Edition) and Namespaces in XML 1.0 (Third
// Edition). Attribute values are normalised as for CDATA attributes.
package xmltext
