package compress

import (
	"context"
	"errors"
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

// downloadTime bounds the download of a schema; the rows allow 60 s (decision
// D23), of which the step of a login must leave some.
const downloadTime = 20 * time.Second

// download fetches a schema for the client (0322-R23).
func (n *Negotiation) download(c exi.Cursor) xmpp.Payload {
	v, _ := c.Attr(attrURL)
	url := v.String()
	n.uploads++
	var err error
	switch {
	case n.s.Downloads == nil:
		err = &FetchError{Kind: BadURL, Message: "This server downloads no schemas. Upload the schema instead."}
	case n.uploads > n.s.mostUploads():
		err = errors.New("too many schemas on one stream")
	default:
		err = n.fetch(url)
	}
	if err != nil {
		n.s.log().Info("a schema was not downloaded", "url", url, "err", err)
	}
	return downloaded(url, err)
}

func (n *Negotiation) fetch(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), downloadTime)
	defer cancel()
	text, err := n.s.Downloads.Fetch(ctx, url)
	if err != nil {
		return err
	}
	if _, err := n.s.Library.Upload(text); err != nil {
		return &FetchError{Kind: NotASchema, Type: "application/octet-stream", Message: err.Error()}
	}
	return nil
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
