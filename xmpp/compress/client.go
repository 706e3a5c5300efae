package compress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// Client is the initiating role. Negotiate fits xmpp.Config.Compress. A Client
// belongs to one session; its fields are set before use.
type Client struct {
	// Want are the options to propose. Numbers may come back lower.
	Want Params
	// Known remembers the configuration of each server, by Server, so that the
	// next connection needs one exchange. nil: not remembered.
	Known  Configurations
	Server string
	// NoUpload leaves schemas out that the server lacks instead of uploading
	// them.
	NoUpload bool
	// Library has the schemas to propose; nil: our own files.
	Library *Library
	Limits  exi.Limits // of the bodies; zero: DefaultLimits
	Logger  *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	// UploadAs is how schemas are uploaded: UploadText, the default, or in EXI,
	// which is smaller, but serves this account alone.
	UploadAs string
	// URL says where the server may download a schema that it lacks; nil or "":
	// it is uploaded.
	URL func(Ref) string

	mu     sync.Mutex
	port   bool // on a dedicated port
	codec  *Codec
	conf   Configuration
	reason string    // why the present connection is not compressed
	retry  time.Time // a server that broke the negotiation off is left alone until then
	trying bool
}

// pause is how long EXI is not tried after a negotiation that never ended.
const pause = time.Hour

// Status says how a connection is coded.
type Status struct {
	On      bool
	Port    bool // on a dedicated port
	Params  Params
	Schemas []Ref
	Reason  string // why not, when not On
	Traffic
}

// Status returns the status of the last negotiation.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec == nil {
		return Status{Reason: c.reason}
	}
	return Status{On: true, Port: c.port, Params: c.conf.Params, Schemas: c.conf.Schemas, Traffic: c.codec.Traffic()}
}

// Negotiate brings conn to EXI if the server offers it. It returns true when
// the representation was changed and a new stream must be opened. Whatever the
// server refuses leaves the connection as it is, in XML; the error is for a
// broken connection.
func (c *Client) Negotiate(ctx context.Context, conn xmpp.Conn, features exi.Cursor) (bool, error) {
	if p, ok := conn.(*portConn); ok {
		return c.negotiatePort(ctx, p)
	}
	up, ok := conn.(xmpp.Upgrader)
	if reason := c.unwanted(features, ok); reason != "" {
		c.off(reason)
		return false, nil
	}
	if _, err := c.library(); err != nil {
		return false, err
	}
	n := &proposal{c: c, conn: conn}
	conf, err := n.run()
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		c.off(refused.Error())
		return false, nil
	case err != nil:
		return false, fmt.Errorf("compress: negotiating EXI: %w", err)
	}
	codec, err := n.codec(conf)
	if err == nil {
		err = n.activate()
	}
	if errors.As(err, &refused) {
		c.off(refused.Error())
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compress: negotiating EXI: %w", err)
	}
	if err := up.SetCodec(codec); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codec, c.conf, c.reason, c.trying, c.port = codec, conf, "", false, false
	return true, ctx.Err()
}

// unwanted says why not to try, and notes the try otherwise: if it never ends,
// the connection is broken off by the session, and the next one does without.
func (c *Client) unwanted(features exi.Cursor, upgradable bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codec = nil
	now := c.now()
	if c.trying {
		c.trying, c.retry = false, now.Add(pause)
	}
	switch {
	case !upgradable:
		return "the transport carries XML only"
	case !offered(features):
		return "the server does not offer EXI"
	case now.Before(c.retry):
		return "the last negotiation of EXI was broken off; next try at " + c.retry.Format(time.TimeOnly)
	}
	c.trying = true
	return ""
}

func offered(features exi.Cursor) bool {
	for m := range features.Child(nameCompression).Children() {
		if m.Name() == nameMethod && m.Text().Is(Method) {
			return true
		}
	}
	return false
}

