package sensors

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

func addr(s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// A read-out of ready data: the acceptance, the data and the end marker leave
// in one write and in the order that every known peer understands.
func Test0323R07R09_AcceptedThenDataThenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, only("room", temperature("21.50")), nil)
		defer r.stop()
		r.recv(alice, req("a1", "seqnr='7' momentary='true'", ""))
		synctest.Wait()
		g := r.groups()
		if len(g) != 1 {
			t.Fatalf("%d writes: %q", len(g), g)
		}
		want(t, g[0],
			"<iq type='result' id='a1' to='alice@example.org/desk'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='7'/></iq>",
			"<message to='alice@example.org/desk'><fields xmlns='urn:xmpp:iot:sensordata' seqnr='7'><node nodeId='room'><timestamp value='2000-01-01T00:00:00.000Z'>"+
				"<numeric name='temperature' momentary='true' automaticReadout='true' writable='false' unit='°C' value='21.50'/></timestamp></node></fields></message>",
			"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='7' done='true'/>")
		if strings.Contains(g[0][1], "type=") || strings.Contains(g[0][0], "queued") {
			t.Errorf("type on a data message, or queued: %q", g[0])
		}
	})
}

// Slow devices: accepted first, alone, data later; started is not sent for
// what was not queued (R12).
func Test0323R12_NoStartedWhenNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("4.0")
		p.delay = 300 * time.Millisecond
		r := start(t, []node.Node{thermo("room")}, only("room", p), nil)
		defer r.stop()
		r.recv(alice, req("a1", "seqnr='1' momentary='1'", ""))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		want(t, r.out(), "<accepted xmlns='urn:xmpp:iot:sensordata' seqnr='1'/>")
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.out(), "value='4.0'", "done='true'/>")
	})
}

func Test0323R08R11_QueuedByWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, only("room", temperature("1")), nil)
		defer r.stop()
		// Zone-less: the device's zone, UTC here (D12). The bubble starts 2000-01-01.
		r.recv(alice, req("a1", "seqnr='3' momentary='true' when='2000-01-01T00:01:00'", ""))
		synctest.Wait()
		want(t, r.out(), "<accepted xmlns='urn:xmpp:iot:sensordata' seqnr='3' queued='true'/>")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		want(t, r.out())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		// R11: started opens what was queued.
		want(t, r.out(), "<started xmlns='urn:xmpp:iot:sensordata' seqnr='3'/>", "<numeric", "done='true'")
	})
}

func Test0323D12_WhenInThePastRunsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, only("room", temperature("1")), nil)
		defer r.stop()
		r.recv(alice, req("a1", "seqnr='3' momentary='true' when='1999-12-31T23:00:00Z'", ""))
		synctest.Wait()
		want(t, r.out(), "seqnr='3'/></iq>", "<numeric", "done='true'")
	})
}

// R08's other cause: the gateway is busy. The queued ones follow in order.
func Test0323R08_QueuedBecauseBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := temperature("1")
		slow.delay = time.Second
		r := start(t, []node.Node{thermo("room")}, map[string]Device{"room": {Device: slow, Fresh: -1}},
			func(c *Config) { c.Limits.Running = 1 })
		defer r.stop()
		for i := range 3 {
			r.recv(alice, req(fmt.Sprint("a", i), fmt.Sprintf("seqnr='%d' momentary='true'", i), ""))
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		want(t, r.out(), "seqnr='1' queued='true'", "seqnr='2' queued='true'", "<accepted xmlns='urn:xmpp:iot:sensordata' seqnr='0'/>")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want(t, r.out(), "seqnr='0'><node", "seqnr='0' done",
			"<started xmlns='urn:xmpp:iot:sensordata' seqnr='1'/>", "seqnr='1'><node", "seqnr='1' done",
			"<started xmlns='urn:xmpp:iot:sensordata' seqnr='2'/>", "seqnr='2'><node", "seqnr='2' done")
	})
}

func Test0323R06_SameSeqnrOfTwoClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("1")
		p.delay = time.Second
		r := start(t, []node.Node{thermo("room")}, only("room", p), nil)
		defer r.stop()
		r.recv(alice, req("a1", "seqnr='1' momentary='true'", ""))
		r.recv(bob, req("b1", "seqnr='1' momentary='true'", ""))
		r.recv(alice, req("a2", "seqnr='1' momentary='true'", "")) // D14
		time.Sleep(3 * time.Second)
		synctest.Wait()
		all := strings.Join(r.out(), "\n")
		for _, who := range []string{alice, bob} {
			if n := len(regexp.MustCompile("<message to='"+who+"'><fields [^>]*done='true'").FindAllString(all, -1)); n != 1 {
				t.Errorf("%s got %d end markers", who, n)
			}
		}
		if !strings.Contains(all, "<iq type='error' id='a2'") || !strings.Contains(all, "bad-request") {
			t.Errorf("the duplicate was not refused:\n%s", all)
		}
		if p.count() != 1 {
			t.Errorf("the device was read %d times for two read-outs", p.count())
		}
	})
}

func Test0323R25R46_Refusals(t *testing.T) {
	nodes := []node.Node{thermo("room")}
	for _, c := range []struct{ name, from, stanza, condition string }{
		{"stranger", mallory, req("1", "seqnr='1' momentary='true'", ""), "<error type='cancel'><forbidden "}, // R46
		{"stranger learns no names", mallory, req("1", "seqnr='1' momentary='true'", "<node nodeId='nope'/>"), "<error type='cancel'><forbidden "},
		{"unknown node", alice, req("1", "seqnr='1' momentary='true'", "<node nodeId='nope'/>"), "<error type='cancel'><item-not-found "},
		{"wrong source", alice, req("1", "seqnr='1' momentary='true'", "<node nodeId='room' sourceId='x'/>"), "item-not-found"},
		{"no seqnr", alice, req("1", "momentary='true'", ""), "<error type='modify'><bad-request "},
		{"seqnr beyond xs:int", alice, req("1", "seqnr='2147483648' momentary='true'", ""), "bad-request"},
		{"no type", alice, req("1", "seqnr='1'", ""), "bad-request"}, // D11
		{"type is no boolean", alice, req("1", "seqnr='1' momentary='yes'", ""), "bad-request"},
		{"node without id", alice, req("1", "seqnr='1' momentary='true'", "<node/>"), "bad-request"},
		{"field without name", alice, req("1", "seqnr='1' momentary='true'", "<field/>"), "bad-request"},
		{"when is no time", alice, req("1", "seqnr='1' momentary='true' when='soon'", ""), "bad-request"},
		{"from after to", alice, req("1", "seqnr='1' all='true' from='2000-01-02T00:00:00Z' to='2000-01-01T00:00:00Z'", ""), "bad-request"}, // D26
		{"when far ahead", alice, req("1", "seqnr='1' momentary='true' when='2001-01-01T00:00:00Z'", ""), "bad-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nodes, only("room", temperature("1")), nil)
				defer r.stop()
				r.recv(c.from, c.stanza)
				synctest.Wait()
				got := r.out()
				want(t, got, "<iq type='error' id='1' … "+c.condition)
				if strings.Contains(got[0], "rejected") {
					t.Error("the old element without the option")
				}
			})
		})
	}
}

// slixmpp's client understands a refusal only by the element of version 0.2.
func Test0323R25_LegacyRejectedFollowsTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, nil, func(c *Config) { c.LegacyPeers = func() bool { return true } })
		defer r.stop()
		r.recv(mallory, req("1", "seqnr='9' momentary='true'", ""))
		want(t, r.out(), "<error type='cancel'><forbidden … </error><rejected xmlns='urn:xmpp:iot:sensordata' seqnr='9'><error>")
	})
}

// One node works, one device is dead, one node does not exist: fields, then
// failures with node and time, then one end marker (R26, D19).
func Test0323R26_MixedNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &probe{err: drivers.ErrGone}
		r := start(t, []node.Node{thermo("dead"), thermo("room")},
			map[string]Device{"dead": {Device: dead}, "room": {Device: temperature("19.0")}}, nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", "<node nodeId='dead'/><node nodeId='nope'/><node nodeId='room'/>"))
		synctest.Wait()
		got := r.out()
		want(t, got, "<accepted", "<fields … nodeId='room' … 19.0",
			"<failure xmlns='urn:xmpp:iot:sensordata' seqnr='1'><error nodeId='dead' timestamp='2000-01-01T00:00:00.000Z'>device is not there</error><error nodeId='nope' timestamp='",
			"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1' done='true'/>")
		if strings.Contains(got[1], "dead") {
			t.Error("a value of the dead device was reported")
		}
	})
}

