package gateway

import (
	"strings"
	"testing"
)

func TestAddressesOfTheConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"owner@site.example":   "",
		"site.example":         "",
		"owner@site..example":  "a dot too many",
		"owner@site.example/r": "leave out /r",
		"owner@":               "name@domain",
	} {
		err := checkBareJID(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
