package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/cli"
	"postern/internal/peertest"
)

// operator runs operator's commands in this process with an own home.
type operator struct {
	home string
	lang string // LANG, for the commands of the binary
	out  bytes.Buffer
	err  bytes.Buffer
}

func newOperator(t *testing.T) *operator { return &operator{home: t.TempDir()} }

func (o *operator) env() cli.Env {
	o.out.Reset()
	o.err.Reset()
	return cli.Env{Stdin: strings.NewReader(""), Stdout: &o.out, Stderr: &o.err, Getenv: func(k string) string {
		if k == "XDG_CONFIG_HOME" {
			return o.home
		}
		return ""
	}}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, s *peertest.Server) {
		o := newOperator(t)
		args := []string{s.JID("operator"), "--server", s.Addr, "--ca", s.CAFile, "--password-file", s.PasswordFile("operator")}
		if code := cli.Login(t.Context(), o.env(), args); code != cli.ExitOK {
			t.Fatalf("exit code %d: %s", code, &o.err)
		}
		if !strings.Contains(o.out.String(), "SCRAM-SHA-") || !strings.Contains(o.out.String(), "TLS") {
			t.Errorf("said %q", &o.out)
		}
		a, err := cli.LoadAccount(filepath.Join(o.home, "postern", "account.yaml"))
		if err != nil || a.JID != s.JID("operator") || a.Password != s.Password("operator") {
			t.Errorf("kept %+v, %v", a, err)
		}
		direct := []string{s.JID("operator"), "--server", s.DirectTLS, "--direct-tls", "--ca", s.CAFile, "--password-file", s.PasswordFile("operator")}
		if code := cli.Login(t.Context(), o.env(), direct); code != cli.ExitOK {
			t.Errorf("direct TLS: exit code %d: %s", code, &o.err)
		}
	})
}

func TestLoginFailures(t *testing.T) {
	t.Parallel()
	s := peertest.Prosody(t)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	silent := peertest.NewProxy(t, s.Addr)
	silent.Freeze()
	refusing := peertest.NewProxy(t, s.Addr)
	refusing.Refuse()
	for _, tc := range []struct {
		name, server, ca, password string
		code                       int
		said                       string
	}{
		{"wrong password", s.Addr, s.CAFile, wrong, cli.ExitDenied, "postern login"},
		{"unknown authority", s.Addr, "", s.PasswordFile("operator"), cli.ExitUnreachable, "--ca FILE"},
		{"frozen server", silent.Addr, s.CAFile, s.PasswordFile("operator"), cli.ExitTimeout, "--timeout"},
		{"refusing server", refusing.Addr, s.CAFile, s.PasswordFile("operator"), cli.ExitUnreachable, "--server"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOperator(t)
			args := []string{s.JID("operator"), "--server", tc.server, "--password-file", tc.password, "--timeout", "2s"}
			if tc.ca != "" {
				args = append(args, "--ca", tc.ca)
			}
			begin := time.Now()
			code := cli.Login(t.Context(), o.env(), args)
			if code != tc.code || !strings.Contains(o.err.String(), tc.said) {
				t.Errorf("exit code %d, want %d; said %q", code, tc.code, &o.err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if _, err := os.Stat(filepath.Join(o.home, "postern", "account.yaml")); err == nil {
				t.Error("an account that does not work was kept")
			}
		})
	}
}
