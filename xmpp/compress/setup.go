package compress

import (
	"fmt"
	"strings"

	"postern/exi"
	"postern/exi/schemas"
)

// Ref names a schema file: by all three, octet for octet (0322-R11).
type Ref struct {
	NS    string // target namespace
	Bytes int64  // size of the text
	MD5   string // 32 lower-case hex digits
}

// RefOf returns the name of one of our own schema files.
func RefOf(f schemas.File) Ref { return refOf(f.Namespace, f.Text) }

// setup is the content of a setup or setupResponse element.
type setup struct {
	Params
	Schemas, Missing []Ref
	ConfigID         string
	Location         string // configurationLocation
	Agreement        bool
	bare             bool // no option attribute and no schema was given
}

// Bounds on what a peer may send in one setup.
const (
	maxSchemas  = 512
	maxIDLength = 256
)

// option attributes in the order they are written.
var paramAttrs = []struct {
	name exi.Name
	get  func(*Params) exi.Value // zero Value: the default, not written
	set  func(*Params, exi.Value) bool
}{
	{exi.N("", "version"), func(p *Params) exi.Value { return positive(p.Version, 1) }, func(p *Params, v exi.Value) bool {
		n, ok := v.Int()
		p.Version = clampInt(n)
		p.unsupported = p.unsupported || n != 1
		return ok && n > 0
	}},
	{exi.N("", "alignment"), alignmentOf, setAlignment},
	flag("compression", func(p *Params) *bool { return &p.Compression }),
	flag("strict", func(p *Params) *bool { return &p.Strict }),
	flag("preserveComments", func(p *Params) *bool { return &p.Preserve.Comments }),
	flag("preservePIs", func(p *Params) *bool { return &p.Preserve.PIs }),
	flag("preserveDTD", func(p *Params) *bool { return &p.Preserve.DTD }),
	flag("preservePrefixes", func(p *Params) *bool { return &p.Preserve.Prefixes }),
	flag("preserveLexical", func(p *Params) *bool { return &p.Preserve.LexicalValues }),
	flag("selfContained", func(p *Params) *bool { return &p.SelfContained }),
	number("blockSize", func(p *Params) *int { return &p.BlockSize }),
	number("valueMaxLength", func(p *Params) *int { return &p.ValueMaxLength }),
	number("valuePartitionCapacity", func(p *Params) *int { return &p.ValuePartitionCapacity }),
	flag("sessionWideBuffers", func(p *Params) *bool { return &p.SessionWide }),
}

type paramAttr = struct {
	name exi.Name
	get  func(*Params) exi.Value
	set  func(*Params, exi.Value) bool
}

func flag(name string, at func(*Params) *bool) paramAttr {
	return paramAttr{
		exi.N("", name),
		func(p *Params) exi.Value {
			if *at(p) {
				return exi.BoolValue(true)
			}
			return exi.Value{}
		},
		func(p *Params, v exi.Value) (ok bool) {
			*at(p), ok = v.Bool()
			return ok
		},
	}
}

func number(name string, at func(*Params) *int) paramAttr {
	return paramAttr{
		exi.N("", name),
		func(p *Params) exi.Value { return positive(*at(p), 0) },
		func(p *Params, v exi.Value) bool {
			n, ok := v.Int()
			*at(p) = clampInt(n)
			return ok && n > 0
		},
	}
}

// positive is the value of a positiveInteger attribute, none at its default.
func positive(n, def int) exi.Value {
	if n == def || n == 0 {
		return exi.Value{}
	}
	return exi.IntValue(int64(n))
}

// clampInt keeps a number within what 32-bit machines count with.
func clampInt(n int64) int { return int(min(max(n, 0), 1<<31-1)) }

var alignments = map[string]exi.Alignment{
	"bit-packed": exi.BitPacked, "byte-alignment": exi.ByteAligned, "pre-compression": exi.PreCompression,
}

func alignmentOf(p *Params) exi.Value {
	for name, a := range alignments {
		if a == p.Alignment && a != exi.BitPacked {
			return exi.Str(name)
		}
	}
	return exi.Value{}
}

func setAlignment(p *Params, v exi.Value) bool {
	a, ok := alignments[strings.TrimSpace(v.View())]
	p.Alignment = a
	return ok
}

// parse reads a setup or setupResponse. What cannot be read marks the Params
// as unsupported; only a size beyond all bounds is an error.
func (s *setup) parse(c exi.Cursor) error { return s.parseOver(c, Params{}) }

