package exi

import (
	"fmt"
	"math"
	"strconv"

	"postern/exi/internal/bits"
)

// optionsOptions are the options of the options document itself (EXI 1.0 §5.4).
func optionsOptions() Options {
	o := DefaultOptions()
	o.Strict = true
	o.Schema = optionsSchema()
	o.KeepFloatDigits = true // −0 is not 0 in the EXI Profile's parameters
	o.Limits = Limits{Depth: 64, StringLen: 1 << 16, TableOctets: 1 << 20, TableSize: 1 << 12, Events: 1 << 14, Grammars: 1 << 12}
	return o
}

var (
	nameProfile    = N(nsEXI, "p")
	nameRepMap     = N(nsEXI, "datatypeRepresentationMap")
	nameHeader     = N(nsEXI, "header")
	nameLessCommon = N(nsEXI, "lesscommon")
	nameUncommon   = N(nsEXI, "uncommon")
	namePreserve   = N(nsEXI, "preserve")
	nameCommon     = N(nsEXI, "common")
	nameSchemaID   = N(nsEXI, "schemaId")
)

// writeOptions writes the options document at the position of w.
func writeOptions(w *bits.Writer, o *Options) error {
	own := optionsOptions()
	b, err := bind(&own)
	if err != nil {
		return err
	}
	own.Limits = own.Limits.withDefaults()
	var d Doc
	if o.SchemaIDOnly {
		only := DefaultOptions()
		only.Schema, only.SchemaID, only.SchemaIDInHeader = o.Schema, o.SchemaID, true
		o = &only
	}
	optionsDoc(&d, o)
	e := &encoder{}
	e.setup(&own, b)
	e.w = *w
	e.begin()
	e.doc(&d)
	e.end()
	*w = e.w
	if e.err != nil {
		return fmt.Errorf("exi: options document: %w", e.err)
	}
	return nil
}

// optionsDoc writes down what differs from the defaults (EXI 1.0 table 5-1).
func optionsDoc(d *Doc, o *Options) {
	flag := func(local string, on bool) {
		if on {
			d.Element(N(nsEXI, local), Value{})
		}
	}
	number := func(local string, n int) {
		d.Element(N(nsEXI, local), IntValue(int64(n)))
	}
	p := o.Preserve
	uncommon := o.Alignment == ByteAligned || o.Alignment == PreCompression || o.SelfContained ||
		o.ValueMaxLength != Unbounded || o.ValuePartitionCapacity != Unbounded ||
		len(o.DatatypeRepresentationMap) > 0 || o.Profile != nil
	preserve := p != Preserve{}
	d.Start(nameHeader)
	if uncommon || preserve || o.BlockSize != 1_000_000 {
		d.Start(nameLessCommon)
		if uncommon {
			optionsUncommon(d, o)
		}
		if preserve {
			d.Start(namePreserve)
			flag("dtd", p.DTD)
			flag("prefixes", p.Prefixes)
			flag("lexicalValues", p.LexicalValues)
			flag("comments", p.Comments)
			flag("pis", p.PIs)
			d.End()
		}
		if o.BlockSize != 1_000_000 {
			number("blockSize", o.BlockSize)
		}
		d.End()
	}
	if o.Alignment == Compression || o.Fragment || o.SchemaIDInHeader {
		d.Start(nameCommon)
		flag("compression", o.Alignment == Compression)
		flag("fragment", o.Fragment)
		if o.SchemaIDInHeader {
			d.Start(nameSchemaID)
			if o.Schema == nil {
				d.Attr(NameXsiNil, BoolValue(true))
			} else if o.SchemaID != "" {
				d.Text(Str(o.SchemaID))
			}
			d.End()
		}
		d.End()
	}
	flag("strict", o.Strict)
	d.End()
}

