// Package exicmd is `postern exi`: XML to EXI, EXI to XML, and a look at the
// bits.
package exicmd

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

const usage = `Usage: postern exi encode|decode|inspect [flags] [IN [OUT]]
       postern exi session [--json] FILE

encode reads XML and writes EXI, decode reads EXI and writes XML, inspect shows
an EXI stream event by event. IN and OUT are files; - or nothing stands for
standard input and output. session tells how large a recorded session is in
each representation.

  postern exi encode --schema notes.xsd note.xml note.exi
  postern exi decode --schema notes.xsd note.exi
  postern exi inspect note.exi

Exit codes: 0 done, 1 failure, 2 usage.

`

// Run runs the sub-command; args are what follows "exi". It returns the exit
// code: 0 done, 1 failed, 2 wrong usage.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(stderr)
		return 2
	}
	var do func(c *command) error
	switch args[0] {
	case "encode":
		do = encode
	case "decode":
		do = decode
	case "inspect":
		do = inspect
	case "-h", "-help", "--help", "help":
		printUsage(stdout)
		return 0
	default:
		_, _ = fmt.Fprintf(stderr, "postern exi: there is no %q; try encode, decode or inspect\n", args[0])
		return 2
	}
	c, err := parse(args[0], args[1:])
	if errors.Is(err, flag.ErrHelp) {
		printUsage(stdout)
		return 0
	}
	if err != nil {
		text := strings.Replace(err.Error(), "flag provided but not defined: -", "there is no option --", 1)
		_, _ = fmt.Fprintf(stderr, "postern exi %s: %s\n  postern exi --help explains the command\n", args[0], text)
		return 2
	}
	if err := c.open(stdin, stdout, do); err != nil {
		_, _ = fmt.Fprintf(stderr, "postern exi %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

func printUsage(w io.Writer) {
	_, _ = io.WriteString(w, usage)
	fs, _ := newFlags("exi")
	printFlags(w, fs)
}

// printFlags lists the flags, their help wrapped below them.
func printFlags(w io.Writer, fs *flag.FlagSet) {
	fs.VisitAll(func(f *flag.Flag) {
		kind, help := flag.UnquoteUsage(f)
		if kind != "" {
			kind = " " + kind
		}
		_, _ = fmt.Fprintf(w, "  --%s%s\n", f.Name, kind)
		line := "     "
		for _, word := range strings.Fields(help) {
			if len(line)+1+len(word) > 76 {
				_, _ = fmt.Fprintln(w, line)
				line = "     "
			}
			line += " " + word
		}
		_, _ = fmt.Fprintln(w, line)
	})
}

// open connects input and output and runs do. An output file is removed when
// do fails, so that half a document is not taken for a whole one.
func (c *command) open(stdin io.Reader, stdout io.Writer, do func(*command) error) (err error) {
	c.r, c.w = stdin, stdout
	if c.in != "-" {
		f, err := os.Open(c.in)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		c.r = f
	}
	if c.out == "-" {
		w := bufio.NewWriter(stdout)
		c.w = w
		if err := do(c); err != nil {
			_ = w.Flush()
			return err
		}
		return w.Flush()
	}
	f, err := os.Create(c.out)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	regular := err == nil && info.Mode().IsRegular() // never a device or a pipe
	w := bufio.NewWriter(f)
	c.w = w
	err = do(c)
	if err == nil {
		err = w.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil && regular {
		_ = os.Remove(c.out)
	}
	return err
}
