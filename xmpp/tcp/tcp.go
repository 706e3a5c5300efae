// Package tcp carries XMPP streams over TCP (RFC 6120 §3, XEP-0368): it finds
// a domain's hosts, connects, starts TLS, and moves whole elements.
package tcp
