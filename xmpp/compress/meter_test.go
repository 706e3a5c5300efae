package compress

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"

	"postern/exi"
)

// What a stream says that it has carried is what went over the wire, in every
// mode.
func TestTrafficIsWhatWentOverTheWire(t *testing.T) {
	lib, err := NewLibrary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := lib.Grammars(lib.preinstalled())
	if err != nil {
		t.Fatal(err)
	}
	all := modes()
	all["deflate, preserved"] = Params{Compression: true, Preserve: exi.Preserve{LexicalValues: true}}
	all["pre-compression"] = Params{Alignment: exi.PreCompression}
	all["deflate, session-wide, small blocks"] = Params{Compression: true, SessionWide: true, BlockSize: 2}
	for name, p := range all {
		from, err := NewCodec(p, s, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		to, err := NewCodec(p, s, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var wire []byte
		const n = 40
		for i := range n {
			if wire, err = from.AppendElement(wire, chat(fmt.Sprint(i), "ninety nine bottles of beer")); err != nil {
				t.Fatal(err)
			}
		}
		r := bufio.NewReader(bytes.NewReader(wire))
		var d exi.Doc
		for range n {
			if err := to.ReadElement(r, &d); err != nil {
				t.Fatal(err)
			}
		}
		out, in := from.Traffic(), to.Traffic()
		if out.Out != int64(len(wire)) || in.In != int64(len(wire)) || in.XMLIn != out.XMLOut || in.XMLIn < in.In {
			t.Errorf("%s: %d octets counted as %+v and %+v", name, len(wire), out, in)
		}
	}
}