// A dead device must not delay the others: their data comes after the first
// partial interval, long before the dead one's time-out.
func Test0323R14_PartialDataOfHealthyDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("dead"), thermo("room")}, map[string]Device{
			"dead": {Device: &probe{deaf: true}, Timeout: 10 * time.Second}, "room": {Device: temperature("19.0")}}, nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		want(t, r.out(), "<accepted", "<fields … nodeId='room'")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want(t, r.out(), "<failure … nodeId='dead' … did not answer", "done='true'")
	})
}

func Test0323R27R29_CancelOfAQueuedReadout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, only("room", temperature("1")), nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='5' momentary='true' when='2000-01-01T00:00:30Z'", ""))
		cancel := "<iq type='get' id='c'><cancel xmlns='urn:xmpp:iot:sensordata' seqnr='5'/></iq>"
		r.recv(bob, cancel) // R29
		r.recv(alice, cancel)
		r.recv(alice, cancel) // D1
		want(t, r.out(), "queued='true'", "<iq type='error' id='c' to='bob@example.org/phone'> … item-not-found",
			"<iq type='result' id='c' to='alice@example.org/desk'><cancelled xmlns='urn:xmpp:iot:sensordata' seqnr='5'/></iq>", "item-not-found")
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.out())
	})
}

// D25: a running read-out is stopped: cancelled, then nothing more.
func Test0323R28_CancelWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("1")
		p.delay = 1500 * time.Millisecond
		r := start(t, []node.Node{thermo("room")}, only("room", p), nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='5' momentary='true'", ""))
		time.Sleep(time.Second)
		r.recv(alice, "<iq type='get' id='c'><cancel xmlns='urn:xmpp:iot:sensordata' seqnr='5'/></iq>")
		want(t, r.out(), "<accepted", "<cancelled")
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.out())
	})
}

func Test0323D13_LimitsPerRequester(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, only("room", temperature("1")), func(c *Config) {
			c.Limits.PerPeer, c.Limits.Total = 2, 3
		})
		defer r.stop()
		ask := func(from string, seq int) string {
			r.recv(from, req("1", fmt.Sprintf("seqnr='%d' momentary='true' when='2000-01-01T00:00:30Z'", seq), ""))
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			return r.out()[0]
		}
		for i, c := range []struct{ from, want string }{
			{alice, "queued"}, {"alice@example.org/other", "queued"}, {alice, "<error type='wait'><resource-constraint"},
			{bob, "queued"}, {bob, "resource-constraint"}, // three in total
		} {
			if got := ask(c.from, i); !strings.Contains(got, c.want) {
				t.Errorf("%d: %s", i, got)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.out()
		if got := ask(alice, 9); strings.Contains(got, "resource-constraint") {
			t.Errorf("the limit does not free: %s", got)
		}
	})
}

func Test0323D30_ABounceEndsTheReadout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := temperature("1")
		p.delay = 1500 * time.Millisecond
		r := start(t, []node.Node{thermo("room")}, only("room", p), nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='5' momentary='true' when='2000-01-01T00:00:10Z'", ""))
		time.Sleep(11 * time.Second)
		r.recv(alice, "<message type='error'><started xmlns='urn:xmpp:iot:sensordata' seqnr='5'/><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
		r.out()
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.out())
	})
}

// R20, R23: exactly the fields of the requested types; R57: no names means
// all; D29: unknown field names are answered without.
func Test0323R20R23R57R58_TypesAndNames(t *testing.T) {
	n := node.Node{Ref: node.Ref{ID: "m"}, Fields: []node.Field{
		{Name: "power", Types: node.Momentary, Const: drivers.Decimal(drivers.Num(10, 0)), Unit: "W"},
		{Name: "peak", Types: node.Peak, Const: drivers.Decimal(drivers.Num(99, 0)), Unit: "W"},
		{Name: "serial", Types: node.Identity, Const: drivers.String("S1")},
		{Name: "state", Types: node.Status | node.Momentary, Const: drivers.Enum("ok")},
	}}
	for _, c := range []struct{ attrs, body, names string }{
		{"momentary='true'", "", "power state"},
		{"peak='1'", "", "peak"},
		{"identity='true' peak='true'", "", "peak serial"},
		{"identification='true'", "", "serial"}, // D3
		{"all='true'", "", "power peak serial state"},
		{"all='true'", "<field name='serial'/><field name='nope'/>", "serial"},
		{"historical='true'", "", ""},
		{"historicalDay='true' status='true'", "", "state"},
		{"momentary='false' status='0' peak='true'", "", "peak"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, []node.Node{n}, nil, nil)
			defer r.stop()
			r.recv(alice, req("1", "seqnr='1' "+c.attrs, c.body))
			out := r.out()
			got := regexp.MustCompile(` name='(\w+)'`).FindAllStringSubmatch(strings.Join(out, ""), -1)
			var names []string
			for _, m := range got {
				names = append(names, m[1])
			}
			if strings.Join(names, " ") != c.names {
				t.Errorf("%s %s: got %v, want %s", c.attrs, c.body, names, c.names)
			}
			if !strings.Contains(out[len(out)-1], "done='true'/>") {
				t.Errorf("%s: no end: %s", c.attrs, out)
			}
		})
	}
}

