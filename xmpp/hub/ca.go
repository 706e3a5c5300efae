package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// CA issues the server certificate of a site that has none from elsewhere. Its
// key may only sign for the site's domain and what is below it. Clients are
// given CertFile.
type CA struct {
	dir   string
	names []string
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate

	mu   sync.Mutex
	leaf *tls.Certificate
}

const (
	caYears   = 10
	leafDays  = 90
	renewDays = 30
)

// OpenCA loads the authority kept in dir, or makes one: ca.pem and ca.key, the
// key readable by its owner only. names are the domains that the server
// certificate is for; the first one is the site's.
func OpenCA(dir string, names ...string) (*CA, error) {
	if len(names) == 0 {
		return nil, errors.New("hub: a certificate needs a domain")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	ca := &CA{dir: dir, names: names}
	err := ca.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = ca.create()
	}
	if err != nil {
		return nil, fmt.Errorf("hub: certificate authority in %s: %w", dir, err)
	}
	if left := time.Until(ca.cert.NotAfter); left < renewDays*24*time.Hour {
		return nil, fmt.Errorf("hub: the authority's certificate %s ends in %v: move it and ca.key away to get a new one, and give that to all clients", ca.CertFile(), left.Round(time.Hour))
	}
	return ca, nil
}

// CertFile is the file that clients need to trust the hub.
func (ca *CA) CertFile() string { return filepath.Join(ca.dir, "ca.pem") }

func (ca *CA) keyFile() string { return filepath.Join(ca.dir, "ca.key") }

// Pool returns a pool with just this authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// TLS returns a configuration whose certificate is renewed in time. The
// certificate's key never leaves the process.
func (ca *CA) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: ca.certificate}
}

// certificate returns a certificate that is good for a while.
func (ca *CA) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.leaf != nil && time.Until(ca.leaf.Leaf.NotAfter) > renewDays*24*time.Hour {
		return ca.leaf, nil
	}
	leaf, err := ca.issue()
	if err != nil {
		if ca.leaf != nil {
			return ca.leaf, nil
		}
		return nil, err
	}
	ca.leaf = leaf
	return leaf, nil
}

func (ca *CA) load() error {
	certPEM, err := os.ReadFile(ca.CertFile())
	if err != nil {
		return err
	}
	keyPEM, err := os.ReadFile(ca.keyFile())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("ca.key is of a kind that the hub does not make")
	}
	ca.key, ca.cert = key, pair.Leaf
	if !slices.Contains(ca.cert.PermittedDNSDomains, ca.names[0]) {
		return fmt.Errorf("it was made for %v, not for %s", ca.cert.PermittedDNSDomains, ca.names[0])
	}
	return nil
}

func (ca *CA) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// A board's clock may be wrong at first start, so the authority is valid
	// from long before.
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: "Postern hub of " + ca.names[0]},
		NotBefore:                   now.AddDate(-caYears, 0, 0),
		NotAfter:                    now.AddDate(caYears, 0, 0),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         ca.names,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	ca.key = key
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: without ca.pem the pair does not count as made.
	if err := writePEM(ca.keyFile(), 0o600, "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	return writePEM(ca.CertFile(), 0o644, "CERTIFICATE", der)
}

// issue makes a server certificate.
func (ca *CA) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: ca.names[0]},
		NotBefore:    now.AddDate(0, 0, -leafDays),
		NotAfter:     now.AddDate(0, 0, leafDays),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     ca.names,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("hub: issuing the server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never fails
	return n
}

// writePEM writes a file so that it is either missing or whole.
func writePEM(path string, mode fs.FileMode, kind string, der []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func newTicketKey() (key [32]byte, err error) {
	_, err = rand.Read(key[:])
	return key, err
}

// CertFiles returns a configuration with the certificate in two PEM files from
// elsewhere. They are read again when they change, so that a renewal needs no
// restart; what cannot be read leaves the former one in use.
func CertFiles(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &certFiles{cert: certFile, key: keyFile, log: log}
	if _, err := f.certificate(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certificate}, nil
}

type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the later one of the files, when they were read
	looked  time.Time
}

// recheck is how often the files are looked at.
const recheck = time.Minute

func (f *certFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded != nil && time.Since(f.looked) < recheck {
		return f.loaded, nil
	}
	f.looked = time.Now()
	c, changed, err := f.load()
	switch {
	case err != nil && f.loaded == nil:
		return nil, fmt.Errorf("hub: certificate: %w", err)
	case err != nil:
		f.log.Error("the certificate cannot be read again; the former one stays in use", "file", f.cert, "err", err)
	case c != nil:
		f.loaded, f.changed = c, changed
		f.log.Info("certificate", "file", f.cert, "until", c.Leaf.NotAfter)
	}
	return f.loaded, nil
}

// load returns the certificate when the files have changed, else nil.
func (f *certFiles) load() (*tls.Certificate, time.Time, error) {
	var latest time.Time
	for _, name := range []string{f.cert, f.key} {
		st, err := os.Stat(name)
		if err != nil {
			return nil, latest, err
		}
		if st.ModTime().After(latest) {
			latest = st.ModTime()
		}
	}
	if f.loaded != nil && latest.Equal(f.changed) {
		return nil, latest, nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	return &c, latest, err
}
