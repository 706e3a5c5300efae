package compress

import (
	"sync/atomic"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
)

// Traffic is what a stream has carried since it became EXI.
type Traffic struct {
	// In and Out are octets as they were sent, below TLS.
	In, Out int64
	// XMLIn and XMLOut are what they would have been as XML: exact for the first
	// stanzas, then projected from every sixteenth.
	XMLIn, XMLOut int64
}

// meter counts one direction. One goroutine counts; any may read.
type meter struct {
	octets atomic.Int64
	n      int // stanzas
	// of those that were written as XML to see how long that is
	sample, xml atomic.Int64
	scratch     []byte
}

const (
	meterAll   = 16 // stanzas at the start, all of which are measured
	meterEvery = 16 // then one of so many
	// meterLarge is the size from which stanzas are not measured: it would cost
	// a buffer of that size.
	meterLarge = 16 << 10
)

// add counts an element that took so many octets.
func (m *meter) add(octets int, d *exi.Doc) {
	m.octets.Add(int64(octets))
	m.n++
	if m.n > meterAll && m.n%meterEvery != 0 || octets > meterLarge {
		return
	}
	text, err := xmltext.AppendElement(m.scratch[:0], d, xmltext.Scope{Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream})
	if err != nil {
		return
	}
	m.sample.Add(int64(octets))
	m.xml.Add(int64(len(text)))
	if m.scratch = text; m.n >= meterAll || cap(text) > meterLarge {
		m.scratch = nil // an idle stream keeps no buffer
	}
}

func (m *meter) read() (octets, xml int64) {
	octets, sample := m.octets.Load(), m.sample.Load()
	if sample == 0 {
		return octets, 0
	}
	return octets, int64(float64(octets) * float64(m.xml.Load()) / float64(sample))
}

// Traffic returns the counters. Any goroutine may call it.
func (c *Codec) Traffic() (t Traffic) {
	t.In, t.XMLIn = c.in.read()
	t.Out, t.XMLOut = c.sent.read()
	return t
}
