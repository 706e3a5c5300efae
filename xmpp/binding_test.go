package xmpp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

// handshake returns the client's and the server's state of a TLS connection.
func handshake(t *testing.T, version uint16) (client, server tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState(), s.ConnectionState()
}

func TestCoreR85R93R94_BindingData(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cs, ss := handshake(t, version)
		exporter, err := ss.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256(cs.PeerCertificates[0].Raw)
		for _, tt := range []struct {
			types []string
			want  string
			data  []byte
		}{
			{[]string{"tls-server-end-point", "tls-unique", "tls-exporter"}, "tls-exporter", exporter},
			{[]string{"tls-server-end-point"}, "tls-server-end-point", hash[:]},
		} {
			b, err := chooseBinding(true, tt.types, &cs)
			if err != nil || string(b.Type) != tt.want || !bytes.Equal(b.Data, tt.data) {
				t.Errorf("%s, %q: %s, %v", tls.VersionName(version), tt.types, b.Type, err)
			}
		}
		b, err := chooseBinding(true, []string{"tls-server-end-point", "tls-unique"}, &cs)
		want := map[uint16]string{tls.VersionTLS12: "tls-unique", tls.VersionTLS13: "tls-server-end-point"}[version]
		if err != nil || string(b.Type) != want {
			t.Errorf("CoreR95: %s on %s, %v", b.Type, tls.VersionName(version), err)
		}
		if version == tls.VersionTLS12 && !bytes.Equal(b.Data, ss.TLSUnique) {
			t.Error("tls-unique differs at the two ends")
		}
	}
}
