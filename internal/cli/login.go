package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

const loginHelp = `Usage: postern login JID [flags]

Asks for the account's password, tries it, and keeps the account for the other
commands, in a file that only you can read.

  postern login operator@site.example
  postern login operator@site.example --server 192.0.2.7:5222 --ca site-ca.pem

  --password-file F  take the password from the first line of F
  --server HOST:PORT connect there instead of where DNS says
  --direct-tls       TLS from the first octet, as on port 5223
  --ca FILE          trust the authorities in FILE (PEM) instead of the system's
  --no-test          keep the account without trying it
` + commonHelp

// Login keeps an operator's account after it was tried.
func Login(ctx context.Context, e Env, args []string) int {
	return e.finish("login", e.login(ctx, args))
}

func (e *Env) login(ctx context.Context, args []string) error {
	fs := newFlags("login", loginHelp)
	var opt common
	opt.add(fs)
	var a Account
	passwordFile := fs.String("password-file", "", "")
	fs.StringVar(&a.Server, "server", "", "")
	fs.BoolVar(&a.DirectTLS, "direct-tls", false, "")
	fs.StringVar(&a.CAFile, "ca", "", "")
	untested := fs.Bool("no-test", false, "")
	rest, err := fs.parse(e, args)
	switch {
	case err == errHelp:
		return nil
	case err != nil:
		return err
	case len(rest) != 1:
		return usagef("give one address, like operator@site.example")
	}
	if err := opt.check(); err != nil {
		return err
	}
	a.JID = rest[0]
	if _, err := a.address(); err != nil {
		return usagef("%v", err)
	}
	if a.CAFile != "" {
		if a.CAFile, err = filepath.Abs(a.CAFile); err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
	}
	path, err := AccountPath(e, opt.account)
	if err != nil {
		return err
	}
	if a.Password, err = e.askPassword(a.JID, *passwordFile); err != nil {
		return err
	}
	if !*untested {
		if err := e.tryLogin(ctx, a, opt); err != nil {
			return err
		}
	}
	if err := SaveAccount(path, a); err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "The account is kept in %s\n", path)
	return nil
}

func (e *Env) askPassword(account, file string) (string, error) {
	if file != "" {
		return passwordFrom(file)
	}
	if e.ReadPassword == nil {
		return "", usagef("there is no terminal to ask for the password on; use --password-file FILE")
	}
	p, err := e.ReadPassword("Password of " + clean(account) + ": ")
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	if p = strings.TrimRight(p, "\r\n"); p == "" {
		return "", usagef("the password is empty")
	}
	return p, nil
}

func (e *Env) tryLogin(ctx context.Context, a Account, opt common) error {
	ctx, cancel := context.WithTimeout(ctx, opt.timeout)
	defer cancel()
	c, err := e.dial(ctx, link{account: a, verbose: opt.verbose})
	if err != nil {
		return err
	}
	st := c.State()
	c.close()
	fmt.Fprintf(e.Stdout, "Logged in as %s with %s over %s\n", clean(st.JID.Bare().String()), st.Mechanism, st.TLS)
	return nil
}