func Test0323R34R36_EveryValueType(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 2*3600))
	var fields []node.Field
	for _, f := range []struct {
		name string
		v    drivers.Value
	}{
		{"b", drivers.Bool(true)}, {"i", drivers.Int(-3)}, {"l", drivers.Long(1 << 40)},
		{"n", drivers.Decimal(drivers.Num(1000, -2))}, {"s", drivers.String("a<b\x01")}, {"e", drivers.Enum("auto")},
		{"t", drivers.Time(at)}, {"d", drivers.Text(drivers.KindDate, "2026-03-04")},
		{"c", drivers.Text(drivers.KindClock, "05:06:07")}, {"p", drivers.Text(drivers.KindDuration, "PT3H")},
		{"k", drivers.Text(drivers.KindColor, "00ff00")},
	} {
		fields = append(fields, node.Field{Name: f.name, Types: node.Status, Kind: f.v.Kind(), Const: f.v, DataType: "Mode"})
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{{Ref: node.Ref{ID: "m"}, Fields: fields}}, nil, nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' status='true'", ""))
		const q = "status='true' automaticReadout='true' writable='false'"
		want(t, r.out(), "accepted",
			"<boolean name='b' "+q+" value='true'/><int name='i' "+q+" value='-3'/><long name='l' "+q+" value='1099511627776'/>"+
				"<numeric name='n' "+q+" unit='' value='10.00'/><string name='s' "+q+" value='a&lt;b\uFFFD'/><enum name='e' "+q+" dataType='Mode' value='auto'/>"+
				"<dateTime name='t' "+q+" value='2026-03-04T05:06:07+02:00'/>"+ // R36
				"<date name='d' "+q+" value='2026-03-04'/><time name='c' "+q+" value='05:06:07'/><duration name='p' "+q+" value='PT3H'/>"+
				"<string name='k' "+q+" value='00ff00'/>",
			"done='true'")
	})
}

// R42: an id used in two sources means both nodes; R44: a super-node brings
// what is below it.
func Test0323R42R43R44_AmbiguousIdsAndDescendants(t *testing.T) {
	leaf := func(id, source, parent string) node.Node {
		n := node.Node{Ref: node.Ref{ID: id, Source: source}, Fields: []node.Field{{Name: "v", Types: node.Momentary, Const: drivers.Int(1)}}}
		if parent != "" {
			n.Parent = node.Ref{ID: parent}
		}
		return n
	}
	nodes := []node.Node{{Ref: node.Ref{ID: "house"}}, {Ref: node.Ref{ID: "floor"}, Parent: node.Ref{ID: "house"}},
		leaf("a", "", "floor"), leaf("b", "", "house"), leaf("x", "s1", ""), leaf("x", "s2", "")}
	for _, c := range []struct{ body, ids string }{
		{"<node nodeId='house'/>", "a b"},
		{"<node nodeId='floor'/><node nodeId='a'/>", "a"},
		{"<node nodeId='x'/>", "x x"},
		{"<node nodeId='x' sourceId='s2' cacheType=''/>", "x"},
		{"", "a b x x"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nodes, nil, nil)
			defer r.stop()
			r.recv(alice, req("1", "seqnr='1' momentary='true'", c.body))
			var ids []string
			for _, m := range regexp.MustCompile(`nodeId='(\w+)'`).FindAllStringSubmatch(strings.Join(r.out(), ""), -1) {
				ids = append(ids, m[1])
			}
			if strings.Join(ids, " ") != c.ids {
				t.Errorf("%s: got %v want %s", c.body, ids, c.ids)
			}
		})
	}
}

