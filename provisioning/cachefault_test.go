package provisioning

import (
	"crypto/x509"
	"testing"
	"time"
)

// Permissions that could not be removed from a full disk are not there after
// the next start, once there was room.
func TestPermissionsThatCouldNotBeRemovedAreWrittenOver(t *testing.T) {
	db, full := openStore(t, ""), openStore(t, "")
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	c := newCache(8, 0, db)
	_, _, gen := c.get("k", time.Now())
	c.put("s", "k", Answer{Result: true}, time.Now(), gen)
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	c.db = full
	if err := c.clear(); err == nil {
		t.Error("a full disk is not seen")
	}
	c.db = db
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	again := newCache(8, 0, db)
	if err := again.load(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := again.get("k", time.Now()); ok {
		t.Error("the permission came back")
	}
}

// On a board that starts in 1970, what was kept is not younger than it may be.
func TestNoPermissionOutlivesItsAgeByAWrongClock(t *testing.T) {
	db := openStore(t, "")
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	c := newCache(8, time.Hour, db)
	_, _, gen := c.get("k", now)
	c.put("s", "k", Answer{Result: true}, now, gen)
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]bool{now.Add(time.Minute): true, time.Unix(60, 0): false, now.Add(2 * time.Hour): false} {
		again := newCache(8, time.Hour, db)
		if err := again.load(func(string) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := again.get("k", at); ok != want {
			t.Errorf("at %s: %v", at, ok)
		}
	}
}

// A certificate made before the clock was set is valid after it.
func TestACertificateOfAWrongClockIsValid(t *testing.T) {
	k, err := NewTokens(TokensConfig{Session: newWorld(t), Store: openStore(t, ""), Name: "d@a.example", Now: func() time.Time { return time.Unix(60, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.makeKey(); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(k.cert)
	if err != nil || cert.NotAfter.Year() < 2040 || !cert.NotBefore.Before(cert.NotAfter) {
		t.Errorf("%v to %v, %v", cert.NotBefore, cert.NotAfter, err)
	}
}
