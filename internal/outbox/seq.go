package outbox

import (
	"time"

	"postern/exi"
	"postern/xmpp"
)

// NS is the namespace of the numbers and gap records.
const NS = "urn:postern:seq:1"

var (
	nameSeq = exi.N(NS, "seq")
	nameGap = exi.N(NS, "gap")

	attrN     = exi.N("", "n")
	attrBoot  = exi.N("", "boot")
	attrWhy   = exi.N("", "why")
	attrFrom  = exi.N("", "from")
	attrTo    = exi.N("", "to")
	attrCount = exi.N("", "count")
	attrClass = exi.N("", "class")
)

// Seq numbers a message. N rises by one for each message to a subscriber and
// begins at 1 with each run of the gateway, which Boot names.
type Seq struct {
	Boot string
	N    uint64
}

// AppendEvents writes the seq element.
func (s Seq) AppendEvents(d *exi.Doc) {
	d.Start(nameSeq)
	d.Attr(attrN, exi.IntValue(int64(s.N)))
	d.Attr(attrBoot, exi.Str(s.Boot))
	d.End()
}

// ParseSeq reads the number of a received message; ok is false where there is
// none that makes sense.
func ParseSeq(st *xmpp.Stanza) (s Seq, ok bool) {
	c := st.Elem.Child(nameSeq)
	n, _ := c.Attr(attrN)
	boot, _ := c.Attr(attrBoot)
	i, ok := n.Int()
	s = Seq{Boot: boot.String(), N: uint64(i)}
	return s, ok && i > 0 && s.Boot != "" && len(s.Boot) <= 64
}

// Why something is missing.
const (
	WhyFull    = "full"    // the outbox's bounds; N and Count say which messages
	WhyExpired = "expired" // the history no longer has it
	WhyNotKept = "unkept"  // the history does not keep it
	WhyRestart = "restart" // the gateway ended without a last commit: something may be missing
)

// Gap says that something never comes: messages that were dropped, or readings
// between two instants.
type Gap struct {
	Why      string
	Class    Class
	From, To time.Time // of what is missing; zero where that is not known
	Count    uint64    // messages; 0 where that is not known
	// First and Last are the numbers of dropped messages; others between them
	// may have been delivered. Zero: none had a number.
	First, Last Seq
}

// AppendEvents writes the gap element.
func (g Gap) AppendEvents(d *exi.Doc) {
	d.Start(nameGap)
	d.Attr(attrWhy, exi.Str(g.Why))
	d.Attr(attrClass, exi.Str(g.Class.String()))
	for _, t := range [...]struct {
		name exi.Name
		at   time.Time
	}{{attrFrom, g.From}, {attrTo, g.To}} {
		if !t.at.IsZero() {
			d.Attr(t.name, exi.TimeValue(t.at.UTC(), 3))
		}
	}
	if g.Count > 0 {
		d.Attr(attrCount, exi.IntValue(int64(g.Count)))
	}
	for _, s := range [...]Seq{g.First, g.Last} {
		if s.N > 0 {
			s.AppendEvents(d)
		}
	}
	d.End()
}

// ParseGap reads the gap record of a received message; ok is false where there
// is none.
func ParseGap(st *xmpp.Stanza) (g Gap, ok bool) {
	c := st.Elem.Child(nameGap)
	if !c.Valid() {
		return g, false
	}
	text := func(name exi.Name) string {
		v, _ := c.Attr(name)
		return v.String()
	}
	g.Why, g.Class = text(attrWhy), classNamed(text(attrClass))
	if v, ok := c.Attr(attrFrom); ok {
		g.From, _, _ = v.Time(time.UTC)
	}
	if v, ok := c.Attr(attrTo); ok {
		g.To, _, _ = v.Time(time.UTC)
	}
	if v, ok := c.Attr(attrCount); ok {
		if n, ok := v.Int(); ok && n > 0 {
			g.Count = uint64(n)
		}
	}
	seqs := []*Seq{&g.First, &g.Last}
	for k := range c.Children() {
		if k.Name() != nameSeq || len(seqs) == 0 {
			continue
		}
		n, _ := k.Attr(attrN)
		boot, _ := k.Attr(attrBoot)
		if i, ok := n.Int(); ok && i > 0 {
			*seqs[0] = Seq{boot.String(), uint64(i)}
		}
		seqs = seqs[1:]
	}
	return g, true
}
