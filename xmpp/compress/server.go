package compress

import (
	"fmt"
	"log/slog"
	"slices"
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
	// UploadsPerStream bounds the uploads of one stream; 0: 16.
	UploadsPerStream int
	Limits           exi.Limits // of the bodies; zero: DefaultLimits
	Logger           *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
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
	s       *Server
	agreed  *Configuration
	setups  int
	uploads int
	done    bool
}

// Accept starts the negotiation of a stream.
func (s *Server) Accept() *Negotiation { return &Negotiation{s: s} }

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
	Codec *Codec
}

// Handle takes a first-level element that came before binding.
func (n *Negotiation) Handle(c exi.Cursor) (Result, error) {
	switch c.Name() {
	case nameSetup:
		return n.setup(c)
	case nameUpload:
		n.upload(c)
		return Result{Handled: true}, nil
	case nameDownload:
		return Result{Handled: true, Reply: noDownload(c)}, nil
	case nameCompress:
		return n.compress(c)
	}
	return Result{}, nil
}

func (n *Negotiation) setup(c exi.Cursor) (Result, error) {
	if n.setups++; n.setups > maxSetups {
		return Result{}, xmpp.NewStreamError("policy-violation", "too many EXI proposals")
	}
	var asked setup
	if err := asked.parse(c); err != nil {
		return Result{}, xmpp.NewStreamError("policy-violation", err.Error())
	}
	n.agreed = nil // a new proposal replaces what was agreed (XEP-0322 §2.2)
	answer := setup{}
	switch {
	case n.done:
		answer.Params = asked.Params.mended() // one switch for each connection (D12)
		return Result{Handled: true, Reply: response{&answer, true}}, nil
	case asked.Location != "" || asked.ConfigID != "" && !asked.bare:
		answer.ConfigID = asked.ConfigID // 0322-R28, R32
	case asked.ConfigID != "":
		n.quick(&answer, asked.ConfigID)
	default:
		all := n.full(&answer, asked)
		return Result{Handled: true, Reply: response{&answer, all}}, nil
	}
	return Result{Handled: true, Reply: response{&answer, false}}, nil
}

// quick answers a proposal by id (0322-R29, R30).
func (n *Negotiation) quick(answer *setup, id string) {
	answer.ConfigID = id
	conf, ok := n.s.Configs.Configuration(id)
	if !ok {
		return
	}
	if n.s.now().Sub(conf.Used) > Expiry || n.s.Ceiling.under(conf.Params) != conf.Params || !n.have(conf.Schemas) {
		n.s.Configs.Forget(id)
		return
	}
	conf.Used = n.s.now()
	n.s.Configs.Remember(id, conf)
	n.agreed, answer.Agreement = &conf, true
}

func (n *Negotiation) have(refs []Ref) bool {
	return !slices.ContainsFunc(refs, func(r Ref) bool { return !n.s.Library.Has(r) })
}

// full answers a proposal with options and schemas. all says that every option
// must be written, because one could not be taken.
func (n *Negotiation) full(answer *setup, asked setup) (all bool) {
	answer.Params = n.s.Ceiling.under(asked.Params)
	seen := make(map[string]bool)
	for _, r := range asked.Schemas {
		// The second file of a namespace cannot be used (D20).
		if seen[r.NS] || !n.s.Library.Has(r) {
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
	if _, err := n.s.Library.Grammars(answer.Schemas); err != nil {
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

func (n *Negotiation) codec() (*Codec, error) {
	set, err := n.s.Library.set(n.agreed.Schemas)
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
	most := n.s.UploadsPerStream
	if most <= 0 {
		most = 16
	}
	if !n.s.Uploads || n.uploads > most {
		n.s.log().Info("an uploaded EXI schema was ignored", "allowed", n.s.Uploads, "count", n.uploads)
		return
	}
	if err := n.take(c); err != nil {
		n.s.log().Info("an uploaded EXI schema was ignored", "err", err)
	}
}

func (n *Negotiation) take(c exi.Cursor) error {
	if typ, ok := c.Attr(attrContentType); ok && !typ.Is("Text") {
		return fmt.Errorf("compress: an upload of content type %q; only Text is taken", typ.View())
	}
	text, ok := c.Text().Bytes(exi.Base64)
	if !ok {
		return fmt.Errorf("compress: an upload that is not base64")
	}
	_, err := n.s.Library.Upload(text)
	return err
}

// noDownload refuses: this server fetches nothing for others (0322-R23, R26).
func noDownload(c exi.Cursor) xmpp.Payload {
	url, _ := c.Attr(attrURL)
	text := url.String()
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameDownloaded)
		d.Attr(attrResult, exi.BoolValue(false))
		d.Attr(attrURL, exi.Str(text))
		d.Start(exi.N(NSEXI, "invalidUrl"))
		d.Attr(attrMessage, exi.Str("This server downloads no schemas. Upload the schema instead."))
		d.End()
		d.End()
	})
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
