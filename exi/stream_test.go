package exi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// feed writes n records with values that never repeat.
func feed(w Writer, n int) error {
	rec, id := N("urn:rec", "record"), N("", "id")
	events := func(evs ...Event) error {
		for _, e := range evs {
			if err := w.Event(e); err != nil {
				return err
			}
		}
		return nil
	}
	if err := events(Event{Kind: SD}, Event{Kind: SE, Name: N("urn:rec", "records")}); err != nil {
		return err
	}
	for i := range n {
		if err := events(
			Event{Kind: SE, Name: rec},
			Event{Kind: AT, Name: id, Value: IntValue(int64(i))},
			Event{Kind: CH, Value: Str(fmt.Sprintf("the content of record number %d, which is like no other", i))},
			Event{Kind: EE}); err != nil {
			return err
		}
	}
	return events(Event{Kind: EE}, Event{Kind: ED})
}

// A document of any length must stream in constant memory when the tables are
// bounded. This one has about 30 MB.
func TestStreamInConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	const records = 400_000
	for _, align := range []Alignment{BitPacked, Compression} {
		o := DefaultOptions()
		o.Alignment, o.BlockSize = align, 2000
		o.ValuePartitionCapacity = 500
		o.OptionsInHeader = true
		pr, pw := io.Pipe()
		done := make(chan error, 1)
		go func() {
			w, err := NewDocumentWriter(pw, o)
			if err == nil {
				err = feed(w, records)
			}
			done <- errors.Join(err, pw.CloseWithError(err))
		}()
		r, err := NewDocumentReader(pr, DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		var base, now runtime.MemStats
		var most uint64
		var ev Event
		n, texts := 0, 0
		for {
			err := r.Next(&ev)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
			if ev.Kind == CH {
				texts++
			}
			if n == 100_000 {
				runtime.GC()
				runtime.ReadMemStats(&base)
			}
			if n > 100_000 && n%300_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if texts != records {
			t.Errorf("%d texts", texts)
		}
		if most > base.HeapAlloc+8<<20 {
			t.Errorf("alignment %d: memory grew from %d to %d octets", align, base.HeapAlloc, most)
		}
	}
}

func TestStreamMisuse(t *testing.T) {
	for name, evs := range map[string][]Event{
		"attribute first":  {{Kind: AT, Name: nTo}},
		"end first":        {{Kind: EE}},
		"nothing":          {{Kind: ED}},
		"open at the end":  {{Kind: SE, Name: nBody}, {Kind: ED}},
		"attribute late":   {{Kind: SE, Name: nBody}, {Kind: CH, Value: Str("x")}, {Kind: AT, Name: nTo}},
		"unknown event":    {{Kind: SE, Name: nBody}, {Kind: KindNone}},
		"text outside":     {{Kind: CH, Value: Str("x")}, {Kind: SE, Name: nBody}},
		"second root":      {{Kind: SE, Name: nBody}, {Kind: EE}, {Kind: SE, Name: nBody}, {Kind: EE}},
		"event behind end": {{Kind: SE, Name: nBody}, {Kind: EE}, {Kind: ED}, {Kind: SE, Name: nBody}, {Kind: EE}},
	} {
		w, err := NewDocumentWriter(io.Discard, DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range evs {
			if err = w.Event(ev); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if again := w.Event(Event{Kind: SE, Name: nBody}); again == nil {
			t.Errorf("%s: usable after %v", name, err)
		}
	}
}

func TestWriteErrorComesBack(t *testing.T) {
	w, err := NewDocumentWriter(failing{}, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := feed(w, 2000); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestStreamOfPiecesOfText(t *testing.T) {
	var buf bytes.Buffer
	w, err := NewDocumentWriter(&buf, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	scratch := []byte("one ")
	for _, ev := range []Event{
		{Kind: SE, Name: nBody}, {Kind: CH, Value: Str(view(scratch))}, {Kind: CM, Value: Str("pruned")},
	} {
		if err := w.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	copy(scratch, "XXXX") // values are only valid during the call
	for _, ev := range []Event{{Kind: CH, Value: IntValue(2)}, {Kind: EE}, {Kind: ED}} {
		if err := w.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewDocumentReader(&buf, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	var ev Event
	for r.Next(&ev) == nil {
		kinds = append(kinds, ev.Kind)
		if ev.Kind == CH && !ev.Value.Is("one 2") {
			t.Errorf("text %q", ev.Value)
		}
	}
	if want := "[SD SE CH EE ED]"; fmt.Sprint(kinds) != want {
		t.Errorf("events %v, want %s", kinds, want)
	}
}
