package xmltext

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"postern/exi"
)

// benchInput returns one of the shared benchmark inputs.
func benchInput(tb testing.TB, name string) []byte {
	dir := os.Getenv("POSTERN_VECTORS")
	if dir == "" {
		tb.Skip("POSTERN_VECTORS is not set")
	}
	b, err := os.ReadFile(filepath.Join(dir, "bench", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const reading = "<message from='device@site.example' to='client@site.example/amr'>" +
	"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'><node nodeId='d1'>" +
	"<timestamp value='2013-03-07T16:24:30'><numeric name='Temperature' momentary='true' value='21.50' unit='°C'/>" +
	"<boolean name='Relay' momentary='true' value='true'/><string name='Status' value='it&apos;s fine'/>" +
	"</timestamp></node></fields></message>"

// loop is a Reader that repeats a text for ever.
type loop struct {
	text []byte
	pos  int
}

func (l *loop) Read(p []byte) (int, error) {
	if l.pos == len(l.text) {
		l.pos = 0
	}
	n := copy(p, l.text[l.pos:])
	l.pos += n
	return n, nil
}

func TestNoAllocations(t *testing.T) {
	x := NewStreamReader(Limits{})
	var d exi.Doc
	if err := x.ReadOpen(bufio.NewReader(bytes.NewReader([]byte(streamOpen))), &d); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(&loop{text: []byte(reading)})
	var buf []byte
	once := func() {
		if err := x.ReadElement(br, &d); err != nil {
			t.Fatal(err)
		}
		var err error
		if buf, err = AppendElement(buf[:0], &d, clientScope); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		once()
	}
	if string(buf) != reading {
		t.Errorf("%s", buf)
	}
	if n := testing.AllocsPerRun(200, once); n != 0 {
		t.Errorf("%v allocations per stanza read and written", n)
	}
}

func BenchmarkStream(b *testing.B) {
	for _, name := range []string{"message-chat.xml", "iot-fields-min.xml", "iot-fields-2k.xml", "iot-fields-100k.xml", "session-200.xmll", "catalog-1m.xml"} {
		text := benchInput(b, name)
		if i := bytes.Index(text, []byte("?>")); i > 0 {
			text = text[i+2:] // a declaration cannot stand within a stream
		}
		b.Run("read/"+name, func(b *testing.B) {
			x := NewStreamReader(Limits{Octets: 64 << 20})
			var d exi.Doc
			br := bufio.NewReaderSize(&loop{text: text}, 16<<10)
			n := bytes.Count(text, []byte("\n"))
			if name != "session-200.xmll" {
				n = 1
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for range n {
					if err := x.ReadElement(br, &d); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run("write/"+name, func(b *testing.B) {
			x := NewStreamReader(Limits{Octets: 64 << 20})
			var d exi.Doc
			br := bufio.NewReader(bytes.NewReader(text))
			if err := x.ReadElement(br, &d); err != nil {
				b.Fatal(err)
			}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = AppendElement(buf[:0], &d, Scope{}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
