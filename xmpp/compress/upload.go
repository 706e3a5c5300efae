package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/exi/xsd"
)

// Ways to upload a schema (contentType of uploadSchema).
const (
	UploadText        = "Text"
	UploadEXIBody     = "ExiBody"
	UploadEXIDocument = "ExiDocument"
)

// metaschema is compiled at the first upload that needs it.
var metaschema = sync.OnceValues(func() (*exi.Schema, error) {
	s, err := xsd.ForSchemas()
	if err == nil {
		s.ID = exi.NSXSD
	}
	return s, err
})

// schemaOptions are those of schema documents in EXI (section 4 of the
// requirement rows, last column).
func schemaOptions() (exi.Options, error) {
	s, err := metaschema()
	o := exi.DefaultOptions()
	o.Preserve.Prefixes = true
	o.Schema, o.SchemaID = s, exi.NSXSD
	o.Limits = exi.Limits{
		Depth: 100, StringLen: 64 << 10, TableOctets: 2 * MaxSchema, TableSize: 64 << 10, Grammars: 16 << 10,
		Octets: MaxSchema, Inflated: 2 * MaxSchema, Events: 256 << 10,
	}
	return o, err
}

// errPrefixes: the sender did not preserve prefixes, so that the qualified
// names in the schema mean nothing (0322-R20).
var errPrefixes = errors.New("compress: the uploaded schema was encoded without prefixes")

// fromEXI unpacks a schema that was uploaded in EXI into text. document says
// that it has a header (decision D29).
func fromEXI(data []byte, document bool) ([]byte, error) {
	o, err := schemaOptions()
	if err != nil {
		return nil, err
	}
	dec, err := exi.NewDecoder(o)
	if err != nil {
		return nil, err
	}
	dec.Keep(false)
	d := new(exi.Doc)
	if document {
		err = decodeWhole(data, o, d)
	} else {
		_, err = dec.DecodeBytes(data, d)
	}
	if err != nil {
		return nil, fmt.Errorf("compress: uploaded schema: %w", err)
	}
	if d.Len() < 2 || d.Root().Name() != exi.N(exi.NSXSD, "schema") {
		return nil, errors.New("compress: an uploaded EXI document that is no schema")
	}
	if !declares(d) {
		return nil, errPrefixes
	}
	text, err := xmltext.AppendElement(nil, elementOnly(d), xmltext.Scope{})
	if err == nil && len(text) > 2*MaxSchema {
		err = fmt.Errorf("compress: an uploaded schema of %d octets", len(text))
	}
	return text, err
}

// decodeWhole reads an EXI document whose header may have options; what it
// leaves out is as in schemaOptions, preserved prefixes included.
func decodeWhole(data []byte, o exi.Options, d *exi.Doc) error {
	o.Schemas = func(id string) (*exi.Schema, error) {
		return nil, fmt.Errorf("compress: an uploaded schema that needs the schema %q", id)
	}
	r, err := exi.NewDocumentReader(bytes.NewReader(data), o)
	if err != nil {
		return err
	}
	for {
		var ev exi.Event
		if err := r.Next(&ev); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if ev.Kind == exi.SD || ev.Kind == exi.ED {
			continue
		}
		if err := d.Add(owned(ev)); err != nil {
			return err
		}
	}
}

// owned returns an event that outlives the next one of its reader. What stands
// in a schema is text.
func owned(ev exi.Event) exi.Event {
	ev.Prefix = strings.Clone(ev.Prefix)
	if ev.Kind == exi.AT || ev.Kind == exi.CH {
		ev.Value = exi.Str(strings.Clone(ev.Value.String()))
	}
	return ev
}

// declares reports whether the root declares a namespace.
func declares(d *exi.Doc) bool {
	for i := 1; i < d.Len(); i++ {
		switch d.Event(i).Kind {
		case exi.NS:
			return true
		case exi.AT:
		default:
			return false
		}
	}
	return false
}

// elementOnly returns d without what stands beside its element and without
// comments: a schema means the same without them.
func elementOnly(d *exi.Doc) *exi.Doc {
	out := new(exi.Doc)
	for i := range d.Len() {
		switch ev := d.Event(i); ev.Kind {
		case exi.SE, exi.AT, exi.NS, exi.CH, exi.EE:
			_ = out.Add(*ev) // in the order of a Doc that was checked
		}
	}
	return out
}

// toEXI packs the text of a schema for an upload in EXI.
func toEXI(text []byte, document bool) ([]byte, error) {
	o, err := schemaOptions()
	if err != nil {
		return nil, err
	}
	r := xmltext.NewReader(bytes.NewReader(text), xmltext.Options{Prefixes: true})
	d := new(exi.Doc)
	for {
		var ev exi.Event
		if err := r.Next(&ev); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		switch ev.Kind {
		case exi.SD, exi.ED, exi.CM, exi.PI, exi.DT:
			continue
		}
		if err := d.Add(owned(ev)); err != nil {
			return nil, err
		}
	}
	o.StripSpace = true
	enc, err := exi.NewEncoder(o)
	if err != nil {
		return nil, err
	}
	if document {
		return enc.AppendDocument(nil, d)
	}
	return enc.Append(nil, d)
}
