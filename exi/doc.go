// Package exi implements W3C Efficient XML Interchange 1.0 (Second Edition,
// 11 February 2014) and the event model that the rest of Postern is built on.
//
// A document, or one element of an XMPP stream, is a [Doc]: a recorded
// sequence of typed [Event] values whose names are interned. XML text (package
// exi/xmltext) and EXI (this package) are two codecs of a Doc, so code that
// builds or reads a Doc does not know which of the two is on the wire.
//
//   - [Encoder] and [Decoder] code Docs, one body per call: with fresh string
//     tables each time, or with tables that are kept (Keep). AppendDocument and
//     DecodeDocument add the header.
//   - [DocumentWriter] and [DocumentReader] code event by event; documents of
//     any size need constant memory.
//   - [Inspect] tells what each event of a stream costs.
//
// Schemas come from package exi/xsd as a [Schema]; what depends on a stream's
// options is added to it type by type, when an element of the type is first met,
// and shared from then on.
//
// # Where the specification is implemented
//
//	§5     header, options document     header.go, options_doc.go, options_schema.go
//	§6     event codes                  encode.go, encode_attrs.go, decode.go
//	§7.1   representations              parsed.go, parsed_calendar.go, decode_value.go
//	§7.3   string tables                tables.go, values_table.go, values_read.go
//	§7.4   datatype representation map  datatype.go
//	§8.4   built-in grammars            grammar.go
//	§8.5   schema-informed grammars     schema.go (compiled by exi/xsd), bind.go, binder.go
//	§9     compression                  channels_write.go, channels_read.go, internal/deflate
//
// # Where peers and the specification disagree
//
// Streams are written as the specification has them, with these choices where
// it leaves one or where every known peer does something else:
//
//   - xsi:nil under preserved lexical values is written without a restricted
//     character set and read with or without one.
//   - A month of 13 to 15 is typed, as peers type it, though §7.1.8 ends at 12.
//   - Streams informed by a schema have all attributes sorted, those of
//     built-in grammars too.
//   - DEFLATE makes zlib's choices.
package exi
