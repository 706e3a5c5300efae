package bench

import (
	"bytes"
	"fmt"
	"strings"
)

// Template holds what a bare responder sends: the payloads of the messages of
// one read-out, with the mark @SEQ@ for the seqnr.
type Template []string

// seqMark stands for the seqnr in a Template.
const seqMark = "@SEQ@"

// Bare answers read requests until the stream ends: accepted, the messages of
// the template, all in one write. With counted it does so on a session of the
// gateway's kind, which loses nothing when the link breaks (XEP-0198): it
// counts stanzas, answers the server's requests for the count at once, and
// asks for the server's now and then.
func Bare(l Login, t Template, counted bool) error {
	s, err := dial(l)
	if err != nil {
		return err
	}
	defer s.c.Close()
	b := bare{stream: s, tpl: t, counted: counted}
	if counted {
		if err := s.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"); err != nil {
			return err
		}
	}
	for {
		el, err := s.next()
		if err != nil {
			return err
		}
		if err := b.handle(el); err != nil {
			return err
		}
	}
}

type bare struct {
	*stream
	tpl     Template
	counted bool
	in, out int
	asked   int // out when the server was asked last
	buf     []byte
}

// askEvery is how many stanzas go out between two requests for the count.
const askEvery = 32

func (b *bare) handle(el []byte) error {
	switch {
	case bytes.HasPrefix(el, []byte("<enabled")):
		b.in = 0
		return nil
	case bytes.HasPrefix(el, []byte("<r ")):
		return b.write(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", b.in))
	case bytes.HasPrefix(el, []byte("<a ")):
		return nil
	}
	b.in++
	if !bytes.HasPrefix(el, []byte("<iq")) || !bytes.Contains(el, []byte("urn:xmpp:iot:sensordata")) {
		return nil
	}
	req := el[bytes.Index(el, []byte("<req")):]
	seq, from := attribute(req, "seqnr"), attribute(el, "from")
	out := fmt.Appendf(b.buf[:0], "<iq type='result' id='%s' to='%s'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='%s'/></iq>", attribute(el, "id"), from, seq)
	b.out++
	for _, payload := range b.tpl {
		b.out++
		out = fmt.Appendf(out, "<message id='b%d' to='%s'>%s</message>", b.out, from, strings.Replace(payload, seqMark, seq, 1))
	}
	if b.counted && b.out-b.asked >= askEvery {
		b.asked = b.out
		out = append(out, "<r xmlns='urn:xmpp:sm:3'/>"...)
	}
	b.buf = out
	_, err := b.c.Write(out)
	return err
}
