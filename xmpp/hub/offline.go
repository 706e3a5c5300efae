package hub

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/exi"
	"postern/exi/xmltext"
	"postern/internal/store"
	"postern/xmpp"
)

// offlineRecord is a message that waits. Text is the whole element as XML,
// with its delay stamp.
type offlineRecord struct{ Text string }

var offlineBox = store.Bucket[offlineRecord]{Name: "offline"} // account NUL number

var errNotKept = xmpp.NewError(xmpp.ServiceUnavailable, "")

// keepable says what is done with a message for somebody who is offline:
// keep it, drop it silently, or neither, which is an error to the sender.
// Read-outs and commands of things are worth nothing later and dangerous
// (IM-R51).
func keepable(st *xmpp.Stanza) (keep, drop bool) {
	body, other := false, false
	for c := range st.Elem.Children() {
		q := c.Name().Value()
		switch {
		case c.Name() == nameBody:
			body = true
		case strings.HasPrefix(q.Space, "urn:xmpp:iot:"):
			return false, false
		case q.Space == "urn:xmpp:hints" && (q.Local == "no-store" || q.Local == "no-permanent-store"):
			return false, true
		case q.Space == "http://jabber.org/protocol/chatstates" || q.Space == "urn:xmpp:hints":
		case q == exi.QName{Space: xmpp.NSClient, Local: "thread"} || q.Space == xmpp.NSDelay:
		default:
			other = true
		}
	}
	return body, !body && !other
}

// keep stores a message until the account comes online. acc.mu is held.
func (acc *account) keep(p *packet) error {
	keep, drop := keepable(p.st)
	switch {
	case drop:
		return nil
	case !keep:
		return errNotKept
	}
	late := *p
	if late.delay.IsZero() {
		late.delay = time.Now()
	}
	d := late.doc(acc.h, acc.bare, "")
	defer acc.h.putDoc(d)
	text, err := xmltext.AppendElement(nil, d, xmltext.Scope{})
	if err != nil {
		return fmt.Errorf("hub: keeping a message: %w", err)
	}
	err = acc.h.cfg.Store.Update(func(tx *store.Tx) error {
		if offlineBox.Count(tx, acc.name+"\x00") >= acc.h.lim.Offline {
			return errNotKept
		}
		n, err := offlineBox.Sequence(tx)
		if err != nil {
			return err
		}
		return offlineBox.Put(tx, fmt.Sprintf("%s\x00%016x", acc.name, n), offlineRecord{string(text)})
	})
	if err != nil && !errors.Is(err, errNotKept) {
		acc.h.log.Error("a message cannot be kept", "account", acc.name, "err", err)
		return xmpp.NewError(xmpp.InternalServerError, "").WithType(xmpp.Wait)
	}
	return err
}

// flush gives the session the messages that wait. acc.mu is held, so that
// nothing live gets in between (IM-R56).
func (acc *account) flush(s *session) {
	var given []string
	err := acc.h.cfg.Store.View(func(tx *store.Tx) error {
		for e := range offlineBox.All(tx, acc.name+"\x00") {
			d := acc.h.getDoc()
			if err := errors.Join(e.Err, xmltext.ParseElement(e.Value.Text, d)); err != nil {
				acc.h.log.Error("a kept message cannot be read", "account", acc.name, "err", err)
			} else if err := s.q.add(d, time.Now(), offline); err != nil {
				return err
			}
			given = append(given, e.Key)
		}
		return nil
	})
	if err != nil {
		acc.h.log.Warn("not every kept message was delivered", "jid", s.full, "err", err)
	}
	if len(given) == 0 {
		return
	}
	err = acc.h.cfg.Store.Update(func(tx *store.Tx) error {
		for _, k := range given {
			if err := offlineBox.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		acc.h.log.Error("delivered messages cannot be removed", "account", acc.name, "err", err)
	}
}
