// Package saslprep prepares user names and passwords for SASL (RFC 4013, a
// profile of RFC 3454), as strings that are stored: what Unicode 3.2 does not
// assign is refused.
package saslprep

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Prepare returns s in the form in which SASL compares it. The error names the
// character that must not be there.
func Prepare(s string) (string, error) {
	if printable(s) {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", errors.New("it is not UTF-8")
	}
	var odd rune = -1
	mapped := strings.Map(func(r rune) rune { // RFC 4013 §2.1
		switch {
		case spaces.has(r):
			return ' '
		case ignored.has(r):
			return -1
		case odd < 0 && unassigned.has(r): // before newer rules can decompose it
			odd = r
		}
		return r
	}, s)
	if odd >= 0 {
		return "", fmt.Errorf("%U is no character of Unicode 3.2", odd)
	}
	s = norm.NFKC.String(mapped) // §2.2
	for _, r := range s {
		if prohibited.has(r) || unassigned.has(r) { // §2.3, §2.5
			return "", fmt.Errorf("%U is not allowed", r)
		}
	}
	return s, checkDirection(s)
}

// printable reports whether s is printable US-ASCII, which stays as it is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// checkDirection: a string with writing from right to left has none from left
// to right, and begins and ends with it (RFC 3454 §6).
func checkDirection(s string) error {
	if !strings.ContainsFunc(s, randAL.has) {
		return nil
	}
	if i := strings.IndexFunc(s, left.has); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Errorf("%U is written from left to right, others from right to left", r)
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if !randAL.has(first) || !randAL.has(last) {
		return errors.New("writing from right to left must be at its beginning and its end")
	}
	return nil
}

// table holds ranges of code points in order, first and last of each.
type table [][2]rune

func (t table) has(r rune) bool {
	i := sort.Search(len(t), func(i int) bool { return t[i][1] >= r })
	return i < len(t) && t[i][0] <= r
}
