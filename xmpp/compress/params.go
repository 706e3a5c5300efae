package compress

import (
	"errors"
	"fmt"

	"postern/exi"
)

// Params are the options of a proposal (XEP-0322 §2.2.1, table of options).
// The zero Params are what a setup without attributes means on the ordinary
// port: bit-packed, not strict, nothing preserved, no limits, tables for each
// stanza.
type Params struct {
	Version   int // of EXI; 0 and 1 are version 1
	Alignment exi.Alignment
	// Compression asks for EXI's own DEFLATE; it replaces Alignment.
	Compression bool
	Strict      bool
	Preserve    exi.Preserve
	// SelfContained permits self-contained elements.
	SelfContained bool
	// The limits; 0 stands for the attribute's absence: a block size of
	// 1,000,000, and no limit on values.
	BlockSize, ValueMaxLength, ValuePartitionCapacity int
	// SessionWide keeps string tables from stanza to stanza
	// (sessionWideBuffers). Both roles hold them within KeptValues and
	// KeptValueLength.
	SessionWide bool
	// Window keeps one DEFLATE window over all stanzas of a direction: an
	// extension, see NSPostern. It needs byte alignment.
	Window bool
	// Profile applies the EXI Profile without any learning: it belongs to the
	// dedicated port and cannot be negotiated.
	Profile bool
	// unsupported is set when something was asked for that has no field here.
	unsupported bool
}

// PortParams are the options of a dedicated port before anything is negotiated
// (0322-R55, decisions D6 and D27).
func PortParams() Params {
	return Params{Version: 1, Strict: true, ValueMaxLength: 64, ValuePartitionCapacity: 64, Profile: true}
}

// Names lists the options that differ from the defaults of the ordinary port,
// as setup names them.
func (p Params) Names() []string {
	var names []string
	for _, a := range paramAttrs {
		v, local := a.get(&p), a.name.Value().Local
		switch b, isBool := v.Bool(); {
		case v.IsZero():
		case isBool && b:
			names = append(names, local)
		default:
			names = append(names, local+"="+v.String())
		}
	}
	if p.Window {
		names = append(names, "window")
	}
	return names
}

// errIllegal is wrapped by legal.
var errIllegal = errors.New("options that exclude each other")

// legal reports combinations that EXI forbids (EXI 1.0 §5.4).
func (p Params) legal() error {
	pr := p.Preserve
	switch {
	case p.Strict && (pr.Comments || pr.PIs || pr.DTD || pr.Prefixes || p.SelfContained):
		return fmt.Errorf("%w: strict and preserved items or self-contained elements", errIllegal)
	case p.SelfContained && (p.Compression || p.Alignment == exi.PreCompression):
		return fmt.Errorf("%w: self-contained elements and compression", errIllegal)
	case p.Compression && p.Alignment != exi.BitPacked:
		return fmt.Errorf("%w: compression and an alignment", errIllegal)
	case p.Window && p.Alignment != exi.ByteAligned:
		return fmt.Errorf("%w: a kept window needs byte alignment", errIllegal)
	case p.Window && p.Compression:
		return fmt.Errorf("%w: a kept window and compression", errIllegal)
	}
	return nil
}

// mended returns p without what excludes each other, as a server writes it
// back (decision D28 of the requirement rows).
func (p Params) mended() Params {
	p.Version, p.unsupported = 1, false
	pr := p.Preserve
	if p.Strict && (pr.Comments || pr.PIs || pr.DTD || pr.Prefixes || p.SelfContained) {
		p.Strict = false
	}
	if p.Compression && p.Alignment != exi.BitPacked {
		p.Alignment = exi.BitPacked
	}
	if p.SelfContained && (p.Compression || p.Alignment == exi.PreCompression) {
		p.SelfContained = false
	}
	if p.Window && (p.Alignment != exi.ByteAligned || p.Compression) {
		p.Window = false
	}
	return p
}

// Ceiling bounds what a server grants. A limit of 0 grants what was asked for;
// otherwise an absent attribute counts as above every limit.
type Ceiling struct {
	BlockSize, ValueMaxLength, ValuePartitionCapacity int
	SessionWide                                       bool // may tables be kept
	Window                                            bool // may a window be kept
	Compression                                       bool // may EXI's DEFLATE be used
}

// under returns what the ceiling leaves of p. Numbers only go down (0322-R09).
func (c Ceiling) under(p Params) Params {
	p = p.mended()
	p.BlockSize = lower(p.BlockSize, c.BlockSize)
	p.ValueMaxLength = lower(p.ValueMaxLength, c.ValueMaxLength)
	p.ValuePartitionCapacity = lower(p.ValuePartitionCapacity, c.ValuePartitionCapacity)
	p.SessionWide = p.SessionWide && c.SessionWide
	p.Window = p.Window && c.Window
	p = p.bounded()
	if !c.Compression {
		p.Compression = false
		if p.Alignment == exi.PreCompression {
			p.Alignment = exi.BitPacked
		}
	}
	return p
}

// Bounds of string tables that are kept from stanza to stanza: full, they take
// less than DefaultLimits allows, so that a long stream, each of whose stanzas
// brings an id that was never seen before, goes on for ever.
const (
	KeptValues      = 2048
	KeptValueLength = 128 // characters
)

// bounded returns p with bounds on the tables that it keeps.
func (p Params) bounded() Params {
	if p.SessionWide {
		p.ValuePartitionCapacity = lower(p.ValuePartitionCapacity, KeptValues)
		p.ValueMaxLength = lower(p.ValueMaxLength, KeptValueLength)
	}
	return p
}

func lower(asked, ceiling int) int {
	if ceiling <= 0 || asked > 0 && asked <= ceiling {
		return asked
	}
	return ceiling
}

// above reports whether granted takes a number beyond what was asked for, which
// a server must not do.
func (p Params) above(granted Params) bool {
	up := func(asked, got int) bool { return asked > 0 && (got == 0 || got > asked) }
	return up(p.BlockSize, granted.BlockSize) ||
		up(p.ValueMaxLength, granted.ValueMaxLength) ||
		up(p.ValuePartitionCapacity, granted.ValuePartitionCapacity)
}

// options are the options of the bodies on the wire.
func (p Params) options(s *exi.Schema, lim exi.Limits) exi.Options {
	o := exi.DefaultOptions()
	o.Alignment = p.Alignment
	if p.Compression {
		o.Alignment = exi.Compression
	}
	o.Strict, o.Preserve, o.SelfContained = p.Strict, p.Preserve, p.SelfContained
	if p.BlockSize > 0 {
		o.BlockSize = p.BlockSize
	}
	if p.ValueMaxLength > 0 {
		o.ValueMaxLength = p.ValueMaxLength
	}
	if p.ValuePartitionCapacity > 0 {
		o.ValuePartitionCapacity = p.ValuePartitionCapacity
	}
	if p.Profile {
		o.Profile = &exi.Profile{} // no local value partitions, and nothing is learned
	}
	o.Schema = s
	o.KeepFloatDigits = true // 21.50 stays 21.50 on every XMPP stream
	o.KeepListSpace = true   // and a text what it was, see words
	o.Limits = lim
	return o
}
