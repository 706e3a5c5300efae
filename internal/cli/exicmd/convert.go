package exicmd

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"postern/exi"
	"postern/exi/xmltext"
)

// encode turns XML into EXI, event by event.
func encode(c *command) error {
	o := &c.opts
	keep := o.Preserve
	if o.Strict && o.Schema != nil {
		keep = exi.Preserve{LexicalValues: keep.LexicalValues}
	}
	r := xmltext.NewReader(c.r, xmltext.Options{
		Comments: keep.Comments,
		PIs:      keep.PIs,
		DTD:      keep.DTD,
		Prefixes: keep.Prefixes,
		Fragment: o.Fragment,
		Limits:   xmltext.Limits{Depth: 5_000, Octets: 1 << 30},
	})
	w, err := exi.NewDocumentWriter(c.w, *o)
	if err != nil {
		return err
	}
	return xmltext.Copy(w, r)
}

// decode turns EXI into XML, event by event.
func decode(c *command) error {
	r, err := exi.NewDocumentReader(bufio.NewReaderSize(c.r, 64<<10), c.opts)
	if err != nil {
		return err
	}
	w := &prefixed{w: xmltext.NewWriter(c.w, xmltext.WriterOptions{Fragment: r.Options().Fragment})}
	return copyEvents(w, r)
}

// lookAhead is how many events are read before the first is written, to learn
// whether the document can have a default namespace.
const lookAhead = 20_000

// copyEvents copies a document. A name in content that is in no namespace, as
// xsi:type may hold, cannot be written where a default namespace is in force.
func copyEvents(w *prefixed, r exi.Reader) error {
	var early []exi.Event
	var err error
	for err == nil && len(early) < lookAhead && !w.noDefault {
		var e exi.Event
		if err = r.Next(&e); err == nil {
			e.Value = e.Value.Clone()
			early = append(early, e)
			w.look(&e)
		}
	}
	for i := range early {
		if err := w.Event(early[i]); err != nil {
			return err
		}
	}
	for err == nil {
		var e exi.Event
		if err = r.Next(&e); err == nil {
			err = w.Event(e)
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// prefixed holds a start tag back until its namespace declarations are known:
// one of them may bring the prefix of the element.
type prefixed struct {
	w    exi.Writer
	tag  exi.Event
	ns   []exi.Event
	held bool

	noDefault bool // every namespace gets a prefix
	made      map[string]string
}

// look notes what rules out a default namespace.
func (p *prefixed) look(e *exi.Event) {
	if space, prefix, _, ok := e.Value.Name(); ok && space == "" && prefix == "" {
		p.noDefault = true
	}
}

// prefix makes up a prefix for an element that has none.
func (p *prefixed) prefix(e *exi.Event) {
	space := e.Name.Value().Space
	if e.Prefix != "" || space == "" || len(p.ns) > 0 {
		return
	}
	if p.made == nil {
		p.made = make(map[string]string)
	}
	if p.made[space] == "" {
		p.made[space] = fmt.Sprintf("ns%d", len(p.made))
	}
	e.Prefix = p.made[space]
}

// Event implements exi.Writer.
func (p *prefixed) Event(e exi.Event) error {
	if p.held {
		switch e.Kind {
		case exi.NS:
			if e.LocalNS {
				p.tag.Prefix = e.Prefix
			}
			p.ns = append(p.ns, e)
			return nil
		case exi.SC:
			return nil
		}
		p.held = false
		if p.noDefault {
			p.prefix(&p.tag)
		}
		if err := p.w.Event(p.tag); err != nil {
			return err
		}
		for _, ns := range p.ns {
			if err := p.w.Event(ns); err != nil {
				return err
			}
		}
		p.ns = p.ns[:0]
	}
	if e.Kind == exi.SE {
		p.tag, p.held = e, true
		return nil
	}
	return p.w.Event(e)
}

// inspect lists header, options and events.
func inspect(c *command) error {
	out := func(format string, args ...any) error {
		_, err := fmt.Fprintf(c.w, format, args...)
		return err
	}
	r := bufio.NewReaderSize(c.r, 64<<10)
	first, _ := r.Peek(5)
	cookie := strings.HasPrefix(string(first), "$EXI")
	withOptions := false
	if cookie && len(first) == 5 {
		withOptions = first[4]&0x20 != 0
	} else if len(first) > 0 && !cookie {
		withOptions = first[0]&0x20 != 0
	}
	head := func(o exi.Options, bits int64) {
		_ = out("header   %d bits; cookie %v, options document %v, final version 1\n", bits, cookie, withOptions)
		_ = out("options  %s\n\n%10s  %-12s %5s  event\n", describe(&o), "bit", "code", "bits")
	}
	var total int64
	err := exi.Inspect(r, c.opts, head, func(s *exi.Step) error {
		total += s.Bits
		return out("%10d  %-12s %5d  %s%s\n", s.Bit, codeText(s), s.Bits, strings.Repeat("  ", s.Depth), eventText(&s.Event))
	})
	if err != nil {
		return err
	}
	return out("\n%d bits of events\n", total)
}

// codeText writes an event code like 2.1, with its width.
func codeText(s *exi.Step) string {
	var sb strings.Builder
	for i, n := range s.Code {
		if n < 0 {
			continue
		}
		if i > 0 {
			sb.WriteByte('.')
		}
		fmt.Fprintf(&sb, "%d", n)
	}
	if sb.Len() == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%d)", sb.String(), s.CodeBits)
}

func eventText(e *exi.Event) string {
	name := ""
	if e.Name != (exi.Name{}) {
		q := e.Name.Value()
		name = q.Local
		if e.Prefix != "" && e.Kind != exi.NS {
			name = e.Prefix + ":" + name
		}
		if q.Space != "" {
			name += " {" + q.Space + "}"
		}
	}
	switch e.Kind {
	case exi.SE, exi.ER:
		return fmt.Sprintf("%v %s", e.Kind, name)
	case exi.NS:
		return fmt.Sprintf("NS %s=%q local=%v", e.Prefix, e.Name.Value().Space, e.LocalNS)
	case exi.AT:
		return fmt.Sprintf("AT %s = %s", name, valueText(e.Value))
	case exi.CH, exi.CM:
		return fmt.Sprintf("%v %s", e.Kind, valueText(e.Value))
	case exi.PI:
		return fmt.Sprintf("PI %s %s", name, valueText(e.Value))
	case exi.DT:
		return fmt.Sprintf("DT %s", name)
	}
	return e.Kind.String()
}

// valueText shows a value and how it was coded.
func valueText(v exi.Value) string {
	text := v.String()
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:57], "") + "…"
	}
	if v.Kind() == exi.Lexical {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q %s", text, kindNames[v.Kind()])
}

