package drivers

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestTape(t *testing.T) {
	var none *Tape
	none.Record(time.Now(), []byte{1}, nil, nil)
	if none.Last() != nil {
		t.Error("a nil tape keeps something")
	}
	tape, at := new(Tape), time.Unix(1, 0)
	buf := []byte{0}
	for i := range TapeExchanges + 3 {
		buf[0] = byte(i)
		tape.Record(at, buf, []byte{byte(i), 2}, nil)
	}
	got := tape.Last()
	if len(got) != TapeExchanges || got[0].Out[0] != 3 || got[TapeExchanges-1].In[0] != 6 {
		t.Errorf("%+v", got)
	}
	tape.Record(at, bytes.Repeat([]byte{7}, 500), nil, errors.New("x"))
	if e := tape.Last()[TapeExchanges-1]; len(e.Out) != TapeOctets || !e.More || e.Err == nil {
		t.Errorf("%+v", e)
	}
	if n := testing.AllocsPerRun(100, func() { tape.Record(at, buf, buf, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// On a line octets trickle in behind the question; a talker is never asked.
func TestTapeOfALine(t *testing.T) {
	tape, at := new(Tape), time.Unix(1, 0)
	tape.Record(at, []byte("IDN?\n"), nil, nil)
	tape.Heard(at, []byte("AC"), nil)
	tape.Heard(at, []byte("ME\n"), nil)
	if got := tape.Last(); len(got) != 1 || string(got[0].In) != "ACME\n" {
		t.Errorf("%+v", got)
	}
	talker := new(Tape)
	for range 100 {
		talker.Heard(at, []byte("$GPRMC,123519\r\n"), nil)
	}
	if got := talker.Last(); len(got) != 1 || len(got[0].In) > TapeOctets || len(got[0].In) == 0 {
		t.Errorf("%+v", got)
	}
}
