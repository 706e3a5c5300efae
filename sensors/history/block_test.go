package history

import (
	"errors"
	"slices"
	"testing"

	"postern/drivers"
	"postern/internal/live"
)

func testSeries() (num, txt *series) {
	return &series{ID: 3, Kind: drivers.KindNumber, Exp: -1}, &series{ID: 70_000, Kind: drivers.KindEnum}
}

func testBlock() []byte {
	num, txt := testSeries()
	times := []int64{1000, 2000, 3001}
	q := []live.Quality{live.AutomaticReadout, live.AutomaticReadout, live.Missing | live.Error}
	return appendBlock(nil, []chunk{
		{num.ID, times, num.appendBody(nil, []int64{5, 6, -7}, q, nil)},
		{txt.ID, times, txt.appendBody(nil, []int64{0, 1, 0}, q, []string{"on", "off"})},
	})
}

func TestBlock(t *testing.T) {
	num, txt := testSeries()
	var b block
	if err := b.read(testBlock(), nil); err != nil {
		t.Fatal(err)
	}
	if b.first != 1000 || b.last != 3001 || b.samples != 6 || len(b.parts) != 2 || len(b.columns) != 1 {
		t.Fatalf("%+v", b)
	}
	var d decoded
	if err := num.readBody(&d, &b, &b.parts[0]); err != nil || !slices.Equal(d.nums, []int64{5, 6, -7}) ||
		!slices.Equal(d.times, []int64{1000, 2000, 3001}) || d.quality[2] != live.Missing|live.Error {
		t.Errorf("%+v %v", d, err)
	}
	if err := txt.readBody(&d, &b, &b.parts[1]); err != nil || txt.at(&d, 1) != drivers.Enum("off") {
		t.Errorf("%+v %v", d, err)
	}
	if err := b.read(testBlock(), func(id uint32) bool { return id == txt.ID }); err != nil || len(b.parts) != 1 || txt.readBody(&d, &b, &b.parts[0]) != nil {
		t.Errorf("%+v", b)
	}
	for n := range testBlock() {
		if err := b.read(testBlock()[:n], nil); !errors.Is(err, errDamaged) {
			t.Errorf("the first %d octets: %v", n, err)
		}
	}
}

// Whatever octets stand in a block, reading it ends with values or an error.
func FuzzBlock(f *testing.F) {
	f.Add(testBlock())
	rs := rows{series: &series{ID: 3, Kind: drivers.KindNumber, Exp: -1}, list: []row{{end: 60_000, count: 2, last: 5, min: 3, max: 9, dev: -2}}}
	f.Add(appendBlock(nil, []chunk{rs.chunk()}))
	f.Fuzz(func(t *testing.T, src []byte) {
		num, txt := testSeries()
		var b block
		if b.read(src, nil) != nil {
			return
		}
		var d decoded
		for i := range b.parts {
			for _, s := range []*series{num, txt} {
				if s.readBody(&d, &b, &b.parts[i]) == nil {
					for k := range d.times {
						_ = s.at(&d, k)
					}
				}
				if rs, err := s.readRows(nil, &b, &b.parts[i]); err == nil && len(rs) == 0 {
					t.Fatal("no rows and no error")
				}
			}
		}
	})
}
