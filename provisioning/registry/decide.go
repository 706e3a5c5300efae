package registry

import (
	"math/bits"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
)

// decision is an answer and where it came from.
type decision struct {
	provisioning.Answer
	once    []string // rules that end with it
	unknown bool     // no rule says anything about a part of the request
	// blind: rules allow some values of a parameter, which the device would not
	// understand.
	blind bool
}

// other stands for whatever a request without a list means beside what the
// rules name.
const other = ""

// maxCells bounds a request without lists times the rules' names, and
// maxRangeWork the work with ranges of values: all of these once more, times the
// square of the rules with a range.
const (
	maxCells     = 1 << 18
	maxRangeWork = 1 << 24
)

// decide answers a question by rules. An answer allows all combinations of its
// lists, and what the rules allow is not always such a rectangle: then the
// answer is the largest one found within, never more. A request for one node,
// one name and one type is answered exactly. The requester is who it is by its
// address and by each of the tokens, which were proven: what one of them is
// allowed is allowed (0324-R20).
func decide(rules []Rule, q provisioning.Question, tokens []string, now time.Time) (d decision) {
	action := Read
	if q.Control {
		action = Control
	}
	who := [][]*Rule{applicable(rules, q.JID, action, now)}
	app := who[0]
	for _, t := range tokens {
		if more := ofToken(rules, t, action, now); len(more) > 0 {
			who, app = append(who, more), append(app[:len(app):len(app)], more...)
		}
	}
	d.Answer.Question = provisioning.Question{Control: q.Control, JID: q.JID}
	asked := q.Types
	if asked == 0 || q.Control {
		asked = provisioning.AllTypes
	}
	nodes, names := universe(q, app)
	ranged := withRange(app)
	if len(nodes)*len(names) > maxCells || len(nodes)*len(names)*ranged*ranged > maxRangeWork {
		return d
	}
	used := make(map[*Rule]bool)
	b := box{nodes: nodes, names: names, cells: make([]provisioning.Types, 0, len(nodes)*len(names))}
	for _, n := range nodes {
		for _, f := range names {
			var t provisioning.Types
			left := asked
			values := provisioning.Values{Limited: true}
			for _, rules := range who {
				var got, rest provisioning.Types
				if ranged == 0 {
					got, rest = cell(rules, n, f, asked, used)
				} else {
					var v provisioning.Values
					v, got, rest = rangedCell(rules, n, f, used)
					values = values.Union(v)
				}
				t, left = t|got, left&rest
			}
			d.unknown = d.unknown || left != 0
			if ranged > 0 {
				if values.Limited && !q.Ranges { // it would take it for every value
					d.blind = d.blind || t != 0
					t = 0
				}
				b.values = append(b.values, values)
			}
			b.cells = append(b.cells, t)
		}
	}
	rows, cols, types := b.best(len(q.Nodes) == 0, len(q.Names) == 0)
	if ranged > 0 {
		rows, cols, d.Values = b.limits(rows, cols, len(q.Nodes) == 0, len(q.Names) == 0)
	}
	if d.Result = types != 0 && len(rows) > 0; !d.Result {
		return d
	}
	if len(rows) < len(nodes) {
		for _, i := range rows {
			d.Nodes = append(d.Nodes, nodes[i])
		}
	}
	if len(cols) < len(names) {
		for _, i := range cols {
			d.Names = append(d.Names, names[i])
		}
	}
	if types != asked && !q.Control {
		d.Types = types
	}
	for r := range used {
		if r.Once {
			d.once = append(d.once, r.ID)
		}
	}
	return d
}

