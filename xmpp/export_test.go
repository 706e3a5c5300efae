package xmpp

// Except keeps a session from using SASL mechanisms, so that tests can try the
// others against a server that offers better ones.
func (s *Session) Except(mechanisms ...string) { s.except = mechanisms }