func optionsUncommon(d *Doc, o *Options) {
	d.Start(nameUncommon)
	if o.Profile != nil {
		d.Start(nameProfile)
		d.Attr(NameXsiType, NameValue(NSXSD, "decimal"))
		d.Text(Str(o.Profile.decimal(o.Schema != nil)))
		d.End()
	}
	if o.Alignment == ByteAligned || o.Alignment == PreCompression {
		d.Start(N(nsEXI, "alignment"))
		if o.Alignment == ByteAligned {
			d.Element(N(nsEXI, "byte"), Value{})
		} else {
			d.Element(N(nsEXI, "pre-compress"), Value{})
		}
		d.End()
	}
	if o.SelfContained {
		d.Element(N(nsEXI, "selfContained"), Value{})
	}
	if o.ValueMaxLength != Unbounded {
		d.Element(N(nsEXI, "valueMaxLength"), IntValue(int64(o.ValueMaxLength)))
	}
	if o.ValuePartitionCapacity != Unbounded {
		d.Element(N(nsEXI, "valuePartitionCapacity"), IntValue(int64(o.ValuePartitionCapacity)))
	}
	for _, m := range o.DatatypeRepresentationMap {
		d.Start(nameRepMap)
		d.Element(m.Type, Value{})
		d.Element(m.Representation, Value{})
		d.End()
	}
	d.End()
}

// decimal writes the parameters as the EXI Profile wants them: the sign is
// localValuePartitions, the integral part one more than the number of element
// grammars, the digits behind the point, backwards, one more than the number
// of productions; 0 stands for no limit. Without a schema there is no way to
// keep learning in bounds, and the limits are not stated.
func (p *Profile) decimal(schema bool) string {
	grammars, prods := 0, 0
	if schema {
		if n := p.MaximumNumberOfBuiltInElementGrammars; n != Unbounded {
			grammars = n + 1
		}
		if n := p.MaximumNumberOfBuiltInProductions; n != Unbounded {
			prods = n + 1
		}
	}
	text := make([]byte, 0, 24)
	if p.LocalValuePartitions {
		text = append(text, '-')
	}
	text = strconv.AppendInt(text, int64(grammars), 10)
	text = append(text, '.')
	for ok := true; ok; ok = prods > 0 {
		text = append(text, '0'+byte(prods%10))
		prods /= 10
	}
	return string(text)
}

// profileOf reads what decimal wrote.
func profileOf(v Value) *Profile {
	p := &Profile{MaximumNumberOfBuiltInElementGrammars: Unbounded, MaximumNumberOfBuiltInProductions: Unbounded}
	x := parsed{keepFloats: true}
	if !x.setDecimal(&v) || x.big != nil || x.bigFr != nil {
		return nil
	}
	p.LocalValuePartitions = x.neg
	if x.n > 0 && x.n < math.MaxInt32 {
		p.MaximumNumberOfBuiltInElementGrammars = int(x.n) - 1
	}
	if x.frac > 0 && x.frac < math.MaxInt32 {
		p.MaximumNumberOfBuiltInProductions = int(x.frac) - 1
	}
	return p
}

// readOptions reads an options document; what it does not mention takes the
// default, what is not on the wire comes from the out-of-band options.
func readOptions(r *bits.Reader, outer *Options) (Options, error) {
	own := optionsOptions()
	b, err := bind(&own)
	if err != nil {
		return own, err
	}
	own.Limits = own.Limits.withDefaults()
	d := &decoder{}
	d.setup(&own, b)
	var doc Doc
	d.doc, d.stable = &doc, true
	d.r = *r
	d.begin()
	err = d.into(&doc, nil)
	if err == nil {
		err = d.r.Err()
	}
	*r = d.r
	if err != nil {
		return own, d.located(fmt.Errorf("%w: options document: %w", ErrHeader, err))
	}
	if outer.Named != nil {
		id := doc.Root().Child(nameCommon).Child(nameSchemaID)
		if named := outer.Named(id.Text().String()); id.Valid() && named != nil {
			return *named, named.complete()
		}
	}
	o := *outer
	def := DefaultOptions()
	o.Alignment, o.Strict, o.Fragment, o.SelfContained = def.Alignment, false, false, false
	o.Preserve, o.Profile, o.DatatypeRepresentationMap = Preserve{}, nil, nil
	o.BlockSize, o.ValueMaxLength, o.ValuePartitionCapacity = def.BlockSize, def.ValueMaxLength, def.ValuePartitionCapacity
	if err := o.apply(doc.Root()); err != nil {
		return o, err
	}
	return o, nil
}

