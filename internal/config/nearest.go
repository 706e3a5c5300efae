package config

import (
	"strconv"
	"strings"
)

// Nearest returns the candidate that is most likely meant by s, or "" when
// none is close: at most one edit for three letters, upper and lower case
// being the same and hyphens being underscores. Of equally near ones the first
// wins.
func Nearest(s string, candidates []string) string {
	best, bestDist := "", len(s)/3+2
	if len(s) > 64 {
		return ""
	}
	a := fold(s)
	for _, c := range candidates {
		if len(c) > 64 {
			continue
		}
		b := fold(c)
		d := distance(a, b)
		if d > 1 && len(a) >= 3 && len(b) >= 3 && (strings.HasPrefix(b, a) || strings.HasPrefix(a, b)) {
			d = 1 // "addr" means "address"
		}
		if d < bestDist && d <= max(len(a), len(b))/3 {
			best, bestDist = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// suggest words the fix for an unknown word out of a closed list.
func suggest(s string, candidates []string) string {
	if n := Nearest(s, candidates); n != "" {
		if len(candidates) == 1 || len(candidates) > 8 {
			return "did you mean " + n + "?"
		}
		return "did you mean " + n + "? Allowed: " + listing(candidates)
	}
	if len(candidates) == 0 {
		return "nothing is allowed here"
	}
	return "allowed: " + listing(candidates)
}

// listing joins words and cuts long lists.
func listing(words []string) string {
	const most = 24
	if len(words) > most {
		return strings.Join(words[:most], ", ") + " and " + strconv.Itoa(len(words)-most) + " more"
	}
	return strings.Join(words, ", ")
}
