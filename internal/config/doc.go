// Package config reads Postern's configuration file. It is strict: every key
// has to be known, every value of the right type and in range, every reference
// has to lead somewhere; and it reports everything that is wrong in one go,
// with line and column and what to write instead.
//
// The shape of the file is taken from tagged Go structs: those of this package
// and those of the kinds of buses and devices that the caller passes in. From
// the same structs come the defaults, the JSON Schema for editors, the
// commented example and the table of supported hardware, so that none of them
// can disagree.
//
// The tags:
//
//	yaml:"name"       key in the file; ",omitempty" when it may be left out,
//	                  ",inline" for a struct whose keys stand here
//	doc:"…"           what it is, in a sentence
//	default:"…"       value when the key is absent
//	oneof:"a|b"       closed list of values
//	min:"" max:""     inclusive bounds; of the length for texts and lists
//	example:"…"       value shown in the example file
//	format:"…"        a named check, see [Formats]
//
// A key with neither default nor omitempty is required. A struct's method
// Validate() error checks what tags cannot say; when its error begins with a
// key and a colon, the problem is shown at that key.
package config
