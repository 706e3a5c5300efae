package hub

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	ca, err := OpenCA(dir, domain, "registry."+domain)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("ca.key: %v %v", st.Mode(), err)
	}
	again, err := OpenCA(dir, domain)
	if err != nil || !again.cert.Equal(ca.cert) {
		t.Fatalf("the second start makes another authority: %v", err)
	}
	if _, err := OpenCA(dir, "other.example"); err == nil {
		t.Error("an authority serves a domain it was not made for")
	}
	cert, err := ca.certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{domain: true, "registry." + domain: true, "other.example": false} {
		_, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: again.Pool()})
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(dir, domain); err == nil {
		t.Error("a broken authority is replaced in silence")
	}
}

// The authority's key cannot make certificates for anybody else.
func TestCAIsConstrained(t *testing.T) {
	ca, err := OpenCA(t.TempDir(), domain)
	if err != nil {
		t.Fatal(err)
	}
	ca.names = []string{"bank.example"}
	cert, err := ca.issue()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "bank.example", Roots: ca.Pool()}); err == nil {
		t.Error("a certificate for another domain is good")
	}
}

func TestCertFiles(t *testing.T) {
	dir := t.TempDir()
	ca, err := OpenCA(filepath.Join(dir, "ca"), domain)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := CertFiles(cert, key, nil); err == nil {
		t.Error("missing files are no error")
	}
	write := func() *tls.Certificate {
		c, err := ca.issue()
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(writePEM(cert, 0o644, "CERTIFICATE", c.Certificate[0]), writePEM(key, 0o600, "PRIVATE KEY", der)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := write()
	// Files have real times, so only the wait between looks is simulated.
	f := &certFiles{cert: cert, key: key, log: slog.New(slog.DiscardHandler)}
	got := func() *x509.Certificate {
		f.looked = time.Time{}
		c, err := f.certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	if !got().Equal(first.Leaf) {
		t.Error("another certificate than that in the file")
	}
	later := time.Now().Add(time.Hour)
	second := write()
	if err := os.Chtimes(cert, later, later); err != nil {
		t.Fatal(err)
	}
	if !got().Equal(second.Leaf) {
		t.Error("a renewed certificate is not taken")
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !got().Equal(second.Leaf) {
		t.Error("a broken file takes the certificate away")
	}
}

func TestCARenews(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := OpenCA(dir, domain)
		if err != nil {
			t.Fatal(err)
		}
		first, err := ca.certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep((leafDays - renewDays - 1) * 24 * time.Hour)
		if c, err := ca.certificate(nil); err != nil || c != first {
			t.Errorf("renewed too early: %v", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		c, err := ca.certificate(nil)
		if err != nil || c == first {
			t.Fatalf("not renewed: %v", err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: domain, Roots: ca.Pool()}); err != nil {
			t.Error(err)
		}
		time.Sleep(caYears * 365 * 24 * time.Hour)
		if _, err := OpenCA(dir, domain); err == nil {
			t.Error("an authority that ends is used without a word")
		}
	})
}
