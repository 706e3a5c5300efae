package xmpptest

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/exi"
	"postern/xmpp"
)

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		if _, err := io.WriteString(a, "hello"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 3)
		for _, want := range []string{"hel", "lo"} {
			if n, err := b.Read(buf); err != nil || string(buf[:n]) != want {
				t.Fatalf("%q, %v", buf[:n], err)
			}
		}
		// Deadlines, also moved while somebody waits.
		_ = b.SetReadDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			_ = b.SetReadDeadline(time.Now().Add(time.Second))
		}()
		began := time.Now()
		if _, err := b.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		_ = b.SetReadDeadline(time.Time{})
		// A full pipe holds the writer back.
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write(make([]byte, 300<<10)); n != streamSize || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d written, %v", n, err)
		}
		// What was written is read after the end.
		_ = a.Close()
		if n, err := io.Copy(io.Discard, b); n != streamSize || err != nil {
			t.Errorf("%d read, %v", n, err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("writing to a closed pipe")
		}
	})
}

func TestSame(t *testing.T) {
	a := Doc(t, `<iq type='get' id='1'><a xmlns='urn:x' b='1' c='2'>t</a></iq>`)
	if !Same(t, a, Doc(t, `<iq id='1' type="get"><x:a xmlns:x='urn:x' c='2' b='1'>t</x:a></iq>`)) {
		t.Error("the order of attributes or prefixes count")
	}
	for _, other := range []string{`<iq type='get' id='2'><a xmlns='urn:x' b='1' c='2'>t</a></iq>`, `<iq type='get' id='1'><a b='1' c='2'>t</a></iq>`,
		`<iq type='get' id='1'><a xmlns='urn:x' b='1' c='2'/></iq>`, `<iq type='get' id='1'/>`} {
		if Same(t, a, Doc(t, other)) {
			t.Errorf("%s is the same", other)
		}
	}
}

func TestCall(t *testing.T) {
	m := new(xmpp.Mux)
	m.HandleFunc(xmpp.IQ, xmpp.Get, exi.N("urn:x", "a"), func(_ context.Context, st *xmpp.Stanza) (xmpp.Payload, error) {
		return xmpp.Answer{Then: []xmpp.Stanza{{Kind: xmpp.Message, To: st.From}}}, nil
	})
	got, err := Call(t, m, `<iq type='get' id='1' from='a@b/c'><a xmlns='urn:x'/></iq>`)
	if err != nil || strings.Join(got, " ") != "<iq type='result' id='1' to='a@b/c'/> <message to='a@b/c'/>" {
		t.Errorf("%q, %v", got, err)
	}
	got, err = Call(t, m, `<iq type='get' id='1' from='a@b/c'><b xmlns='urn:x'/></iq>`)
	if err == nil || !strings.Contains(got[0], "service-unavailable") {
		t.Errorf("%q, %v", got, err)
	}
}
