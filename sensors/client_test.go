package sensors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
	"postern/xmpp"
)

// script is a thing that answers by a function, and records what it was asked.
type script struct {
	t     testing.TB
	asked []string
	reply func(q string) (string, error) // the iq's answer
	mux   xmpp.Mux                       // the client's
}

func (s *script) Query(ctx context.Context, st xmpp.Stanza, reply func(*xmpp.Stanza) error) error {
	st.ID = "q"
	q := render(s.t, &st)
	s.asked = append(s.asked, q)
	text, err := s.reply(q)
	if err != nil {
		return err
	}
	if text == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	d := parseXML(s.t, text)
	var in xmpp.Stanza
	if err := in.Parse(d.Root()); err != nil {
		s.t.Fatal(err)
	}
	if e := in.Err(); e != nil {
		return e
	}
	if reply == nil {
		return nil
	}
	return reply(&in)
}

// send delivers a message to the client.
func (s *script) send(from, text string) {
	d := parseXML(s.t, text)
	var st xmpp.Stanza
	if err := st.Parse(d.Root()); err != nil {
		s.t.Fatal(err)
	}
	if from != "" {
		st.From = addr(from)
	}
	_, _ = s.mux.HandleStanza(context.Background(), &st)
}

const thing = "thing@example.org/gw"

var seqPattern = regexp.MustCompile(`seqnr='(\d+)'`)

// seqIn returns the number of the last request.
func (s *script) seqIn(q string) string { return seqPattern.FindStringSubmatch(q)[1] }

func newScript(t testing.TB) (*script, *Client) {
	s := &script{t: t}
	c := NewClient(ClientConfig{Querier: s, Location: time.UTC})
	c.Register(&s.mux)
	return s, c
}

func numeric(name, value, attrs string) string {
	return "<numeric name='" + name + "' value='" + value + "' unit='C' " + attrs + "/>"
}

func fieldsMsg(seq, attrs, stamp, fields string) string {
	return "<message><fields xmlns='urn:xmpp:iot:sensordata' seqnr='" + seq + "' " + attrs + "><node nodeId='n'><timestamp value='" +
		stamp + "'>" + fields + "</timestamp></node></fields></message>"
}

func accepted(seq string) string {
	return "<iq type='result' id='q'><accepted xmlns='urn:xmpp:iot:sensordata' seqnr='" + seq + "'/></iq>"
}

// Data before the acceptance counts as acceptance (R10), and data inside the
// result too (D2).
func Test0323R10R31_DataBeforeAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScript(t)
		s.reply = func(q string) (string, error) {
			s.send(thing, fieldsMsg(s.seqIn(q), "done='true'", "2026-01-01T00:00:00Z", numeric("t", "21.50", "momentary='true'")))
			return accepted(s.seqIn(q)), nil
		}
		r, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary})
		if err != nil || len(r.Items) != 1 || r.Items[0].Value.String() != "21.50" {
			t.Fatalf("%v %v", r, err)
		}
		if r.Items[0].Quality != live.AutomaticReadout { // R31
			t.Errorf("quality %v", r.Items[0].Quality)
		}
	})
}

func Test0323D2_DataInsideTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScript(t)
		s.reply = func(q string) (string, error) {
			m := fieldsMsg(s.seqIn(q), "done='1'", "2026-01-01T00:00:00Z", numeric("t", "1", "momentary='true'"))
			return "<iq type='result' id='q'>" + strings.TrimSuffix(strings.TrimPrefix(m, "<message>"), "</message>") + "</iq>", nil
		}
		r, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary})
		if err != nil || len(r.Items) != 1 {
			t.Fatalf("%v %v", r, err)
		}
	})
}

// The three end markers: done on fields, done on failure, the done element.
func Test0323R13R16_CollectsUntilTheEndMarker(t *testing.T) {
	for _, end := range []string{
		"<fields xmlns='urn:xmpp:iot:sensordata' seqnr='%' done='true'/>",
		"<failure xmlns='urn:xmpp:iot:sensordata' seqnr='%' done='1'><error nodeId='x' timestamp='whenever'>gone</error></failure>",
		"<done xmlns='urn:xmpp:iot:sensordata' seqnr='%'/>",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, c := newScript(t)
			var early int
			s.reply = func(q string) (string, error) {
				seq := s.seqIn(q)
				go func() {
					for i := range 3 {
						time.Sleep(30 * time.Second)
						s.send(thing, fieldsMsg(seq, "", "2026-01-01T00:00:0"+string(rune('0'+i))+"Z", numeric("t", "1.0", "momentary='true'")))
					}
					time.Sleep(30 * time.Second)
					s.send(thing, "<message>"+strings.ReplaceAll(end, "%", seq)+"</message>")
					s.send(thing, fieldsMsg(seq, "", "2026-01-01T00:00:09Z", numeric("late", "1.0", "momentary='true'")))
				}()
				return accepted(seq), nil
			}
			var items []Item
			began := time.Now()
			_, err := c.Stream(t.Context(), addr(thing), Request{Types: node.Momentary}, func(p Part) error {
				items = append(items, p.Items...)
				if len(items) == 1 {
					early = int(time.Since(began).Seconds())
				}
				return nil
			})
			if err != nil || len(items) != 3 || early != 30 || time.Since(began) != 2*time.Minute {
				t.Errorf("%s: %d items, first after %d s, end after %v, %v", end, len(items), early, time.Since(began), err)
			}
			time.Sleep(time.Minute)
		})
	}
}

