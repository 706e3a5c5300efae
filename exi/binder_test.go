package exi

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// manyTypes is a schema whose element "root" may hold any of n elements, each
// of a type of its own with an attribute and again any of them.
func manyTypes(n int) *Schema {
	g := &grammarBuilder{}
	s := &Schema{Elements: map[Name]*ElementDecl{}, Attributes: map[Name]*Datatype{}}
	number := &Datatype{Codec: CodecInteger}
	var decls []*ElementDecl
	locals := []string{}
	for i := range n {
		locals = append(locals, fmt.Sprintf("e%02d", i))
		decls = append(decls, &ElementDecl{Name: N("urn:many", locals[i]), Type: &Type{}})
		s.Elements[decls[i].Name] = decls[i]
	}
	s.DocumentElements = decls
	for _, e := range decls {
		content := g.state()
		for _, inner := range decls {
			content.Prods = append(content.Prods, Prod{Kind: SE, Name: inner.Name, Elem: inner, Next: content})
		}
		content.Prods = append(content.Prods, Prod{Kind: EE})
		start := g.state(append([]Prod{{Kind: AT, Name: N("", "n"), Datatype: number, Next: content}}, content.Prods...)...)
		start.StartTag, start.FirstStartTag, start.ContentStart = true, true, content
		empty := g.state(Prod{Kind: EE})
		empty.StartTag, empty.FirstStartTag, empty.ContentStart = true, true, g.state(Prod{Kind: EE})
		e.Type.Start, e.Type.Empty = start, empty
	}
	s.URIs = []URIPartition{
		{URI: "", Prefixes: []string{""}, Locals: []string{"n"}},
		{URI: NSXML, Prefixes: []string{"xml"}, Locals: []string{"base", "id", "lang", "space"}},
		{URI: NSXSI, Prefixes: []string{"xsi"}, Locals: []string{"nil", "type"}},
		{URI: NSXSD}, {URI: "urn:many", Locals: locals},
	}
	return s
}

func nested(from, n, depth int) *Doc {
	d := new(Doc)
	for i := range depth {
		d.Start(N("urn:many", fmt.Sprintf("e%02d", (from+i)%n)))
		d.Attr(N("", "n"), IntValue(int64(i)))
	}
	for range depth {
		d.End()
	}
	return d
}

// Grammars of types are made when the first element of each is met, and not
// before.
func TestGrammarsAreMadeOnDemand(t *testing.T) {
	const n = 40
	for _, strict := range []bool{false, true} {
		o := DefaultOptions()
		o.Schema, o.Strict = manyTypes(n), strict
		enc := must(NewEncoder(o))(t)
		pending := func() int { return countPending(enc.e.b.binder) }
		all := pending()
		if all < n {
			t.Fatalf("strict %v: %d grammars are pending, want all %d", strict, all, n)
		}
		must(enc.Append(nil, nested(0, n, 3)))(t)
		if got := all - pending(); got < 3 || got > 2*3 {
			t.Errorf("strict %v: three elements had %d grammars made", strict, got)
		}
	}
}

// Any number of streams may meet the same elements for the first time together.
func TestGrammarsAreMadeOnceForAll(t *testing.T) {
	const n = 40
	for _, strict := range []bool{false, true} {
		o := DefaultOptions()
		o.Schema, o.Strict = manyTypes(n), strict
		want := must(must(NewEncoder(o))(t).Append(nil, nested(0, n, n)))(t)
		o.Schema = manyTypes(n)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				enc, err := NewEncoder(o)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range n {
					if _, err := enc.Append(nil, nested((i*5+k)%n, n, 4)); err != nil {
						t.Error(err)
					}
				}
				got, err := enc.Append(nil, nested(0, n, n))
				if err != nil || string(got) != string(want) {
					t.Errorf("strict %v: another stream than with grammars made one by one: %v", strict, err)
				}
				dec, err := NewDecoder(o)
				if err != nil {
					t.Error(err)
					return
				}
				var back Doc
				if _, err := dec.DecodeBytes(got, &back); err != nil || back.Len() != nested(0, n, n).Len() {
					t.Errorf("strict %v: %d events came back: %v", strict, back.Len(), err)
				}
			})
		}
		wg.Wait()
	}
}

func countPending(w *binder) (n int) {
	for _, st := range w.states {
		n += int(st.pending)
	}
	for _, st := range w.variants {
		n += int(st.pending)
	}
	return n
}

// However often a peer comes to the elements of a schema, each grammar is made
// once.
func TestGrammarsAreBounded(t *testing.T) {
	const n = 30
	for _, strict := range []bool{false, true} {
		o := DefaultOptions()
		o.Schema, o.Strict = manyTypes(n), strict
		made := 0
		for i := range 5 {
			enc := must(NewEncoder(o))(t)
			w := enc.e.b.binder
			must(enc.Append(nil, nested(i, n, 2*n)))(t)
			if left := countPending(w); left != 0 {
				t.Fatalf("strict %v: %d grammars are still pending", strict, left)
			}
			if all := len(w.states) + len(w.copies) + len(w.variants); i > 0 && all != made {
				t.Fatalf("strict %v: %d states have become %d", strict, made, all)
			} else {
				made = all
			}
			if len(w.queue)+len(w.later)+len(w.due)+len(w.longer) > 0 {
				t.Fatalf("strict %v: the work is done and still held", strict)
			}
		}
	}
}

// A Schema lives longer than the streams that use it, and holds nothing of them.
func TestSchemaHoldsNoOptions(t *testing.T) {
	s := manyTypes(3)
	gone := make(chan struct{})
	func() {
		held := new([64]int)
		runtime.AddCleanup(held, func(c chan struct{}) { close(c) }, gone)
		o := DefaultOptions()
		o.Schema = s
		o.Schemas = func(string) (*Schema, error) { held[0]++; return nil, nil }
		must(must(NewEncoder(o))(t).Append(nil, nested(0, 3, 2)))(t)
	}()
	for range 10 {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(time.Second):
		}
	}
	runtime.KeepAlive(s)
	t.Error("the schema holds the options of a stream that is over")
}

// Streams that bind the same schema at the same time take one place of it.
func TestBindingTogetherCountsOnce(t *testing.T) {
	s := manyTypes(3)
	var wg sync.WaitGroup
	for range 4 * maxBound {
		wg.Go(func() {
			o := DefaultOptions()
			o.Schema = s
			if _, err := NewEncoder(o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.cached.Load(); n != 1 {
		t.Errorf("%d places are taken", n)
	}
}
