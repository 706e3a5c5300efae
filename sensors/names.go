package sensors

import (
	"postern/exi"
	"postern/internal/live"
	"postern/internal/node"
)

func n(local string) exi.Name  { return exi.N(NS, local) }
func at(local string) exi.Name { return exi.N("", local) }

// Element and attribute names, interned once.
var (
	nameReq       = n("req")
	nameAccepted  = n("accepted")
	nameRejected  = n("rejected")
	nameStarted   = n("started")
	nameFields    = n("fields")
	nameFailure   = n("failure")
	nameDone      = n("done")
	nameCancel    = n("cancel")
	nameCancelled = n("cancelled")
	nameNode      = n("node")
	nameField     = n("field")
	nameTimestamp = n("timestamp")
	nameError     = n("error")

	nameBoolean  = n("boolean")
	nameDate     = n("date")
	nameDateTime = n("dateTime")
	nameDuration = n("duration")
	nameEnum     = n("enum")
	nameInt      = n("int")
	nameLong     = n("long")
	nameNumeric  = n("numeric")
	nameString   = n("string")
	nameTime     = n("time")
	nameTimeSpan = n("timeSpan") // before version 0.3

	attrSeqnr        = at("seqnr")
	attrQueued       = at("queued")
	attrDone         = at("done")
	attrFrom         = at("from")
	attrTo           = at("to")
	attrWhen         = at("when")
	attrServiceToken = at("serviceToken")
	attrDeviceToken  = at("deviceToken")
	attrUserToken    = at("userToken")
	attrNodeID       = at("nodeId")
	attrSourceID     = at("sourceId")
	attrCacheType    = at("cacheType")
	attrName         = at("name")
	attrTimestamp    = at("timestamp")
	attrValue        = at("value")
	attrUnit         = at("unit")
	attrDataType     = at("dataType")
	attrModule       = at("module")
	attrStringIDs    = at("stringIds")
	attrWritable     = at("writable")

	attrTypes = typeAttrs()
	attrFlags = flagAttrs()

	// typeByAttr holds what a request may say besides the 14 types, and the
	// misspelling of an example (0323-D3).
	typeByAttr = typesByAttr()
	flagByAttr = flagsByAttr()
)

func typeAttrs() (a [node.NumTypes]exi.Name) {
	for i := range a {
		a[i] = at(node.TypeName(i))
	}
	return a
}

func flagAttrs() (a [live.NumFlags]exi.Name) {
	for i := range a {
		a[i] = at(live.FlagName(i))
	}
	return a
}

func typesByAttr() map[exi.Name]node.Types {
	m := make(map[exi.Name]node.Types, node.NumTypes+3)
	for i, name := range attrTypes {
		m[name] = 1 << i
	}
	m[at("all")] = node.All
	m[at("historical")] = node.Historical
	m[at("identification")] = node.Identity
	return m
}

func flagsByAttr() map[exi.Name]live.Quality {
	m := make(map[exi.Name]live.Quality, live.NumFlags)
	for i, name := range attrFlags {
		m[name] = 1 << i
	}
	return m
}