// R18, D16: no answer, no data, silence in the middle: each ends with a clear
// error and tells the thing.
func Test0323R18_Silence(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply string
		first bool
		after time.Duration
		want  error
	}{
		{"no answer", "", false, 30 * time.Second, context.DeadlineExceeded},
		{"no data", "accepted", false, 60 * time.Second, ErrSilent},
		{"silence after data", "accepted", true, 70 * time.Second, ErrSilent},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, cl := newScript(t)
			s.reply = func(q string) (string, error) {
				if strings.Contains(q, "<cancel") {
					return "<iq type='result' id='q'/>", nil
				}
				if c.reply == "" {
					return "", nil
				}
				if c.first {
					seq := s.seqIn(q)
					go func() {
						time.Sleep(10 * time.Second)
						s.send(thing, fieldsMsg(seq, "", "2026-01-01T00:00:00Z", numeric("t", "1", "momentary='true'")))
					}()
				}
				return accepted(s.seqIn(q)), nil
			}
			began := time.Now()
			r, err := cl.Read(t.Context(), addr(thing), Request{Types: node.Momentary})
			if !errors.Is(err, c.want) || time.Since(began) != c.after {
				t.Errorf("%s: %v after %v", c.name, err, time.Since(began))
			}
			if c.first != (len(r.Items) == 1) {
				t.Errorf("%s: items %v", c.name, r.Items)
			}
			if cancelled := strings.Contains(strings.Join(s.asked, ""), "<cancel"); cancelled != (c.reply != "") {
				t.Errorf("%s: cancel sent: %v", c.name, cancelled)
			}
		})
	}
}

func Test0323R17R19R50_FiltersWhatWasNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newScript(t)
		s.reply = func(q string) (string, error) {
			seq := s.seqIn(q)
			for _, m := range []struct{ stamp, fields string }{
				{"2026-01-01T00:00:00Z", numeric("t", "1", "momentary='true'") + numeric("u", "2", "momentary='true'") + numeric("t", "3", "peak='true'")},
				{"2026-01-02T00:00:00Z", numeric("t", "4", "historicalYear='true'")}, // R50: a year is a day too
				{"2025-12-31T23:59:59Z", numeric("t", "5", "historicalDay='true'")},  // before from
				{"2026-01-04T00:00:00Z", numeric("t", "6", "historicalDay='true'")},  // at to, inclusive (D9)
				{"2026-01-04T00:00:01Z", numeric("t", "7", "historicalDay='true'")},
				{"2026-01-03T00:00:00Z", numeric("t", "8", "historicalHour='true'")}, // finer than asked
			} {
				s.send(thing, fieldsMsg(seq, "", m.stamp, m.fields))
				s.send(mallory, fieldsMsg(seq, "", m.stamp, numeric("t", "666", "momentary='true'")))
			}
			s.send(thing, "<message type='error'>"+fieldsMsg(seq, "done='true'", "2026-01-01T00:00:00Z", "")[len("<message>"):])
			s.send(thing, "<message><done xmlns='urn:xmpp:iot:sensordata' seqnr='"+seq+"'/></message>")
			return accepted(seq), nil
		}
		r, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary | node.HistoricalDay, Fields: []string{"t"},
			From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)})
		var got []string
		for _, it := range r.Items {
			got = append(got, it.Value.String())
		}
		if err != nil || strings.Join(got, " ") != "1 4 6" {
			t.Errorf("%v %v", got, err)
		}
	})
}

