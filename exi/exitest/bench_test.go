package exitest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/exi/xsd"
)

// benchInput is a row of the benchmark table.
type benchInput struct {
	file, schema string
	strict, comp bool
}

func (b benchInput) name() string {
	s := b.file + "/"
	switch {
	case b.schema == "":
		s += "none"
	case b.strict:
		s += "strict"
	default:
		s += "schema"
	}
	if b.comp {
		s += "+comp"
	}
	return s
}

var benchInputs = []benchInput{
	{"message-chat", "", false, false},
	{"message-chat", "jabber-client.xsd", false, false},
	{"iot-fields-min", "", false, false},
	{"iot-fields-min", "jabber-client.xsd", false, false},
	{"iot-fields-2k", "", false, false},
	{"iot-fields-2k", "jabber-client.xsd", false, false},
	{"iot-fields-100k", "", false, false},
	{"iot-fields-100k", "jabber-client.xsd", false, false},
	{"iot-fields-100k", "jabber-client.xsd", false, true},
	{"catalog-1m", "", false, false},
	{"catalog-1m", "catalog.xsd", false, false},
	{"catalog-1m", "catalog.xsd", true, false},
}

// cpuTime is what the process has used so far. On a shared machine it says more
// than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perCPU reports MB of XML text per second of processor time since start.
func perCPU(b *testing.B, octets int, start time.Duration) {
	if used := cpuTime() - start; used > 0 {
		b.ReportMetric(float64(octets)*float64(b.N)/1e6/used.Seconds(), "cpuMB/s")
	}
}

func (b benchInput) load(tb testing.TB) (xml []byte, d *exi.Doc, o exi.Options) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		tb.Skip("POSTERN_VECTORS is not set")
	}
	dir := filepath.Join(root, "bench")
	xml, err := os.ReadFile(filepath.Join(dir, b.file+".xml"))
	if err != nil {
		tb.Skip(err)
	}
	o = exi.DefaultOptions()
	o.StripSpace = true
	o.Strict = b.strict
	if b.comp {
		o.Alignment = exi.Compression
	}
	if b.schema != "" {
		if o.Schema, err = xsd.Compile(xsd.FS(os.DirFS(filepath.Join(dir, "xsd"))), b.schema); err != nil {
			tb.Fatal(err)
		}
	}
	if d, err = plainDoc(xml); err != nil {
		tb.Fatal(err)
	}
	return xml, d, o
}

// plainDoc reads XML as XMPP does: without prefixes.
func plainDoc(xml []byte) (*exi.Doc, error) {
	d := new(exi.Doc)
	r := xmltext.NewReader(bytes.NewReader(xml), xmltext.Options{})
	var ev exi.Event
	for {
		if err := r.Next(&ev); err == io.EOF {
			return d, nil
		} else if err != nil {
			return nil, err
		}
		ev.Value = ev.Value.Clone()
		if err := d.Add(ev); err != nil {
			return nil, err
		}
	}
}

func BenchmarkEventsToEXI(b *testing.B) {
	for _, in := range benchInputs {
		b.Run(in.name(), func(b *testing.B) {
			xml, d, o := in.load(b)
			x, err := exi.NewEncoder(o)
			if err != nil {
				b.Fatal(err)
			}
			buf, err := x.Append(nil, d)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(xml)))
			b.ReportMetric(float64(len(buf)), "octets")
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if buf, err = x.Append(buf[:0], d); err != nil {
					b.Fatal(err)
				}
			}
			perCPU(b, len(xml), start)
		})
	}
}

func BenchmarkEXIToEvents(b *testing.B) {
	for _, in := range benchInputs {
		b.Run(in.name(), func(b *testing.B) {
			xml, d, o := in.load(b)
			stream, err := mustEncoder(b, o).Append(nil, d)
			if err != nil {
				b.Fatal(err)
			}
			x, err := exi.NewDecoder(o)
			if err != nil {
				b.Fatal(err)
			}
			var doc exi.Doc
			b.SetBytes(int64(len(xml)))
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if _, err := x.DecodeBytes(stream, &doc); err != nil {
					b.Fatal(err)
				}
			}
			perCPU(b, len(xml), start)
		})
	}
}

