package exi

import (
	"errors"
	"fmt"
)

// Encoder turns Docs into EXI bodies. Its string tables and learned grammars
// start afresh with every body unless Keep says otherwise. Not safe for
// concurrent use.
type Encoder struct {
	opts Options
	e    encoder
	keep bool
}

// NewEncoder returns an encoder for the given options. It fails with
// ErrOptions when they contradict each other (EXI 1.0 §5.4).
func NewEncoder(o Options) (*Encoder, error) {
	x := &Encoder{}
	if err := x.init(o); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *Encoder) init(o Options) error {
	x.opts = o
	if err := x.opts.complete(); err != nil {
		return err
	}
	b, err := bind(&x.opts)
	if err != nil {
		return err
	}
	x.e.setup(&x.opts, b)
	return nil
}

// Keep says whether string tables and learned grammars live on from body to
// body, as a session that shares its buffers wants it, or start afresh with
// each, as EXI 1.0 §7.3 has it for separate streams. Both ends must do the
// same. Changing it resets the encoder.
func (x *Encoder) Keep(on bool) {
	x.keep = on
	x.Reset()
}

// Reset empties the string tables and forgets learned grammars.
func (x *Encoder) Reset() { x.e.resetTables() }

// Options returns the options in force.
func (x *Encoder) Options() Options { return x.opts }

// Append encodes d as one EXI body, without a header, and appends it to dst. A
// body that does not end at an octet boundary is padded with zeros. On error
// dst is returned unchanged and the string tables are as before.
func (x *Encoder) Append(dst []byte, d *Doc) ([]byte, error) {
	return x.append(dst, d, false)
}

// AppendDocument is Append for a whole EXI stream: the header goes in front as
// Options.Cookie and Options.OptionsInHeader demand, the tables start afresh.
func (x *Encoder) AppendDocument(dst []byte, d *Doc) ([]byte, error) {
	x.Reset()
	return x.append(dst, d, true)
}

func (x *Encoder) append(dst []byte, d *Doc, header bool) ([]byte, error) {
	e := &x.e
	if !x.keep {
		e.resetTables()
	}
	e.stable, e.journal = !x.keep, x.keep
	e.begin()
	e.w.Reset(dst)
	if header {
		if err := writeHeader(&e.w, &x.opts); err != nil {
			return dst, err
		}
	}
	if e.chans != nil {
		e.chans.begin(e)
	}
	e.doc(d)
	if e.err == nil {
		e.end()
	}
	var out []byte
	if e.err == nil && e.chans != nil {
		e.chans.flush(e)
		out = e.chans.take()
	} else if e.err == nil {
		out = e.w.Bytes()
	}
	if e.err != nil {
		err := e.located()
		e.rollback()
		if e.chans != nil {
			e.chans.drop()
		}
		return dst, err
	}
	return out, nil
}

// doc writes the events of d.
func (e *encoder) doc(d *Doc) {
	for i := 0; i < len(d.ev) && e.err == nil; i++ {
		ev := &d.ev[i]
		switch ev.Kind {
		case SE:
			j := i + 1
			for j < len(d.ev) && (d.ev[j].Kind == AT || d.ev[j].Kind == NS || d.ev[j].Kind == SC) {
				j++
			}
			e.startElement(ev.Name, ev.Prefix, d.ev[i+1:j])
			i = j - 1
		case EE:
			e.endElement()
		case CH:
			i = e.docText(d, i)
		case CM, PI, DT, ER:
			e.misc(ev)
		default:
			e.fail(fmt.Errorf("%w: %v", ErrSequence, ev.Kind))
		}
	}
}

// docText writes the text that starts at event i, joined with what follows it
// when the events in between are pruned, and returns the last event used.
func (e *encoder) docText(d *Doc, i int) int {
	afterStart := false
	for k := i - 1; k >= 0 && !afterStart; k-- {
		switch d.ev[k].Kind {
		case SE, AT, NS, SC:
			afterStart = true
		case EE:
			k = 0
		}
	}
	last, pieces := i, 1
	j := i + 1
	for ; j < len(d.ev); j++ {
		k := d.ev[j].Kind
		if k == CH {
			last, pieces = j, pieces+1
		} else if k != ER && k != CM && k != PI || e.keeps(k) {
			break
		}
	}
	layout := !afterStart || j == len(d.ev) || d.ev[j].Kind == SE
	if pieces == 1 {
		e.characters(&d.ev[i].Value, layout)
		return i
	}
	e.text = e.text[:0]
	for k := i; k <= last; k++ {
		if d.ev[k].Kind == CH {
			e.text = d.ev[k].Value.AppendText(e.text)
		}
	}
	stable := e.stable
	e.stable = false
	v := Str(view(e.text))
	e.characters(&v, layout)
	e.stable = stable
	return last
}

// begin moves what the encoder has written, which is the header, to the front
// of the output.
func (c *channelWriter) begin(e *encoder) {
	c.dst = e.w.Bytes()
	e.w.Reset(c.structure[:0])
}

func (c *channelWriter) take() []byte {
	out := c.dst
	c.dst = nil
	return out
}

func (c *channelWriter) drop() {
	for i := range c.list {
		c.byName[c.list[i].name] = 0
		clear(c.list[i].vals)
	}
	c.list, c.count, c.dst = c.list[:0], 0, nil
}

// complete checks the options and fills in what zero values stand for.
func (o *Options) complete() error {
	o.Limits = o.Limits.withDefaults()
	if o.BlockSize == 0 {
		o.BlockSize = 1_000_000
	}
	bad := func(why string) error { return errors.Join(fmt.Errorf("exi: %w: %s", ErrOptions, why)) }
	switch {
	case o.Alignment > Compression:
		return bad("unknown alignment")
	case o.Strict && (o.Preserve.Comments || o.Preserve.PIs || o.Preserve.DTD || o.Preserve.Prefixes):
		return bad("strict excludes preserving comments, instructions, DTDs and prefixes")
	case o.SelfContained && (o.Strict || o.Alignment >= PreCompression):
		return bad("selfContained excludes strict and compression")
	case o.BlockSize < 1:
		return bad("blockSize must be at least 1")
	case o.ValueMaxLength < Unbounded || o.ValuePartitionCapacity < Unbounded:
		return bad("a value limit is negative")
	}
	return nil
}

// Tables returns how many entries the string tables have gained since they were
// last empty, and the octets of their text. With Keep and unbounded value
// partitions they only grow; who keeps an Encoder for long watches them.
func (x *Encoder) Tables() (entries, octets int) {
	t := &x.e
	return t.names.size() + t.vals.count(), t.names.octets + t.vals.octets
}