// A field of several types has all of them: it is there for a request of any,
// and says what else it is.
func Test0323R21_SeveralTypesOnAField(t *testing.T) {
	for _, c := range []struct {
		ask  node.Types
		want int
	}{{node.Status, 1}, {node.HistoricalDay, 1}, {node.HistoricalHour, 1}, {node.Momentary, 0}, {node.HistoricalMonth, 0}} {
		synctest.Test(t, func(t *testing.T) {
			s, cl := newScript(t)
			s.reply = func(q string) (string, error) {
				s.send(thing, fieldsMsg(s.seqIn(q), "done='true'", "2026-01-01T00:00:00Z", numeric("t", "1", "status='true' historicalDay='1'")))
				return accepted(s.seqIn(q)), nil
			}
			r, err := cl.Read(t.Context(), addr(thing), Request{Types: c.ask})
			if err != nil || len(r.Items) != c.want || c.want == 1 && r.Items[0].Types != node.Status|node.HistoricalDay {
				t.Errorf("%v: %+v %v", c.ask, r, err)
			}
		})
	}
}

// R04: numbers in use are skipped, also past the wrap (D18).
func Test0323R04_SequenceNumbers(t *testing.T) {
	c := NewClient(ClientConfig{})
	c.seq = 2147483646
	seen := map[int32]bool{}
	for range 1000 {
		p := c.enter(addr(thing), &Request{})
		if seen[p.seq] || p.seq < 1 {
			t.Fatalf("number %d", p.seq)
		}
		seen[p.seq] = true
	}
	if !seen[2147483647] || !seen[1] {
		t.Error("no wrap")
	}
	c.seq = 2147483646
	if p := c.enter(addr(thing), &Request{}); seen[p.seq] {
		t.Error("a number in use was given again")
	}
}

// A client of ours reads a service of ours, over the whole distance.
func Test0323R03R33_DigitsSurviveTheDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room"), thermo("dead")},
			map[string]Device{"room": {Device: temperature("10.00")}, "dead": {Device: &probe{err: drivers.ErrGone}}}, nil)
		defer r.stop()
		s, c := newScript(t)
		s.reply = func(q string) (string, error) {
			r.recv(alice, q)
			synctest.Wait()
			out := r.out()
			go func() {
				for _, m := range out[1:] {
					s.send(thing, m)
				}
			}()
			return out[0], nil
		}
		got, err := c.Read(t.Context(), addr(thing), Request{Types: node.All})
		if err != nil || len(got.Items) != 1 || len(got.Faults) != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		it := got.Items[0]
		if it.Value.String() != "10.00" || it.Unit != "°C" || it.Ref.ID != "room" || it.Writable != No || it.NoZone ||
			it.Types != node.Momentary || !it.Time.Equal(time.Now()) {
			t.Errorf("%+v", it)
		}
		if f := got.Faults[0]; f.Ref.ID != "dead" || f.Text != "device is not there" {
			t.Errorf("%+v", f)
		}
		if !strings.HasPrefix(s.asked[0], "<iq type='get' id='q' to='thing@example.org/gw'><req xmlns='urn:xmpp:iot:sensordata' seqnr='") || !strings.Contains(s.asked[0], "all='true'") {
			t.Error(s.asked[0])
		}
	})
}

// Tokens are in the request, and reach the device's decision unchanged.
func Test0323R47R48_Tokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked node.Request
		r := start(t, []node.Node{thermo("room")}, nil, func(c *Config) { c.Access = spy{&asked} })
		defer r.stop()
		s, c := newScript(t)
		s.reply = func(q string) (string, error) {
			r.recv(alice, q)
			return r.out()[0], nil
		}
		_, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary | node.Peak, Nodes: []node.Ref{{ID: "room"}}, Fields: []string{"f"},
			ServiceToken: "s1 s2", DeviceToken: "d", UserToken: "u"})
		if !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
			t.Error(err)
		}
		if asked.ServiceToken != "s1 s2" || asked.DeviceToken != "d" || asked.UserToken != "u" || asked.From != alice || asked.Bare != "alice@example.org" ||
			asked.Types != node.Momentary|node.Peak || len(asked.Nodes) != 1 || asked.Fields[0] != "f" {
			t.Errorf("%+v", asked)
		}
	})
}

type spy struct{ seen *node.Request }

func (s spy) CanRead(_ context.Context, r node.Request) (node.Decision, error) {
	*s.seen = r
	return node.Decision{}, nil
}
func (s spy) CanControl(context.Context, node.Request) (node.Decision, error) {
	return node.Decision{}, errors.New("not asked")
}

// An access that cannot decide denies.
func Test0323R25_UndecidedAccessDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []node.Node{thermo("room")}, nil, func(c *Config) { c.Access = broken{} })
		defer r.stop()
		r.recv(owner1, req("1", "seqnr='1' momentary='true'", ""))
		want(t, r.out(), "<forbidden ")
	})
}

