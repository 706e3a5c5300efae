package existate

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postern/exi"
	"postern/internal/store"
	"postern/xmpp/compress"
)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func Test0322R75_ConfigurationsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	now := time.Now().Round(0).UTC()
	want := compress.Configuration{
		ID: "abc", Used: now,
		Params:  compress.Params{Alignment: exi.ByteAligned, Window: true, SessionWide: true, ValueMaxLength: 64},
		Schemas: []compress.Ref{{NS: "jabber:client", Bytes: 12, MD5: "d41d8cd98f00b204e9800998ecf8427e"}},
	}
	New(db, "exi", nil).Remember("example.org", want)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	defer db.Close()
	c := New(db, "exi", nil)
	got, ok := c.Configuration("example.org")
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	if _, ok := c.Configuration("example.com"); ok {
		t.Error("an unknown configuration was found")
	}
	c.Forget("example.org")
	if _, ok := c.Configuration("example.org"); ok {
		t.Error("a forgotten configuration was found")
	}
}

func TestExpiredOnesMakeRoom(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	defer db.Close()
	c := New(db, "exi", nil)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.now = func() time.Time { return now }
	c.Remember("old", compress.Configuration{ID: "old", Used: now})
	now = now.Add(compress.Expiry + time.Hour)
	c.Remember("new", compress.Configuration{ID: "new", Used: now})
	if _, ok := c.Configuration("old"); ok {
		t.Error("an expired configuration was kept")
	}
	if _, ok := c.Configuration("new"); !ok {
		t.Error("the new configuration is missing")
	}
}

func TestRepeatedUseIsNotWrittenEachTime(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	defer db.Close()
	c := New(db, "exi", nil)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.now = func() time.Time { return now }
	conf := compress.Configuration{ID: "a", Used: now}
	c.Remember("a", conf)
	conf.Used = now.Add(time.Hour)
	c.Remember("a", conf)
	if got, _ := c.Configuration("a"); !got.Used.Equal(now) {
		t.Errorf("used %v was written after an hour", got.Used)
	}
	conf.Used = now.Add(fresh + time.Hour)
	c.Remember("a", conf)
	if got, _ := c.Configuration("a"); !got.Used.Equal(conf.Used) {
		t.Errorf("used %v, want %v", got.Used, conf.Used)
	}
}
