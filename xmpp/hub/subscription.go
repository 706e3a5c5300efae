package hub

// subscription is the state between an account and one contact
// (RFC 6121 appendix A):
//
//	        none      To        From      Both
//	      N No Ni Noi  T  Ti    F  Fo      B
//	to                 x  x                x
//	from                        x  x       x
//	ask     x    x                 x
//	in         x  x       x
type subscription struct {
	To   bool `json:",omitempty"` // the account sees the contact's presence
	From bool `json:",omitempty"` // the contact sees the account's presence
	Ask  bool `json:",omitempty"` // the account has asked
	In   bool `json:",omitempty"` // the contact has asked
	// Approved: a request of the contact is granted beforehand
	// (RFC 6121 §3.4).
	Approved bool `json:",omitempty"`
}

// String is the value of the roster's subscription attribute.
func (s subscription) String() string {
	switch {
	case s.To && s.From:
		return "both"
	case s.To:
		return "to"
	case s.From:
		return "from"
	}
	return "none"
}

// outbound is what a subscription stanza from the account does to its state,
// and whether it is passed on to the contact (RFC 6121 §A.2).
func (s subscription) outbound(typ string) (next subscription, route bool) {
	next = s
	switch typ {
	case "subscribe":
		next.Ask = !s.To
		return next, true
	case "unsubscribe":
		next.To, next.Ask = false, false
		return next, true
	case "subscribed":
		if s.In {
			next.From, next.In = true, false
			return next, true
		}
		if !s.From {
			next.Approved = true
		}
		return next, false
	case "unsubscribed":
		next.Approved = false
		next.From, next.In = false, false
		return next, s.From || s.In
	}
	return next, false
}

// inbound is what a subscription stanza from the contact does to the account's
// state, whether the account's clients get it, and whether the server answers
// it with subscribed (RFC 6121 §A.3).
func (s subscription) inbound(typ string) (next subscription, deliver, answer bool) {
	next = s
	switch typ {
	case "subscribe":
		switch {
		case s.From:
			return next, false, true
		case s.Approved:
			next.From, next.In = true, false
			return next, false, true
		}
		next.In = true
		return next, !s.In, false
	case "unsubscribe":
		next.From, next.In = false, false
		return next, s.From || s.In, false
	case "subscribed":
		if s.Ask {
			next.To, next.Ask = true, false
		}
		return next, s.Ask, false
	case "unsubscribed":
		next.To, next.Ask = false, false
		return next, s.To || s.Ask, false
	}
	return next, false, false
}