func mustEncoder(tb testing.TB, o exi.Options) *exi.Encoder {
	x, err := exi.NewEncoder(o)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func BenchmarkXMLToEXI(b *testing.B) {
	for _, in := range benchInputs {
		b.Run(in.name(), func(b *testing.B) {
			xml, _, o := in.load(b)
			x := mustEncoder(b, o)
			r := newXMLSource(xml)
			var d exi.Doc
			var buf []byte
			b.SetBytes(int64(len(xml)))
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				err := r.read(&d)
				if err == nil {
					buf, err = x.Append(buf[:0], &d)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			perCPU(b, len(xml), start)
		})
	}
}

func BenchmarkEXIToXML(b *testing.B) {
	for _, in := range benchInputs {
		b.Run(in.name(), func(b *testing.B) {
			xml, d, o := in.load(b)
			stream, err := mustEncoder(b, o).Append(nil, d)
			if err != nil {
				b.Fatal(err)
			}
			x, err := exi.NewDecoder(o)
			if err != nil {
				b.Fatal(err)
			}
			var doc exi.Doc
			var buf []byte
			b.SetBytes(int64(len(xml)))
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				_, err := x.DecodeBytes(stream, &doc)
				if err == nil {
					buf, err = xmltext.AppendElement(buf[:0], &doc, xmltext.Scope{})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			perCPU(b, len(xml), start)
		})
	}
}

// sessionDocs reads the session of 200 stanzas.
func sessionDocs(tb testing.TB) (docs []*exi.Doc, octets int) {
	root := os.Getenv("POSTERN_VECTORS")
	if root == "" {
		tb.Skip("POSTERN_VECTORS is not set")
	}
	f, err := os.Open(filepath.Join(root, "bench", "session-200.xmll"))
	if err != nil {
		tb.Skip(err)
	}
	defer func() { _ = f.Close() }()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		d, err := plainDoc(sc.Bytes())
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, d)
		octets += len(sc.Bytes())
	}
	return docs, octets
}

// BenchmarkSession codes a session stanza by stanza, with fresh tables or kept
// ones.
func BenchmarkSession(b *testing.B) {
	for _, schema := range []string{"", "jabber-client.xsd"} {
		for _, keep := range []bool{false, true} {
			_, _, o := benchInput{file: "message-chat", schema: schema}.load(b)
			docs, octets := sessionDocs(b)
			b.Run(fmt.Sprintf("encode/schema=%v/keep=%v", schema != "", keep), func(b *testing.B) {
				x := mustEncoder(b, o)
				x.Keep(keep)
				var buf []byte
				total := 0
				b.SetBytes(int64(octets))
				b.ReportAllocs()
				for b.Loop() {
					x.Reset()
					total = 0
					for _, d := range docs {
						var err error
						if buf, err = x.Append(buf[:0], d); err != nil {
							b.Fatal(err)
						}
						total += len(buf)
					}
				}
				b.ReportMetric(float64(total), "octets")
			})
			b.Run(fmt.Sprintf("decode/schema=%v/keep=%v", schema != "", keep), func(b *testing.B) {
				x := mustEncoder(b, o)
				x.Keep(keep)
				var stream []byte
				for _, d := range docs {
					var err error
					if stream, err = x.Append(stream, d); err != nil {
						b.Fatal(err)
					}
				}
				dec, err := exi.NewDecoder(o)
				if err != nil {
					b.Fatal(err)
				}
				dec.Keep(keep)
				var doc exi.Doc
				b.SetBytes(int64(octets))
				b.ReportAllocs()
				for b.Loop() {
					dec.Reset()
					rest := stream
					for range docs {
						if rest, err = dec.DecodeBytes(rest, &doc); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
