package registry

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"postern/provisioning"
	"postern/xmpp"
)

// An hour of guessing claim codes with every account of a domain, at the
// default limits, against many things: what is looked at is bounded, whatever
// the number of accounts. docs/security.md has the figures.
func TestGuessingClaimCodesIsBounded(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MinKeyBits = 0 })
	l.ok(thing, "<register><str name='SN' value='4711'/><str name='KEY' value='"+provisioning.NewKey()+"'/></register>", "")
	const accounts, step = 150, 30 * time.Second
	looked, refused, last := 0, 0, 0
	for at := time.Duration(0); at < time.Hour; at += step {
		before := looked
		for i := range accounts {
			_, err := l.set(fmt.Sprintf("guesser%d@c.example/x", i), "<mine><str name='SN' value='4711'/><str name='KEY' value='"+provisioning.NewKey()+"'/></mine>")
			switch xmpp.AsError(err).Condition {
			case xmpp.ItemNotFound:
				looked++
			case xmpp.ResourceConstraint:
				refused++
			default:
				t.Fatalf("a guess is answered by %v", err)
			}
		}
		last = looked - before
		l.pass(step)
	}
	perMinute := last * int(time.Minute/step)
	if perMinute != 100 || looked > 60*perMinute+100 || looked+refused != accounts*int(time.Hour/step) {
		t.Errorf("%d guesses were looked at and %d refused; %d in the last minute", looked, refused, perMinute)
	}
	// Others are not kept from claiming by that.
	l.fails(owner, "<mine><str name='SN' value='1'/><str name='KEY' value='x'/></mine>", xmpp.ItemNotFound)

	years := func(bits float64) string {
		y := math.Exp2(bits-1) / (float64(perMinute) * 60 * 24 * 365.25)
		e := math.Floor(math.Log10(y))
		return fmt.Sprintf("%.1f × 10^%.0f", y/math.Pow(10, e), e)
	}
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("%d guesses a minute", perMinute), years(160) + " years", years(64) + " years"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/security.md does not say %q", want)
		}
	}
	if bits := provisioning.KeyBits([]provisioning.Tag{{Name: "KEY", Value: provisioning.NewKey()}}); bits < 160 {
		t.Errorf("a KEY is estimated at %.0f bits", bits)
	}
}
