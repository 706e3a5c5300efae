package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A transfer may take as long as it likes while something comes.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := Env{Stderr: &out, ErrTerminal: true}
		ctx, p, cancel := e.wait(t.Context(), 5*time.Second)
		defer cancel()
		for i := range 10 {
			time.Sleep(4 * time.Second)
			p.progress(1000*(i+1), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			p.progress(1000*(i+1), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) // too soon for the line
		}
		if ctx.Err() != nil {
			t.Fatal(context.Cause(ctx))
		}
		if n := strings.Count(out.String(), "values, up to"); n != 10 || !strings.Contains(out.String(), "10000 values") || !strings.Contains(out.String(), "250 a second") {
			t.Errorf("%q", out.String())
		}
		p.end()
		if !strings.HasSuffix(out.String(), "\r\x1b[K") {
			t.Errorf("the line stays: %q", out.String())
		}
		time.Sleep(6 * time.Second)
		child, stop := context.WithCancel(ctx)
		defer stop()
		synctest.Wait()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("%v, %v", ctx.Err(), child.Err())
		}
	})
}

func TestNoProgressWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	_, p, cancel := (&Env{Stderr: &out}).wait(t.Context(), time.Minute)
	defer cancel()
	p.begin = time.Now().Add(-time.Hour)
	p.progress(5, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	p.end()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}
