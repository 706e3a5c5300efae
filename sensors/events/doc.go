// Package events lets accounts subscribe to what the gateway measures: by the
// protocol of the XSF's proto-XEP "Internet of Things - Events"
// (urn:xmpp:iot:events), or by the configuration.
//
// It decides what goes to whom and when, and hands messages to
// internal/outbox, which delivers them. There are two kinds of subscription:
//
//   - As the XEP has them: conditions are looked at while the subscriber is
//     online, and once when it comes.
//   - Kept ones (the configuration's, or with a keep element of urn:postern:seq:1
//     in the request): what the subscriber misses while it is away, or cannot
//     follow, is sent from the history afterwards, as historicalOther, beside
//     the live data.
package events
