package outbox

import (
	"bufio"
	"bytes"
	"fmt"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
)

// Class orders what waits: the first goes out first.
type Class uint8

// The classes.
const (
	Alarm     Class = iota // a reading got better or worse
	Control                // what became of a command
	Audit                  // who wanted what
	Momentary              // readings as they come
	History                // what was missed
	classes
)

var classNames = [classes]string{"alarm", "control", "audit", "momentary", "history"}

// String returns the class in a word.
func (c Class) String() string {
	if c < classes {
		return classNames[c]
	}
	return "unknown"
}

func classNamed(name string) Class {
	for i, n := range classNames {
		if n == name {
			return Class(i)
		}
	}
	return classes
}

// urgent classes are committed at once.
func (c Class) urgent() bool { return c <= Audit }

// Need is what a subscriber has to be allowed to get a message: to read, or for
// Control and Audit to set, the names of a node. Without names: something of it.
type Need struct {
	Node  node.Ref
	Names []string   `json:",omitempty"`
	Types node.Types `json:",omitempty"`
	// Tokens of the request that the message answers (XEP-0324).
	ServiceToken, DeviceToken, UserToken string `json:",omitempty"`
}

// Message is what a room has for a subscriber.
type Message struct {
	Class   Class
	At      time.Time    // of what it tells
	Need    []Need       // looked at again when it goes out
	Payload xmpp.Payload // the message's content beside its number
}

// entry is a message that is not delivered yet.
type entry struct {
	sub   *subscriber
	class Class
	seq   Seq
	order uint64 // over all subscribers, in the order of their making
	at    int64  // ms since 1970
	need  []Need
	text  []byte // the content as XML, within one element
	ref   []byte // or what the Source makes it of
	gap   *Gap   // or that something never comes

	stored bool      // the store has it
	again  bool      // but it has changed since
	gone   bool      // delivered or dropped
	sent   time.Time // since when it is in flight; zero: it waits
}

// entryOctets is about what an entry takes beside its content.
const entryOctets = 160

func (e *entry) octets() int {
	n := entryOctets + len(e.text) + len(e.ref)
	for i := range e.need {
		n += 48 + 16*len(e.need[i].Names)
	}
	return n
}

// id is the id of the stanza: a receipt names it.
func (e *entry) id() string { return fmt.Sprintf("%s-%d", e.seq.Boot, e.seq.N) }

// stored form of an entry.
type record struct {
	Boot string `json:"b"`
	N    uint64 `json:"n"`
	At   int64  `json:"t"`
	Need []Need `json:"need,omitempty"`
	Text []byte `json:"x,omitempty"`
	Ref  []byte `json:"r,omitempty"`
	Gap  *Gap   `json:"g,omitempty"`
}

var bucket = store.Bucket[record]{Name: "outbox"}

// key of an entry: subscriber, class, order.
func (e *entry) key() string { return fmt.Sprintf("%s%d%016x", subKey(e.sub.id), e.class, e.order) }

func subKey(id uint32) string { return fmt.Sprintf("%08x", id) }

const entryKeyLen = 8 + 1 + 16

func (e *entry) record() record {
	return record{e.seq.Boot, e.seq.N, e.at, e.need, e.text, e.ref, e.gap}
}

// nameContent wraps the elements of a message in the store.
var nameContent = exi.N(NS, "content")

// encode writes a payload as XML text.
func encode(p xmpp.Payload) ([]byte, error) {
	d := new(exi.Doc)
	d.Start(nameContent)
	p.AppendEvents(d)
	d.End()
	return xmltext.AppendElement(nil, d, xmltext.Scope{Default: NS})
}

// content is a stored payload.
type content struct{ doc *exi.Doc }

// AppendEvents copies the elements.
func (c content) AppendEvents(d *exi.Doc) {
	for k := range c.doc.Root().Children() {
		d.AppendElement(k)
	}
}

// decode reads what encode wrote. What is on a disk is not believed: the
// reader's limits hold.
func decode(text []byte) (content, error) {
	head := []byte("<s:stream xmlns='" + NS + "' xmlns:s='http://etherx.jabber.org/streams'>")
	r := bufio.NewReader(bytes.NewReader(append(head, text...)))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	d := new(exi.Doc)
	if err := x.ReadOpen(r, d); err != nil {
		return content{}, err
	}
	d.Reset()
	if err := x.ReadElement(r, d); err != nil {
		return content{}, err
	}
	if d.Root().Name() != nameContent {
		return content{}, fmt.Errorf("%w: no message of the outbox", store.ErrDamaged)
	}
	return content{d}, nil
}
