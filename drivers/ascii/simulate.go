package ascii

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Simulate returns an instrument that says what the configuration expects: for
// each value a line that its pattern takes, with a number that drifts. It
// returns an error where no such line is found.
func Simulate(cfg Config) (*serial.Sim, error) {
	fields, err := cfg.compile()
	if err != nil {
		return nil, fmt.Errorf("ascii: %w", err)
	}
	for often := range 2 {
		var says func(time.Time) []byte
		if says, err = cfg.says(fields, often); err == nil {
			sim := serial.NewSim(says)
			sim.Asked = cfg.Request
			return sim, nil
		}
	}
	return nil, fmt.Errorf("ascii: %w", err)
}

// says returns what the instrument says, with what patterns leave open as often
// as that.
func (c Config) says(fields []field, often int) (func(time.Time) []byte, error) {
	var problems []error
	scripts := make([]script, len(fields))
	for i, f := range fields {
		var err error
		if scripts[i], err = f.script(i, often); err != nil {
			problems = append(problems, fmt.Errorf("values[%d] %s: %w", i, f.Name, err))
		}
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	says := func(now time.Time) []byte {
		var out []byte
		for _, s := range scripts {
			line := s.before + s.value(now) + s.after
			if c.Checksum == "nmea" {
				line = serial.NMEA(line)
			}
			out = append(append(out, line...), c.End...)
		}
		return out
	}
	return says, c.understands(fields, string(says(time.Now())))
}

// understands tells whether the driver finds every value in what is said: the
// line of one value may be taken for that of another.
func (c Config) understands(fields []field, said string) error {
	samples := make([]drivers.Sample, len(fields))
	for _, line := range strings.Split(said, c.End) {
		_, _ = c.take(serial.Trim(line), fields, samples) // a line without the value shows below
	}
	for i, f := range fields {
		if samples[i].Channel == "" || samples[i].Err != nil {
			return fmt.Errorf("values[%d] %s: no line is found that its pattern takes and the others do not", i, f.Name)
		}
	}
	return nil
}

// script is what the instrument says of one value.
type script struct {
	often         int // how often to write what may be left out
	before, after string
	value         func(now time.Time) string
}

// forms are ways to write a number, the usual first.
var forms = []string{"%.2f", "%+.2f", "%.1f", "%+.1f", "%.3f", "%+.3f", "%.0f", "%+.0f", "%04.1f", "%05.1f", "%06.2f", "%07.2f", "%08.3f", "%.2e", "%+.2E"}

// script finds a text that the pattern takes.
func (f field) script(i, often int) (script, error) {
	re, err := syntax.Parse(f.Pattern, syntax.Perl)
	if err != nil {
		return script{}, err
	}
	s := script{often: often}
	group := s.halves(re)
	if group == nil {
		return s, errors.New("no text is found that its pattern takes")
	}
	drift := drivers.Drift{Base: 21.5, Amplitude: 3, Period: 10 * time.Minute, Phase: float64(i%7) / 7}
	fits := func(of func(x float64) string) bool {
		for x := drift.Base - drift.Amplitude; x <= drift.Base+drift.Amplitude; x++ {
			m := f.re.FindStringSubmatch(serial.Trim(s.before + of(x) + s.after))
			if m == nil || m[1] != of(x) {
				return false
			}
		}
		return true
	}
	var ways []func(x float64) string
	switch f.Type {
	case "number":
		for _, form := range forms {
			ways = append(ways, func(x float64) string { return fmt.Sprintf(form, x) })
		}
	case "hex":
		for _, form := range []string{"%X", "%x", "%02X", "%04X", "%04x", "%08X"} {
			ways = append(ways, func(x float64) string { return fmt.Sprintf(form, int(x)) })
		}
	}
	for _, text := range []string{s.text(group), "OK"} {
		ways = append(ways, func(float64) string { return text })
	}
	for _, way := range ways {
		if fits(way) {
			s.value = func(now time.Time) string { return way(drift.At(now)) }
			return s, nil
		}
	}
	return s, errors.New("no text is found that its pattern takes")
}

// halves writes the texts before and after the group of re, and returns what
// is in the group.
func (s *script) halves(re *syntax.Regexp) (group *syntax.Regexp) {
	if re.Op == syntax.OpCapture {
		return re.Sub[0]
	}
	subs := re.Sub
	switch re.Op {
	case syntax.OpConcat:
	case syntax.OpAlternate, syntax.OpPlus, syntax.OpStar, syntax.OpQuest, syntax.OpRepeat:
		// Once is enough, and of alternatives the one with the group.
		for _, sub := range subs {
			if g := s.halves(sub); g != nil {
				return g
			}
		}
		return nil
	default:
		return nil
	}
	for i, sub := range subs {
		inner := script{often: s.often}
		if group = inner.halves(sub); group == nil {
			continue
		}
		for _, x := range subs[:i] {
			s.before += s.text(x)
		}
		s.before += inner.before
		s.after = inner.after
		for _, x := range subs[i+1:] {
			s.after += s.text(x)
		}
		return group
	}
	return nil
}

// text returns a short text that re takes.
func (s *script) text(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		return string(oneOf(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return " "
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			b.WriteString(s.text(sub))
		}
		return b.String()
	case syntax.OpAlternate, syntax.OpPlus, syntax.OpCapture:
		return s.text(re.Sub[0])
	case syntax.OpRepeat:
		return strings.Repeat(s.text(re.Sub[0]), max(re.Min, min(1, re.Max)))
	case syntax.OpStar, syntax.OpQuest:
		return strings.Repeat(s.text(re.Sub[0]), s.often)
	}
	return "" // places between characters
}

// oneOf picks a character of a class, given as pairs of bounds: a digit or a
// letter if there is one.
func oneOf(pairs []rune) rune {
	for _, want := range "1Aa x=" {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] <= want && want <= pairs[i+1] {
				return want
			}
		}
	}
	if len(pairs) == 0 {
		return 'x'
	}
	return pairs[0]
}