// off notes why this connection stays with XML, and says so once.
func (c *Client) off(reason string) {
	c.mu.Lock()
	changed := c.reason != reason
	c.codec, c.reason, c.trying = nil, reason, false
	c.mu.Unlock()
	if changed {
		c.log().Info("the stream stays with XML", "why", reason)
	}
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Client) log() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// refusal is an outcome that leaves the XML stream as it is.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

// proposal is one negotiation.
type proposal struct {
	c    *Client
	conn xmpp.Conn
	base Params // in force; zero on the ordinary port
	doc  exi.Doc
}

func (p *proposal) send(pl xmpp.Payload) error {
	var d exi.Doc
	pl.AppendEvents(&d)
	return p.conn.WriteElements(&d)
}

// ask sends a setup and reads its answer.
func (p *proposal) ask(s *setup) (answer setup, err error) {
	err = p.send(xmpp.PayloadFunc(func(d *exi.Doc) { s.appendOver(d, nameSetup, false, p.base) }))
	if err != nil {
		return answer, err
	}
	if err := p.conn.ReadElement(&p.doc); err != nil {
		return answer, err
	}
	if n := p.doc.Root().Name(); n != nameSetupResponse {
		return answer, xmpp.NewStreamError("bad-format", "setupResponse expected")
	}
	if err := answer.parseOver(p.doc.Root(), p.base); err != nil {
		return answer, &refusal{err.Error()}
	}
	// An answer that lacks schemas is never an agreement (D1).
	answer.Agreement = answer.Agreement && len(answer.Missing) == 0
	return answer, nil
}

func (p *proposal) run() (Configuration, error) {
	if known := p.c.Known; known != nil {
		if conf, ok := known.Configuration(p.c.Server); ok && conf.ID != "" {
			answer, err := p.ask(&setup{ConfigID: conf.ID})
			if err != nil {
				return conf, err
			}
			if answer.Agreement && answer.ConfigID == conf.ID {
				return conf, nil
			}
			known.Forget(p.c.Server)
		}
	}
	return p.full(p.c.Want.bounded(), p.c.Library.preinstalled())
}

// rounds bounds the proposals: as wanted, after an upload, without what is
// still missing, and once more with lowered values.
const rounds = 4

func (p *proposal) full(want Params, refs []Ref) (conf Configuration, err error) {
	ask := setup{Params: want, Schemas: withProse(refs, wordsFit(want))}
	uploaded := p.c.NoUpload
	for range rounds {
		answer, err := p.ask(&ask)
		if err != nil {
			return conf, err
		}
		if answer.Agreement {
			return p.agreed(ask, answer.ConfigID), nil
		}
		if ask.above(answer.Params) || answer.legal() != nil {
			return conf, &refusal{"the server's answer to the EXI proposal contradicts it"}
		}
		before := ask.Params
		ask.Params = answer.Params
		ask.Version, ask.Profile = before.Version, before.Profile
		changed := ask.Params != before || len(answer.Missing) > 0
		missing := slices.DeleteFunc(answer.Missing, isWords)
		if len(missing) < len(answer.Missing) || !wordsFit(ask.Params) {
			ask.Schemas = withProse(ask.Schemas, false)
		}
		if len(missing) > 0 {
			if err := p.supply(&ask, missing, &uploaded); err != nil {
				return conf, err
			}
		}
		if !changed {
			return conf, &refusal{"the server refused the EXI proposal without a counter-proposal"}
		}
	}
	return conf, &refusal{fmt.Sprintf("no agreement on EXI after %d proposals", rounds)}
}

// supply uploads missing schemas, once (0322-R27), or takes them out.
func (p *proposal) supply(ask *setup, missing []Ref, uploaded *bool) error {
	if !*uploaded {
		*uploaded = true
		for _, r := range missing {
			text := p.c.Library.preset[r]
			if text == nil {
				return &refusal{"the server misses a schema nobody named: " + r.NS}
			}
			if err := p.provide(r, text); err != nil {
				return err
			}
		}
		return nil
	}
	ask.Schemas = slices.DeleteFunc(ask.Schemas, func(r Ref) bool { return slices.Contains(missing, r) })
	if len(ask.Schemas) == 0 {
		return &refusal{"the server has none of the schemas and takes no uploads"}
	}
	return nil
}

