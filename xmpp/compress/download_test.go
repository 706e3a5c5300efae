package compress

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// slowFetcher gives a schema for every URL, once it is let or ctx ends.
type slowFetcher struct {
	let chan struct{} // nil: never

	mu        sync.Mutex
	now, most int
}

func (f *slowFetcher) Fetch(ctx context.Context, url string) ([]byte, error) {
	f.mu.Lock()
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	select {
	case <-f.let:
		return schemaAt(url), nil
	case <-ctx.Done():
		return nil, &FetchError{Kind: NoAnswer, Message: "none"}
	}
}

func (f *slowFetcher) atOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func schemaAt(url string) []byte {
	return []byte(strings.ReplaceAll(uploaded, "urn:example:u", url))
}

// answers collects what a Negotiation sends late.
type answers struct {
	mu  sync.Mutex
	got []string // url and what failed
}

func (a *answers) Send(p xmpp.Payload) error {
	var d exi.Doc
	p.AppendEvents(&d)
	url, _ := d.Root().Attr(attrURL)
	what := "ok"
	if k := d.Root().First(); k.Valid() {
		what = k.Name().Value().Local
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, url.String()+" "+what)
	return nil
}

func (a *answers) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

func ask(t *testing.T, n *Negotiation, url string) {
	t.Helper()
	if _, r := handle(t, n, "<downloadSchema xmlns='"+NSEXI+"' url='"+url+"'/>"); r.Reply != nil || !r.Handled {
		t.Errorf("the download of %s was answered at once", url)
	}
}

// A download holds nothing up but what depends on it: the answer to the setup
// that may name it.
func Test0322R23_DownloadsHoldNothingElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowFetcher{let: make(chan struct{})}
		s := newServer(t, func(s *Server) { s.Downloads, s.Uploads = f, true })
		var late answers
		n := s.Accept()
		n.Send = late.Send
		ask(t, n, "urn:example:1")
		ask(t, n, "urn:example:2")
		if _, err := n.Handle(uploadElement(t, UploadText, uploaded).Root()); err != nil {
			t.Fatal(err)
		}
		if !s.Library.Has(refOf("urn:example:u", []byte(uploaded))) {
			t.Error("an upload waits for a download")
		}
		if r, err := n.Handle(parse(t, "<iq id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")); r.Handled || err != nil {
			t.Errorf("an iq: %+v, %v", r, err)
		}
		synctest.Wait()
		if got := late.all(); len(got) != 0 || !n.Loading() || f.atOnce() != 1 {
			t.Errorf("answers %v, %d downloads at once", got, f.atOnce())
		}
		go func() {
			time.Sleep(time.Second)
			f.let <- struct{}{}
			time.Sleep(time.Second)
			f.let <- struct{}{}
		}()
		start := time.Now()
		named := []Ref{refOf("urn:example:1", schemaAt("urn:example:1")), refOf("urn:example:2", schemaAt("urn:example:2"))}
		got, _ := handle(t, n, open+">"+refs(append(s.Library.preinstalled(), named...))+"</setup>")
		if !got.Agreement || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: agreement %v, missing %v", time.Since(start), got.Agreement, got.Missing)
		}
		if got := late.all(); !slices.Equal(got, []string{"urn:example:1 ok", "urn:example:2 ok"}) {
			t.Errorf("answers %v", got)
		}
		if n.Loading() {
			t.Error("still loading")
		}
		n.Close()
	})
}

// All that waits on a stream has the time of one download, and a setup behind it
// no less.
func Test0322R24_DownloadsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(s *Server) { s.Downloads = &slowFetcher{} })
		var late answers
		n := s.Accept()
		n.Send = late.Send
		start := time.Now()
		for i := range 3 {
			ask(t, n, fmt.Sprint("urn:example:", i))
		}
		if got, _ := handle(t, n, open+">"+refs(s.Library.preinstalled())+"</setup>"); !got.Agreement {
			t.Error("no agreement")
		}
		if got := late.all(); len(got) != 3 || !strings.HasSuffix(got[0], " timeout") || !strings.HasSuffix(got[2], " timeout") {
			t.Errorf("answers %v", got)
		}
		if d := time.Since(start); d != downloadTime {
			t.Errorf("it took %v", d)
		}
		// What is asked for later has its own time.
		ask(t, n, "urn:example:later")
		time.Sleep(downloadTime - time.Second)
		if got := late.all(); len(got) != 3 {
			t.Errorf("answers %v", got)
		}
		n.Close()
		if got := late.all(); len(got) != 4 {
			t.Errorf("answers after Close: %v", got)
		}
	})
}

// Streams share the downloads that a server does at a time, and none of them
// does more than one.
func Test0322R23_DownloadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowFetcher{let: make(chan struct{})}
		s := newServer(t, func(s *Server) { s.Downloads, s.MostDownloads, s.UploadsPerStream = f, 3, 4 })
		streams := make([]*Negotiation, 5)
		var late answers
		for i := range streams {
			streams[i] = s.Accept()
			streams[i].Send = late.Send
			for k := range 4 {
				ask(t, streams[i], fmt.Sprintf("urn:example:%d:%d", i, k))
			}
			_, r := handle(t, streams[i], "<downloadSchema xmlns='"+NSEXI+"' url='urn:example:more'/>")
			if r.Reply == nil {
				t.Error("one download too many for a stream was not refused")
			}
		}
		synctest.Wait()
		if f.atOnce() != 3 {
			t.Errorf("%d downloads at once, 3 are allowed", f.atOnce())
		}
		close(f.let)
		for _, n := range streams {
			n.loading.wait()
			n.Close()
		}
		if got := late.all(); len(got) != 20 {
			t.Errorf("%d answers: %v", len(got), got)
		}
	})
}

// compress ends the stream that a download was asked on, so its answer comes
// first (0322-R23).
func Test0322R23_DownloadsAreAnsweredBeforeTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowFetcher{let: make(chan struct{}, 1)}
		s := newServer(t, func(s *Server) { s.Downloads = f })
		var late answers
		n := s.Accept()
		n.Send = late.Send
		handle(t, n, open+">"+refs(s.Library.preinstalled())+"</setup>")
		ask(t, n, "urn:example:1")
		time.AfterFunc(3*time.Second, func() { f.let <- struct{}{} })
		if _, r := handle(t, n, doCompress); r.Codec == nil {
			t.Error("no compression")
		}
		if got := late.all(); !slices.Equal(got, []string{"urn:example:1 ok"}) {
			t.Errorf("answers %v", got)
		}
		n.Close()
	})
}
