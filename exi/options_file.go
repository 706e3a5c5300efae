package exi

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// OptionsFile is the JSON form of Options that `postern exi --options` and the
// test vectors use. Absent members take the defaults of EXI 1.0 table 5-1.
type OptionsFile struct {
	Alignment   string `json:"alignment"` // bitPacked, byteAligned, preCompression or compression
	Compression bool   `json:"compression"`
	// Schema is none, xsdTypesOnly, or the name of a schema document.
	Schema   string `json:"schema"`
	Strict   bool   `json:"strict"`
	Fragment bool   `json:"fragment"`
	Preserve struct {
		Comments      bool `json:"comments"`
		PIs           bool `json:"pis"`
		DTD           bool `json:"dtd"`
		Prefixes      bool `json:"prefixes"`
		LexicalValues bool `json:"lexicalValues"`
	} `json:"preserve"`
	SelfContained bool `json:"selfContained"`
	// SelfContainedElements are names, {namespace}local where there is one.
	SelfContainedElements  []string      `json:"selfContainedElements"`
	BlockSize              int           `json:"blockSize"`
	ValueMaxLength         *int          `json:"valueMaxLength"`         // null: no limit
	ValuePartitionCapacity *int          `json:"valuePartitionCapacity"` // null: no limit
	DatatypeMap            []fileMapping `json:"datatypeRepresentationMap"`
	Header                 struct {
		Cookie           bool    `json:"cookie"`
		OptionsInHeader  bool    `json:"optionsInHeader"`
		SchemaIDInHeader bool    `json:"schemaIdInHeader"`
		SchemaID         *string `json:"schemaId"`
	} `json:"header"`
	Canonical bool         `json:"canonical"`
	Profile   *FileProfile `json:"profile"`
	// KeepFloatDigits is Options.KeepFloatDigits.
	KeepFloatDigits bool `json:"keepFloatDigits"`
}

type fileMapping struct {
	Type           string `json:"type"`
	Representation string `json:"representation"`
}

// FileProfile is Profile in an OptionsFile; null stands for no limit.
type FileProfile struct {
	LocalValuePartitions                  bool `json:"localValuePartitions"`
	MaximumNumberOfBuiltInProductions     *int `json:"maximumNumberOfBuiltInProductions"`
	MaximumNumberOfBuiltInElementGrammars *int `json:"maximumNumberOfBuiltInElementGrammars"`
}

// Values of OptionsFile.Schema that name no document.
const (
	SchemaNone         = "none"
	SchemaXSDTypesOnly = "xsdTypesOnly"
)

// ReadOptionsFile reads the JSON form. Members that it does not know are
// ignored.
func ReadOptionsFile(r io.Reader) (*OptionsFile, error) {
	f := &OptionsFile{Alignment: "bitPacked", Schema: SchemaNone}
	if err := json.NewDecoder(r).Decode(f); err != nil {
		return nil, fmt.Errorf("exi: options file: %w", err)
	}
	return f, nil
}

// ParseName reads {namespace}local or local.
func ParseName(s string) Name {
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		if space, local, ok := strings.Cut(rest, "}"); ok {
			return N(space, local)
		}
	}
	return N("", s)
}

// AddDatatypeMapping adds TYPE=REPRESENTATION, both as ParseName reads them.
func (f *OptionsFile) AddDatatypeMapping(s string) error {
	i := strings.LastIndexByte(s, '=')
	if i <= 0 || i == len(s)-1 {
		return fmt.Errorf("%q is not TYPE=REPRESENTATION: %w", s, ErrOptions)
	}
	f.DatatypeMap = append(f.DatatypeMap, fileMapping{Type: s[:i], Representation: s[i+1:]})
	return nil
}

// ProfileOf returns the EXI Profile parameters, making them unlimited ones when
// there are none.
func (f *OptionsFile) ProfileOf() *FileProfile {
	if f.Profile == nil {
		f.Profile = &FileProfile{LocalValuePartitions: true}
	}
	return f.Profile
}

// Options returns the Options without their Schema, which the caller finds by
// f.Schema. White space between elements is stripped, as both reference codecs
// do.
func (f *OptionsFile) Options() (Options, error) {
	o := DefaultOptions()
	switch f.Alignment {
	case "bitPacked", "":
	case "byteAligned":
		o.Alignment = ByteAligned
	case "preCompression":
		o.Alignment = PreCompression
	case "compression":
		o.Alignment = Compression
	default:
		return o, fmt.Errorf("exi: options file: alignment %q: %w", f.Alignment, ErrOptions)
	}
	if f.Compression {
		o.Alignment = Compression
	}
	o.Strict, o.Fragment, o.SelfContained = f.Strict, f.Fragment, f.SelfContained
	o.Preserve = Preserve(f.Preserve)
	for _, s := range f.SelfContainedElements {
		o.SelfContainedElements = append(o.SelfContainedElements, ParseName(s))
	}
	if f.BlockSize > 0 {
		o.BlockSize = f.BlockSize
	}
	limit := func(p *int) int {
		if p == nil || *p < 0 {
			return Unbounded
		}
		return *p
	}
	o.ValueMaxLength, o.ValuePartitionCapacity = limit(f.ValueMaxLength), limit(f.ValuePartitionCapacity)
	for _, m := range f.DatatypeMap {
		o.DatatypeRepresentationMap = append(o.DatatypeRepresentationMap,
			DatatypeMapping{Type: ParseName(m.Type), Representation: ParseName(m.Representation)})
	}
	o.Cookie, o.OptionsInHeader = f.Header.Cookie, f.Header.OptionsInHeader
	o.SchemaIDInHeader = f.Header.SchemaIDInHeader
	if f.Header.SchemaID != nil {
		o.SchemaID = *f.Header.SchemaID
	}
	o.Canonical, o.KeepFloatDigits, o.StripSpace = f.Canonical, f.KeepFloatDigits, true
	if p := f.Profile; p != nil {
		o.Profile = &Profile{
			LocalValuePartitions:                  p.LocalValuePartitions,
			MaximumNumberOfBuiltInProductions:     limit(p.MaximumNumberOfBuiltInProductions),
			MaximumNumberOfBuiltInElementGrammars: limit(p.MaximumNumberOfBuiltInElementGrammars),
		}
	}
	return o, nil
}
