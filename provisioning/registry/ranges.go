package registry

import "postern/provisioning"

func withRange(rules []*Rule) (n int) {
	for _, r := range rules {
		if r.Range != nil {
			n++
		}
	}
	return n
}

// rangedCell decides about one node and parameter where rules have ranges. A
// rule decides about the values in its range that no rule before it decided
// about. Types are all or none: got where some value is allowed, and rest where
// no rule says anything.
func rangedCell(app []*Rule, n provisioning.Ref, name string, used map[*Rule]bool) (v provisioning.Values, got, rest provisioning.Types) {
	v, rest = provisioning.Values{Limited: true}, provisioning.AllTypes
	var left provisioning.Values // all
	for _, r := range app {
		if !r.covers(n, name) {
			continue
		}
		rest = 0
		var about provisioning.Values
		if r.Range != nil {
			about = r.Range.Values()
		}
		if part := left.Intersect(about); !r.Deny && !part.Empty() {
			v, got = v.Union(part), provisioning.AllTypes
			used[r] = true
		}
		if left = left.Without(about); left.Empty() {
			break
		}
	}
	return v, got, rest
}

// limits returns what a rectangle of parameters may be set to: an answer can
// say that by parameter, not by node, so it is what all rows allow. Columns of
// which nothing is left are taken away, and rows where no column would be left.
func (b *box) limits(rows, cols []int, openNodes, openNames bool) ([]int, []int, []provisioning.ParameterValues) {
	for len(rows) > 0 {
		var left []int
		var common []provisioning.Values
		for _, j := range cols {
			var v provisioning.Values
			for _, i := range rows {
				v = v.Intersect(b.values[i*len(b.names)+j])
			}
			if !v.Empty() {
				left, common = append(left, j), append(common, v)
			}
		}
		if openNames && len(left) > 0 && left[0] == 0 && len(left) < len(b.names) {
			left, common = left[1:], common[1:]
		}
		if len(left) > 0 {
			if list, ok := b.listed(left, common, openNames); ok {
				return rows, left, list
			}
			return nil, nil, nil
		}
		rows = rows[:len(rows)-1]
		if openNodes && len(rows) > 0 && rows[0] == 0 {
			rows = rows[1:]
		}
	}
	return nil, nil, nil
}

// listed names the parameters that have limits; ok is false for more than an
// answer holds. Where whatever is not named has one, all are named.
func (b *box) listed(cols []int, values []provisioning.Values, openNames bool) (list []provisioning.ParameterValues, ok bool) {
	all := openNames && cols[0] == 0 && values[0].Limited
	n := 0
	for k, j := range cols {
		if all || values[k].Limited {
			list = append(list, provisioning.ParameterValues{Name: b.names[j], Values: values[k]})
			n += 1 + max(1, len(values[k].Ranges))
		}
	}
	return list, n <= provisioning.MaxRanges
}