// parseOver is parse where attributes that are absent keep what is in force
// (decision D6).
func (s *setup) parseOver(c exi.Cursor, base Params) error {
	*s = setup{bare: true, Params: base}
	for name, v := range c.Attrs() {
		switch name {
		case attrConfig:
			s.ConfigID = v.String()
		case attrLocation:
			s.Location = v.String()
		case attrAgreement:
			s.Agreement, _ = v.Bool()
		case attrWindow:
			s.Window, _ = v.Bool()
			s.bare = false
		default:
			for _, a := range paramAttrs {
				if a.name == name {
					s.bare = false
					s.unsupported = !a.set(&s.Params, v) || s.unsupported
				}
			}
		}
	}
	for k := range c.Children() {
		switch k.Name() {
		case nameSchema, nameMissing:
			if len(s.Schemas)+len(s.Missing) >= maxSchemas {
				return fmt.Errorf("compress: more than %d schemas in one setup", maxSchemas)
			}
			s.bare = false
			if k.Name() == nameSchema {
				s.Schemas = append(s.Schemas, parseRef(k))
			} else {
				s.Missing = append(s.Missing, parseRef(k))
			}
		case nameMap:
			s.unsupported, s.bare = true, false
		}
	}
	if len(s.ConfigID) > maxIDLength || len(s.Location) > 4*maxIDLength {
		return fmt.Errorf("compress: a configurationId of %d octets", len(s.ConfigID))
	}
	return nil
}

func parseRef(c exi.Cursor) (r Ref) {
	if v, ok := c.Attr(attrNS); ok {
		r.NS = v.String()
	}
	if v, ok := c.Attr(attrBytes); ok {
		r.Bytes, _ = v.Int()
	}
	if v, ok := c.Attr(attrMD5); ok {
		r.MD5 = v.String()
	}
	return r
}

// append writes the element. all writes every option, also at its default: a
// server that refuses says what it can do (D28).
func (s *setup) append(d *exi.Doc, name exi.Name, all bool) { s.appendOver(d, name, all, Params{}) }

// appendOver leaves out what is the same in base.
func (s *setup) appendOver(d *exi.Doc, name exi.Name, all bool, base Params) {
	d.Start(name)
	if s.Agreement {
		d.Attr(attrAgreement, exi.BoolValue(true))
	}
	if s.ConfigID != "" {
		d.Attr(attrConfig, exi.Str(s.ConfigID))
	}
	for _, a := range paramAttrs {
		v, was := a.get(&s.Params), a.get(&base)
		if !all && base != (Params{}) && v.String() == was.String() {
			continue
		}
		if v.IsZero() && (all || !was.IsZero()) {
			v = defaults[a.name]
		}
		if !v.IsZero() {
			d.Attr(a.name, v)
		}
	}
	if s.Window {
		d.Attr(attrWindow, exi.BoolValue(true))
	}
	for _, r := range s.Schemas {
		r.append(d, nameSchema)
	}
	for _, r := range s.Missing {
		r.append(d, nameMissing)
	}
	d.End()
}

// defaults are the written forms of options at their default; limits have none.
var defaults = func() map[exi.Name]exi.Value {
	m := map[exi.Name]exi.Value{}
	for _, a := range paramAttrs {
		m[a.name] = exi.BoolValue(false)
	}
	m[exi.N("", "version")] = exi.IntValue(1)
	m[exi.N("", "alignment")] = exi.Str("bit-packed")
	for _, limit := range []string{"blockSize", "valueMaxLength", "valuePartitionCapacity"} {
		delete(m, exi.N("", limit))
	}
	return m
}()

func (r Ref) append(d *exi.Doc, name exi.Name) {
	d.Start(name)
	d.Attr(attrBytes, exi.IntValue(r.Bytes))
	d.Attr(attrMD5, exi.Str(r.MD5))
	d.Attr(attrNS, exi.Str(r.NS))
	d.End()
}

// AppendEvents writes the setup as a proposal.
func (s *setup) AppendEvents(d *exi.Doc) { s.append(d, nameSetup, false) }

// response makes a setup the payload of an answer.
type response struct {
	*setup
	all  bool
	base Params
}

// AppendEvents writes the answer.
func (r response) AppendEvents(d *exi.Doc) { r.appendOver(d, nameSetupResponse, r.all, r.base) }
