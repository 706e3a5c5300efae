package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// command is what the help of one command says.
type command struct {
	name, summary string
	usage         []string // without "Usage:"
	parts         []part
	options       []option
	words         []string // sub-commands
}

// part is a paragraph of the help, or what stands below a heading.
type part struct {
	heading string
	lines   []string // a paragraph, or what it has in the margin
	options []option
	plain   bool // lines are shown as they are
}

// option is one option, or another term with what it means.
type option struct {
	term  string // "--config FILE"
	names []string
	arg   string // FILE; empty: it takes none
	text  string
}

// commands asks for the list and for the help of each command in it.
func commands(ask func(...string) (string, error)) ([]command, error) {
	list, err := ask("help")
	if err != nil {
		return nil, err
	}
	row := regexp.MustCompile(`^  ([a-z]+) +(\S.*)$`)
	var cmds []command
	for _, l := range strings.Split(list, "\n") {
		m := row.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		text, err := ask("help", m[1])
		if err != nil {
			return nil, err
		}
		c, err := parse(m[1], text)
		if err != nil {
			return nil, err
		}
		c.summary = m[2]
		cmds = append(cmds, c)
	}
	if len(cmds) == 0 {
		return nil, fmt.Errorf("the help lists no commands")
	}
	return cmds, nil
}

var (
	heading = regexp.MustCompile(`^[A-Z][A-Za-z ,]*(?:, [a-z ]+)?[^.]*:$`)
	oneLine = regexp.MustCompile(`^([A-Z][a-z]+ ?[a-z]*): (.+)$`) // "Exit codes: 0 ok, …"
	// An option's term ends at two spaces, at the end of the line, or after
	// its argument.
	optionTerm = regexp.MustCompile(`^  (--[a-z][a-z0-9-]*(?: [A-Z][A-Z:=]*| value)?(?:, --[a-z][a-z0-9-]*(?: [A-Z]+)?)*)(?: +(.*))?$`)
	wordTerm   = regexp.MustCompile(`^  ([a-z]+(?: [A-Z]+)?)  +(.*)$`)
	optionName = regexp.MustCompile(`(--[a-z][a-z0-9-]*)(?: ([A-Z][A-Z:=]*|value))?`)
	subWord    = regexp.MustCompile(`^\[?([a-z][a-z0-9]*)\]?$`)
)

// parse reads the help of one command.
func parse(name, text string) (command, error) {
	c := command{name: name}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	first, ok := strings.CutPrefix(lines[0], "Usage: ")
	if !ok {
		return c, fmt.Errorf("the help of %s does not begin with its usage", name)
	}
	c.usage = []string{first}
	i := 1
	for ; i < len(lines) && lines[i] != ""; i++ {
		c.usage = append(c.usage, strings.TrimSpace(lines[i]))
	}
	for _, u := range c.usage {
		c.words = append(c.words, words(name, u)...)
	}
	slices.Sort(c.words)
	c.words = slices.Compact(c.words)
	var p *part
	begin := func(h string) { c.parts = append(c.parts, part{heading: h}); p = &c.parts[len(c.parts)-1] }
	for ; i < len(lines); i++ {
		l := lines[i]
		switch m := oneLine.FindStringSubmatch(l); {
		case l == "":
			p = nil
			continue
		case heading.MatchString(l) && (p == nil || len(p.lines) == 0):
			begin(strings.TrimSuffix(l, ":"))
			continue
		case m != nil && (p == nil || p.plain || len(p.options) > 0):
			begin(m[1])
			p.lines = append(p.lines, m[2])
			continue
		case p == nil:
			begin("")
		}
		p.add(l)
	}
	for _, p := range c.parts {
		for _, o := range p.options {
			if len(o.names) > 0 {
				c.options = append(c.options, o)
			}
		}
	}
	return c, nil
}

// add takes a line into a part: an option, what goes on about it, text that is
// set as it is (it is indented), or a line of a paragraph.
func (p *part) add(l string) {
	if m := optionTerm.FindStringSubmatch(l); m != nil {
		o := option{term: m[1], text: m[2]}
		for _, n := range optionName.FindAllStringSubmatch(m[1], -1) {
			o.names = append(o.names, n[1])
			if n[2] != "" {
				o.arg = n[2]
			}
		}
		p.options = append(p.options, o)
		return
	}
	if m := wordTerm.FindStringSubmatch(l); m != nil && p.heading != "Examples" {
		p.options = append(p.options, option{term: m[1], text: m[2]})
		return
	}
	indented := strings.HasPrefix(l, "  ")
	if n := len(p.options); n > 0 && indented {
		o := &p.options[n-1]
		o.text = strings.TrimSpace(o.text + " " + strings.TrimSpace(l))
		return
	}
	p.plain = p.plain || indented
	p.lines = append(p.lines, l)
}

// words finds the sub-commands in a line of usage: "postern hub adduser NAME |
// list" has adduser and list, "postern exi encode|decode" encode and decode.
func words(name, usage string) []string {
	rest, ok := strings.CutPrefix(usage, "postern "+name)
	if !ok {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "(")
	var out []string
	for _, f := range strings.Fields(rest) {
		for _, w := range strings.Split(f, "|") {
			if m := subWord.FindStringSubmatch(w); m != nil && m[1] != "options" && m[1] != "flags" {
				out = append(out, m[1])
			}
		}
	}
	return out
}
