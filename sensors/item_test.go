package sensors

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

func tenFields() *Fields {
	f := &Fields{Seq: 42}
	for i := range 10 {
		f.Items = append(f.Items, Item{
			Ref: node.Ref{ID: "meter"}, Time: time.Unix(1e9, 0), Name: fmt.Sprint("field", i), Unit: "V", Types: node.Momentary,
			Value: drivers.Decimal(drivers.Num(2301+int64(i), -1)), Quality: live.AutomaticReadout, Writable: No,
		})
	}
	return f
}

// Building a stanza of ten fields through the carrier allocates nothing once
// the Doc has grown.
func TestTenFieldsWithoutAllocations(t *testing.T) {
	f := tenFields()
	st := xmpp.Stanza{Kind: xmpp.Message, Payload: f}
	var d exi.Doc
	build := func() { d.Reset(); st.AppendEvents(&d) }
	build()
	if n := testing.AllocsPerRun(100, build); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if d.Len() != 1+1+1+1+1+2+10*(2+6)+4 {
		t.Errorf("%d events", d.Len())
	}
}

func BenchmarkTenFields(b *testing.B) {
	f := tenFields()
	st := xmpp.Stanza{Kind: xmpp.Message, Payload: f}
	var d exi.Doc
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		st.AppendEvents(&d)
	}
}

// What is written reads back the same, digits included (R33).
func Test0323R33_ItemsReadBack(t *testing.T) {
	in := Fields{Seq: 1, Items: []Item{
		{Ref: node.Ref{ID: "a", Source: "s", Cache: "c"}, Name: "x", Time: time.UnixMilli(1_700_000_000_123), Value: drivers.Decimal(drivers.Num(2340, -2)),
			Unit: "kWh", Types: node.Momentary | node.HistoricalDay, Quality: live.Signed | live.AutomaticReadout, Writable: Yes, Module: "m", StringIDs: "1,2"},
		{Ref: node.Ref{ID: "a", Source: "s", Cache: "c"}, Name: "y", Time: time.UnixMilli(1_700_000_000_123), Value: drivers.Long(math.MinInt64), Types: node.Status, Quality: live.Missing, Writable: No},
		{Ref: node.Ref{ID: "a", Source: "s", Cache: "c"}, Name: "z", Time: time.UnixMilli(1_700_000_000_124), Value: drivers.Enum("e"), DataType: "E", Types: node.Identity, Quality: live.ManualEstimate},
		{Ref: node.Ref{ID: "b"}, Name: "x", Time: time.UnixMilli(1_700_000_000_124), Value: drivers.Decimal(drivers.Num(5, 3)), Types: node.Peak, Quality: live.AutomaticReadout},
	}}
	st := xmpp.Stanza{Kind: xmpp.Message, Payload: &in}
	d := parseXML(t, render(t, &st))
	got := ParseFields(nil, d.Root().First(), time.Local)
	if len(got) != len(in.Items) {
		t.Fatalf("%d items", len(got))
	}
	for i, it := range in.Items {
		if !got[i].Time.Equal(it.Time) {
			t.Errorf("%d: time %v", i, got[i].Time)
		}
		got[i].Time = it.Time
		if got[i] != it {
			t.Errorf("got  %+v\nwant %+v", got[i], it)
		}
	}
}

// R35: no zone means the reader's, and shows; R38: absent writable is no
// answer; D31: all and historical on a field mean nothing.
func Test0323R35R38R45_LenientReading(t *testing.T) {
	d := parseXML(t, `<message><fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'><node><timestamp value='2026-07-01T12:00:00'>
		<numeric name='a' value='INF'/><numeric name='b' value='1.2345678901234567890123'/><int name='c' value='4000000000'/>
		<boolean name='d' value='1' all='true' historical='true' momentary='0'/><timeSpan name='e' value='PT1H'/><blob name='f' value='x'/>
		<string name='g'/><string value='h'/><date name='i' value='yesterday'/></timestamp><timestamp value='never'><int name='x' value='1'/></timestamp></node></fields></message>`)
	loc := time.FixedZone("", 3600)
	got := ParseFields(nil, d.Root().First(), loc)
	if len(got) != 4 || got[0].Value != drivers.String("INF") || got[1].Value.String() != "1.234567890123457" || got[1].Name != "b" || got[2].Name != "d" || got[3].Name != "e" {
		t.Fatalf("%+v", got)
	}
	got = got[1:]
	if !got[0].NoZone || !got[0].Time.Equal(time.Date(2026, 7, 1, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("time %v", got[0].Time)
	}
	if got[1].Types != 0 || got[1].Writable != Unknown || got[1].Ref != (node.Ref{}) {
		t.Errorf("%+v", got[1])
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"<req xmlns='urn:xmpp:iot:sensordata' seqnr='1' momentary='true' from='2000-01-01T00:00:00' when='2000-01-01T00:00:00Z'><node nodeId='a' sourceId='b'/><field name='c'/></req>",
		"<req xmlns='urn:xmpp:iot:sensordata' seqnr='-2147483648' all='1' historical='0' serviceToken='x'/>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := tryXML(s)
		if !ok {
			return
		}
		r, err := ParseRequest(d.Root(), time.UTC, 10)
		if err != nil {
			return
		}
		if len(r.Nodes)+len(r.Fields) > 10 {
			t.Fatal("limit passed")
		}
		var out exi.Doc
		r.AppendEvents(&out)
		again, err := ParseRequest(out.Root(), time.UTC, 10)
		if err != nil || again.Seq != r.Seq || again.Types != r.Types || len(again.Nodes) != len(r.Nodes) || !again.When.Equal(r.When) {
			t.Fatalf("%+v\n%+v\n%v", r, again, err)
		}
	})
}

func FuzzParseFields(f *testing.F) {
	f.Add("<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'><node nodeId='n'><timestamp value='2026-01-01T00:00:00Z'><numeric name='t' unit='C' value='21.50' momentary='true'/></timestamp></node></fields>")
	f.Add("<failure xmlns='urn:xmpp:iot:sensordata' seqnr='1'><error nodeId='n' timestamp='x'>y</error></failure>")
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := tryXML(s)
		if !ok {
			return
		}
		items := ParseFields(nil, d.Root(), time.UTC)
		ParseFailure(nil, d.Root(), time.UTC)
		for i := range items {
			// A reader of ours reads what we write of it.
			var out exi.Doc
			(&Fields{Items: items[i : i+1]}).AppendEvents(&out)
			if got := ParseFields(nil, out.Root(), time.UTC); len(got) != 1 || got[0].Value.Kind() == drivers.KindNone {
				t.Fatalf("%+v became %+v", items[i], got)
			}
		}
	})
}

// tryXML reads an element that need not be well-formed.
func tryXML(s string) (*exi.Doc, bool) {
	var d exi.Doc
	r := bufio.NewReader(bytes.NewReader([]byte("<s xmlns='jabber:client'>" + s)))
	x := xmltext.NewStreamReader(xmltext.Limits{})
	if x.ReadOpen(r, &d) != nil || x.ReadElement(r, &d) != nil {
		return nil, false
	}
	return &d, true
}
