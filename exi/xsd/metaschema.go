package xsd

import (
	_ "embed"

	"postern/exi"
)

// metaschema declares the documents of XML Schema 1.0 themselves: the elements
// and types of its schema for schemas (XML Schema part 1 appendix A, part 2
// appendix A) in their order. What EXI takes no notice of is left out, and
// unions, which are all coded as strings, are not spelled out.
//
//go:embed metaschema.xsd
var metaschema []byte

// ForSchemas compiles the schema for schemas: the grammars of schema documents
// themselves, such as XEP-0322 has a client use for a schema that it uploads
// in EXI. The result may be kept and shared.
func ForSchemas() (*exi.Schema, error) {
	return Compile(Files{"XMLSchema.xsd": metaschema}, "XMLSchema.xsd")
}
