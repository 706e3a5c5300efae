package gpio

import (
	"regexp"
	"strings"
)

var headerName = regexp.MustCompile(`^(?i:(?:pin|gpio) ?[0-9]{1,3})$`)

// HeaderName tells whether a name is one of a board's header ("pin 11",
// "GPIO17"), which only the board can turn into a line of a chip.
func HeaderName(s string) bool { return headerName.MatchString(s) }

// CheckLine checks a name of a line as configurations have it: what ParseRef
// reads, or a name of the header.
func CheckLine(s string) error {
	if HeaderName(strings.TrimSpace(s)) {
		return nil
	}
	_, err := ParseRef(s)
	return err
}
