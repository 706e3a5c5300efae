// Package exi implements W3C Efficient XML Interchange 1.0 (Second Edition,
// 11 February 2014) and the event model that the rest of Postern is built on.
//
// A document, or one element of an XMPP stream, is a [Doc]: a recorded
// sequence of typed [Event] values whose names are interned. XML text (package
// exi/xmltext) and EXI (this package) are two codecs of a Doc, so code that
// builds or reads a Doc does not know which of the two is on the wire.
//
// Documents that do not fit in memory go through the streaming layer below
// Doc, [Reader] and [Writer].
package exi
