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
	// elements, then projected from one in sixty-four.
	XMLIn, XMLOut int64
}

// meter counts one direction. One goroutine counts; any may read.
type meter struct {
	octets, n   atomic.Int64 // of all elements
	first       atomic.Int64 // XML octets of the elements at the start
	later, some atomic.Int64 // XML octets of those measured behind them, and their number
	scratch     []byte
}

const (
	meterAll   = 16 // elements at the start, all of which are measured
	meterEvery = 64 // then one of so many
	// meterLarge bounds the buffer that is kept.
	meterLarge = 16 << 10
)

// add counts an element that took so many octets.
func (m *meter) add(octets int, d *exi.Doc) {
	m.octets.Add(int64(octets))
	n := m.n.Add(1)
	if n > meterAll && n%meterEvery != 0 {
		return
	}
	text, err := xmltext.AppendElement(m.scratch[:0], d, xmltext.Scope{Default: xmpp.NSClient, Prefix: "stream", PrefixNS: xmpp.NSStream})
	if err != nil {
		text = text[:0]
	}
	if n <= meterAll {
		m.first.Add(int64(len(text)))
	} else {
		m.later.Add(int64(len(text)))
		m.some.Add(1)
	}
	if m.scratch = text; n >= meterAll || cap(text) > meterLarge {
		m.scratch = nil // an idle stream keeps no buffer
	}
}

func (m *meter) read() (octets, xml int64) {
	n, first := m.n.Load(), m.first.Load()
	if n <= meterAll {
		return m.octets.Load(), first
	}
	mean := float64(first) / meterAll
	if some := m.some.Load(); some > 0 {
		mean = float64(m.later.Load()) / float64(some)
	}
	return m.octets.Load(), first + int64(mean*float64(n-meterAll))
}

// Traffic returns the counters. Any goroutine may call it.
func (c *Codec) Traffic() (t Traffic) {
	t.In, t.XMLIn = c.in.read()
	t.Out, t.XMLOut = c.sent.read()
	return t
}
