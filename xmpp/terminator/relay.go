package terminator

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"postern/exi"
	"postern/xmpp"
	"postern/xmpp/compress"
	"postern/xmpp/tcp"
)

// relay passes elements both ways until one side ends, ends the other in the
// same manner, and calls done when both are gone. It does not wait: the
// goroutine of the login, whose stack TLS has made large, ends here.
func (l *link) relay(done func()) {
	l.out, l.doc, l.from = exi.Doc{}, exi.Doc{}, exi.Doc{}
	var left atomic.Int32
	left.Store(2)
	// What came together goes on together: it is sent before more is waited for.
	l.clientSide.before = func() { flush(l.server) }
	l.serverSide.before = func() { flush(l.client) }
	pass := func(dst, src *tcp.Conn, d *exi.Doc, count *atomic.Int64) {
		l.end(dst, src, l.pump(dst, src, d, count))
		if left.Add(-1) == 0 {
			done()
		}
	}
	go pass(l.client, l.server, &l.from, &l.t.down)
	go pass(l.server, l.client, &l.doc, &l.t.up)
}

// flush sends what was queued for c.
func flush(c *tcp.Conn) {
	if c.Flush() != nil {
		_ = c.Abort() // its reader ends, too, and says so
	}
}

// waiting calls before ahead of each read, which may block.
type waiting struct {
	net.Conn
	before func() // nil until stanzas are passed
}

// Read implements net.Conn.
func (w *waiting) Read(p []byte) (int, error) {
	if w.before != nil {
		w.before()
	}
	return w.Conn.Read(p)
}

// largeDoc is the number of events beyond which a Doc is not kept: one large
// stanza must not cost an idle client memory for ever.
const largeDoc = 128

// pump passes elements from src to dst until reading or writing fails.
func (l *link) pump(dst, src *tcp.Conn, d *exi.Doc, count *atomic.Int64) error {
	for {
		if d.Len() > largeDoc {
			*d = exi.Doc{}
		}
		if err := src.ReadElement(d); err != nil {
			return err
		}
		err := dst.Queue(d)
		var unfit *xmpp.EncodeError
		if errors.As(err, &unfit) {
			l.t.replaced.Add(1)
			l.t.log.Warn("a stanza does not fit the client's strict EXI grammar", "addr", l.addr, "err", unfit.Err)
			err = l.replace(dst, d)
		}
		if err != nil {
			return errors.Join(errWrite, err)
		}
		count.Add(1)
	}
}

var errWrite = errors.New("terminator: writing")

// replace passes a stanza that dst's grammar cannot carry without its content,
// and not at all only if even that is impossible: both ends count stanzas
// (XEP-0198), so none may vanish. The payload of a request becomes one that
// nobody knows, so that its receiver answers service-unavailable (D21).
func (l *link) replace(dst *tcp.Conn, d *exi.Doc) error {
	var st xmpp.Stanza
	if err := st.Parse(d.Root()); err != nil {
		return err
	}
	var out exi.Doc
	var unfit *xmpp.EncodeError
	if st.Kind == xmpp.IQ && (st.Type == xmpp.Get || st.Type == xmpp.Set) {
		st.Payload = xmpp.PayloadFunc(func(d *exi.Doc) {
			d.Element(exi.N(compress.NSPostern, "unsupported"), exi.Value{})
		})
		st.AppendEvents(&out)
		if err := dst.WriteElements(&out); !errors.As(err, &unfit) {
			return err
		}
		st.Payload = nil // the answer will be bad-request
		out.Reset()
	}
	st.AppendEvents(&out)
	return dst.WriteElements(&out)
}

// end passes the end of src on to dst. err is why the pump from src stopped.
func (l *link) end(dst, src *tcp.Conn, err error) {
	var se *xmpp.StreamError
	switch {
	case errors.Is(err, errWrite): // the other pump will see to dst
		_ = src.Abort()
		_ = dst.Abort()
	case errors.Is(err, xmpp.ErrStreamEnd):
		_ = dst.Close()
		_ = src.Close()
	case errors.As(err, &se) && se.Local: // src broke the rules: it hears so
		_ = xmpp.EndWith(src, err)
		_ = dst.Abort()
	case errors.As(err, &se): // an error of the stream is for the other end
		var d exi.Doc
		d.AppendElement(se.Elem)
		_ = dst.WriteElements(&d)
		_ = dst.Close()
		_ = src.Close()
	default:
		_ = dst.Abort()
		_ = src.Abort()
	}
}

// slowed bounds the rate of reading: TCP then slows the peer down.
type slowed struct {
	net.Conn
	rate  int // octets a second
	until time.Time
}

// Read reads at most a second's worth and waits until it has been earned.
func (s *slowed) Read(p []byte) (int, error) {
	if wait := time.Until(s.until); wait > 0 {
		time.Sleep(min(wait, time.Second))
	}
	n, err := s.Conn.Read(p[:min(len(p), s.rate)])
	if now := time.Now(); s.until.Before(now.Add(-time.Second)) {
		s.until = now.Add(-time.Second) // a burst of one second
	}
	s.until = s.until.Add(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}
