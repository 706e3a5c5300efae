package terminator

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/peertest"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

var nameDownloaded = exi.N(compress.NSEXI, "downloadSchemaResponse")

// aside keeps the answers to downloads from the session, which knows none.
type aside struct {
	tcp.Transport
	got chan string
}

type asideConn struct {
	*tcp.Conn
	got chan string
}

func (a *aside) Dial(ctx context.Context, t xmpp.Target, c *tls.Config) (xmpp.Conn, error) {
	conn, err := a.Transport.Dial(ctx, t, c)
	if err != nil {
		return nil, err
	}
	return asideConn{conn.(*tcp.Conn), a.got}, nil
}

func (c asideConn) ReadElement(d *exi.Doc) error {
	for {
		if err := c.Conn.ReadElement(d); err != nil || d.Root().Name() != nameDownloaded {
			return err
		}
		url, _ := d.Root().Attr(exi.N("", "url"))
		c.got <- url.String() + " " + d.Root().First().Name().Value().Local
	}
}

// stuck fetches until it is let go.
type stuck struct{ let chan struct{} }

func (s stuck) Fetch(ctx context.Context, _ string) ([]byte, error) {
	select {
	case <-s.let:
		return nil, &compress.FetchError{Kind: compress.BadStatus, Status: 404, Message: "Not Found"}
	case <-ctx.Done():
		return nil, errors.New("broken off")
	}
}

// A client that has asked for a download logs in, and stanzas go both ways,
// while the download goes on; its answer comes among the stanzas.
func Test0322R23R24_StanzasPassADownload(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	fetcher := stuck{make(chan struct{})}
	f := startFront(t, s, "", func(c *Config) { c.EXI.Downloads = fetcher })
	plain := login(t, s, "reader", s.Addr, nil)
	transport := &aside{got: make(chan string, 4)}
	const url = "https://example.org/a.xsd"
	gw := run(t, &party{}, xmpp.Config{
		JID:       jid.MustParse(s.JID("gateway")),
		Password:  func(context.Context) (string, error) { return s.Password("gateway"), nil },
		CAs:       s.CA.Pool(),
		Transport: transport, Addr: f.addr, Handler: versionMux("gateway"), NoRetry: true,
		Compress: func(_ context.Context, conn xmpp.Conn, _ exi.Cursor) (bool, error) {
			var d exi.Doc
			d.Start(exi.N(compress.NSEXI, "downloadSchema"))
			d.Attr(exi.N("", "url"), exi.Str(url))
			d.End()
			return false, conn.WriteElements(&d)
		},
	})
	for range 5 {
		gw.asks(t, plain, "reader")
		plain.asks(t, gw, "gateway")
	}
	select {
	case got := <-transport.got:
		t.Errorf("answered with %q while the download goes on", got)
	default:
	}
	close(fetcher.let)
	select {
	case got := <-transport.got:
		if got != url+" httpError" {
			t.Errorf("the answer is %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the download was not answered")
	}
	gw.asks(t, plain, "reader")
}

// A download does not outlive its stream.
func TestTheEndOfAStreamEndsItsDownloads(t *testing.T) {
	s := peertest.ProsodyWith(t, peertest.Options{PlainAllowed: true})
	fetcher := stuck{make(chan struct{})}
	f := startFront(t, s, "", func(c *Config) { c.EXI.Downloads = fetcher })
	run(t, &party{}, xmpp.Config{
		JID:       jid.MustParse(s.JID("gateway")),
		Password:  func(context.Context) (string, error) { return s.Password("gateway"), nil },
		CAs:       s.CA.Pool(),
		Transport: &aside{got: make(chan string, 4)}, Addr: f.addr, NoRetry: true,
		Compress: func(_ context.Context, conn xmpp.Conn, _ exi.Cursor) (bool, error) {
			var d exi.Doc
			d.Start(exi.N(compress.NSEXI, "downloadSchema"))
			d.Attr(exi.N("", "url"), exi.Str("https://example.org/a.xsd"))
			d.End()
			return false, conn.WriteElements(&d)
		},
	})
	began := time.Now()
	f.stop() // waits for the link, which waits for its download
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("the terminator took %v to stop", d)
	}
	if n := f.Stats().Clients; n != 0 {
		t.Errorf("%d clients are left", n)
	}
}
