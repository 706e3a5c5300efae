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
// the template, all in one write.
func Bare(l Login, t Template) error {
	s, err := dial(l)
	if err != nil {
		return err
	}
	defer s.c.Close()
	var out []byte
	for id := 0; ; {
		el, err := s.next()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(el, []byte("<iq")) || !bytes.Contains(el, []byte("urn:xmpp:iot:sensordata")) {
			continue
		}
		req := el[bytes.Index(el, []byte("<req")):]
		seq, from := attribute(req, "seqnr"), attribute(el, "from")
		out = fmt.Appendf(out[:0], "<iq type='result' id='%s' to='%s'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='%s'/></iq>", attribute(el, "id"), from, seq)
		for _, payload := range t {
			id++
			out = fmt.Appendf(out, "<message id='b%d' to='%s'>%s</message>", id, from, strings.Replace(payload, seqMark, seq, 1))
		}
		if _, err := s.c.Write(out); err != nil {
			return err
		}
	}
}
