package node

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"postern/drivers"
)

// defaultMaxLen bounds the texts of parameters that name no bound, in octets.
const defaultMaxLen = 1024

// check finds mistakes of the configuration and prepares the pattern.
func (p *Parameter) check() error {
	switch p.Kind {
	case drivers.KindNone:
		return errors.New("it has no kind")
	case drivers.KindEnum:
		if len(p.Options) == 0 {
			return errors.New("an enumeration needs options")
		}
	}
	if p.HasMin && p.HasMax && p.Min.Cmp(p.Max) > 0 {
		return fmt.Errorf("min %s is above max %s", p.Min, p.Max)
	}
	if p.Step.Mant < 0 {
		return fmt.Errorf("step %s is negative", p.Step)
	}
	seen := make(map[string]bool, len(p.Options))
	for _, o := range p.Options {
		if seen[o.Value] {
			return fmt.Errorf("option %q is there twice", o.Value)
		}
		seen[o.Value] = true
	}
	if p.Regex != "" {
		re, err := regexp.Compile(`^(?:` + p.Regex + `)$`)
		if err != nil {
			return fmt.Errorf("regex: %w", err)
		}
		p.re = re
	}
	if p.Safe.Kind() != drivers.KindNone {
		if err := p.Check(p.Safe); err != nil {
			return fmt.Errorf("safe state: %w", err)
		}
	}
	return nil
}

// Check tells what is wrong with v as a value of p, in words for the person
// who set it: kind, range, step, option, pattern, length; see PhraseOf. v must
// have p's kind.
func (p *Parameter) Check(v drivers.Value) error {
	if v.Kind() != p.Kind {
		return Phrasef("is of type %s, not %s", p.Kind, v.Kind())
	}
	if n, ok := v.Number(); ok {
		return p.checkNumber(n)
	}
	s, ok := v.Text()
	if !ok {
		return nil
	}
	if p.Kind == drivers.KindColor {
		return p.checkColor(s)
	}
	return p.checkText(s)
}

func (p *Parameter) checkNumber(n drivers.Number) error {
	switch {
	case p.HasMin && n.Cmp(p.Min) < 0 && p.HasMax, p.HasMax && n.Cmp(p.Max) > 0 && p.HasMin:
		return Phrasef("must be from %s to %s", p.Min, p.Max)
	case p.HasMin && n.Cmp(p.Min) < 0:
		return Phrasef("must be at least %s", p.Min)
	case p.HasMax && n.Cmp(p.Max) > 0:
		return Phrasef("must be at most %s", p.Max)
	case p.Step.Mant != 0 && !p.onGrid(n):
		return Phrasef("must be a multiple of %s counted from %s", p.Step, p.gridBase())
	}
	return nil
}

func (p *Parameter) gridBase() drivers.Number {
	if p.HasMin {
		return p.Min
	}
	return drivers.Number{}
}

func (p *Parameter) onGrid(n drivers.Number) bool {
	base, err := p.gridBase().Neg()
	if err != nil {
		return false
	}
	d, err := n.Add(base)
	if err != nil {
		return false
	}
	exp := int(min(d.Exp, p.Step.Exp))
	d, errD := d.Rescale(exp)
	s, errS := p.Step.Rescale(exp)
	return errD == nil && errS == nil && d.Mant%s.Mant == 0
}

func (p *Parameter) checkText(s string) error {
	limit := p.MaxLen
	if limit == 0 {
		limit = defaultMaxLen
	}
	if len(s) > limit {
		return Phrasef("is longer than %d octets", limit)
	}
	if len(p.Options) > 0 && !p.Open && !p.hasOption(s) {
		return Phrasef("must be one of %s", p.optionList())
	}
	if p.re != nil && !p.re.MatchString(s) {
		return Phrasef("must match %s", p.Regex)
	}
	return nil
}

// checkColor: six hex digits, or eight where the parameter has transparency
// (0325-D29 lets six stand for an opaque colour there).
func (p *Parameter) checkColor(s string) error {
	want := len(s) == 6 || p.Alpha && len(s) == 8
	if !want || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		if p.Alpha {
			return errors.New("must be a colour RRGGBBAA in hexadecimal digits")
		}
		return errors.New("must be a colour RRGGBB in hexadecimal digits")
	}
	return nil
}

func (p *Parameter) hasOption(s string) bool {
	for i := range p.Options {
		if p.Options[i].Value == s {
			return true
		}
	}
	return false
}

// optionList shows at most ten options.
func (p *Parameter) optionList() string {
	var b strings.Builder
	for i, o := range p.Options {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == 10 {
			b.WriteString("…")
			break
		}
		b.WriteString(o.Value)
	}
	return b.String()
}
