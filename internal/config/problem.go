package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File string
	Line int // from 1; 0 when the problem is not at a place in the file
	Col  int // from 1
	Key  string
	What string // what is wrong
	Fix  string // what is allowed, or what to write instead; may be empty

	// Private marks a line whose text must not be shown, because it holds
	// something that looks like a secret.
	Private bool
}

// String returns file:line:column: key: what is wrong; what to do.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Problems is everything that is wrong with a file, in the order of the file.
// A nil Problems means that nothing is.
type Problems []Problem

// Error returns one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns ps as an error, nil when there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// sorted orders by file and place and drops repetitions.
func (ps Problems) sorted() Problems {
	sort.SliceStable(ps, func(i, j int) bool {
		if ps[i].File != ps[j].File {
			return ps[i].File < ps[j].File
		}
		return ps[i].Line < ps[j].Line || ps[i].Line == ps[j].Line && ps[i].Col < ps[j].Col
	})
	return slices.Compact(ps)
}

// maxProblems bounds the list: nobody reads on after so many.
const maxProblems = 200

// report collects problems of one file.
type report struct {
	file string
	list Problems
}

func (r *report) add(at *node, key, what, fix string) {
	if len(r.list) >= maxProblems {
		return
	}
	p := Problem{File: r.file, Key: key, What: what, Fix: fix}
	if at != nil {
		p.Line, p.Col = at.line, at.col
	}
	r.list = append(r.list, p)
}

// addPrivate is add for a line that must not be shown.
func (r *report) addPrivate(at *node, key, what, fix string) {
	r.add(at, key, what, fix)
	if n := len(r.list); n > 0 {
		r.list[n-1].Private = true
	}
}
