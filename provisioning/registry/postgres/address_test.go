//go:build fleet

package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	pem := filepath.Join(t.TempDir(), "none.pem")
	for address, want := range map[string]string{
		"":                                 "has to look like",
		"host=x user=y":                    "has to look like",
		"mysql://x/y":                      "has to look like",
		"postgres://u:s3cret@h/d":          "must not hold the password",
		"postgres://u@h/d?password=s3cret": "must not hold the password",
		"postgres://u@h/d?sslkey=k&sslpassword=s3cret": "must not hold the password",
		"postgres://u:s3cret@h:x/d":                    "must not hold the password",
		"postgres://u:s3\x00cret@h/d":                  "cannot be read",
		"postgres://u:s3cret%zz@h/d":                   "cannot be read",
		"postgres://u@h/d?color=blue":                  `the setting "color"`,
		"postgres://u@h/d?sslmode=some":                "sslmode",
		"postgres://u@h/d?sslrootcert=" + pem:          pem,
	} {
		_, err := parse(address, false)
		if !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for address, tls := range map[string]bool{
		"postgres://u@/d?host=/run/postgresql": false,
		"postgres://u@h/d":                     true,
		"postgres://u@192.0.2.1:5433/d":        true,
		"postgres://u@h/d?sslmode=disable":     false,
		"postgresql://u@127.0.0.1,h:5433/d":    true,
		"postgres://u@[::1]/d?sslmode=require": true,
	} {
		c, err := parse(address, false)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		secure := c.TLSConfig != nil
		for _, f := range c.Fallbacks {
			secure = secure && f.TLSConfig != nil
		}
		if secure != tls {
			t.Errorf("%s: TLS %v", address, secure)
		}
		if tls && !strings.Contains(address, "require") && (c.TLSConfig.ServerName == "" || c.TLSConfig.InsecureSkipVerify) {
			t.Errorf("%s: the certificate is not looked at", address)
		}
		if c.ValidateConnect == nil {
			t.Errorf("%s: a stand-by is taken", address)
		}
	}
}

// No error shows what stands where a password would.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"postgres://u:PASS@h/d", "postgres://u@h/d?password=PASS", "postgres://PASS", "postgres://:PASS@/", "postgres://u:PASS@h:1:2/", "postgres://u:PASS@[::1/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parse(s, false)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil && !errors.Is(err, ErrAddress) {
			t.Fatal(err)
		}
		user, _, ok := strings.Cut(strings.TrimPrefix(s, "postgres://"), "@")
		_, password, withPassword := strings.Cut(user, ":")
		if ok && withPassword && len(password) > 8 && !strings.ContainsAny(password, "/?") && err != nil && strings.Contains(err.Error(), password) {
			t.Fatalf("%q shows in %v", password, err)
		}
	})
}
