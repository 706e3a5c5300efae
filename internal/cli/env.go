package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnreachable = 3  // no server, no thing
	ExitDenied      = 4  // wrong password, no right
	ExitTimeout     = 5  // no answer in time
	ExitConfig      = 78 // the account file or another file is not usable
)

// Env is the world around a command.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// ReadPassword asks on the terminal; nil means there is none.
	ReadPassword func(prompt string) (string, error)
	// OutTerminal says whether Stdout is a terminal, and its height and width;
	// nil means it is none.
	OutTerminal func() (rows, columns int, ok bool)
	// ErrTerminal says whether Stderr is a terminal.
	ErrTerminal bool
}

// OSEnv is the process's own environment.
func OSEnv() Env {
	e := Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		e.ReadPassword = func(prompt string) (string, error) {
			fmt.Fprint(os.Stderr, prompt)
			b, err := term.ReadPassword(int(os.Stdin.Fd()))
			fmt.Fprintln(os.Stderr)
			return string(b), err
		}
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		e.OutTerminal = func() (int, int, bool) {
			w, h, err := term.GetSize(int(os.Stdout.Fd()))
			return h, w, err == nil
		}
	}
	e.ErrTerminal = term.IsTerminal(int(os.Stderr.Fd()))
	return e
}

// color reports whether output may be coloured (no-color.org).
func (e *Env) color() bool {
	return e.OutTerminal != nil && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

// configDir is $XDG_CONFIG_HOME/postern.
func (e *Env) configDir() (string, error) {
	dir := e.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // relative ones are to be ignored by the XDG rules
		home := e.Getenv("HOME")
		if home == "" {
			return "", &failure{code: ExitConfig, msg: "neither XDG_CONFIG_HOME nor HOME is set", hint: "name the account file with --account FILE"}
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "postern"), nil
}

// failure is an error with an exit code and what to do about it.
type failure struct {
	code int
	msg  string
	hint string
	err  error
}

func (f *failure) Error() string {
	switch {
	case f.err == nil:
		return f.msg
	case f.msg == "":
		return f.err.Error()
	}
	return f.msg + ": " + f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func usagef(format string, args ...any) error {
	return &failure{code: ExitUsage, msg: fmt.Sprintf(format, args...)}
}

// finish prints err and returns the exit code.
func (e *Env) finish(cmd string, err error) int {
	if err == nil {
		return ExitOK
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: ExitFailure, err: err}
		if errors.Is(err, context.DeadlineExceeded) {
			f.code = ExitTimeout
		}
	}
	fmt.Fprintf(e.Stderr, "postern %s: %s\n", cmd, clean(f.Error()))
	switch {
	case f.code == ExitUsage:
		fmt.Fprintf(e.Stderr, "  postern %s --help explains the command\n", cmd)
	case f.hint != "":
		fmt.Fprintf(e.Stderr, "  %s\n", clean(f.hint))
	}
	return f.code
}
