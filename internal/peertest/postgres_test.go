package peertest

import (
	"os"
	"testing"
)

func TestPostgres(t *testing.T) {
	p := NewPostgres(t)
	if err := p.SQL("postgres", "create database x"); err != nil {
		t.Fatal(err)
	}
	if err := p.SQL("x", "create table t (n int); insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	if err := p.SQL("x", "select nonsense"); err == nil {
		t.Error("no error")
	}
	for _, end := range []func(){p.Stop, p.Kill} {
		end()
		if err := p.SQL("x", "select 1"); err == nil {
			t.Error("it still serves")
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if out, err := p.Query("x", "select n, current_user from t"); out != "1|postern" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	}
	p.Stop()
	if _, err := os.Stat(p.Dir); err != nil {
		t.Error(err)
	}
}
