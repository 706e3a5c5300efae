package sensors

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
	"postern/sensors/history"
	"postern/xmpp"
)

// withHistory runs test beside a service that has readings of the node t every
// 30 s from Sunday 23:00:10 to Monday 01:00:40, values 0.0, 0.1 and so on; now
// is Monday 01:01.
func withHistory(t *testing.T, change func(*Config), test func(*rig, *history.History)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		from := time.Date(2000, 1, 2, 23, 0, 10, 0, time.UTC)
		time.Sleep(time.Until(from))
		db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		h, err := history.Open(history.Config{DB: db, Location: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 242 {
			if i == 100 {
				if err := h.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			h.Add(node.Ref{ID: "t"}, "temperature", live.Reading{}, live.Reading{
				Value: drivers.Decimal(drivers.Num(int64(i), -1)), Unit: "°C", Time: time.Now(), Quality: live.AutomaticReadout})
			time.Sleep(30 * time.Second)
		}
		r := start(t, []node.Node{thermo("t"), thermo("u")}, nil, func(c *Config) {
			c.History = h
			if change != nil {
				change(c)
			}
		})
		defer r.stop()
		test(r, h)
	})
}

// past sends a request and returns the fields as "timestamp name value types".
func (r *rig) past(attrs, body string) []string {
	r.t.Helper()
	r.recv(alice, req("1", "seqnr='1' "+attrs, body))
	synctest.Wait()
	out := r.out()
	want(r.t, out[:1], "<accepted … seqnr='1'")
	want(r.t, out[len(out)-1:], "<fields … seqnr='1' … done='true'")
	var all []string
	for _, msg := range out[1:] {
		ts := ""
		for _, m := range elements.FindAllStringSubmatch(msg, -1) {
			if m[1] != "" {
				ts = strings.TrimSuffix(strings.TrimPrefix(m[1], "2000-01-0"), ":00.000Z")
				continue
			}
			types := ""
			for _, h := range historical.FindAllStringSubmatch(m[3], -1) {
				types += " " + h[1]
			}
			all = append(all, ts+" "+m[2]+" "+value.FindStringSubmatch(m[3])[1]+types)
		}
	}
	return all
}

var (
	elements   = regexp.MustCompile(`<timestamp value='([^']*)'|<(?:numeric|long|boolean) name='([^']*)'([^>]*)>`)
	historical = regexp.MustCompile(`historical(\w+)='true'`)
	value      = regexp.MustCompile(` value='([^']*)'`)
)

const tempOnly = "<node nodeId='t'/><field name='temperature'/>"

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// D27: a value has the type of its period and of every coarser one whose
// border the instant lies on. R50: it answers requests for all finer types.
func Test0323R50_PeriodsOfHistoricalValues(t *testing.T) {
	withHistory(t, nil, func(r *rig, _ *history.History) {
		equal(t, r.past("historicalHour='true'", tempOnly),
			"3T00:00 temperature 11.9 Hour Day Week", "3T01:00 temperature 23.9 Hour")
		equal(t, r.past("historicalDay='true'", tempOnly), "3T00:00 temperature 11.9 Day Week")
		equal(t, r.past("historicalWeek='true'", tempOnly), "3T00:00 temperature 11.9 Week")
		equal(t, r.past("historicalMonth='true'", tempOnly))
		got := r.past("historicalSecond='true' from='2000-01-02T23:59:00Z' to='2000-01-03T00:01:00Z'", tempOnly)
		equal(t, got, "2T23:59 temperature 11.7 Minute",
			"3T00:00 temperature 11.9 Minute Hour Day Week", "3T00:01 temperature 12.1 Minute")
	})
}

// R22, D9, D12: readings from from to to, both included, in order.
func Test0323R22_RangeOfReadings(t *testing.T) {
	withHistory(t, nil, func(r *rig, _ *history.History) {
		equal(t, r.past("historicalOther='true' from='2000-01-02T23:59:40.000Z' to='2000-01-03T01:00:40+01:00'", tempOnly),
			"2T23:59:40.000Z temperature 11.9 Other", "3T00:00:10.000Z temperature 12.0 Other", "3T00:00:40.000Z temperature 12.1 Other")
		if got := r.past("historicalOther='true' from='2000-01-03T01:00:11Z'", tempOnly); len(got) != 1 {
			t.Errorf("%q", got)
		}
		// Zone-less times are in the gateway's zone; D29: nothing to tell is no fault.
		equal(t, r.past("historicalOther='true' to='2000-01-02T23:00:10'", tempOnly), "2T23:00:10.000Z temperature 0.0 Other")
		equal(t, r.past("historicalOther='true' to='1999-01-02T23:00:10'", tempOnly))
		equal(t, r.past("historicalOther='true'", "<node nodeId='u'/>"))
	})
}

// D10: the range does not bind momentary values. R14: both come, the present
// first.
func Test0323R14_MomentaryBesideHistory(t *testing.T) {
	withHistory(t, func(c *Config) {
		c.Devices = only("t", temperature("99.5"))
	}, func(r *rig, _ *history.History) {
		got := r.past("momentary='true' historicalDay='true' to='2000-01-03T00:00:00Z'", tempOnly)
		equal(t, got, "3T01:01:10.000Z temperature 99.5", "3T00:00 temperature 11.9 Day Week")
	})
}

// R58: historical stands for the nine types. R52: no name twice at an instant.
// R51: every value has its quality. D17: no message beyond the size.
func Test0323R58R52R51_Everything(t *testing.T) {
	withHistory(t, nil, func(r *rig, _ *history.History) {
		got := r.past("historical='true'", "")
		kinds, seen := map[string]int{}, map[string]bool{}
		for _, line := range got {
			f := strings.Fields(line)
			key := f[0] + strings.Join(f[1:len(f)-1], " ")
			i := strings.IndexAny(strings.TrimPrefix(line, f[0]+" "), "0123456789-")
			name := strings.TrimSpace(strings.TrimPrefix(line, f[0]+" ")[:i])
			kinds[name]++
			if seen[f[0]+name] {
				t.Errorf("twice: %s (%s)", line, key)
			}
			seen[f[0]+name] = true
		}
		for name, n := range map[string]int{
			"temperature": 242 + 121, "temperature, minute mean": 121, "temperature, hour mean": 2, "temperature, hour min": 2,
			"temperature, hour max": 2, "temperature, hour count": 2, "temperature, day mean": 1, "temperature, week mean": 1, "temperature, month mean": 0,
		} {
			if kinds[name] != n {
				t.Errorf("%s: %d values, want %d", name, kinds[name], n)
			}
		}
		r.recv(alice, req("2", "seqnr='2' historical='1'", ""))
		synctest.Wait()
		var msgs int
		for _, m := range r.out() {
			if len(m) > 12_000 {
				t.Errorf("a message of %d octets", len(m))
			}
			msgs += strings.Count(m, "<fields")
			if n, q := strings.Count(m, "<numeric")+strings.Count(m, "<long"), strings.Count(m, "automaticReadout='true'"); n != q {
				t.Errorf("%d values, %d with quality", n, q)
			}
		}
		if msgs < 10 {
			t.Errorf("%d messages", msgs)
		}
	})
}

// R17, R57: names are hints; those of sums have to be asked for when any are.
func Test0323R57_NamesOfPeriodSums(t *testing.T) {
	withHistory(t, nil, func(r *rig, _ *history.History) {
		equal(t, r.past("historicalDay='true'", "<field name='temperature, day max'/><field name='temperature, week mean'/>"),
			"3T00:00 temperature, day max 11.9 Day", "3T00:00 temperature, week mean 5.95 Week")
		equal(t, r.past("historicalDay='true'", "<field name='humidity'/>"))
	})
}

// R20, R46: what may not be read is not sent, whatever the request says.
func Test0323R20_RightsNarrowHistory(t *testing.T) {
	withHistory(t, func(c *Config) {
		a, err := node.NewAllowList(nil, []node.Grant{
			{JID: "alice@example.org", Read: true, Scope: node.Scope{Types: node.HistoricalDay}},
			{JID: "bob@example.org", Read: true, Scope: node.Scope{Types: node.Momentary}}})
		if err != nil {
			t.Fatal(err)
		}
		c.Access = a
	}, func(r *rig, _ *history.History) {
		equal(t, r.past("all='true'", tempOnly), "3T00:00 temperature 11.9 Day Week")
		r.recv(bob, req("1", "seqnr='1' historical='true'", ""))
		synctest.Wait()
		want(t, r.out(), "type='error' … <forbidden")
	})
}

// R20, R23: peaks are today's, at the time when they were, and nothing else
// comes with them. D10: a range does not bind them.
func Test0323R20R23_Peaks(t *testing.T) {
	withHistory(t, nil, func(r *rig, _ *history.History) {
		got := r.past("peak='true' to='1999-01-01T00:00:00Z'", "<node nodeId='t'/>")
		equal(t, got, "3T00:00:10.000Z temperature, peak min 12.0", "3T01:00:40.000Z temperature, peak max 24.1")
		equal(t, r.past("peak='true'", "<field name='temperature, peak max'/>"), "3T01:00:40.000Z temperature, peak max 24.1")
	})
}

// Limits: what is beyond them is told, and the read-out ends as it should.
func Test0323R15_LimitOfValues(t *testing.T) {
	withHistory(t, func(c *Config) { c.Limits.Values = 50 }, func(r *rig, _ *history.History) {
		r.recv(alice, req("1", "seqnr='1' historicalOther='true'", tempOnly))
		synctest.Wait()
		out := r.out()
		all := strings.Join(out, "")
		if n := strings.Count(all, "<numeric"); n < 50 || n > 60 {
			t.Errorf("%d values", n)
		}
		want(t, out[len(out)-2:], "<failure … more than 50 values", "done='true'")
		if n := strings.Count(all, "done='true'"); n != 1 {
			t.Errorf("%d end markers", n)
		}
	})
}

// D25: a cancelled read-out sends nothing more, no end marker either.
func Test0323D25_CancelWhileHistoryIsSent(t *testing.T) {
	withHistory(t, nil, func(r *rig, h *history.History) {
		for i := range 20_000 {
			h.Add(node.Ref{ID: "t"}, "temperature", live.Reading{}, live.Reading{
				Value: drivers.Int(int32(i)), Time: time.Now().Add(-time.Hour + time.Duration(i)*time.Millisecond), Quality: live.AutomaticReadout})
		}
		cancelled := false
		r.onSend = func(st *xmpp.Stanza) {
			if !cancelled && strings.Contains(render(t, st), "<numeric") {
				cancelled = true
				go r.recv(alice, "<iq type='get' id='c'><cancel xmlns='urn:xmpp:iot:sensordata' seqnr='1'/></iq>")
				time.Sleep(time.Millisecond) // the cancellation overtakes the rest
			}
		}
		r.recv(alice, req("1", "seqnr='1' historicalOther='true'", tempOnly))
		synctest.Wait()
		time.Sleep(time.Second)
		all := strings.Join(r.out(), "\n")
		if !strings.Contains(all, "<cancelled") || strings.Contains(all, "done='true'") {
			t.Errorf("cancelled %v, done %v", strings.Contains(all, "<cancelled"), strings.Contains(all, "done='true'"))
		}
		if n := strings.Count(all, "<numeric"); n > 2*maxItems {
			t.Errorf("%d values after all", n)
		}
		r.onSend = nil
		// The same number may be used again at once (R04).
		if got := r.past("historicalDay='true'", tempOnly); len(got) != 1 {
			t.Error(fmt.Sprint(got))
		}
	})
}

// Of two values of one name and instant the more important one stays, with the
// types of both (0323-D20).
func Test0323R32R52_MoreImportantStays(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	item := func(v int32, q live.Quality, types node.Types) Item {
		return Item{Ref: node.Ref{ID: "n"}, Name: "x", Time: at, Value: drivers.Int(v), Quality: q, Types: types}
	}
	for _, pair := range [][2]Item{
		{item(1, live.AutomaticReadout, node.HistoricalOther), item(2, live.AutomaticEstimate, node.HistoricalHour)},
		{item(2, live.AutomaticEstimate, node.HistoricalOther), item(1, live.AutomaticReadout, node.HistoricalHour)},
		{item(1, live.Signed, node.HistoricalOther), item(2, live.AutomaticReadout, node.HistoricalHour)},
		{item(2, live.Signed, node.HistoricalOther), item(1, live.Invoiced, node.HistoricalHour)},
	} {
		o := &outgoing{}
		o.once(pair[0])
		o.once(pair[1])
		if got := o.rep.items; len(got) != 1 || got[0].Value.String() != "1" || got[0].Types != node.HistoricalOther|node.HistoricalHour {
			t.Errorf("%+v", got)
		}
	}
}
