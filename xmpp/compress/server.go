package compress

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postern/exi"
	"postern/xmpp"
)

// Server is the receiving role for all streams of a server or proxy. Its fields
// are set before use and not changed after it. Safe for concurrent use.
type Server struct {
	Library *Library
	Configs Configurations
	Ceiling Ceiling
	// Uploads permits uploadSchema. Without it uploads are ignored.
	Uploads bool
	// Downloads fetches schemas for clients; nil: none are fetched.
	Downloads Fetcher
	// UploadsPerStream bounds the uploads and downloads of one stream; 0: 16.
	UploadsPerStream int
	// MostDownloads bounds the downloads at a time, of all streams; 0: 8. Others
	// wait for their turn within their time.
	MostDownloads int
	Limits        exi.Limits // of the bodies; zero: DefaultLimits
	Logger        *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	slotsOnce sync.Once
	slots     chan struct{} // one for each download
}

// Offer is the stream feature that advertises EXI (0322-R01). It belongs
// behind TLS and login and before binding (decision D11).
func (s *Server) Offer() xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameCompression)
		d.Element(nameMethod, exi.Str(Method))
		d.End()
	})
}

// Negotiation is the receiving role on one stream.
type Negotiation struct {
	// Account is who has logged in, if that is known: schemas uploaded in EXI
	// serve its later streams too.
	Account string
	// Send sends an answer that is ready when no element of the client's is being
	// handled: the answers to downloads, which then hold nothing up. It is called
	// from a goroutine of the Negotiation's, before Close returns. nil: Handle
	// downloads, and returns the answer. It is set before use.
	Send func(xmpp.Payload) error

	s       *Server
	loading downloads
	port    *PortCodec // nil on the ordinary port
	stream  string     // stands for an account that is not known
	agreed  *Configuration
	setups  int
	uploads int
	done    bool
	base    Params
}

// Accept starts the negotiation of a stream.
func (s *Server) Accept() *Negotiation { return &Negotiation{s: s, stream: newID()} }

// scope is whom schemas uploaded in EXI serve.
func (n *Negotiation) scope() string {
	if n.Account != "" {
		return "account " + n.Account
	}
	return "stream " + n.stream
}

// maxSetups bounds the proposals on one stream.
const maxSetups = 32

// Result is what Handle says is to be done.
type Result struct {
	// Handled: the element belonged to the negotiation.
	Handled bool
	// Reply is what to send, nil for nothing.
	Reply xmpp.Payload
	// Codec is to be used for everything behind Reply; the peer opens a new
	// stream with it. nil: no change.
	Codec xmpp.Codec
}

// Handle takes a first-level element that came before binding. What depends on
// schemas that are being downloaded waits for them, at most the 20 s that
// downloads have.
func (n *Negotiation) Handle(c exi.Cursor) (Result, error) {
	switch c.Name() {
	case nameSetup:
		n.loading.wait() // it may name what is on its way
		r, err := n.setup(c)
		if n.port != nil && n.agreed != nil && err == nil {
			return n.reopen(r)
		}
		return r, err
	case nameUpload:
		n.upload(c)
		return Result{Handled: true}, nil
	case nameDownload:
		return Result{Handled: true, Reply: n.download(c)}, nil
	case nameCompress:
		n.loading.wait() // answers belong to the stream that was asked by
		return n.compress(c)
	}
	return Result{}, nil
}

// Loading reports whether an answer is still to come from a download.
func (n *Negotiation) Loading() bool { return n.loading.busy() }

// Close ends what the negotiation has begun: downloads that are not done yet are
// broken off and answered so. It belongs to the end of the stream.
func (n *Negotiation) Close() { n.loading.close() }

func (n *Negotiation) setup(c exi.Cursor) (Result, error) {
	if n.setups++; n.setups > maxSetups {
		return Result{}, xmpp.NewStreamError("policy-violation", "too many EXI proposals")
	}
	var asked setup
	if err := asked.parseOver(c, n.base); err != nil {
		return Result{}, xmpp.NewStreamError("policy-violation", err.Error())
	}
	n.agreed = nil // a new proposal replaces what was agreed (XEP-0322 §2.2)
	answer := setup{}
	switch {
	case n.done:
		answer.Params = asked.Params.mended() // one switch for each connection (D12)
		return Result{Handled: true, Reply: response{&answer, true, Params{}}}, nil
	case asked.Location != "" || asked.ConfigID != "" && !asked.bare:
		answer.ConfigID = asked.ConfigID // 0322-R28, R32
	case asked.ConfigID != "":
		n.quick(&answer, asked.ConfigID)
	default:
		all := n.full(&answer, asked)
		return Result{Handled: true, Reply: response{&answer, all, n.base}}, nil
	}
	return Result{Handled: true, Reply: response{&answer, false, n.base}}, nil
}

// quick answers a proposal by id (0322-R29, R30).
func (n *Negotiation) quick(answer *setup, id string) {
	answer.ConfigID = id
	conf, ok := n.s.Configs.Configuration(id)
	if !ok {
		return
	}
	if conf.Params.Profile != (n.port != nil) {
		return // of the other kind of port
	}
	if n.s.stale(conf) {
		n.s.Configs.Forget(id)
		return
	}
	if !n.have(conf.Schemas) {
		return // of another account, or not any more
	}
	conf.Used = n.s.now()
	n.s.Configs.Remember(id, conf)
	n.agreed, answer.Agreement = &conf, true
}

