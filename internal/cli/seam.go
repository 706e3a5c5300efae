package cli

import (
	"context"
	"fmt"
	"io"

	"mellium.im/xmpp/jid"
)

// This file shows packages below this one what the commands here are made of,
// so that all commands behave alike.

// ErrHelp says that help was asked for and shown.
var ErrHelp = errHelp

// Flags are the options of one command.
type Flags struct{ *flagSet }

// NewFlags makes the options of a command with its help.
func NewFlags(name, help string) Flags { return Flags{newFlags(name, help)} }

// List is an option that may be given several times.
func (f Flags) List(name string) *[]string {
	l := new(list)
	f.Var(l, name, "")
	return (*[]string)(l)
}

// Arguments parses a command line and returns what is no option.
func (f Flags) Arguments(e *Env, args []string) ([]string, error) { return f.parse(e, args) }

// CommonHelp describes the options of Common and the exit codes.
const CommonHelp = commonHelp

// Common are the options of every operator's command.
type Common struct{ common }

// Add adds the options to a command's.
func (c *Common) Add(f Flags) { c.add(f.flagSet) }

// Check refuses options that make no sense.
func (c *Common) Check() error { return c.check() }

// Usagef is a mistake on the command line.
func Usagef(format string, args ...any) error { return usagef(format, args...) }

// Fail is an error with an exit code and what to do about it.
func Fail(code int, hint string, err error) error { return &failure{code: code, hint: hint, err: err} }

// Finish prints err and returns the exit code.
func (e *Env) Finish(command string, err error) int {
	if err == ErrHelp {
		err = nil
	}
	return e.finish(command, err)
}

// Clean makes text from elsewhere safe to show.
func Clean(s string) string { return clean(s) }

// WriteJSON writes a document for programs.
func WriteJSON(w io.Writer, v any) error { return writeJSON(w, v) }

// Ask asks a question on the terminal that is answered by yes or no; asked is
// false where there is none.
func (e *Env) Ask(question string) (yes, asked bool) {
	if e.ReadPassword == nil {
		return false, false
	}
	fmt.Fprint(e.Stderr, question+" [y/N] ")
	var answer string
	_, _ = fmt.Fscanln(e.Stdin, &answer)
	return answer == "y" || answer == "Y" || answer == "yes", true
}

// Table writes rows in columns, the first as their headings.
func (e *Env) Table(w io.Writer, rows [][]string) error {
	t := &table{color: e.color()}
	for i, r := range rows {
		var cells []cell
		for _, text := range r {
			c := cell{clean(text), plain}
			if i == 0 {
				c.style = bold
			}
			cells = append(cells, c)
		}
		t.add(cells...)
	}
	_, err := t.WriteTo(w)
	return err
}

// Operator is somebody logged in with the account of a command.
type Operator struct {
	*conn
	Account Account
}

// Operate logs in. The time of the command is bounded by Common; what is asked
// then must use Operator.Alive. Close ends it.
func (e *Env) Operate(ctx context.Context, c Common) (*Operator, error) {
	path, err := AccountPath(e, c.account)
	if err != nil {
		return nil, err
	}
	o := &Operator{}
	if o.Account, err = LoadAccount(path); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	if o.conn, err = e.dial(ctx, link{account: o.Account, verbose: c.verbose}); err != nil {
		cancel()
		return nil, err
	}
	end := o.cancel
	o.cancel = func() { end(); cancel() }
	return o, nil
}

// Alive ends with the command's time and with the session.
func (o *Operator) Alive() context.Context { return o.alive }

// Close says goodbye.
func (o *Operator) Close() { o.close() }

// Own is the operator's bare address.
func (o *Operator) Own() jid.JID {
	j, _ := o.Account.address() // was read when it was loaded
	return j.Bare()
}

// Refusal turns what somebody answered into an exit code and advice.
func (o *Operator) Refusal(who jid.JID, err error) error { return o.refusal(o.Account, who, err) }

// ParseThing reads the address of a thing.
func ParseThing(s string) (jid.JID, error) { return parseThing(s) }