// R37, R55, R56: writable tells whether there is a parameter of the name.
func Test0323R37R55R56_WritableFields(t *testing.T) {
	n := node.Node{Ref: node.Ref{ID: "m"},
		Fields:     []node.Field{{Name: "on", Const: drivers.Bool(true)}, {Name: "volts", Const: drivers.Int(5)}},
		Parameters: []node.Parameter{{Name: "on", Kind: drivers.KindBool}}}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{n}, nil, nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		want(t, r.out(), "accepted", "name='on' … writable='true' … name='volts' … writable='false'", "done")
	})
}

// R51: no field without a flag; R30: a channel that failed is missing and in
// error, and says why; a clock that is not set shows as timeOffset.
func Test0323R30R51_QualityOfEveryField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &probe{samples: []drivers.Sample{
			{Channel: "a", Value: drivers.Int(1)}, {Channel: "b", Value: drivers.Int(2)}}}
		n := node.Node{Ref: node.Ref{ID: "m"}, Device: "m", Fields: []node.Field{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
		sane := true
		r := start(t, []node.Node{n}, map[string]Device{"m": {Device: p, Fresh: -1}}, func(c *Config) { c.ClockSane = func() bool { return sane } })
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		synctest.Wait()
		want(t, r.out(), "accepted", "name='a' momentary='true' automaticReadout='true' … name='b' … automaticReadout='true'",
			"<failure … >c: the device gave no reading", "done")

		p.set(func(p *probe) { p.samples[1] = drivers.Sample{Channel: "b", Err: errors.New("open circuit")} })
		sane = false
		r.recv(alice, req("2", "seqnr='2' momentary='true'", "<field name='a'/><field name='b'/>"))
		synctest.Wait()
		want(t, r.out(), "accepted",
			"name='a' momentary='true' automaticReadout='true' timeOffset='true' … name='b' momentary='true' missing='true' error='true' … value='2'",
			"<failure … >b: open circuit", "done")
	})
}

// A value older than its MaxAge is never shown as good: it warns.
func Test0323R30_StaleValueWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &probe{samples: []drivers.Sample{{Channel: "a", Value: drivers.Int(1)}}}
		n := node.Node{Ref: node.Ref{ID: "m"}, Device: "m", Fields: []node.Field{{Name: "a"}, {Name: "b"}}}
		r := start(t, []node.Node{n}, map[string]Device{"m": {Device: p, MaxAge: 5 * time.Second}}, nil)
		defer r.stop()
		r.live.Put(n.Ref, "b", live.Reading{Value: drivers.Int(9), Time: time.Now(), MaxAge: 5 * time.Second})
		time.Sleep(10 * time.Second)
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		synctest.Wait()
		want(t, r.out(), "accepted",
			"<timestamp value='2000-01-01T00:00:10.000Z'><int name='a' … automaticReadout='true' w … <timestamp value='2000-01-01T00:00:00.000Z'><int name='b' … automaticReadout='true' warning='true'", "done")
	})
}

// R49: what was not measured says so; R39: localisation goes along.
func Test0323R39R49_EstimatesAndLocalisation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := node.Node{Ref: node.Ref{ID: "m"}, Fields: []node.Field{{Name: "valve", Unit: "%", Module: "Postern.Fields", StringIDs: "1,2|Postern.Units|x"}}}
		r := start(t, []node.Node{n}, nil, nil)
		defer r.stop()
		r.live.Put(n.Ref, "valve", live.Reading{Value: drivers.Decimal(drivers.Num(5, -1)), Time: time.Now(), Quality: live.AutomaticEstimate})
		n.Device = "m"
		tree, _ := node.NewTree([]node.Node{n})
		if err := r.svc.Apply(t.Context(), Setup{Tree: tree, Access: r.svc.state.Load().access,
			Devices: only("m", &probe{samples: []drivers.Sample{{Channel: "other", Value: drivers.Int(1)}}})}); err != nil {
			t.Fatal(err)
		}
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		synctest.Wait()
		want(t, r.out(), "accepted", "<numeric name='valve' momentary='true' automaticEstimate='true' module='Postern.Fields' stringIds='1,2|Postern.Units|x' writable='false' unit='%' value='0.5'/>", "done")
	})
}

