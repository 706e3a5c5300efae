package registry

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"postern/provisioning"
)

// TestLoad fills the service with POSTERN_THINGS things (100,000 for the
// figures in the documentation; 5,000 otherwise) and measures searches.
func TestLoad(t *testing.T) {
	n := 5000
	if s := os.Getenv("POSTERN_THINGS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	db := newKept(t).open()
	s, err := New(Config{Domain: domain, Store: db})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i := 0; i < n; i += 10_000 {
		err = db.Update(func(tx Tx) error {
			for j := i; j < min(n, i+10_000); j++ {
				r := record{JID: fmt.Sprintf("thing%06d@site.example", j), Owner: fmt.Sprintf("owner%d@site.example", j%100), Claimed: time.Unix(int64(1_700_000_000+j), 0).UTC(), Tags: []provisioning.Tag{
					{Name: "SN", Value: strconv.Itoa(j)}, {Name: "MAN", Value: "maker.example"}, {Name: "MODEL", Value: "M" + strconv.Itoa(j%50)}, {Name: "CITY", Value: "City" + strconv.Itoa(j%500)},
					{Name: "ROOM", Value: strconv.Itoa(j % 1000)}, {Name: "V", Numeric: true, Value: "1." + strconv.Itoa(j%10)}, {Name: "LAT", Numeric: true, Value: fmt.Sprintf("%.4f", float64(j)/1000)}, {Name: "LON", Numeric: true, Value: "18.07"}}}
				r.Claim = s.claimDigest(r.Tags)
				if err := thingBucket.Put(tx, r.key(), r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	filled := time.Since(start)
	before := heap()
	start = time.Now()
	if s, err = New(Config{Domain: domain, Store: db}); err != nil {
		t.Fatal(err)
	}
	loaded := time.Since(start)
	used := heap() - before
	searches := map[string]provisioning.Search{
		"one of all":     {Ops: []provisioning.Op{{Tag: "SN", Value: strconv.Itoa(n - 1)}}},
		"by model, page": {Ops: []provisioning.Op{{Tag: "MODEL", Value: "M7"}, {Tag: "CITY", Compare: provisioning.Mask, Value: "City*", Wildcard: "*"}}},
		"last page":      {Offset: n - 60, Ops: []provisioning.Op{{Tag: "MAN", Value: "maker.example"}}},
		"a region":       {Ops: []provisioning.Op{{Tag: "LAT", Numeric: true, Compare: provisioning.Range, Min: "4", Max: "4.5"}, {Tag: "V", Numeric: true, Compare: provisioning.GtEq, Value: "1.9"}}},
		"nothing":        {Ops: []provisioning.Op{{Tag: "NONE", Compare: provisioning.NEq, Value: "x"}}},
	}
	t.Logf("%d things: filled in %v, loaded in %v, %d octets of heap each", n, filled, loaded, used/n)
	for name, q := range searches {
		var took []time.Duration
		hits := 0
		for range 21 {
			start := time.Now()
			f := s.find(q)
			took = append(took, time.Since(start))
			hits = len(f.Things)
		}
		slices.Sort(took)
		t.Logf("%s: %d hits on the page, median %v, longest %v", name, hits, took[10], took[20])
		if took[10] > 50*time.Millisecond {
			t.Errorf("%s takes %v", name, took[10])
		}
		if (hits == 0) != (name == "nothing") {
			t.Errorf("%s: %d hits", name, hits)
		}
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