// stale reports whether a configuration is not to be used again.
func (s *Server) stale(c Configuration) bool {
	return s.now().Sub(c.Used) > Expiry || s.Ceiling.under(c.Params) != c.Params
}

func (n *Negotiation) have(refs []Ref) bool {
	return !slices.ContainsFunc(refs, func(r Ref) bool { return !n.has(r) })
}

// has reports whether a schema can be used on this stream.
func (n *Negotiation) has(r Ref) bool {
	if n.port != nil {
		if own := portRefs()[r.NS]; len(own) > 0 {
			return slices.Contains(own, r) // its default schemas are not replaced
		}
	}
	return n.s.Library.has(r, n.scope())
}

// full answers a proposal with options and schemas. all says that every option
// must be written, because one could not be taken.
func (n *Negotiation) full(answer *setup, asked setup) (all bool) {
	answer.Params = n.s.Ceiling.under(asked.Params)
	seen := make(map[string]bool)
	for _, r := range asked.Schemas {
		// The second file of a namespace cannot be used (D20).
		if seen[r.NS] && n.port == nil || slices.Contains(answer.Schemas, r) || !n.has(r) {
			answer.Missing = append(answer.Missing, r)
			continue
		}
		seen[r.NS] = true
		answer.Schemas = append(answer.Schemas, r)
	}
	asked.Params.Version = 1
	if asked.unsupported || answer.Params != asked.Params || len(answer.Missing) > 0 || len(asked.Missing) > 0 {
		return asked.unsupported || asked.legal() != nil
	}
	if _, err := n.grammars(answer.Schemas); err != nil {
		n.s.log().Warn("EXI schemas of a client do not fit together", "err", err)
		return false
	}
	conf := Configuration{Params: answer.Params, Schemas: answer.Schemas, Used: n.s.now()}
	id := newID()
	n.s.Configs.Remember(id, conf)
	n.agreed = &conf
	answer.Agreement, answer.ConfigID = true, id
	return false
}

func (n *Negotiation) compress(c exi.Cursor) (Result, error) {
	if !c.Child(nameCMethod).Text().Is(Method) {
		return Result{Handled: true, Reply: failure(nameUnsupported)}, nil
	}
	if n.agreed == nil || n.done {
		return Result{Handled: true, Reply: failure(nameSetupFailed)}, nil
	}
	codec, err := n.codec()
	if err != nil {
		n.s.log().Warn("an agreed EXI configuration cannot be used", "err", err)
		return Result{Handled: true, Reply: failure(nameSetupFailed)}, nil
	}
	n.done = true
	return Result{Handled: true, Codec: codec, Reply: xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Element(nameCompressed, exi.Value{})
	})}, nil
}

func (n *Negotiation) grammars(refs []Ref) (*grammarSet, error) {
	if n.port != nil {
		return n.s.Library.portSet(refs, n.scope())
	}
	return n.s.Library.set(refs, n.scope())
}

func (n *Negotiation) codec() (*Codec, error) {
	set, err := n.grammars(n.agreed.Schemas)
	if err != nil {
		return nil, err
	}
	g, err := set.engine(n.agreed.Params, n.s.limits())
	if err != nil {
		return nil, err
	}
	return g.codec(n.agreed.Params)
}

func failure(reason exi.Name) xmpp.Payload {
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameFailure)
		d.Element(reason, exi.Value{})
		d.End()
	})
}

// upload takes a schema. There is no answer: what was not taken is missing at
// the next setup (D3).
func (n *Negotiation) upload(c exi.Cursor) {
	n.uploads++
	if !n.s.Uploads || n.uploads > n.s.mostUploads() {
		n.s.log().Info("an uploaded EXI schema was ignored", "allowed", n.s.Uploads, "count", n.uploads)
		return
	}
	if err := n.take(c); err != nil {
		n.s.log().Info("an uploaded EXI schema was ignored", "err", err)
	}
}

func (n *Negotiation) take(c exi.Cursor) error {
	data, ok := c.Text().Bytes(exi.Base64)
	if !ok {
		return errors.New("compress: an upload that is not base64")
	}
	typ, ok := c.Attr(attrContentType)
	switch {
	case !ok || typ.Is(UploadText):
		_, err := n.s.Library.Upload(data)
		return err
	case typ.Is(UploadEXIBody), typ.Is(UploadEXIDocument):
		r := parseRef(c)
		return n.s.Library.uploadEXI(data, typ.Is(UploadEXIDocument), r.Bytes, r.MD5, n.scope())
	}
	return fmt.Errorf("compress: an upload of content type %q", typ.View())
}

func (s *Server) mostUploads() int {
	if s.UploadsPerStream > 0 {
		return s.UploadsPerStream
	}
	return 16
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Server) limits() exi.Limits {
	if s.Limits == (exi.Limits{}) {
		return DefaultLimits()
	}
	return s.Limits
}

func (s *Server) log() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}
