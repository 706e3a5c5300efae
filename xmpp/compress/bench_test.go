package compress

import (
	"bytes"
	"testing"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/xmpp"
	"postern/xmpp/xmlcodec"
)

// BenchmarkRead is a gateway's share of a read: a request comes in, its answer
// and a message of seven fields go out.
func BenchmarkRead(b *testing.B) { benchmarkRead(b, nil) }

// BenchmarkReadCold is the same where the processor has done other work since
// the read before, as it has on a gateway with one request in flight: the time
// of the codec alone is cold-ns/op.
func BenchmarkReadCold(b *testing.B) { benchmarkRead(b, make([]byte, 12<<20)) }

func benchmarkRead(b *testing.B, others []byte) {
	var req, ack, out exi.Doc
	for text, d := range map[string]*exi.Doc{
		"<iq type='get' from='reader@prosody.example/x81h' to='gateway@prosody.example/postern' id='r123'><req xmlns='urn:xmpp:iot:sensordata' seqnr='123' momentary='true'><node nodeId='station'/></req></iq>": &req,
		"<iq type='result' to='reader@prosody.example/x81h' id='r123'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='123'/></iq>":                                                                              &ack,
	} {
		if !read(text, d) {
			b.Fatal(text)
		}
	}
	reading(3).AppendEvents(&out)
	lib, err := NewLibrary()
	if err != nil {
		b.Fatal(err)
	}
	s, err := lib.Grammars(lib.preinstalled())
	if err != nil {
		b.Fatal(err)
	}
	codecs := map[string]xmpp.Codec{"XML": xmlcodec.New(xmltext.Limits{Octets: 1 << 18})}
	for name, p := range map[string]Params{"EXI": {}, "EXI sessionWide": {SessionWide: true}} {
		c, err := NewCodec(p, s, DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		codecs[name] = c
	}
	for name, c := range codecs {
		b.Run(name, func(b *testing.B) {
			var head bytes.Buffer
			if open, err := c.AppendOpen(nil, header()); err == nil {
				head.Write(open)
			}
			if _, err := c.ReadOpen(reader(head.Bytes())); err != nil {
				b.Fatal(err)
			}
			// The second is the one to read again and again: with kept tables, it
			// finds all its strings in them and leaves them as they are.
			src := bytes.NewReader(nil)
			r := reader(nil)
			var d exi.Doc
			var wire, dst []byte
			for range 2 {
				if wire, err = c.AppendElement(wire[:0], &req); err != nil {
					b.Fatal(err)
				}
				src.Reset(wire)
				r.Reset(src)
				if err := c.ReadElement(r, &d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			var cold, reading, half time.Duration // of the codec alone
			for b.Loop() {
				var start time.Time
				if others != nil {
					for i := 0; i < len(others); i += 64 {
						others[i]++
					}
					start = time.Now()
				}
				src.Reset(wire)
				r.Reset(src)
				if err := c.ReadElement(r, &d); err != nil {
					b.Fatal(err)
				}
				if others != nil {
					half = time.Since(start)
					reading += half
				}
				dst = dst[:0]
				for _, o := range []*exi.Doc{&ack, &out} {
					if dst, err = c.AppendElement(dst, o); err != nil {
						b.Fatal(err)
					}
				}
				if others != nil {
					cold += time.Since(start)
				}
			}
			if others != nil {
				b.ReportMetric(float64(cold.Nanoseconds())/float64(b.N), "cold-ns/op")
				b.ReportMetric(float64(reading.Nanoseconds())/float64(b.N), "read-ns/op")
			}
		})
	}
}
