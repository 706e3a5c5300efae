package history

import (
	"slices"
	"sort"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
)

// field names what a reader asks for.
type field struct {
	ref  node.Ref
	name string
}

// series is a run of values of one field that share kind, unit and exponent.
type series struct {
	ID   uint32
	Node node.Ref
	Name string
	Kind drivers.Kind
	Unit string `json:",omitempty"`
	Exp  int32  `json:",omitempty"`
	// MaxAge is for how long a reading stood for the present when the series
	// began: a longer silence is a gap. 0: as long as nothing else comes.
	MaxAge time.Duration `json:",omitempty"`
}

func (s *series) field() field { return field{s.Node, s.Name} }

// pending are samples of one series that are not committed yet.
type pending struct {
	series  *series
	times   []int64 // ms since 1970, in the order in which they came
	nums    []int64
	quality []live.Quality
	texts   texts
}

func (p *pending) add(ms int64, v drivers.Value, q live.Quality) {
	n := int64(0)
	if isText(p.series.Kind) {
		n = p.texts.number(text(v))
	} else {
		n = number(v)
	}
	p.times, p.nums, p.quality = append(p.times, ms), append(p.nums, n), append(p.quality, q)
}

// take appends samples from..to of another pending of the same series.
func (p *pending) take(o *pending, from, to int) {
	p.times = append(p.times, o.times[from:to]...)
	p.quality = append(p.quality, o.quality[from:to]...)
	if !isText(p.series.Kind) {
		p.nums = append(p.nums, o.nums[from:to]...)
		return
	}
	for _, n := range o.nums[from:to] {
		p.nums = append(p.nums, p.texts.number(o.texts.list[n]))
	}
}

// dropFirst forgets the n oldest samples.
func (p *pending) dropFirst(n int) {
	p.times, p.nums, p.quality = slices.Delete(p.times, 0, n), slices.Delete(p.nums, 0, n), slices.Delete(p.quality, 0, n)
}

// sort puts the samples in the order of their times: the clock may have been
// set back.
func (p *pending) sort() {
	if !slices.IsSorted(p.times) {
		sort.Stable((*byTime)(p))
	}
}

type byTime pending

func (p *byTime) Len() int           { return len(p.times) }
func (p *byTime) Less(i, j int) bool { return p.times[i] < p.times[j] }
func (p *byTime) Swap(i, j int) {
	p.times[i], p.times[j] = p.times[j], p.times[i]
	p.nums[i], p.nums[j] = p.nums[j], p.nums[i]
	p.quality[i], p.quality[j] = p.quality[j], p.quality[i]
}

// group is what one commit takes, by series.
type group map[uint32]*pending

func (g group) of(s *series) *pending {
	p := g[s.ID]
	if p == nil {
		p = &pending{series: s}
		g[s.ID] = p
	}
	return p
}

func (g group) ids() []uint32 {
	ids := make([]uint32, 0, len(g))
	for id := range g {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// blocks turns the group into blocks none of which crosses the border of an
// hour: cut returns the end of the hour that an instant lies in.
func (g group) blocks(cut func(ms int64) int64) [][]byte {
	chunks := make(map[int64][]chunk) // by the end of their hour
	for _, id := range g.ids() {
		p := g[id]
		p.sort()
		for from := 0; from < len(p.times); {
			end := cut(p.times[from])
			to := from
			for to < len(p.times) && p.times[to] < end && to-from < chunkMost {
				to++
			}
			chunks[end] = append(chunks[end], p.chunk(from, to))
			from = to
		}
	}
	var out [][]byte
	for _, cs := range chunks {
		out = append(out, appendBlock(nil, cs))
	}
	return out
}

func (p *pending) chunk(from, to int) chunk {
	q := pending{series: p.series}
	q.take(p, from, to)
	return chunk{p.series.ID, q.times, p.series.appendBody(nil, q.nums, q.quality, q.texts.list)}
}