// apply takes the options of a header element.
func (o *Options) apply(header Cursor) error {
	has := func(c Cursor, local string) bool { return c.Child(N(nsEXI, local)).Valid() }
	less, common := header.Child(nameLessCommon), header.Child(nameCommon)
	un, keep := less.Child(nameUncommon), less.Child(namePreserve)
	o.Strict = has(header, "strict")
	o.Fragment = has(common, "fragment")
	o.SelfContained = has(un, "selfContained")
	o.Preserve = Preserve{
		Comments: has(keep, "comments"), PIs: has(keep, "pis"), DTD: has(keep, "dtd"),
		Prefixes: has(keep, "prefixes"), LexicalValues: has(keep, "lexicalValues"),
	}
	align := un.Child(N(nsEXI, "alignment"))
	switch {
	case has(align, "byte"):
		o.Alignment = ByteAligned
	case has(align, "pre-compress"):
		o.Alignment = PreCompression
	}
	if has(common, "compression") {
		if align.Valid() {
			return fmt.Errorf("%w: alignment and compression together", ErrHeader)
		}
		o.Alignment = Compression
	}
	sizes := []struct {
		c    Cursor
		dst  *int
		min  int64
		name string
	}{
		{un.Child(N(nsEXI, "valueMaxLength")), &o.ValueMaxLength, 0, "valueMaxLength"},
		{un.Child(N(nsEXI, "valuePartitionCapacity")), &o.ValuePartitionCapacity, 0, "valuePartitionCapacity"},
		{less.Child(N(nsEXI, "blockSize")), &o.BlockSize, 1, "blockSize"},
	}
	for _, s := range sizes {
		if !s.c.Valid() {
			continue
		}
		n, ok := s.c.Text().Int()
		if !ok || n < s.min || n > math.MaxUint32 {
			return fmt.Errorf("%w: %s out of range", ErrHeader, s.name)
		}
		*s.dst = int(min(n, math.MaxInt32))
	}
	for c := range un.Children() {
		switch c.Name() {
		case nameProfile:
			o.Profile = profileOf(c.Text())
		case nameRepMap:
			first := c.First()
			o.DatatypeRepresentationMap = append(o.DatatypeRepresentationMap,
				DatatypeMapping{Type: first.Name(), Representation: first.Next().Name()})
		}
	}
	return o.applySchema(common.Child(nameSchemaID))
}

// applySchema finds the schema that schemaId names.
func (o *Options) applySchema(c Cursor) error {
	if !c.Valid() {
		return nil // communicated out of band
	}
	if v, ok := c.Attr(NameXsiNil); ok {
		if isNil, _ := v.Bool(); isNil {
			o.Schema, o.SchemaID = nil, ""
			return nil
		}
	}
	id := c.Text().String()
	known := o.SchemaID
	o.SchemaIDInHeader = true
	if o.Schema != nil && (id == known || id == o.Schema.ID) {
		o.SchemaID = id
		return nil
	}
	if o.Schemas == nil {
		return fmt.Errorf("%w: the stream needs schema %q", ErrOptions, id)
	}
	s, err := o.Schemas(id)
	if err != nil {
		return fmt.Errorf("%w: the stream needs schema %q: %w", ErrOptions, id, err)
	}
	o.Schema, o.SchemaID = s, id
	return nil
}
