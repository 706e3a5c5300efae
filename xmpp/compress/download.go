package compress

import (
	"context"
	"errors"
	"sync"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// Fetcher gets schemas from the web for clients. It decides where from.
type Fetcher interface {
	// Fetch returns the document at url. A *FetchError says what went wrong;
	// every other error is told as it is.
	Fetch(ctx context.Context, url string) ([]byte, error)
}

// FetchError is why a schema could not be fetched (0322-R24).
type FetchError struct {
	Kind    FetchKind
	Status  int    // HTTP status, of BadStatus
	Type    string // content type, of NotASchema
	Message string
}

// Error implements error.
func (e *FetchError) Error() string { return "compress: fetching a schema: " + e.Message }

// FetchKind is a kind of failure.
type FetchKind uint8

// The kinds of failures.
const (
	OtherFailure FetchKind = iota
	BadStatus
	BadURL
	NoAnswer
	NotASchema
)

// downloadTime bounds the downloads of a stream from the first that is asked
// for to the last that waits behind it; the rows allow 60 s (decision D23), of
// which the step of a login must leave some.
const downloadTime = 20 * time.Second

// download fetches a schema for the client (0322-R23). It returns the answer,
// nil where that comes later.
func (n *Negotiation) download(c exi.Cursor) xmpp.Payload {
	v, _ := c.Attr(attrURL)
	url := v.String()
	n.uploads++
	switch {
	case n.s.Downloads == nil:
		return n.answer(url, &FetchError{Kind: BadURL, Message: "This server downloads no schemas. Upload the schema instead."})
	case n.uploads > n.s.mostUploads():
		return n.answer(url, errors.New("too many schemas on one stream"))
	case n.Send == nil:
		ctx, cancel := context.WithTimeout(context.Background(), downloadTime)
		defer cancel()
		return n.answer(url, n.fetch(ctx, url))
	}
	n.loading.add(url, n.load)
	return nil
}

// load downloads and answers.
func (n *Negotiation) load(ctx context.Context, url string) {
	if err := n.Send(n.answer(url, n.fetch(ctx, url))); err != nil {
		n.s.log().Debug("the answer to a download was not sent", "err", err) // the stream's reader sees why
	}
}

func (n *Negotiation) fetch(ctx context.Context, url string) error {
	if ctx.Err() == nil {
		select {
		case n.s.downloading() <- struct{}{}:
			defer func() { <-n.s.slots }()
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return &FetchError{Kind: NoAnswer, Message: "There was no time left for this download. Ask again, or upload the schema."}
	}
	text, err := n.s.Downloads.Fetch(ctx, url)
	if err != nil {
		return err
	}
	if _, err := n.s.Library.Upload(text); err != nil {
		return &FetchError{Kind: NotASchema, Type: "application/octet-stream", Message: err.Error()}
	}
	return nil
}

// downloading holds an element for each download that is going on.
func (s *Server) downloading() chan struct{} {
	s.slotsOnce.Do(func() {
		most := s.MostDownloads
		if most <= 0 {
			most = 8
		}
		s.slots = make(chan struct{}, most)
	})
	return s.slots
}

// downloads does those of one stream, one after the other. What UploadsPerStream
// leaves is all that can wait.
type downloads struct {
	mu     sync.Mutex
	urls   []string
	idle   chan struct{} // closed when nothing is left to do; nil before the first
	cancel context.CancelFunc
	closed bool
}

// add has load called for url, in its turn. The context of load ends with the
// time of all downloads that are waited for.
func (q *downloads) add(url string, load func(ctx context.Context, url string)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.urls = append(q.urls, url); len(q.urls) > 1 {
		return
	}
	idle := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), downloadTime)
	q.idle, q.cancel = idle, cancel
	go func() {
		defer close(idle)
		defer cancel()
		for next, more := url, true; more; next, more = q.done() {
			load(ctx, next)
		}
	}()
}

// done takes the first one off the queue and returns the next.
func (q *downloads) done() (next string, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urls = q.urls[1:]
	if len(q.urls) == 0 {
		return "", false
	}
	return q.urls[0], true
}

func (q *downloads) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.urls) > 0
}

// wait returns when no download is going on.
func (q *downloads) wait() {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// close breaks downloads off and waits until they have ended.
func (q *downloads) close() {
	q.mu.Lock()
	q.closed = true
	if q.cancel != nil {
		q.cancel()
	}
	q.mu.Unlock()
	q.wait()
}

// answer says what became of a download, and logs a failure.
func (n *Negotiation) answer(url string, err error) xmpp.Payload {
	if err != nil {
		n.s.log().Info("a schema was not downloaded", "url", url, "err", err)
	}
	return downloaded(url, err)
}

// downloaded is the answer.
func downloaded(url string, err error) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameDownloaded)
		d.Attr(attrResult, exi.BoolValue(err == nil))
		d.Attr(attrURL, exi.Str(url))
		if err != nil {
			appendFailure(d, err)
		}
		d.End()
	})
}

func appendFailure(d *exi.Doc, err error) {
	var f *FetchError
	if !errors.As(err, &f) {
		f = &FetchError{Message: err.Error()}
	}
	kinds := [...]string{"error", "httpError", "invalidUrl", "timeout", "invalidContentType"}
	d.Start(exi.N(NSEXI, kinds[f.Kind]))
	switch f.Kind {
	case NotASchema:
		d.Attr(exi.N("", "contentTypeReturned"), exi.Str(f.Type))
	case BadStatus:
		d.Attr(exi.N("", "code"), exi.IntValue(int64(f.Status)))
		d.Attr(attrMessage, exi.Str(f.Message))
	default:
		d.Attr(attrMessage, exi.Str(f.Message))
	}
	d.End()
}
