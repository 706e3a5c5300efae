// Package provisioning is the device's side of pairing and of delegated
// trust: the payloads of XEP-0347 (discovery) and XEP-0324 (provisioning),
// claim codes, a Thing that registers itself and knows its owner, and Access,
// which answers who may read and set by asking a provisioning server.
//
// How a composition root puts it together:
//
//   - Thing.Register and Access.Register take the notices of registry and
//     provisioning server from the session's Mux.
//   - Thing.Run and Access.Run are started beside the session; Thing.Online
//     and Access.Online are called from xmpp.Config.OnOnline, after the
//     roster's.
//   - Access is the node.Access of the sensor and control services.
//   - Access.Policy is the roster's policy for subscription requests, and
//     Config.Resolve of both looks up full addresses in the roster, for
//     services that live on an account.
//   - Thing.Config.OnDisowned calls Access.Forget.
//
// The service's side is package registry.
package provisioning

import (
	"mellium.im/xmpp/jid"

	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
)

// Namespaces, which are also the disco features of those who serve them.
const (
	NS          = "urn:xmpp:iot:provisioning" // XEP-0324
	NSDiscovery = "urn:xmpp:iot:discovery"    // XEP-0347
)

// Ref addresses a node behind a JID; the zero Ref is the JID itself.
type Ref = node.Ref

// Types is a set of field types.
type Types = node.Types

// ValueRange is a range of numbers, and Values a set of values, that a parameter
// may be set to.
type (
	ValueRange      = node.Range
	Values          = node.Values
	ParameterValues = node.ParameterValues
)

// AllTypes are all field types.
const AllTypes = node.All

// Limits of what is read from a peer; what exceeds them is a bad request.
const (
	MaxTags  = 64   // in one payload; 0347-R56
	MaxOps   = 32   // in one search
	MaxNames = 1024 // nodes, fields or parameters in one question
	MaxText  = 1023 // octets of an identifier
)

func np(local string) exi.Name { return exi.N(NS, local) }
func nd(local string) exi.Name { return exi.N(NSDiscovery, local) }
func at(local string) exi.Name { return exi.N("", local) }

var (
	attrName      = at("name")
	attrValue     = at("value")
	attrJID       = at("jid")
	attrNodeID    = at("nodeId")
	attrSourceID  = at("sourceId")
	attrCacheType = at("cacheType")
	attrResult    = at("result")
)

func text(c exi.Cursor, name exi.Name) string {
	v, _ := c.Attr(name)
	return v.String()
}

// flag reads a boolean attribute; what is no boolean is not ok.
func flag(c exi.Cursor, name exi.Name, absent bool) (b, ok bool) {
	v, present := c.Attr(name)
	if !present {
		return absent, true
	}
	return v.Bool()
}

// address reads a JID attribute and strips the resource (0347-D3, 0324-R22).
// An absent one is the zero JID.
func address(c exi.Cursor) (jid.JID, bool) {
	v, present := c.Attr(attrJID)
	if !present {
		return jid.JID{}, true
	}
	j, err := xmpp.ParseJID(v.String())
	return j.Bare(), err == nil
}

func parseRef(c exi.Cursor) (r Ref, ok bool) {
	r = Ref{ID: text(c, attrNodeID), Source: text(c, attrSourceID), Cache: text(c, attrCacheType)}
	return r, max(len(r.ID), len(r.Source), len(r.Cache)) <= MaxText
}

// appendRef writes those attributes that reach the node (0347-R16).
func appendRef(d *exi.Doc, r Ref) {
	optional(d, attrNodeID, r.ID)
	optional(d, attrSourceID, r.Source)
	optional(d, attrCacheType, r.Cache)
}

func optional(d *exi.Doc, name exi.Name, s string) {
	if s != "" {
		d.Attr(name, exi.Str(s))
	}
}

func appendJID(d *exi.Doc, j jid.JID) { optional(d, attrJID, j.Bare().String()) }