// universe returns the nodes and names that a request is about. Without a
// list these are those that rules name, and all others.
func universe(q provisioning.Question, app []*Rule) (nodes []provisioning.Ref, names []string) {
	nodes, names = slices.Clone(q.Nodes), slices.Clone(q.Names)
	if len(nodes) == 0 {
		nodes = append(nodes, provisioning.Ref{})
		for _, r := range app {
			for _, n := range r.Nodes {
				if !slices.Contains(nodes, n) {
					nodes = append(nodes, n)
				}
			}
		}
	}
	if len(names) == 0 {
		names = append(names, other)
		for _, r := range app {
			for _, n := range r.Names {
				if !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	return nodes, names
}

// cell decides about one node and name: the allowed types, and those that no
// rule speaks about.
func cell(app []*Rule, n provisioning.Ref, name string, asked provisioning.Types, used map[*Rule]bool) (got, rest provisioning.Types) {
	rest = asked
	for _, r := range app {
		t := rest
		if r.Types != 0 {
			t &= r.Types
		}
		if t == 0 || !r.covers(n, name) {
			continue
		}
		if !r.Deny {
			got |= t
			used[r] = true
		}
		if rest &^= t; rest == 0 {
			break
		}
	}
	return got, rest
}

// covers reports whether a rule speaks about a node and a name. The node may
// be a pattern itself, meaning every match: a permission must then cover all
// of it, a prohibition any of it.
func (r *Rule) covers(n provisioning.Ref, name string) bool {
	if len(r.Names) > 0 && !slices.Contains(r.Names, name) {
		return false
	}
	if len(r.Nodes) == 0 {
		return true
	}
	for _, p := range r.Nodes {
		if p.Matches(n) || r.Deny && n.Matches(p) {
			return true
		}
	}
	return false
}

// box is a table of allowed types by node and name, and of allowed values where
// rules have ranges.
type box struct {
	nodes  []provisioning.Ref
	names  []string
	cells  []provisioning.Types
	values []provisioning.Values
}

// best returns a large rectangle of allowed cells. Where a request had no
// list, "all others" can be said only by leaving the list out: such a row or
// column counts only if all of them are in the rectangle.
func (b *box) best(openNodes, openNames bool) (rows, cols []int, t provisioning.Types) {
	useRow := make([]bool, len(b.nodes))
	useCol := make([]bool, len(b.names))
	for i := range useRow {
		useRow[i] = true
	}
	for i := range useCol {
		useCol[i] = true
	}
	for range 3 {
		rows, cols, t = b.largest(useRow, useCol)
		again := false
		if openNodes && len(rows) > 0 && rows[0] == 0 && len(rows) < len(b.nodes) {
			useRow[0], again = false, true
		}
		if openNames && len(cols) > 0 && cols[0] == 0 && len(cols) < len(b.names) {
			useCol[0], again = false, true
		}
		if !again {
			return rows, cols, t
		}
	}
	return nil, nil, 0
}

// Bounds of the search for a rectangle.
const (
	maxMasks    = 24
	maxPatterns = 64
)

// largest tries, for the sets of types that occur and their intersections,
// the rows' sets of names: the rectangle of all rows that have at least those.
// When the allowed cells form a rectangle, this finds it.
func (b *box) largest(useRow, useCol []bool) (rows, cols []int, types provisioning.Types) {
	score := 0
	words := (len(b.names) + 63) / 64
	have := make([][]uint64, len(b.nodes))
	for _, mask := range b.masks(useRow, useCol) {
		var patterns [][]uint64
		for i := range b.nodes {
			have[i] = nil
			if !useRow[i] {
				continue
			}
			row := make([]uint64, words)
			for j := range b.names {
				if useCol[j] && b.cells[i*len(b.names)+j]&mask == mask {
					row[j/64] |= 1 << (j % 64)
				}
			}
			have[i] = row
			if len(patterns) < maxPatterns && !slices.ContainsFunc(patterns, func(p []uint64) bool { return slices.Equal(p, row) }) {
				patterns = append(patterns, row)
			}
		}
		for _, p := range patterns {
			var in []int
			for i, row := range have {
				if row != nil && contains(row, p) {
					in = append(in, i)
				}
			}
			if n := len(in) * count(p) * bits.OnesCount16(uint16(mask)); n > score {
				score, rows, cols, types = n, in, members(p), mask
			}
		}
	}
	return rows, cols, types
}

func (b *box) masks(useRow, useCol []bool) (list []provisioning.Types) {
	add := func(t provisioning.Types) {
		if t != 0 && len(list) < maxMasks && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	for i, t := range b.cells {
		if useRow[i/len(b.names)] && useCol[i%len(b.names)] {
			add(t)
		}
	}
	for i := range len(list) {
		for j := range i {
			add(list[i] & list[j])
		}
	}
	return list
}

func contains(row, p []uint64) bool {
	for i := range p {
		if row[i]&p[i] != p[i] {
			return false
		}
	}
	return true
}

func count(p []uint64) (n int) {
	for _, w := range p {
		n += bits.OnesCount64(w)
	}
	return n
}

func members(p []uint64) (list []int) {
	for i, w := range p {
		for ; w != 0; w &= w - 1 {
			list = append(list, i*64+bits.TrailingZeros64(w))
		}
	}
	return list
}

// May answers "may somebody do this?" as the device would be answered, for
// operators; nothing is asked or used up.
func (s *Server) May(device string, q provisioning.Question) provisioning.Answer {
	d := s.answerFor(address(device), q, s.valid(s.cfg.Now(), q.ServiceToken, q.DeviceToken, q.UserToken))
	return d.Answer
}

// answerFor decides for a device. Its owner may do everything.
func (s *Server) answerFor(device jid.JID, q provisioning.Question, tokens []string) decision {
	bare := device.Bare().String()
	if s.ownsAll(bare, q) {
		return decision{Answer: provisioning.Answer{Question: provisioning.Question{Control: q.Control, JID: q.JID}, Result: true}}
	}
	s.mu.RLock()
	rules := s.rules[bare]
	s.mu.RUnlock()
	return decide(rules, q, tokens, s.cfg.Now())
}

func (s *Server) ownsAll(device string, q provisioning.Question) bool {
	who := q.JID.Bare().String()
	if len(q.Nodes) == 0 {
		return s.owner(device, provisioning.Ref{}) == who
	}
	for _, n := range q.Nodes {
		if s.owner(device, n) != who {
			return false
		}
	}
	return true
}
