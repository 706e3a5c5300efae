// Package outbox keeps messages for subscribers until they are delivered.
//
// Each subscriber is an account with lanes of messages, one for each Class:
// what is more urgent goes first, and within a lane the order is kept. A
// message goes out while the subscriber is available, at most Window of them
// without proof of delivery. Proof is a receipt (XEP-0184) where the
// subscriber's client gives them, else the server's acknowledgement (XEP-0198).
//
// Every message carries a number that rises by one for each message to the
// subscriber, and the name of the gateway's run that numbered it: what comes
// twice is known by these. What the bounds dropped is told in a gap record.
//
//	Add ──▶ lanes in memory ──▶ Send ──▶ proof ──▶ (gone)
//	             │  ▲
//	   commits   ▼  │ Open
//	           the store
//
// A lane lives in memory; the store has a copy of what was not delivered when
// it was last committed. Alarms, results of commands and audit records are
// committed at once, the rest in groups. What was missed while a subscriber
// was away is not copied: the message keeps a reference, and a Source makes
// its content when it goes out.
package outbox
