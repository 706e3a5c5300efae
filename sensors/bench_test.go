package sensors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// sink encodes nothing: it builds the Docs as the session does.
type sink struct{ d exi.Doc }

func (s *sink) Send(_ context.Context, sts ...xmpp.Stanza) error {
	for i := range sts {
		s.d.Reset()
		sts[i].AppendEvents(&s.d)
	}
	return nil
}

// BenchmarkReadout is the service's part of reading seven fresh fields, from
// the parsed stanza to the Docs of the answer.
func BenchmarkReadout(b *testing.B) {
	p := &probe{}
	n := node.Node{Ref: node.Ref{ID: "meter"}, Device: "meter"}
	for i := range 7 {
		name := fmt.Sprint("field", i)
		n.Fields = append(n.Fields, node.Field{Name: name})
		p.samples = append(p.samples, drivers.Sample{Channel: name, Value: drivers.Decimal(drivers.Num(int64(i), -1)), Unit: "V"})
	}
	tree, err := node.NewTree([]node.Node{n})
	if err != nil {
		b.Fatal(err)
	}
	access, _ := node.NewAllowList([]string{"alice@example.org"}, nil)
	var out sink
	svc, err := New(Config{Setup: Setup{Tree: tree, Access: access, Devices: map[string]Device{"meter": {Device: p, Fresh: time.Hour}}}, Live: live.New(), Sender: &out})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = svc.Run(ctx) }()
	defer func() { cancel(); <-done }()
	d := parseXML(b, req("1", "seqnr='1' momentary='true'", ""))
	st := xmpp.Stanza{}
	if err := st.Parse(d.Root()); err != nil {
		b.Fatal(err)
	}
	st.From = addr(alice)
	for p.count() == 0 {
		_, _ = svc.handleReq(ctx, &st)
		time.Sleep(10 * time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := svc.handleReq(ctx, &st); err != xmpp.ErrLater {
			b.Fatal(err)
		}
	}
}
