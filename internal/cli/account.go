package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/internal/config"
	"postern/xmpp"
)

// Account is an operator's account as its file keeps it.
type Account struct {
	JID string `yaml:"jid"`
	// Password, or the file it lies in. The file wins; a relative path is
	// relative to the account file.
	Password     string `yaml:"password,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	// Server is a fixed host:port instead of what DNS says.
	Server string `yaml:"server,omitempty"`
	// DirectTLS starts TLS at once (XEP-0368) instead of by STARTTLS.
	DirectTLS bool `yaml:"direct_tls,omitempty"`
	// CAFile holds, in PEM, the authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file,omitempty"`
}

// AccountPath returns the account file to use: the given one, else
// POSTERN_ACCOUNT, else account.yaml in the configuration directory.
func AccountPath(e *Env, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if p := e.Getenv("POSTERN_ACCOUNT"); p != "" {
		return p, nil
	}
	dir, err := e.configDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "account.yaml"), nil
}

// LoadAccount reads an account file. A file with a password in it that others
// can read is refused.
func LoadAccount(path string) (Account, error) {
	var a Account
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, &failure{code: ExitConfig, msg: "there is no account file " + path,
			hint: "make one with: postern login you@your.server"}
	}
	if err != nil {
		return a, &failure{code: ExitConfig, err: err, hint: "the account file must be readable by you"}
	}
	if err := config.Decode(path, data, &a).Err(); err != nil {
		return a, &failure{code: ExitConfig, err: err, hint: "correct the file, or write it anew with postern login"}
	}
	if _, err := a.address(); err != nil {
		return a, &failure{code: ExitConfig, msg: path, err: err, hint: "jid must be an address like operator@site.example"}
	}
	if a.Password == "" && a.PasswordFile == "" {
		return a, &failure{code: ExitConfig, msg: path + " has neither password nor password_file", hint: "write it anew with postern login"}
	}
	if st, err := os.Stat(path); err == nil && a.Password != "" && st.Mode().Perm()&0o077 != 0 {
		return a, &failure{code: ExitConfig, msg: fmt.Sprintf("%s holds a password and others may read it (mode %04o)", path, st.Mode().Perm()),
			hint: "chmod 600 " + path}
	}
	dir := filepath.Dir(path)
	a.PasswordFile, a.CAFile = below(dir, a.PasswordFile), below(dir, a.CAFile)
	return a, nil
}

func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// SaveAccount writes an account file for its owner's eyes only, replacing an
// older one at once or not at all.
func SaveAccount(path string, a Account) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("account file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".account-*") // 0600
	if err != nil {
		return fmt.Errorf("account file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString("# Written by postern login. Keep it to yourself.\n" + a.text())
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("account file: %w", err)
	}
	return nil
}

// text writes the account as YAML. Go's quoted strings are YAML's, too.
func (a *Account) text() string {
	var b strings.Builder
	for _, kv := range [...][2]string{
		{"jid", a.JID}, {"password", a.Password}, {"password_file", a.PasswordFile}, {"server", a.Server}, {"ca_file", a.CAFile},
	} {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s: %q\n", kv[0], kv[1])
		}
	}
	if a.DirectTLS {
		b.WriteString("direct_tls: true\n")
	}
	return b.String()
}

func (a *Account) address() (jid.JID, error) {
	j, err := xmpp.ParseJID(a.JID)
	if err != nil {
		return j, fmt.Errorf("jid %q: %w", a.JID, err)
	}
	if j.Localpart() == "" {
		return j, fmt.Errorf("jid %q has no name before an @", a.JID)
	}
	return j, nil
}

// secret returns the password.
func (a *Account) secret() (string, error) {
	if a.PasswordFile == "" {
		return a.Password, nil
	}
	return passwordFrom(a.PasswordFile)
}

// passwordFrom reads the first line of a file.
func passwordFrom(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", &failure{code: ExitConfig, msg: "password file", err: err}
	}
	first, _, _ := strings.Cut(string(data), "\n")
	first = strings.TrimSuffix(first, "\r")
	if first == "" {
		return "", &failure{code: ExitConfig, msg: "the password file " + path + " is empty"}
	}
	return first, nil
}
