package main

import (
	"fmt"
	"strings"
)

// page is the man page of one command.
func page(c command, version, date string) string {
	var b strings.Builder
	title := "postern-" + c.name
	fmt.Fprintf(&b, ".TH %s 1 %s \"Postern %s\" \"Postern\"\n", upper(title), date, version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.nf\n", escape(title), escape(c.summary))
	for _, u := range c.usage {
		b.WriteString(line(u))
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	for i, p := range c.parts {
		switch {
		case p.heading != "":
			fmt.Fprintf(&b, ".SH %s\n", upper(p.heading))
		case i > 0 && len(p.lines) > 0:
			b.WriteString(".PP\n")
		}
		if p.plain {
			b.WriteString(".nf\n")
		}
		for _, l := range p.lines {
			b.WriteString(line(l))
		}
		if p.plain {
			b.WriteString(".fi\n")
		}
		for _, o := range p.options {
			fmt.Fprintf(&b, ".TP\n.B %s\n", escape(o.term))
			b.WriteString(line(o.text))
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR postern (1)\n")
	return b.String()
}

// overview is postern(1).
func overview(cmds []command, version, date string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH POSTERN 1 %s \"Postern %s\" \"Postern\"\n", date, version)
	b.WriteString(".SH NAME\npostern \\- gateway between sensors, actuators and XMPP\n")
	b.WriteString(".SH SYNOPSIS\n.B postern\n.I COMMAND\n[options]\n.SH DESCRIPTION\n")
	b.WriteString("Postern reads sensors and drives actuators, and offers them as XMPP nodes.\n.SH COMMANDS\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, ".TP\n.BR postern\\-%s (1)\n%s", c.name, line(c.summary))
	}
	b.WriteString(".SH FILES\n.TP\n.I /etc/postern/postern.yaml\nThe configuration.\n" +
		".TP\n.I /etc/postern/credentials/\nSecrets for the service; only root can read them.\n" +
		".TP\n.I /var/lib/postern/\nThe state of the gateway.\n" +
		".TP\n.I /run/postern/postern.sock\nThe local door, which the commands ask.\n")
	return b.String()
}

// line is a line of text that begins with no control character.
func line(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s + "\n"
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
}

func upper(s string) string { return escape(strings.ToUpper(s)) }
