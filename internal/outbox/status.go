package outbox

import (
	"sort"
	"time"
)

// Status is what the operator sees.
type Status struct {
	Subscribers      []SubscriberStatus // sorted by address
	Messages, Octets int                // that wait
	Cap              int                // of the octets
	LastCommit       time.Time
	Err              error // of the last commit
}

// SubscriberStatus is one subscriber.
type SubscriberStatus struct {
	JID       string
	Available bool
	// Receipts: its client says that it got a message. Else what counts as
	// delivered was handed to the server.
	Receipts   bool
	Waiting    [5]int // messages by Class, those in flight included
	InFlight   int
	Octets     int
	Delivered  uint64 // since the start, as those below
	Resent     uint64
	Dropped    uint64
	LastAt     time.Time // of the last delivery
	Trouble    string
	OldestWait time.Duration // age of the oldest message
}

// Status returns the present state.
func (o *Outbox) Status() Status {
	o.mu.Lock()
	st := Status{Messages: o.count, Octets: o.octets, Cap: o.cfg.Octets, LastCommit: o.last, Err: o.broken}
	now := o.cfg.Now()
	for _, s := range o.subs {
		x := SubscriberStatus{
			JID: s.bare, Receipts: s.receipts, InFlight: s.flying, Octets: s.waiting(),
			Delivered: s.delivered, Resent: s.resent, Dropped: s.dropped, LastAt: s.lastDelivered, Trouble: s.trouble,
		}
		for c := range s.lanes {
			x.Waiting[c] = len(s.lanes[c])
			for _, e := range s.lanes[c] {
				x.OldestWait = max(x.OldestWait, now.Sub(time.UnixMilli(e.at)))
			}
		}
		st.Subscribers = append(st.Subscribers, x)
	}
	o.mu.Unlock()
	for i := range st.Subscribers {
		_, st.Subscribers[i].Available = o.cfg.Where(st.Subscribers[i].JID)
	}
	sort.Slice(st.Subscribers, func(i, j int) bool { return st.Subscribers[i].JID < st.Subscribers[j].JID })
	return st
}
