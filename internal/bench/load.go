package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reader is the load generator: one client that reads the momentary fields of
// a node, over and over.
type Reader struct {
	// Pace is the least time between the starts of two reads with one in flight;
	// 0: the next begins when one ends.
	Pace time.Duration

	s    *stream
	node string
	seq  int
}

// NewReader logs in.
func NewReader(l Login, node string) (*Reader, error) {
	s, err := dial(l)
	if err != nil {
		return nil, err
	}
	return &Reader{s: s, node: node}, nil
}

// Close ends the connection.
func (r *Reader) Close() { r.s.c.Close() }

// WaitFor waits until an account that this one may see is online and returns
// its full JID.
func (r *Reader) WaitFor(bare string, limit time.Duration) (string, error) {
	r.s.c.SetReadDeadline(time.Now().Add(limit))
	defer r.s.c.SetReadDeadline(time.Time{})
	for {
		el, err := r.s.next()
		if err != nil {
			return "", fmt.Errorf("bench: waiting for %s: %w", bare, err)
		}
		from := attribute(el, "from")
		if bytes.HasPrefix(el, []byte("<presence")) && strings.HasPrefix(from, bare+"/") && attribute(el[:bytes.IndexByte(el, '>')], "type") == "" {
			return from, nil
		}
	}
}

// Run is the outcome of a measurement.
type Run struct {
	Reads    int
	Elapsed  time.Duration
	P50, P99 time.Duration
}

// Rate is the number of reads per second.
func (r Run) Rate() float64 { return float64(r.Reads) / r.Elapsed.Seconds() }

// String is a line of a report.
func (r Run) String() string {
	return fmt.Sprintf("%6.0f reads/s  p50 %6.2f ms  p99 %6.2f ms", r.Rate(), ms(r.P50), ms(r.P99))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *Reader) request(to string) (int, error) {
	r.seq++
	node := ""
	if r.node != "" {
		node = "<node nodeId='" + r.node + "'/>"
	}
	return r.seq, r.s.write(fmt.Sprintf("<iq type='get' id='q%d' to='%s'><req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' momentary='true'>%s</req></iq>", r.seq, to, r.seq, node))
}

// Measure reads from a full JID for the given time with so many requests in
// flight, and waits for the last answers. A refusal is an error.
func (r *Reader) Measure(to string, inFlight int, limit time.Duration) (Run, error) {
	begun := map[int]time.Time{}
	var took []time.Duration
	start := time.Now()
	r.s.c.SetReadDeadline(start.Add(limit + 30*time.Second))
	for range inFlight {
		seq, err := r.request(to)
		if err != nil {
			return Run{}, err
		}
		begun[seq] = time.Now()
	}
	for len(begun) > 0 {
		el, err := r.s.next()
		if err != nil {
			return Run{}, fmt.Errorf("bench: after %d reads: %w", len(took), err)
		}
		seq, err := finished(el)
		if err != nil {
			return Run{}, err
		}
		t, mine := begun[seq]
		if !mine {
			continue
		}
		took = append(took, time.Since(t))
		delete(begun, seq)
		if time.Since(start) < limit {
			if wait := r.Pace - time.Since(t); wait > 0 && inFlight == 1 {
				time.Sleep(wait)
			}
			if seq, err = r.request(to); err != nil {
				return Run{}, err
			}
			begun[seq] = time.Now()
		}
	}
	run := Run{Reads: len(took), Elapsed: time.Since(start)}
	slices.Sort(took)
	run.P50, run.P99 = took[len(took)/2], took[len(took)*99/100]
	return run, nil
}

// finished returns the seqnr of a read-out that an element ends, 0 for other
// elements.
func finished(el []byte) (int, error) {
	if bytes.HasPrefix(el, []byte("<iq")) {
		if attribute(el[:bytes.IndexByte(el, '>')], "type") == "error" {
			return 0, fmt.Errorf("bench: refused: %s", el)
		}
		return 0, nil
	}
	if !bytes.Contains(el, []byte(" done='true'")) && !bytes.Contains(el, []byte(` done="true"`)) {
		return 0, nil
	}
	i := bytes.Index(el, []byte("urn:xmpp:iot:sensordata"))
	if i < 0 {
		return 0, nil
	}
	return strconv.Atoi(attribute(el[bytes.LastIndexByte(el[:i], '<'):], "seqnr"))
}

// Capture does one read and returns the payloads of its messages as a
// Template, together with the number of fields in them.
func (r *Reader) Capture(to string) (Template, int, error) {
	seq, err := r.request(to)
	if err != nil {
		return nil, 0, err
	}
	r.s.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer r.s.c.SetReadDeadline(time.Time{})
	var t Template
	fields := 0
	for {
		el, err := r.s.next()
		if err != nil {
			return nil, 0, fmt.Errorf("bench: first read: %w", err)
		}
		end, err := finished(el)
		if err != nil {
			return nil, 0, err
		}
		if bytes.HasPrefix(el, []byte("<message")) && bytes.Contains(el, []byte("urn:xmpp:iot:sensordata")) {
			payload := el[bytes.IndexByte(el, '>')+1 : bytes.LastIndexByte(el, '<')]
			for _, q := range []string{"'", `"`} {
				payload = bytes.Replace(payload, []byte(fmt.Sprintf("seqnr=%s%d%s", q, seq, q)), []byte("seqnr='"+seqMark+"'"), 1)
			}
			t = append(t, string(payload))
			fields += bytes.Count(payload, []byte(" momentary="))
		}
		if end == seq {
			return t, fields, nil
		}
	}
}