var kindNames = map[exi.ValueKind]string{
	exi.Bool: "boolean", exi.Int: "integer", exi.Decimal: "decimal", exi.Float: "float",
	exi.DateTime: "dateTime", exi.Date: "date", exi.Time: "time", exi.GYear: "gYear",
	exi.GYearMonth: "gYearMonth", exi.GMonth: "gMonth", exi.GMonthDay: "gMonthDay", exi.GDay: "gDay",
	exi.Base64: "base64Binary", exi.Hex: "hexBinary", exi.NameRef: "QName",
}

// describe lists the options that differ from the defaults.
func describe(o *exi.Options) string {
	names := []string{"bitPacked", "byteAligned", "preCompression", "compression"}
	parts := []string{names[o.Alignment]}
	add := func(on bool, s string) {
		if on {
			parts = append(parts, s)
		}
	}
	p := o.Preserve
	add(o.Strict, "strict")
	add(o.Fragment, "fragment")
	add(p.Comments, "preserve.comments")
	add(p.PIs, "preserve.pis")
	add(p.DTD, "preserve.dtd")
	add(p.Prefixes, "preserve.prefixes")
	add(p.LexicalValues, "preserve.lexicalValues")
	add(o.SelfContained, "selfContained")
	add(o.BlockSize != 1_000_000, fmt.Sprintf("blockSize %d", o.BlockSize))
	add(o.ValueMaxLength != exi.Unbounded, fmt.Sprintf("valueMaxLength %d", o.ValueMaxLength))
	add(o.ValuePartitionCapacity != exi.Unbounded, fmt.Sprintf("valuePartitionCapacity %d", o.ValuePartitionCapacity))
	for _, m := range o.DatatypeRepresentationMap {
		parts = append(parts, fmt.Sprintf("%s as %s", m.Type.Value().Local, m.Representation.Value().Local))
	}
	add(o.Profile != nil, "profile")
	switch {
	case o.Schema == nil:
		parts = append(parts, "no schema")
	case o.SchemaID != "":
		parts = append(parts, fmt.Sprintf("schema %q", o.SchemaID))
	default:
		parts = append(parts, "schema-informed")
	}
	return strings.Join(parts, ", ")
}
