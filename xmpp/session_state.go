package xmpp

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"
)

var errLongJID = errors.New("longer than an address can be")

var errUnfinished = errors.New("xmpp: sessions are not built into this version yet")

// Session is a client's session with its server: it logs in, resumes
// (XEP-0198), reconnects, matches answers, and hands everything else to its
// Handler. All methods may be called by any goroutine at any time.
type Session struct{ cfg Config }

func newSession(cfg Config) (*Session, error) { return &Session{cfg: cfg}, nil }

func (s *Session) run(context.Context) error                                { return errUnfinished }
func (s *Session) send(context.Context, []Stanza) error                     { return errUnfinished }
func (s *Session) query(context.Context, Stanza, func(*Stanza) error) error { return errUnfinished }
func (s *Session) flush(context.Context) error                              { return errUnfinished }
func (s *Session) localAddr() jid.JID                                       { return jid.JID{} }
func (s *Session) state() State                                             { return State{} }
func (s *Session) changed() <-chan struct{}                                 { return nil }
func (s *Session) stats() Stats                                             { return Stats{} }
