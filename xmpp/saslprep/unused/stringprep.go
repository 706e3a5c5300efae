// Package stringprep stands in the place of the module of that name, which
// github.com/xdg-go/scram imports for a function that Postern does not call:
// its start-up code alone is 0.3 MiB of binary. Names and passwords are
// prepared by postern/xmpp/saslprep before scram gets them.
package stringprep

import "errors"

// Profile prepares nothing.
type Profile struct{}

// SASLprep is what scram's NewClient calls.
var SASLprep Profile

// Prepare fails, so that nothing is left unprepared by mistake.
func (Profile) Prepare(string) (string, error) {
	return "", errors.New("stringprep: not in this build; prepare by postern/xmpp/saslprep and use NewClientUnprepped")
}
