package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Secret says where a secret is kept. The configuration file never holds the
// secret itself, so that the file can be shown, copied and kept in a
// repository. Exactly one of the three is set; the zero Secret is none.
type Secret struct {
	File       string `yaml:"file,omitempty" doc:"file that holds the secret; a line end at its end is not part of it" example:"/etc/postern/password"`
	Env        string `yaml:"env,omitempty" doc:"environment variable that holds it" example:"POSTERN_PASSWORD"`
	Credential string `yaml:"credential,omitempty" doc:"systemd credential that holds it (LoadCredential= of the unit)" example:"xmpp-password"`
}

// maxSecret bounds what is read from a file.
const maxSecret = 64 << 10

// IsZero tells whether no secret is referred to.
func (s Secret) IsZero() bool { return s == Secret{} }

// Read fetches the secret. It is read anew each time, so that a changed
// password needs no restart. Errors name the place, never the content.
func (s Secret) Read() (string, error) {
	switch {
	case s.File != "":
		return readSecret(s.File)
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok || v == "" {
			return "", fmt.Errorf("secret: environment variable %s is not set", s.Env)
		}
		return v, nil
	case s.Credential != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("secret: credential %s: CREDENTIALS_DIRECTORY is not set; give the unit LoadCredential=%s:/path", s.Credential, s.Credential)
		}
		return readSecret(filepath.Join(dir, filepath.Base(s.Credential)))
	}
	return "", errors.New("secret: none is configured")
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("secret: %s is larger than %d octets", path, maxSecret)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", fmt.Errorf("secret: %s is empty", path)
	}
	return v, nil
}

// String names the place, never the secret.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case s.Credential != "":
		return "credential " + s.Credential
	}
	return "none"
}

// LogValue keeps log lines short.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