// provide has the server download a schema, or uploads it.
func (p *proposal) provide(r Ref, text []byte) error {
	if p.c.URL != nil {
		if url := p.c.URL(r); url != "" {
			ok, err := p.haveDownloaded(url)
			if ok || err != nil {
				return err
			}
		}
	}
	up, err := uploadOf(p.c.UploadAs, r, text)
	if err != nil {
		return &refusal{err.Error()}
	}
	return p.send(up)
}

// haveDownloaded asks the server to download a schema. Whether it is the right
// one, the next setup tells (0322-R25).
func (p *proposal) haveDownloaded(url string) (bool, error) {
	err := p.send(xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameDownload)
		d.Attr(attrURL, exi.Str(url))
		d.End()
	}))
	if err != nil {
		return false, err
	}
	if err := p.conn.ReadElement(&p.doc); err != nil {
		return false, err
	}
	root := p.doc.Root()
	got, _ := root.Attr(attrURL)
	if root.Name() != nameDownloaded || !got.Is(url) {
		return false, xmpp.NewStreamError("bad-format", "downloadSchemaResponse expected")
	}
	result, _ := root.Attr(attrResult)
	ok, _ := result.Bool()
	if !ok {
		p.c.log().Info("the server did not download a schema", "url", url, "why", root.First().Name().Value().Local)
	}
	return ok, nil
}

// uploadOf is the upload of a schema: an octet-exact copy as text (0322-R72),
// or EXI with size and hash of the text (0322-R19, R20).
func uploadOf(as string, r Ref, text []byte) (xmpp.Payload, error) {
	data := text
	if as == "" {
		as = UploadText
	}
	if as != UploadText {
		var err error
		if data, err = toEXI(text, as == UploadEXIDocument); err != nil {
			return nil, err
		}
	}
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameUpload)
		if as != UploadText {
			d.Attr(attrBytes, exi.IntValue(r.Bytes))
		}
		d.Attr(attrContentType, exi.Str(as))
		if as != UploadText {
			d.Attr(attrMD5, exi.Str(r.MD5))
		}
		d.Text(exi.BytesValue(exi.Base64, string(data)))
		d.End()
	}), nil
}

func (p *proposal) agreed(ask setup, id string) Configuration {
	conf := Configuration{ID: id, Params: ask.Params, Schemas: ask.Schemas, Used: p.c.now()}
	if p.c.Known != nil && id != "" {
		key := p.c.Server
		if conf.Params.Profile {
			key = p.c.portKey()
		}
		p.c.Known.Remember(key, conf)
	}
	return conf
}

// codec makes the codec of what was agreed. That it cannot be made is no fault
// of the connection.
func (p *proposal) codec(conf Configuration) (*Codec, error) {
	schema, err := p.c.Library.Grammars(conf.Schemas)
	if err != nil {
		return nil, &refusal{err.Error()}
	}
	codec, err := NewCodec(conf.Params, schema, p.c.limits())
	if err != nil {
		return nil, &refusal{err.Error()}
	}
	return codec, nil
}

// activate switches the stream over (XEP-0138 §3).
func (p *proposal) activate() error {
	err := p.send(xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameCompress)
		d.Element(nameCMethod, exi.Str(Method))
		d.End()
	}))
	if err != nil {
		return err
	}
	if err := p.conn.ReadElement(&p.doc); err != nil {
		return err
	}
	switch root := p.doc.Root(); root.Name() {
	case nameCompressed:
		return nil
	case nameFailure:
		return &refusal{"the server refused to compress: " + root.First().Name().Value().Local}
	}
	return xmpp.NewStreamError("bad-format", "compressed expected")
}