// Access that narrows: only what was granted is read; nothing left is
// forbidden, a wish outside the grant too.
func Test0323R20_AccessNarrows(t *testing.T) {
	access, err := node.NewAllowList([]string{"owner@example.org"}, []node.Grant{{JID: "alice@example.org", Read: true,
		Scope: node.Scope{Nodes: []node.Ref{{ID: "a"}}, Fields: []string{"t"}, Types: node.Momentary}}, {JID: "bob@example.org", Control: true}})
	if err != nil {
		t.Fatal(err)
	}
	mk := func(id string) node.Node {
		return node.Node{Ref: node.Ref{ID: id}, Fields: []node.Field{{Name: "t", Const: drivers.Int(1)}, {Name: "u", Const: drivers.Int(2)},
			{Name: "v", Types: node.Status, Const: drivers.Int(3)}}}
	}
	for _, c := range []struct{ from, attrs, body, want string }{
		{alice, "all='true'", "", "a.t"},
		{alice, "all='true'", "<node nodeId='b'/>", "forbidden"},
		{alice, "all='true'", "<field name='u'/>", "forbidden"},
		{alice, "status='true'", "", "forbidden"},
		{alice, "peak='true'", "", ""},
		{alice, "all='true'", "<field name='nope'/>", ""},
		{bob, "all='true'", "", "forbidden"},
		{owner1, "status='true'", "", "a.v b.v"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, []node.Node{mk("a"), mk("b")}, nil, func(cfg *Config) { cfg.Access = access })
			defer r.stop()
			r.recv(c.from, req("1", "seqnr='1' "+c.attrs, c.body))
			out := strings.Join(r.out(), "")
			got := "forbidden"
			if !strings.Contains(out, "forbidden") {
				var names []string
				id := ""
				for _, m := range regexp.MustCompile(`(nodeId| name)='(\w+)'`).FindAllStringSubmatch(out, -1) {
					if m[1] == "nodeId" {
						id = m[2]
					} else {
						names = append(names, id+"."+m[2])
					}
				}
				got = strings.Join(names, " ")
			}
			if got != c.want {
				t.Errorf("%s %s %s: got %q, want %q", c.from, c.attrs, c.body, got, c.want)
			}
		})
	}
}

// D17: large answers are split between instants and stay in order.
func Test0323D17_SplitsLargeAnswers(t *testing.T) {
	var fields []node.Field
	for i := range 200 {
		fields = append(fields, node.Field{Name: fmt.Sprintf("field-with-a-long-name-%03d", i), Types: node.Momentary, Const: drivers.String(strings.Repeat("x", 100))})
	}
	nodes := []node.Node{{Ref: node.Ref{ID: "a"}, Fields: fields}, {Ref: node.Ref{ID: "b"}, Fields: fields[:30]}}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nodes, nil, nil)
		defer r.stop()
		r.recv(alice, req("1", "seqnr='1' momentary='true'", ""))
		out := r.out()
		if len(out) < 6 {
			t.Fatalf("%d stanzas", len(out))
		}
		next := 0
		for i, s := range out[1 : len(out)-1] {
			if len(s) > 12_000 {
				t.Errorf("message %d has %d octets", i, len(s))
			}
			for _, m := range regexp.MustCompile(`long-name-(\d+)`).FindAllStringSubmatch(s, -1) {
				if m[1] != fmt.Sprintf("%03d", next%200) {
					t.Fatalf("got %s at %d", m[1], next)
				}
				next++
			}
		}
		if next != 230 {
			t.Errorf("%d fields", next)
		}
	})
}

// Who reads by the address that a concentrator gave gets it back; who does not,
// does not.
func TestSourceOfNodesWithoutOne(t *testing.T) {
	nodes := []node.Node{{Ref: node.Ref{ID: "a"}, Fields: []node.Field{{Name: "v", Types: node.Momentary, Const: drivers.Int(1)}}}}
	for body, want := range map[string]string{
		"<node nodeId='a' sourceId='MeteringTopology'/>": `<node nodeId='a' sourceId='MeteringTopology'>`,
		"<node nodeId='a'/>":                             `<node nodeId='a'>`,
		"":                                               `<node nodeId='a'>`,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nodes, nil, nil)
			defer r.stop()
			r.recv(alice, req("1", "seqnr='1' momentary='true'", body))
			if got := strings.Join(r.out(), ""); !strings.Contains(got, want) {
				t.Errorf("%s: %s", body, got)
			}
		})
	}
}
