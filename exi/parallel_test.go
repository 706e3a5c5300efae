package exi_test

import (
	"bytes"
	"sync"
	"testing"

	"postern/exi"
	"postern/exi/exitest"
)

// A Schema is shared by any number of encoders and decoders at a time.
func TestSchemaIsShared(t *testing.T) {
	o := fuzzOptions(7)
	d := fuzzDoc(bytes.Repeat([]byte{0x10, 1, 0x42, 0, 0x70, 0, 0x2b, 7, 0x13, 0}, 12), &o)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			o := fuzzOptions(uint8(7 + i%3))
			o.Strict = false
			for range 20 {
				stream, err := exitest.Encode(d, o)
				if err != nil {
					t.Error(err)
					return
				}
				var back *exi.Doc
				if back, err = exitest.Decode(stream, o); err == nil {
					err = exitest.Diff(back, d, &exi.Options{Schema: o.Schema})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
