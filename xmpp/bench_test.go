package xmpp_test

import (
	"bytes"
	"context"
	"testing"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

// One request through TLS, reader, Mux, worker, queue, writer and TLS again.
// The other end only writes and counts octets, so the figures are the
// session's and those of two TLS layers.
func BenchmarkAnswer(b *testing.B) {
	for _, bench := range []struct {
		name     string
		inFlight int
	}{{"1 in flight", 1}, {"64 in flight", 64}} {
		b.Run(bench.name, func(b *testing.B) { benchAnswer(b, bench.inFlight) })
	}
}

func benchAnswer(b *testing.B, inFlight int) {
	srv := xmpptest.NewServer(b, xmpptest.Options{})
	cfg := srv.Config()
	m := new(xmpp.Mux)
	fields := benchFields()
	m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:example", "req"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		return xmpp.Answer{Then: []xmpp.Stanza{{Kind: xmpp.Message, To: st.From, Payload: fields}}}, nil
	})
	cfg.Handler = m
	s := xmpptest.Start(b, cfg)
	p := srv.LoginRaw()
	if err := s.WaitOnline(context.Background()); err != nil {
		b.Fatal(err)
	}
	request := []byte(`<iq type='get' id='abcdefgh' from='reader@example.org/phone' to='thing@example.org/r1'><req xmlns='urn:example' seqnr='1'/></iq>`)
	token := make(chan struct{}, inFlight)
	go func() {
		buf := make([]byte, 32<<10)
		end := []byte("</message>")
		for {
			n, err := p.Read(buf)
			for range bytes.Count(buf[:n], end) {
				<-token
			}
			if err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		token <- struct{}{}
		if _, err := p.Write(request); err != nil {
			b.Fatal(err)
		}
	}
	for range inFlight {
		token <- struct{}{}
	}
}

// benchFields is a read-out of 7 fields.
func benchFields() xmpp.Payload {
	var (
		nameFields  = exi.N("urn:xmpp:iot:sensordata", "fields")
		nameNode    = exi.N("urn:xmpp:iot:sensordata", "node")
		nameTime    = exi.N("urn:xmpp:iot:sensordata", "timestamp")
		nameNumeric = exi.N("urn:xmpp:iot:sensordata", "numeric")
		attrName    = exi.N("", "name")
		attrValue   = exi.N("", "value")
		attrUnit    = exi.N("", "unit")
		attrNodeID  = exi.N("", "nodeId")
	)
	return xmpp.PayloadFunc(func(d *exi.Doc) {
		d.Start(nameFields)
		d.Start(nameNode)
		d.Attr(attrNodeID, exi.Str("boiler"))
		d.Start(nameTime)
		for range 7 {
			d.Start(nameNumeric)
			d.Attr(attrName, exi.Str("Temperature"))
			d.Attr(attrValue, exi.DecimalValue(2150, -2))
			d.Attr(attrUnit, exi.Str("°C"))
			d.End()
		}
		d.End()
		d.End()
		d.End()
	})
}