type broken struct{ spy }

func (broken) CanRead(context.Context, node.Request) (node.Decision, error) {
	return node.Everything(), errors.New("the provisioning server is away")
}

func Test0323R25_ClientGetsTheRefusal(t *testing.T) {
	s, c := newScript(t)
	s.reply = func(string) (string, error) {
		return "<iq type='error' id='q'><error type='cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", nil
	}
	_, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary})
	if !errors.Is(err, &xmpp.Error{Condition: xmpp.Forbidden}) {
		t.Error(err)
	}
}

// Every sensordata element that slixmpp and Smack put on the wire goes through
// the parsers, and what they report comes out.
func TestCapturedPeers(t *testing.T) {
	lab := os.Getenv("POSTERN_LAB")
	if lab == "" {
		t.Skip("POSTERN_LAB is not set: captures of other implementations are not at hand")
	}
	items, reqs := 0, 0
	kinds := map[drivers.Kind]int{}
	for _, name := range []string{"wire-slix-prosody-failure.txt", "wire-slix-prosody-threaded-tick.txt", "wire-smack-thing.txt", "wire-smack-reader.txt"} {
		b, err := os.ReadFile(filepath.Join(lab, "captures", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			_, text, ok := strings.Cut(line, ": ")
			if !ok || !strings.HasPrefix(text, "<iq") && !strings.HasPrefix(text, "<message") || !strings.Contains(text, NS) {
				continue
			}
			for k := range parseXML(t, text).Root().Children() {
				switch k.Name() {
				case nameReq:
					_, err := ParseRequest(k, time.UTC, 10)
					if _, ok := seqOf(k); ok != (err == nil) {
						t.Errorf("%v: %s", err, text)
					}
					reqs++
				case nameFields:
					got := ParseFields(nil, k, time.UTC)
					if n := countFields(k); len(got) != n {
						t.Errorf("%d of %d items: %s", len(got), n, text)
					}
					for _, it := range got {
						kinds[it.Value.Kind()]++
						items++
					}
				case nameFailure:
					if f := ParseFailure(nil, k, time.UTC); len(f) != 1 || f[0].Text == "" {
						t.Errorf("%v: %s", f, text)
					}
				}
			}
		}
	}
	t.Logf("%d requests, %d items: %v", reqs, items, kinds)
	if reqs < 10 || items < 50 || kinds[drivers.KindNumber] == 0 || kinds[drivers.KindDuration] == 0 || kinds[drivers.KindInt] == 0 {
		t.Error("the captures hold less than expected")
	}
}

func countFields(c exi.Cursor) (n int) {
	for nd := range c.Children() {
		for ts := range nd.Children() {
			for range ts.Children() {
				n++
			}
		}
	}
	return n
}

// A translated name is for people: what was asked for is found by the name
// itself, whatever the string ids say.
func Test0323R41_NamesAreNotTranslated(t *testing.T) {
	s, c := newScript(t)
	s.reply = func(q string) (string, error) {
		s.send(thing, fieldsMsg(s.seqIn(q), "done='true'", "2026-03-01T00:00:00Z",
			numeric("temperature", "1.5", "momentary='true' stringIds='1' module='texts'")+numeric("1", "2.5", "momentary='true' stringIds='2|texts|temperature'")))
		return accepted(s.seqIn(q)), nil
	}
	res, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary, Fields: []string{"temperature"}})
	if err != nil || len(res.Items) != 1 || res.Items[0].Name != "temperature" || res.Items[0].Value.String() != "1.5" {
		t.Errorf("%+v, %v", res, err)
	}
}

// What belongs to no read-out is for whoever else waits for sensor data.
func TestUnclaimedMessages(t *testing.T) {
	s, c := newScript(t)
	var got []string
	c.cfg.Unclaimed = func(st *xmpp.Stanza) { got = append(got, st.From.String()) }
	s.reply = func(q string) (string, error) {
		s.send("other@example.org/x", fieldsMsg("7", "", "2026-03-01T00:00:00Z", numeric("t", "1", "momentary='true'")))
		s.send(thing, fieldsMsg(s.seqIn(q), "done='true'", "2026-03-01T00:00:00Z", numeric("t", "1", "momentary='true'")))
		return accepted(s.seqIn(q)), nil
	}
	if res, err := c.Read(t.Context(), addr(thing), Request{Types: node.Momentary}); err != nil || len(res.Items) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if len(got) != 1 || got[0] != "other@example.org/x" {
		t.Errorf("%q", got)
	}
}
